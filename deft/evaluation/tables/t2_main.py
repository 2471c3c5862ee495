"""T2: every system, tie kept and tie broken (claims C1 and C5)."""

from __future__ import annotations

import pandas as pd

from deft import artifacts
from deft.evaluation import metrics, reported
from deft.evaluation.source import Answers
from deft.evaluation.tables.common import (
    BROKEN,
    CONDITIONS,
    both_answered,
    compared,
    nll_sample,
    recognition,
    sample,
    told,
)
from deft.evaluation.tables.present import Column, Page, Part, both, highest, listed, quote, said
from deft.systems import BLIND, DEFT, FIELD, LISTED, MAJORITY, NOT_BUILT, OURS, SYSTEMS, THEIRS, spoken

ALPHA = 0.05


def t2(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Main results: every system, tie kept and broken, bench and held-back; the same of the committed reference of
    every other benchmark (`kind` committed, with its file and commit under `source`); then the published numbers.

    `nll`: mean negative log probability of the true class (lower is better), for systems with scores. `deft_minus*`:
    UF1 of DEFT less that of the row's system on the same clips and draws; `deft_minus_nll*`: the same of NLL.
    `over_majority*`: UF1 of the row less that of `majority`. `kept_minus_broken*`: what the system loses when looks no
    longer go with emotions; `kept_minus_broken_over_blind*`: the same less what a reader loses that cannot see looks
    (bayes-experts: the clips themselves differ); `kept_minus_broken_over_deft*`: the same less what DEFT loses. The
    last three stand in both rows. `p_holm`: two-sided, of DEFT against the row, adjusted by Holm over all systems of
    its set and condition. `parameters`: trained numbers of one run. `family`: this work, or another paper. Systems of
    other papers that are not built stand last, with what is unknown of them."""
    answers = Answers.of(source)
    frame, rows = answers.predictions, []
    folds = frame["fold"][frame["set"] == "bench"].nunique()
    about = {
        "kind": "simulated",
        "benchmark": answers.benchmark,
        "protocol": f"{answers.benchmark}, {folds} subject-disjoint folds, 5 classes",
    }
    for part in ("bench", "heldback"):
        here = frame[frame["set"] == part]
        known = {
            (system, condition): rows_of
            for (system, condition), rows_of in here.groupby(["system", "condition"])
            if system in LISTED["T2"]
        }
        for system in LISTED["T2"]:
            asked = here.groupby("condition")["clip"].nunique()
            rows += [about | row for row in _system_rows(known, system, part, asked, seed)]
        for condition in CONDITIONS:
            compared_ = [row for row in rows if (row["set"], row["condition"]) == (part, condition) and "p_holm" in row]
            for row, p in zip(compared_, metrics.holm([row["p_holm"] for row in compared_])):
                row["p_holm"] = p
    rows += _elsewhere(answers.benchmark)
    for line in reported.load().itertuples():
        rows.append(
            {
                "kind": "reported",
                "protocol": line.protocol,
                "system": line.method,
                "uf1": line.uf1,
                "uar": line.uar,
                "note": reported.note(line),
                "source": line.source,
            }
        )
    rows += [{"kind": "not built", "system": name, "note": why} for name, why in NOT_BUILT.items()]
    table = pd.DataFrame(rows)
    return table.round({name: 6 if name == "p_holm" else 4 for name in table})


def by_benchmark(profile: str) -> pd.DataFrame:
    """T2 of this run beside that of the committed run of every other benchmark, systems in the order of this run: UF1
    with the tie kept and broken, and DEFT less the system (numbers and intervals, as they are printed).
    """
    told = {}
    for version, folder in artifacts.benchmarks(profile).items():
        rows = artifacts.own(pd.read_csv(folder / "T2.csv"))
        rows = rows[rows["set"] == "bench"].set_index("system")
        for head, name, condition in (
            ("UF1, tie kept", "uf1", "kept"),
            ("UF1, tie broken", "uf1", "broken"),
            ("DEFT less it, broken", "deft_minus", "broken"),
        ):
            here = rows[rows["condition"] == condition]
            told[version, head] = {spoken(system): quote(row, name) for system, row in here.iterrows()}
    return pd.DataFrame(told).fillna("")


def _elsewhere(benchmark: str) -> list[dict]:
    """Simulated rows of T2 of the committed references of all benchmarks but this one."""
    rows = []
    for source, folder in artifacts.elsewhere(benchmark).items():
        table = pd.read_csv(folder / "T2.csv")
        taken = table[table["kind"] == "simulated"].assign(kind=artifacts.COMMITTED, source=source)
        rows += taken.astype(object).where(taken.notna(), None).to_dict("records")
    return rows


def _system_rows(
    known: dict[tuple[str, str], pd.DataFrame], system: str, part: str, asked: pd.Series, seed: int
) -> list[dict]:
    """Both rows of one system. known: (system, condition) -> its answers; asked: condition -> number of clips."""
    if any((system, condition) not in known for condition in CONDITIONS):
        return []
    fall, out = _falls(known, system, seed), []
    for condition in CONDITIONS:
        rows, mine = known[system, condition], sample(known[system, condition])
        row = {
            "system": system,
            "family": THEIRS if system in FIELD else OURS,
            "set": part,
            "condition": condition,
            "clips": rows["clip"].nunique(),
            **told(mine, system),
            **recognition(rows, seed),
        }
        if "parameters" in rows and rows["parameters"].notna().all():
            row["parameters"] = int(rows["parameters"].max())
        words = [] if row["clips"] == asked[condition] else [f"answered {row['clips']} of {asked[condition]} clips"]
        for other, column, sign in ((DEFT, "deft_minus", 1), (MAJORITY, "over_majority", -1)):
            theirs = known.get((other, condition))
            if system == other or theirs is None:
                continue
            pair = both_answered(theirs, rows)[::sign]
            cells, word = compared(column, *map(sample, pair), metrics.uf1, seed)
            row |= cells
            words += [word] * bool(word)
            if other == DEFT:
                if cells:
                    row["p_holm"] = metrics.p_value(*map(sample, pair), metrics.uf1, seed=seed)
                row |= compared("deft_minus_nll", *map(nll_sample, pair), metrics.share, seed)[0]
        out.append({**row, **fall, "note": "; ".join([SYSTEMS[system].note, *words])})
    return out


def _falls(known: dict[tuple[str, str], pd.DataFrame], system: str, seed: int) -> dict:
    """UF1 kept less broken of a system, alone and less that of the blind reader and of DEFT."""

    def fall(name: str) -> list[metrics.Sample]:
        return [sample(known[name, condition]) for condition in CONDITIONS if (name, condition) in known]

    mine = fall(system)
    row: dict = (
        {}
        if metrics.shared_draws(*mine) == ()
        else metrics.difference(*mine, metrics.uf1, seed=seed).columns("kept_minus_broken")
    )
    for other, column in ((BLIND, "kept_minus_broken_over_blind"), (DEFT, "kept_minus_broken_over_deft")):
        four = [*mine, *fall(other)]
        if system != other and len(four) == 4 and metrics.shared_draws(*four) != ():
            row |= metrics.combined(
                [(one, metrics.uf1) for one in four], lambda a, b, c, d: (a - b) - (c - d), seed=seed
            ).columns(column)
    return row


def _recognised(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    words = [said("Highest UF1 with the tie broken: {}.", highest(broken, "uf1", "system", spoken))]
    if "deft_minus" in broken:
        clear = {"above": broken.deft_minus_low > 0, "below": broken.deft_minus_high < 0}
        clear["not told apart from"] = broken.deft_minus.notna() & ~clear["above"] & ~clear["below"]
        places = [f"{word} {listed(broken.system[here].map(spoken))}" for word, here in clear.items() if here.any()]
        words.append(said("By the paired interval DEFT is {}.", "; ".join(places)))
    return [
        *words,
        said(
            "Largest loss when looks no longer go with emotions: {}.",
            highest(broken, "kept_minus_broken_over_blind", "system", spoken),
        ),
    ]


def _against(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    if not {"deft_minus", "p_holm"} <= set(broken) or not broken.deft_minus.notna().any():
        return [said("Highest UF1 with the tie broken: {}.", highest(broken, "uf1", "system", spoken))]
    clear = broken.p_holm < ALPHA
    sides = {"ahead of": clear & (broken.deft_minus > 0), "behind": clear & (broken.deft_minus < 0)}
    sides["not told apart from"] = ~clear
    places = [f"{word} {listed(broken.system[here].map(spoken))}" for word, here in sides.items() if here.any()]
    return [
        said("Highest UF1 with the tie broken: {}.", highest(broken, "uf1", "system", spoken)),
        said(f"At p < {ALPHA} after Holm DEFT is {{}}.", "; ".join(places)),
        said(
            "Largest loss when looks no longer go with emotions: {}.",
            highest(broken, "kept_minus_broken_over_blind", "system", spoken),
        ),
    ]


def _printed(part: pd.DataFrame) -> list[str]:
    words = []
    for how in ("best epoch on test", "fixed epochs"):
        numbers = part[part.note.str.startswith(f"selection: {how}", na=False)].assign(
            name=part.system + "; " + part.protocol
        )
        words.append(said(f"Highest published UF1 with {how}: {{}}.", highest(numbers, "uf1", "name")))
    return [*words, "Not to be compared with simulated numbers."]


SYSTEM = (Column("System", "system", spoken=spoken),)
SCORES = (
    *both("UF1", "uf1", best=max),
    Column("Lost beyond a blind reader", "kept_minus_broken_over_blind", BROKEN),
)
COLUMNS = (
    *SCORES,
    Column("NLL, tie broken", "nll", BROKEN, best=min),
    Column("DEFT less it, tie broken", "deft_minus", BROKEN),
    Column("Draws", "draws", BROKEN, digits=0),
)
AGAINST = (
    *SCORES,
    Column("DEFT less it, tie broken", "deft_minus", BROKEN),
    Column("p, Holm", "p_holm", BROKEN),
    Column("Trained numbers", "parameters", BROKEN, digits=0),
)
PAGE = Page(
    (
        Part(
            "the benchmark's subjects",
            SYSTEM,
            COLUMNS,
            _recognised,
            {"kind": "simulated", "set": "bench", "family": OURS},
        ),
        Part(
            "the benchmark's subjects, systems of other papers",
            SYSTEM,
            AGAINST,
            _against,
            {"kind": "simulated", "set": "bench", "family": THEIRS},
        ),
        Part(
            "held-back subjects", SYSTEM, COLUMNS, _recognised, {"kind": "simulated", "set": "heldback", "family": OURS}
        ),
        Part(
            "held-back subjects, systems of other papers",
            SYSTEM,
            AGAINST,
            _against,
            {"kind": "simulated", "set": "heldback", "family": THEIRS},
        ),
        Part(
            "another benchmark, its committed run",
            (Column("Benchmark", "benchmark"), *SYSTEM),
            COLUMNS,
            lambda part: ["Not made by this run; file and commit of each row stand in the CSV."],
            {"kind": artifacts.COMMITTED, "set": "bench"},
        ),
        Part(
            "published numbers, real faces, other protocols",
            (Column("Protocol", "protocol"), Column("Method", "system")),
            (
                Column("UF1", "uf1"),
                Column("UAR", "uar"),
                Column("How it was counted", "note"),
                Column("Source", "source"),
            ),
            _printed,
            {"kind": "reported"},
        ),
        Part(
            "systems of other papers that are not built",
            SYSTEM,
            (Column("What is unknown", "note"),),
            lambda part: ["A network of guesses would carry their name and be another."],
            {"kind": "not built"},
        ),
    ),
    "UF1 pooled over folds, mean over draws. Brackets: 95 % intervals over subjects within looks and over draws (with"
    " few draws they enclose the truth less often: docs/rules.md); DEFT less it: difference of UF1, paired. Lost beyond"
    " a blind reader: UF1 kept less broken, less the same of prototype Bayes, which cannot see looks. NLL: lower is"
    " better. p: two-sided, of the paired difference over subjects and draws, adjusted by Holm over all systems of the"
    " set.",
)
