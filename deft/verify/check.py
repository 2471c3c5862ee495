"""`make check`: the reference's tables and verdicts again, from its committed answers. Nothing is trained, no run is needed."""

from __future__ import annotations

import json

from deft import paths, runtime
from deft.run import RunError
from deft.verify import cells, integrity, reference
from deft.verify.judge import DIFFERS, UNCHECKED, VERIFIED, known_profile

ANSWERS = "predictions.jsonl.gz"


def found(profile: str) -> dict:
    """{tables: {id: {numbers, differs}}, verdicts, integrity, summary, exit} of the committed reference."""
    from deft.verify import recompute

    known_profile(profile)
    where = reference.folder(profile)
    result: dict = {"profile": profile, "verdicts": [], "tables": {}, "integrity": []}
    try:
        if not (where / ANSWERS).is_file():
            raise RunError(f"{where / ANSWERS} does not exist: this reference holds no answers to compute from; `python -m deft reference` makes one that does")
        for id, again in recompute.of_source(where).items():
            number, words = recompute.differences(again, cells.rows(where / f"{id}.csv"))
            result["tables"][id] = {"numbers": number, "differs": words}
        problems = [*integrity.reference_whole(where), *integrity.claims_again(where, where, profile)]
        result["verdicts"] = [{"claim": claim, "verdict": verdict} for claim, verdict in reference.verdicts_of(reference.claims_of(where)).items()]
    except (RunError, ValueError, OSError) as error:
        problems = [integrity.Problem(integrity.UNCHECKED, "reference", str(error))]
    result["integrity"] = [{"state": p.state, "what": p.what, "words": p.words} for p in problems]
    differs = any(entry["differs"] for entry in result["tables"].values()) or any(p.state == integrity.ALTERED for p in problems)
    result["exit"] = DIFFERS if differs else UNCHECKED if problems else VERIFIED
    numbers, wrong = (sum(f(entry) for entry in result["tables"].values()) for f in (lambda e: e["numbers"], lambda e: len(e["differs"])))
    again = len(result["verdicts"]) - len({p.words.split(":")[0] for p in problems if p.what == "claims.json"})
    result["summary"] = f"{again} of {len(result['verdicts'])} verdicts and {numbers - wrong} of {numbers} numbers follow from the committed answers"
    return result


def check(profile: str, as_json: bool = False) -> int:
    """Print what `found` finds; returns the exit code."""
    result = found(profile)
    if as_json:
        print(json.dumps(runtime._plain(result), indent=1, ensure_ascii=False))
        return result["exit"]
    print(result["summary"] + "\n")
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
