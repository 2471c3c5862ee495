"""T9: minutes and memory of every stage, parameters of every saved model."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd

from deft import cache, paths, runtime
from deft.evaluation.tables.present import Column, Page, Part, highest, quote, said
from deft.systems import spoken

WHOLE = "all stages above"


def t9(profile: str) -> pd.DataFrame:
    """Cost: minutes and memory of every stage as the driver recorded them, parameters of every saved model, trained
    numbers and seconds of a fold of every system of another paper.

    The stage that writes this table, and those after it, appear with the numbers of their last complete run, if any.
    """
    work, rows = paths.work(profile), []
    for path in sorted((work / "status").glob("[0-9]*.json")):
        record = runtime.read_json(path)
        if record.get("state") == "done":
            rows.append(
                {
                    "kind": "simulated",
                    "what": "stage",
                    "name": path.stem,
                    "seconds": record.get("seconds"),
                    "peak_memory_gib": record.get("peak_memory_gib"),
                }
            )
    if rows:
        rows.append(
            {
                "kind": "simulated",
                "what": "stage",
                "name": WHOLE,
                "seconds": sum(r["seconds"] or 0 for r in rows),
                "peak_memory_gib": max(r["peak_memory_gib"] or 0 for r in rows),
            }
        )
    for path in sorted(
        (
            *work.glob("experts/*/*.safetensors"),
            *work.glob("mllm/base*/*.safetensors"),
            *_first_runs(work / "mllm" / "runs"),
        )
    ):
        rows.append(
            {
                "kind": "simulated",
                "what": "model",
                "name": str(path.parent.relative_to(work)) + "/" + path.name,
                "parameters": parameters(path),
                "mib": path.stat().st_size / 2**20,
            }
        )
    for folder in sorted(path for path in (work / "peers" / "runs").glob("*") if path.is_dir()):
        told = [(runtime.read_json(path), cache.about(path.parent)) for path in sorted(folder.glob("*/history.json"))]
        if told:
            rows.append(
                {
                    "kind": "simulated",
                    "what": "peer",
                    "name": folder.name,
                    "seconds": float(np.mean([about.get("seconds", np.nan) for _, about in told])),
                    "parameters": max(history["parameters"] for history, _ in told),
                }
            )
    if not rows:
        raise ValueError(f"nothing to cost under {work}: neither stage records nor models; run the stages first")
    columns = ["kind", "what", "name", "seconds", "peak_memory_gib", "parameters", "mib"]
    table = pd.DataFrame(rows).reindex(columns=columns).round(3)
    table["parameters"] = table["parameters"].astype("Int64")
    return table


def parameters(path: Path) -> int:
    """Numbers stored in a safetensors file, from its header alone: 8 bytes little-endian length, then JSON."""
    with open(path, "rb") as file:
        head = file.read(8)
        if len(head) < 8:
            raise ValueError(f"{path} is too short for a safetensors file; remove it and run its stage again")
        size = struct.unpack("<Q", head)[0]
        if size > path.stat().st_size:
            raise ValueError(f"{path}: header of {size} bytes in a smaller file; remove it and run its stage again")
        header = json.loads(file.read(size))
    return sum(int(np.prod(entry["shape"], dtype=np.int64)) for name, entry in header.items() if name != "__metadata__")


def _first_runs(runs: Path) -> list[Path]:
    """Weights of one seed and fold per system: the others have the same shapes."""
    if not runs.is_dir():
        return []
    found = []
    for system in sorted(p for p in runs.iterdir() if p.is_dir()):
        weights = sorted(system.rglob("*.safetensors"))
        found += [w for w in weights if w.parent == weights[0].parent]
    return found


def _minutes(part: pd.DataFrame) -> list[str]:
    each = part[part.name != WHOLE]
    return [
        said("The longest stage is {}, in seconds.", highest(each, "seconds", "name", _named, digits=1)),
        said("The most memory is taken by {}, in GiB.", highest(each, "peak_memory_gib", "name", _named, digits=2)),
    ]


def _size(part: pd.DataFrame) -> list[str]:
    return [
        said("The largest model has {} parameters.", quote(part.loc[part.parameters.idxmax()], "parameters", digits=0)),
        said("The smallest: {}.", highest(part, "parameters", "name", _named, least=True, digits=0)),
    ]


def _longest(part: pd.DataFrame) -> list[str]:
    return [said("The longest takes {} seconds to fit.", highest(part, "seconds", "name", spoken, digits=1))]


def _named(name: str) -> str:
    """`07_joint_tuning` -> 07 joint tuning; the folder of a model -> the model."""
    folder = name.split("/")
    if folder[0] == "experts":
        return f"expert: {folder[1].replace('rgb', 'RGB')}"
    if folder[0] == "mllm":
        return {"base": "language model, before tuning", "base-flat": "language model of flat text, before tuning"}.get(
            folder[1]
        ) or f"tuned: {spoken(folder[2])}"
    return name.replace("_", " ")


PAGE = Page(
    (
        Part(
            "stages, as this machine ran them",
            (Column("Stage", "name", spoken=_named),),
            (Column("Seconds", "seconds", digits=1), Column("Peak memory, GiB", "peak_memory_gib", digits=2)),
            _minutes,
            {"what": "stage"},
        ),
        Part(
            "models",
            (Column("Model", "name", spoken=_named),),
            (Column("Parameters", "parameters", digits=0), Column("MiB", "mib", digits=2)),
            _size,
            {"what": "model"},
        ),
        Part(
            "systems of other papers",
            (Column("System", "name", spoken=spoken),),
            (Column("Trained numbers", "parameters", digits=0), Column("Seconds of one fold", "seconds", digits=1)),
            _longest,
            {"what": "peer"},
        ),
    ),
    "Stages after the one that writes this table: their last complete run. Of tuned systems, the first draw and fold.",
)
