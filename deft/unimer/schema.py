"""The published form of a Uni-MER record (JSON Schema draft 7), checked on every write and every read.

One record is one question and its answer about one clip. `facts` is everything the texts of that clip rest on (the same
in all its records), `stated` what this answer says of it, `evidence` the measurements behind each statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from deft import runtime
from deft.clips.facs import COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, REGION_NAMES, UNITS
from deft.unimer.facts import DIRECTIONS, EVENTS, GROUPS
from deft.unimer.kinds import KINDS

CONSTRAINTS = ("none", "au", "flow", "both")
VERDICTS = ("confirmed", "unsupported", "contradicted", "unannotated")

_SIDE = {"enum": ["L", "R", "B"]}
_UNIT = {
    "type": "array",
    "items": [{"enum": list(UNITS)}, {"enum": ["L", "R", "B", "A"]}],
    "additionalItems": False,
    "minItems": 2,
}
_MOTION = {
    "type": "array",
    "items": [{"enum": list(GROUPS)}, _SIDE, {"enum": list(DIRECTIONS)}],
    "additionalItems": False,
    "minItems": 3,
}
_FRAME = {"type": "integer", "minimum": 0}
_TIME = {
    "type": "array",
    "items": [{"enum": list(EVENTS)}, {"enum": list(GROUPS)}, _SIDE, _FRAME, _FRAME],
    "additionalItems": False,
    "minItems": 5,
}


def _object(properties: dict, optional: tuple[str, ...] = ()) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": [key for key in properties if key not in optional],
    }


_FACTS = _object(
    {
        "emotion": {"enum": [*EMOTIONS, ""]},
        "coarse": {"enum": [*COARSE_CLASSES, ""]},
        "units": {"type": "array", "items": _UNIT},
        "motions": {"type": "array", "items": _MOTION},
        "denied": {"type": "array", "items": {"anyOf": [_UNIT, _MOTION, _TIME]}},
        "times": {"type": "array", "items": _TIME},
    },
    optional=("times",),
)  # absent in records of before times were told

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Uni-MER record",
    **_object(
        {
            "id": {"type": "string", "minLength": 1},
            "clip": {"type": "string", "minLength": 1},
            "dataset": {"type": "string"},
            "subject": {"type": "string"},
            "condition": {"type": "string"},
            "kind": {"enum": list(KINDS)},
            "question": {"type": "string", "minLength": 1},
            "answer": {"type": "string", "minLength": 1},
            "facts": _FACTS,
            "stated": _FACTS,
            "constraint": {"enum": list(CONSTRAINTS)},
            "evidence": {
                "type": "array",
                "items": _object(
                    {  # px: along `direction`; z: px over the noise floor of the clip
                        "unit": {"enum": [*UNITS, None]},
                        "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                        "region": {"enum": [*REGION_NAMES, *MIDLINE]},
                        "side": {"enum": ["L", "R", ""]},
                        "direction": {"enum": list(DIRECTIONS)},
                        "px": {"type": "number"},
                        "z": {"type": "number"},
                        "frames": {"type": "array", "items": _FRAME},
                    }
                ),
            },
            "verdicts": {
                "type": "array",
                "items": _object(
                    {
                        "unit": {"enum": list(NAMES)},
                        "side": {"enum": ["L", "R"]},
                        "verdict": {"enum": list(VERDICTS)},
                        "probability": {"type": "number", "minimum": 0, "maximum": 1},
                        "posterior": {"type": "number", "minimum": 0, "maximum": 1},
                    }
                ),
            },
        }
    ),
}


@lru_cache(maxsize=1)
def _validator():
    from jsonschema import Draft7Validator

    return Draft7Validator(SCHEMA)


@lru_cache(maxsize=1)
def _quick():
    import fastjsonschema  # comes with nbformat; 30 times faster than jsonschema, whose messages are better

    return fastjsonschema.compile(SCHEMA)


def refuse(record: object, where: str) -> None:
    """Raise ValueError naming `where`, the field and the fault if `record` does not follow the schema."""
    import fastjsonschema

    try:
        _quick()(record)
        return
    except fastjsonschema.JsonSchemaValueException as quick:
        fault = quick
    errors = sorted(_validator().iter_errors(record), key=lambda e: (len(e.path), str(e.path)))
    field = "/".join(str(part) for part in errors[0].absolute_path) if errors else fault.name
    message = errors[0].message if errors else fault.message
    raise ValueError(f"{where}: {field or 'record'}: {message[:200]} (schema: deft/unimer/schema.py)")


def write_records(path: Path, records: Iterable[dict]) -> int:
    """Validate and write one record per line, all or nothing; returns how many."""
    rows = [json.loads(json.dumps(record)) for record in records]  # tuples become lists, as the reader will see them
    ids: dict[str, int] = {}
    for line, row in enumerate(rows, 1):
        refuse(row, f"{path}:{line}")
        if ids.setdefault(row["id"], line) != line:
            raise ValueError(f"{path}:{line}: id '{row['id']}' was already used in line {ids[row['id']]}")
    runtime.write_jsonl(path, rows)
    return len(rows)


def read_records(path: Path) -> list[dict]:
    """Read and validate records; the error names file, line and field."""
    records = []
    with open(path, encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            try:
                record = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}:{line}: not JSON ({error.msg}, column {error.colno}); run 05_uni_mer again"
                ) from error
            refuse(record, f"{path}:{line}")
            records.append(record)
    return records
