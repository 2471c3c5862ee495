"""Pages of the tables: parts of at most seven columns with spoken names, and captions that say what the numbers show.

The CSV is the table. Its pages (Markdown, LaTeX, HTML) follow from it and from the `PAGE` beside the function that
makes it; `make verify` writes them again and compares. A finding is a function of the table: no number, no conclusion
is typed."""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import pandas as pd

from deft import artifacts, paths, runtime
from deft.evaluation.reported import NOT_AVAILABLE
from deft.evaluation.tables.common import CONDITIONS

MOST = 7  # columns of a part
LONG = 30  # rows that one page of LaTeX holds
SHORT = 40  # characters of a cell that is not broken into lines
WRAPPED, NARROW = r">{\raggedright\arraybackslash}p{2.7cm}", r"\setlength{\tabcolsep}{3pt}"  # a page is 17 cm wide
NEEDS = "% needs \\usepackage{array,booktabs,longtable}; pages were compiled with pdflatex at a text width of 17 cm\n"
LATEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "/": r"/\allowbreak{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
}
STYLE = "body{font:15px/1.45 sans-serif;max-width:66rem;margin:1.5rem auto;padding:0 1rem}"
TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;border-block:2px solid;margin:.4rem 0 1.2rem"


@dataclass(frozen=True)
class Column:
    """One column: `name` of the CSV under the spoken `head`, in the rows that fulfil `where` ({CSV column: word}).

    A number is followed by its interval (columns `ends`; `*_low`, `*_high` when empty). digits: decimals of the number;
    its interval has one less. best: `max` or `min`, whose cell is bold. spoken: CSV word -> what it is called here.
    """

    head: str
    name: str
    where: Mapping[str, str] = field(default_factory=dict)
    digits: int = 3
    best: Callable | None = None
    spoken: Callable[[str], str] = str
    ends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One table of a page: the CSV rows that fulfil `where`.

    rows: what names a row. finding: those CSV rows -> the sentences of the caption. along: the best cell is sought in
    every row, not in every column.
    """

    title: str
    rows: tuple[Column, ...]
    columns: tuple[Column, ...]
    finding: Callable[[pd.DataFrame], Iterable[str]]
    where: Mapping[str, str] = field(default_factory=dict)
    along: bool = False


@dataclass(frozen=True)
class Page:
    """The parts of a table's pages, and the note below them: how the numbers were counted."""

    parts: tuple[Part, ...]
    note: str


@dataclass
class Cell:
    """Text of a cell, its interval, and the number that both were written from (NaN for words)."""

    text: str = ""
    interval: str = ""
    number: float = float("nan")
    best: bool = False


@dataclass(frozen=True)
class Shown:
    """A part with its numbers: caption (bold start, finding), heads, rows of cells."""

    start: str
    finding: str
    heads: list[str]
    rows: list[list[Cell]]


def both(head: str, name: str, **options: object) -> tuple[Column, Column]:
    """The same column with the tie kept and with the tie broken, side by side."""
    return tuple(Column(f"{head}, tie {word}", name, {"condition": word}, **options) for word in CONDITIONS)


def called(**words: str) -> Callable[[str], str]:
    """`spoken` of a column: these words have these names, others stand for themselves."""
    return lambda word: words.get(word, word)


def figure(number: float, digits: int = 3) -> str:
    """A number as it is printed: `.794`, `−.05`, `1.20`, `504`."""
    text = f"{abs(number):.{digits}f}"
    return ("−" if number < 0 else "") + (text[1:] if text.startswith("0.") else text)


def quote(row: pd.Series, name: str, digits: int = 3, ends: tuple[str, ...] = ()) -> str:
    """Number and interval of a row's cell `name` for a sentence: `.794 [.74, .84]`; "" where there is none."""
    cell = _cell(row, Column("", name, digits=digits, ends=ends))
    return f"{cell.text} {cell.interval}".strip()


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def highest(
    table: pd.DataFrame, name: str, key: str, spoken: Callable[[str], str] = str, least: bool = False, digits: int = 3
) -> str:
    """The row with the largest (least: smallest) number of column `name`, or all that share it, as `motion (.804
    [.77, .84])`; "" without a number.
    """
    if name not in table or table[name].isna().all():
        return ""
    rows = table[table[name] == (table[name].min() if least else table[name].max())]
    return f"{listed(dict.fromkeys(map(spoken, rows[key])))} ({quote(rows.iloc[0], name, digits)})"


def said(sentence: str, *words: str) -> str:
    """The sentence with these words in its gaps (`{}`); "" when one of them is missing."""
    return sentence.format(*words) if all(words) else ""


def page_of(id: str) -> Page:
    """The declaration beside the function that makes the table; KeyError for an unknown table."""
    module, name = artifacts.get(id).function.rsplit(".", 1)
    return import_module(getattr(import_module(module), name).__module__).PAGE


