"""`make check`: the reference's tables and verdicts again, from its committed answers. Nothing is trained, no run is
needed.

T2, T3, T7 and the model columns of T4 follow from the answers. The other tables (T1 with C2, T4's statements with a
part of C3, T5 with most of C4, T8, T8b) need clips, flow and features: they are compared with the numbers that the kept
run recorded (`integrity.as_kept`), no more."""

from __future__ import annotations

import json
import zlib
from zipfile import BadZipFile

from deft import config, paths, runtime
from deft.run import RunError
from deft.verify import cells, integrity, reference
from deft.verify.again import again_from_answers
from deft.verify.judge import DIFFERS, UNCHECKED, VERIFIED

ANSWERS = "predictions.jsonl.gz"


def found(profile: str) -> dict:
    """{tables: {id: {numbers, differs}}, verdicts, integrity, summary, exit} of the committed reference."""
    from deft.evaluation.source import Answers
    from deft.verify import recompute

    config.check_profile(profile, paths.NOTEBOOKS)
    where = reference.folder(profile)
    result: dict = {"profile": profile, "verdicts": [], "tables": {}, "integrity": []}
    try:
        if not (where / ANSWERS).is_file():
            raise RunError(
                f"{where / ANSWERS} does not exist: this reference holds no answers to compute from; `python -m deft"
                " reference` makes one that does"
            )
        for id, again in recompute.of_source(where).items():
            if not (where / f"{id}.csv").is_file():
                continue
            number, words = recompute.differences(again, cells.rows(where / f"{id}.csv"))
            result["tables"][id] = {
                "numbers": number,
                "differs": words,
            }  # by a path that shares nothing with the one below
        for id, (number, words) in again_from_answers(
            Answers.of_reference(where), where, reference.claims_of(where).get("seed", 7)
        ).items():
            result["tables"].setdefault(id, {"numbers": 0, "differs": []})
            result["tables"][id]["numbers"] += number
            result["tables"][id]["differs"] += words
        problems = [*integrity.reference_whole(where), *integrity.claims_again(where, where, profile)]
        result["verdicts"] = [
            {"claim": claim, "verdict": verdict}
            for claim, verdict in reference.verdicts_of(reference.claims_of(where)).items()
        ]
    except (RunError, ValueError, OSError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        problems = [integrity.Problem(integrity.UNCHECKED, "reference", str(error))]
    result["integrity"] = [{"state": p.state, "what": p.what, "words": p.words} for p in problems]
    differs = any(entry["differs"] for entry in result["tables"].values()) or any(
        p.state == integrity.ALTERED for p in problems
    )
    result["exit"] = DIFFERS if differs else UNCHECKED if problems else VERIFIED
    numbers, wrong = (
        sum(f(entry) for entry in result["tables"].values())
        for f in (lambda e: e["numbers"], lambda e: len(e["differs"]))
    )
    again = len(result["verdicts"]) - len({p.words.split(":")[0] for p in problems if p.what == "claims.json"})
    result["summary"] = (
        f"{numbers - wrong} of {numbers} numbers of {', '.join(result['tables']) or 'no table'} follow from the"
        f" committed answers, {again} of {len(result['verdicts'])} verdicts from the committed tables"
    )
    return result


def check(profile: str, as_json: bool = False) -> int:
    """Print what `found` finds; returns the exit code."""
    result = found(profile)
    if as_json:
        print(json.dumps(runtime._plain(result), indent=1, ensure_ascii=False))
        return result["exit"]
    print(
        result["summary"]
        + "\nT1, the statements of T4, T5, T8 and T8b do not follow from answers: they are held against the kept run's"
        " recorded numbers\n"
    )
    for entry in result["verdicts"]:
        print(f"{entry['claim']}  {entry['verdict']}")
    for id, entry in result["tables"].items():
        print(f"{id}   {'differs' if entry['differs'] else 'agrees'}  {entry['numbers']} numbers computed again")
        for words in entry["differs"][:8]:
            print(f"       {words}")
    for p in result["integrity"]:
        print(f"{p['state']:<10} {p['what']}: {p['words']}")
    print({VERIFIED: "checked", DIFFERS: "NOT as committed", UNCHECKED: "could not be checked"}[result["exit"]])
    return result["exit"]
