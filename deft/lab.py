"""What notebooks call to be read: which parameters they show, sentences that are checked, functions shown beside their formula.

`lab` shows; it computes no product, so the driver does not count it among the code that a stage's result depends on.
"""

from __future__ import annotations

import inspect
from html import escape
from pathlib import Path
from types import SimpleNamespace

from deft import paths

SEE = "application/vnd.deft.see+json"  # mime type under which a check is kept in the executed notebook
SMALL = "smoke"  # the profile that is too small to learn anything
EXPECTED, NOT_HERE, TOO_SMALL = "as expected", "not here", "too small to show"

_shown = SimpleNamespace(profile=SMALL)  # what the notebook in this kernel shows; `parameters` sets it


def parameters(names: dict, notebook: str) -> SimpleNamespace:
    """The parameters that notebook `notebook` (01_clips, ...) shows, as an object and in `names` (pass `globals()`); one line says what that is.

    Under the driver they are what it injected. Opened by hand: the profile that is typed into the parameters cell, else `$DEFT_PROFILE`, else
    the newest complete one, else smoke; the other parameters from that profile's file; a value that somebody typed stands above both.
    """
    from deft.run import hand

    given = {name: value for name, value in names.items() if isinstance(value, (str, int, float, bool))}
    if hand.driven():
        shown = hand.Opened(given["profile"], given, {}, f"profile {given['profile']}, run by the driver")
    else:
        shown = hand.open_(notebook, given)
    names.update(shown.values)
    _shown.profile = shown.profile
    print(shown.line)
    return SimpleNamespace(**shown.values)


def see(words: str, holds, numbers: str = "", *, small: bool = False, unanswered: str = "") -> None:
    """Print the sentence `words` with the outcome of its check: *as expected*, or *not here* with the numbers.

    holds: truth value of the sentence, computed in this cell. numbers: what it was computed from, in words; required reading when it does not
    hold. small: the sentence can be judged in profile `smoke` too; by default smoke says that it is too small. unanswered: why an
    expectation that fails is left standing as an open question; without it `python -m deft see` exits 1 on the failure.
    """
    if not isinstance(words, str) or isinstance(holds, str):
        raise TypeError("see(words, holds): the sentence first, then what was computed")
    outcome = TOO_SMALL if _shown.profile == SMALL and not small else EXPECTED if bool(holds) else NOT_HERE
    told = {EXPECTED: f"✓ as expected: {words}", NOT_HERE: f"✗ not here: {words}", TOO_SMALL: f"– smoke is too small to show it: {words}"}[outcome]
    told += f" ({numbers})" if numbers else ""
    told += f" Open question: {unanswered}" if unanswered and outcome == NOT_HERE else ""
    _display({"text/plain": told, "text/html": f"<p class=\"deft-see\">{escape(told)}</p>",
              SEE: {"words": words, "outcome": outcome, "numbers": numbers, "unanswered": unanswered}})


def source(function) -> None:
    """Show the source of a function or class of `deft`, with file and line: what stands under a formula cannot go stale."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    code, first = inspect.getsourcelines(inspect.unwrap(function))
    text = inspect.cleandoc("\n" + "".join(code))
    where = f"{Path(inspect.getsourcefile(inspect.unwrap(function))).relative_to(paths.ROOT).as_posix()}, line {first}"
    page = highlight(text, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    _display({"text/plain": f"# {where}\n{text}", "text/html": f"<p><code>{where}</code></p>{page}"})


def _display(bundle: dict) -> None:
    from IPython.display import display

    display(bundle, raw=True)