def parts(page: Page, table: pd.DataFrame) -> list[Shown]:
    """The parts of a page that the table fills. A part of two kinds of number (simulated, reproduced, reported) is a
    ValueError.
    """
    filled = [
        (part, here, grid)
        for part in page.parts
        if len(here := _where(table, part.where)) and (grid := _grid(part, here))
    ]
    found = []
    for number, (part, here, (heads, rows)) in enumerate(filled, start=1):
        kinds = set(here["kind"]) if "kind" in here else {"simulated"}
        if len(kinds) > 1:
            raise ValueError(
                f"{part.title}: {', '.join(sorted(kinds))} numbers in one part; give each kind a part of its own"
            )
        words = f"{f'Part {number} of {len(filled)}, ' if len(filled) > 1 else ''}{kinds.pop()}: {part.title}."
        found.append(Shown(words[0].upper() + words[1:], " ".join(filter(None, part.finding(here))), heads, rows))
    return found


def _where(table: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    for name, word in words.items():
        table = table[table[name] == word]
    return table


def _cell(row: pd.Series, column: Column) -> Cell:
    value = row.get(column.name)
    if isinstance(value, str):
        return Cell(column.spoken(value))
    if pd.isna(value):
        return Cell(NOT_AVAILABLE if row.get("kind") == "reported" else "")
    low, high = (row.get(name) for name in column.ends or (f"{column.name}_low", f"{column.name}_high"))
    interval = "" if pd.isna(low) else f"[{figure(low, column.digits - 1)}, {figure(high, column.digits - 1)}]"
    return Cell(figure(value, column.digits), interval, float(value))


def _grid(part: Part, here: pd.DataFrame) -> tuple[list[str], list[list[Cell]]] | None:
    """Heads and rows of the cells; columns and rows without any cell are left out; None when nothing is left."""
    columns, rows = [column for column in part.columns if column.name in here], []
    for _, group in here.groupby([column.name for column in part.rows], sort=False, dropna=False):
        cells = []
        for column in columns:
            mine = _where(group, column.where)
            if len(mine) > 1:
                raise ValueError(
                    f"{part.title}, {column.head}: {len(mine)} rows of the CSV for one cell; name the rows by another"
                    " column"
                )
            cells.append(_cell(mine.iloc[0], column) if len(mine) else Cell())
        if any(cell.text for cell in cells):
            rows.append([*(_cell(group.iloc[0], column) for column in part.rows), *cells])
    kept = [
        *range(len(part.rows)),
        *(
            place
            for place in range(len(part.rows), len(part.rows) + len(columns))
            if any(row[place].text for row in rows)
        ),
    ]
    if len(kept) == len(part.rows):
        return None
    shown = [*part.rows, *columns]
    for line, choose in (
        [(row[len(part.rows) :], columns[0].best) for row in rows]
        if part.along
        else [([row[place] for row in rows], shown[place].best) for place in kept]
    ):
        numbers = [cell for cell in line if cell.number == cell.number]
        if choose is not None and len(numbers) > 1:
            best = choose(numbers, key=lambda cell: cell.number).text
            for cell in numbers:
                cell.best = cell.text == best
    return [shown[place].head for place in kept], [[row[place] for place in kept] for row in rows]


# ---------------------------------------------------------------- writing
def pages(id: str, text: str, stamp: str) -> dict[str, str]:
    """{"md", "tex", "html": page} of a table. text: its CSV; stamp: `artifacts.stamp` of the run that made it."""
    page = page_of(id)
    shown = parts(page, pd.read_csv(io.StringIO(text)))
    words = f"{page.note} All rows and columns: {id}.csv. {stamp}."
    return bound(f"{id}. {artifacts.get(id).title}", shown, words, f"tab:{id.lower()}")


def bound(title: str, shown: list[Shown], words: str, label: str) -> dict[str, str]:
    """{"md", "tex", "html": page} of parts under a title. words: the note below them; label: LaTeX's, less a number."""
    head = f'<h1 style="font-size:1.2rem">{html.escape(title)}</h1>'
    body = f"{head}\n{fragment(shown)}\n<p><small>{html.escape(words)}</small></p>"
    return {
        "md": f"**{title}**\n\n{markdown(shown)}\n\n{words}\n",
        "tex": NEEDS
        + "\n".join(
            _latex(part, f"{title}. {part.start} {part.finding} {words}", f"{label}-{number}")
            for number, part in enumerate(shown, 1)
        ),
        "html": (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
            ' content="width=device-width">'
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
        ),
    }


def save(table: pd.DataFrame, id: str, profile: str, seed: int = 7) -> None:
    """Write a table under figures/<profile>/tables: CSV (data only), and its pages with captions and stamp."""
    text = table.to_csv(index=False, lineterminator="\n")
    for suffix, content in {"csv": text, **pages(id, text, artifacts.stamp(profile, seed))}.items():
        with runtime.atomic(paths.figures(profile) / "tables" / f"{id}.{suffix}") as temporary:
            temporary.write_text(content, encoding="utf-8")


def show(id: str, profile: str, words: str = "") -> None:
    """Show a saved table in a notebook: the parts in whose title `words` stand. ValueError where there is none."""
    shown = [part for part in parts(page_of(id), artifacts.read_table(id, profile)) if words in part.start]
    if not shown:
        raise ValueError(f"no part of {id} has {words!r} in its title")
    exhibit(shown)


def exhibit(shown: list[Shown]) -> None:
    """Show parts in a notebook."""
    from IPython.display import display

    display({"text/plain": markdown(shown), "text/html": fragment(shown)}, raw=True)


def _aligned(part: Shown) -> list[bool]:
    """Whether a column holds numbers."""
    return [any(row[place].number == row[place].number for row in part.rows) for place in range(len(part.heads))]


def markdown(shown: Iterable[Shown]) -> str:
    """Parts as Markdown, each with its caption above it."""

    def written(cell: Cell) -> str:
        text = cell.text.replace("|", r"\|")
        return " ".join(word for word in (f"**{text}**" if cell.best else text, cell.interval) if word)

    out = []
    for part in shown:
        lines = [
            part.heads,
            ["---:" if number else "---" for number in _aligned(part)],
            *([written(cell) for cell in row] for row in part.rows),
        ]
        out.append(f"**{part.start}** {part.finding}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(out)


def _latex(part: Shown, caption: str, label: str) -> str:
    def plain(text: str) -> str:
        return "".join(LATEX.get(character, character) for character in text)

    def written(cell: Cell) -> str:
        text = rf"\textbf{{{plain(cell.text)}}}" if cell.best else plain(cell.text)
        return text + (rf" {{\scriptsize {plain(cell.interval)}}}" if cell.interval else "")

    def stacked(head: str, number: bool) -> str:
        lines = r" \\ ".join(map(plain, textwrap.wrap(head, 15)))
        return rf"\shortstack[{'r' if number else 'l'}]{{{lines}}}"

    short = SHORT if len(part.rows) <= LONG else SHORT // 2  # a table over several pages has more columns of words
    place = "".join(
        "r" if number else WRAPPED if max(len(row[n].text) for row in part.rows) > short else "l"
        for n, number in enumerate(_aligned(part))
    )
    lines = [" & ".join(map(written, row)) + r" \\" for row in part.rows]
    told, head = (
        rf"\caption{{{plain(caption)}}}\label{{{label}}}",
        [
            r"\toprule",
            " & ".join(map(stacked, part.heads, _aligned(part))) + r" \\",
            r"\midrule",
        ],
    )
    if len(lines) > LONG:
        return "\n".join(
            [
                rf"{{\scriptsize{NARROW}\begin{{longtable}}{{@{{}}{place}@{{}}}}",
                told + r" \\",
                *head,
                r"\endhead",
                *lines,
                r"\bottomrule",
                r"\end{longtable}}",
                "",
            ]
        )
    return "\n".join(
        [
            rf"\begin{{table}}\footnotesize{NARROW}",
            told,
            rf"\begin{{tabular}}{{@{{}}{place}@{{}}}}",
            *head,
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def fragment(shown: Iterable[Shown]) -> str:
    """Parts as HTML that any page may hold; a table that is wider than its place scrolls by itself."""
    out = []
    for part in shown:
        edge = [f"text-align:{'right' if number else 'left'};padding:.15rem .5rem" for number in _aligned(part)]
        head = "".join(
            f'<th scope="col" style="{style};vertical-align:bottom;border-bottom:1px solid">{html.escape(word)}</th>'
            for style, word in zip(edge, part.heads)
        )
        body = []
        for row in part.rows:
            cells = [f"<b>{html.escape(c.text)}</b>" if c.best else html.escape(c.text) for c in row]
            cells = [
                text + (f" <small>{html.escape(c.interval)}</small>" if c.interval else "")
                for text, c in zip(cells, row)
            ]
            whole = [
                style + ";vertical-align:top" + ";white-space:nowrap" * (len(c.text) <= SHORT)
                for style, c in zip(edge, row)
            ]
            body.append(
                "<tr>" + "".join(f'<td style="{style}">{text}</td>' for style, text in zip(whole, cells)) + "</tr>"
            )
        out.append(
            f'<p><b>{html.escape(part.start)}</b> {html.escape(part.finding)}</p>\n<div style="overflow-x:auto"><table'
            f' style="{TABLE}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
            + "\n".join(body)
            + "\n</tbody></table></div>"
        )
    return "\n".join(out)
