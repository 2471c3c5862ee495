"""The datasheet of a Uni-MER set, after Gebru et al., "Datasheets for Datasets" (Communications of the ACM 64(12),
2021).

Every number is counted from the records it describes; nothing is typed. What cannot be counted (purpose, limits) is
said once, here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from deft.clips.facs import NAMES
from deft.unimer import balance
from deft.unimer.check import parse
from deft.unimer.facts import Facts
from deft.unimer.wording import tokens

WORST = 8  # rows of the balance report that are printed


def datasheet(
    records: Sequence[Mapping],
    assignment: Mapping[tuple[str, str], str],
    truth: Mapping | None = None,
    simulated: bool = True,
    rephrased: Mapping[str, int] | None = None,
) -> str:
    """Markdown. assignment: (dataset, subject) -> split. truth: `build.truth_counts` of the same records, if truth is
    known. rephrased: counts of `rephrase.rephrase`, if answers were rephrased."""
    if not records:
        raise ValueError("no records to describe; run 05_uni_mer first")
    clips = {record["clip"]: record for record in records}
    lines = [
        "# Datasheet of Uni-MER",
        "",
        "Counted from the records themselves. "
        + (
            "**All clips are SIMULATED.** No person was recorded, and nothing here says anything about real faces."
            if simulated
            else "Texts only: the clips are under their owners' licences and are not part of this set."
        ),
        "",
    ]
    lines += _section(
        "Motivation",
        [
            (
                "To teach and to test models that describe facial micro-movement. Texts about such clips are usually"
                " written from a class label or an annotation alone; here every statement must also be borne out by the"
                " measured motion (two constraints, action units and flow)."
            ),
            "It must not be used to infer what people feel, think or hide. It is not a lie detector.",
        ],
    )
    lines += _section(
        "Composition",
        [
            f"{len(records)} question-answer records about {len(clips)} clips of"
            f" {len({(r['dataset'], r['subject']) for r in records})} subjects in"
            f" {len({r['dataset'] for r in records})} datasets, constraint"
            f" {', '.join(sorted({r['constraint'] for r in records}))}."
        ],
    )
    lines += _table("kind", Counter(r["kind"] for r in records), "records") + _table(
        "emotion", Counter(r["facts"]["emotion"] or "none" for r in clips.values()), "clips"
    )
    units = Counter(f"{code} {NAMES[code]}" for r in clips.values() for code, _ in r["facts"]["units"])
    lines += _table("action unit", units, "clips that state it") + _table(
        "verdict (per unit and side)", Counter(v["verdict"] for r in clips.values() for v in r["verdicts"]), "sides"
    )
    silent = sum(not r["facts"]["units"] for r in clips.values())
    words = Counter(word for r in records for word in tokens(r["answer"]))
    lines += _list(
        [
            f"{silent} clips state no unit at all. Missing information is left out, never filled in.",
            (
                f"Answers use {len(words)} different tokens, {sum(words.values()) / len(records):.1f} per answer on"
                " average."
            ),
            (
                "Each record carries the measurements behind its statements: region, direction, pixels, multiples of"
                " the noise floor, frames."
            ),
        ]
    )
    lines += _section(
        "How it was made",
        [
            (
                "A unit is stated when a coder wrote it and flow and coder together make it at least as likely as a"
                " coder's word is right where the flow says nothing; a motion when it stands above the clip's noise"
                " floor, at the apex and still at the hold; a time when the region's course crosses half of its peak"
                " clear of the noise."
            ),
            (
                "Denied statements are near misses (right unit, wrong side; right region, wrong direction) that neither"
                " measurement nor annotation lets one think true."
            ),
            "Wording comes from a grammar with a closed vocabulary. " + _read_back(records),
            (
                f"Rephrasing by a local language model: {dict(rephrased) if rephrased else 'none'}. A proposal counts"
                " only if the checker reads the same facts."
            ),
        ],
    )
    lines += _section(
        "Splits",
        [
            "No subject is in two splits. Yes-no answers that are yes: "
            + ", ".join(f"{name} {share:.2f}" for name, share in balance.yes_shares(records, assignment).items())
            + ".",
            "What subjects did not permit to balance:",
        ],
    )
    lines += [_markdown(balance.report(records, assignment).query("subjects >= 3").head(WORST).reset_index()), ""]
    lines += _section(
        "Limits",
        [
            _held(truth),
            "Units without a clear visible motion are under-represented: what flow cannot confirm is not said.",
            "The grammar is small; a model trained on it learns facts, not English.",
            "Emotion labels are the datasets' own; no pixel bears out an emotion.",
        ],
    )
    lines += _section(
        "Uses, distribution, maintenance",
        [
            "Uses: training and checking of text about motion. Not for decisions about people.",
            "Distribution: texts and numbers only, no image. A licence is set by whoever made the clips.",
            "Maintenance: rebuilt by notebook 05 from the same inputs to the same bytes.",
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def _read_back(records: Sequence[Mapping]) -> str:
    wrong = sum(parse(r["answer"]) != Facts.from_json(r["stated"]) for r in records)
    return f"Of {len(records)} answers, {len(records) - wrong} read back to exactly the facts they were made from."


def _held(truth: Mapping | None) -> str:
    if truth is None:
        return "The truth of these statements is not known; only their agreement with annotation and flow is."
    told = [f"{truth[name][0]} of {truth[name][1]} {name}" for name in ("units", "motions")]
    return (
        f"Against the truth of the simulator, {' and '.join(told)} that are stated are true. The rest is wrong, and"
        " nobody marked which."
    )


def _section(title: str, points: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *_list(points)]


def _list(points: Sequence[str]) -> list[str]:
    return [*(f"- {point}" for point in points), ""]


def _table(name: str, counted: Counter, what: str) -> list[str]:
    frame = pd.DataFrame(sorted(counted.items(), key=lambda row: (-row[1], row[0])), columns=[name, what])
    return [_markdown(frame), ""]


def _markdown(frame: pd.DataFrame) -> str:
    return frame.to_markdown(index=False)
