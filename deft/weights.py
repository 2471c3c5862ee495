"""Weights from elsewhere: where a model lies that a folder or a hub id names, what it is, and whether it is whole.

Language models (`deft.mllm.hub`) and encoders of pictures (`deft.experts.frozen`) come from there. They are never
copied: what is saved names them by `Reference`."""

from __future__ import annotations

import functools
import json
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download

from deft import cache, runtime

PLACES = "DEFT_BASES"  # folder in which models lie by the last part of their id
FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")  # of a model
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


class WeightsError(ValueError):
    """A model that cannot be used; the message names it, the reason and the remedy."""


def where() -> torch.device:
    """The device that computes: a visible GPU, else the CPU (the chain hides GPUs: numbers of the demo are a CPU's)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Reference:
    """A model from elsewhere: hub id or name of its folder, commit of the hub ("" for a folder), sha256 over its
    files.
    """

    id: str
    revision: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.id}{'@' + self.revision[:12] if self.revision else ''} (sha256 {self.sha256[:12]})"


# ---------------------------------------------------------------- where it lies, and what it is
def find(name: str | Path, revision: str = "", what: str = "model", remedy: str = "") -> tuple[Path, Reference]:
    """(folder, reference) of a local folder or a hub id, which is fetched where the hub can be reached.

    what: is looked for, and remedy: what else helps, in words of the errors. WeightsError says how to bring a folder
    where the hub cannot be reached.
    """
    given, folder, commit = str(name), Path(name).expanduser(), ""
    name = folder.resolve().name
    if not folder.is_dir():
        if not HUB_ID.fullmatch(given):
            raise WeightsError(f"no folder '{given}' with a {what}, and this is no hub id (owner/name) either")
        name, folder = given, (None if revision else laid(given)) or folder
    if not folder.is_dir():
        folder = fetch(given, revision, FILES)
        commit = folder.name
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"no {what} in '{folder}': {remedy}name a local folder that holds config.json, *.safetensors and, of a"
            " language model, tokenizer.json"
        )
    return folder, Reference(name, commit, content(folder))


def laid(name: str) -> Path | None:
    """The folder below $DEFT_BASES that has the last part of a hub id for its name, if there is one. Of which revision
    it is, it does not say: who wants one must compare its content.
    """
    folder = Path(os.environ.get(PLACES, "")) / name.rpartition("/")[2]
    return folder if os.environ.get(PLACES) and folder.is_dir() else None


def fetch(name: str, revision: str = "", files: Sequence[str] | None = None) -> Path:
    """Folder of a hub id's copy on this machine, fetched where the hub can be reached; WeightsError says how to bring
    it where it cannot. files: patterns of what is wanted; by default all.
    """
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=files))
    except Exception as error:  # of the hub, of its HTTP library, of the system: all mean that it is not to be had
        at = f" --revision {revision}" if revision else ""
        raise WeightsError(
            f"'{name}' is not on this machine and its hub cannot be reached ({type(error).__name__}). Where there is a"
            f" network, run `hf download {name}{at} --local-dir FOLDER`, bring FOLDER here and give its path instead"
            f" (or lay it under ${PLACES} by its name); or allow the network with HF_HUB_OFFLINE=0"
        ) from error


def content(folder: Path) -> str:
    """sha256 over the names and bytes of a model's files; each file is read once per process while it stands."""
    files = sorted(p for pattern in FILES for p in folder.glob(pattern) if p.is_file())
    return cache.hash_of({p.name: _digest(p, *runtime.stamp(p)) for p in files})


@functools.cache
def _digest(path: Path, *_changed: int) -> str:
    return runtime.sha256(path)


def tensors(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """{name: (number format, shape)} from the heads of all *.safetensors; WeightsError names a shard that is missing or
    cut short.
    """
    files, found = sorted(folder.glob("*.safetensors")), {}
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in sorted(set(runtime.read_json(index)["weight_map"].values()))]
    if not files:
        raise WeightsError(f"{folder} holds no *.safetensors; weights in other formats are not read")
    for path in files:
        if not path.is_file():
            raise WeightsError(f"{path} is missing: it is named in {index.name}; fetch the model again")
        with open(path, "rb") as file:
            start = file.read(8)
            (length,) = struct.unpack("<Q", start) if len(start) == 8 else (path.stat().st_size,)
            try:
                head = json.loads(file.read(length)) if 8 + length <= path.stat().st_size else None
            except ValueError:
                head = None
        rows = {name: row for name, row in (head or {}).items() if name != "__metadata__"}
        if not rows or 8 + length + max(row["data_offsets"][1] for row in rows.values()) != path.stat().st_size:
            raise WeightsError(f"{path} is damaged or cut short; fetch the model again")
        found |= {name: (row["dtype"], row["shape"]) for name, row in rows.items()}
    return found
