"""What is run on a licensed data set, what it takes over from a simulated profile, and what of it is done already."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deft import cache, paths, runtime
from deft.clips import store
from deft.clips.readers.fixtures import MARK
from deft.evaluation import protocols
from deft.experts.data import NAMES as EXPERTS
from deft.faces import mesh
from deft.run import book
from deft.run.chain import Chain
from deft.systems import DEFT, RGB

BORROWED = (
    *(f"experts/{name}" for name in EXPERTS),
    "mllm/detectors.safetensors",
    "evidence/calibration.json",
    "faces/landmarks",
)
LOSO = "loso"


class LicensedError(ValueError):
    """The chain cannot run on this data set, or not yet; the message says what to do."""


@dataclass(frozen=True)
class Recipe:
    """What is run. dataset: one, or several joined by "+". root: the data set's folder (or its sheet); of several, the
    folder that holds theirs. folds: a number as text, or "loso" for one per subject. protocol: a name of
    `deft.evaluation.protocols`, then folds may be "" (its own); "": the five emotions that a simulated profile names.
    landmarks: folder of points that another detector found (`deft.licensed.points`), or `mesh.NAME`.
    errata: see `readers.errata`.
    seeds: draws of base and tuning (one draw of the experts serves all); epochs, batch: of joint tuning. instruct: > 0
    where it starts from the profile's bases as they were instructed on the corpus; school: > 0 where from adapters
    that were schooled on text; chat, unit_tokens: as the profile has them. subjects, clips_each: take only so many (0:
    all), those with the most classes first. name: of work/<name>. workers: processes that tune side by side (None: one
    a core). Raises LicensedError for folds that no data set can have."""

    dataset: str
    root: Path
    profile: str = "demo"
    folds: str = "3"
    systems: tuple[str, ...] = (DEFT, RGB)
    seeds: int = 1
    epochs: int = 10
    instruct: int = 0
    batch: int = 32
    seed: int = 7
    subjects: int = 0
    clips_each: int = 0
    name: str = ""
    workers: int | None = None
    protocol: str = ""
    landmarks: Path | None = None
    errata: bool = False
    school: int = 0
    chat: bool = False
    unit_tokens: bool = False

    def __post_init__(self):
        if self.folds not in (LOSO, *([""] if self.protocol else [])) and not re.fullmatch(
            "[2-9]|[1-9][0-9]{1,3}", self.folds
        ):
            raise LicensedError(f"FOLDS={self.folds}: give a number from 2, or {LOSO}")
        if len(self.datasets) > 1 and not self.protocol:
            raise LicensedError(
                f"{self.dataset}: several data sets are run under a protocol, for instance PROTOCOL=megc2019"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets, one by one."""
        return tuple(self.dataset.split("+"))

    def of(self, dataset: str) -> Recipe:
        """The recipe of one of several data sets by itself, under no protocol: what prepares its clips."""
        root = self.root if len(self.datasets) == 1 else Path(self.root) / dataset
        return replace(self, dataset=dataset, root=root, protocol="", folds=LOSO)

    @property
    def home(self) -> Path:
        """work/<data set>-<profile>: what is the same under any folds, the prepared clips, and the lock of all its
        runs.
        """
        return paths.work(self.name or f"{self.dataset}-{self.profile}")

    @property
    def locked(self) -> list[Path]:
        """The folders that nobody else may write meanwhile."""
        return list(dict.fromkeys([*(self.of(dataset).home for dataset in self.datasets), self.work]))

    @property
    def set(self) -> str:
        """The name under work/ and figures/. It says how many folds, so that one table never takes the place of
        another.
        """
        if self.name:
            return self.name
        how = {"": "", LOSO: LOSO}.get(self.folds, f"folds{self.folds}")
        return "-".join(filter(None, (*self._named, how, *self._changed)))

    @property
    def _named(self) -> tuple[str, ...]:
        plain = self.protocol.replace(":", "-").replace(">", "-to-")
        return (plain, self.dataset, self.profile) if self.protocol else (self.dataset, self.profile)

    @property
    def _changed(self) -> tuple[str, ...]:
        points = mesh.NAME if mesh.asked(self.landmarks) else "landmarks"
        return (*([points] if self.landmarks else []), *(["errata"] if self.errata else []))

    @property
    def work(self) -> Path:
        """Folder of intermediate data."""
        return paths.work(self.set)

    @property
    def prepared(self) -> Path:
        """Folder of prepared clips, shared by all folds of the data set; of several sets, the folder of all."""
        return paths.work("") if self.protocol else self.home / "prepared"

    @property
    def how(self) -> str:
        """Who is tested when, in words, as it stands in the table of the five emotions."""
        return "leave one subject out" if self.folds == LOSO else f"{self.folds} subject-disjoint folds"

    @property
    def simulated(self) -> bool:
        """Whether the data were made up by `deft.clips.readers.fixtures`: its mark lies in this folder or in one
        above it.
        """
        roots = [Path(self.of(dataset).root).absolute() for dataset in self.datasets]
        return any((folder / MARK).exists() for root in roots for folder in (root, *root.parents))

    @property
    def words(self) -> str:
        """Where the numbers come from: the stamp of every product."""
        part = ", a selection of its clips" if self.subjects or self.clips_each else ""
        kept = self.protocol or "reproduced"  # under a protocol, each row says whether it is a reproduction
        part += ", landmarks of another detector" if self.landmarks else ""
        part += ", with the field's errata" if self.errata else ""
        kind = (
            f"SIMULATED · made-up faces in the layout of {self.dataset}"
            if self.simulated
            else f"{kept} on {self.dataset}"
        )
        return (
            f"{kind}{part}, experts and language model from {self.profile}'s simulator · seed {self.seed} ·"
            f" {runtime.commit()}"
        )


def recipe_of(
    dataset: str,
    root: Path | None,
    profile: str,
    folds: str = "",
    protocol: str = "",
    landmarks: Path | None = None,
    errata: bool = False,
) -> Recipe:
    """The full recipe: all clips; draws, epochs and batch of `profile`'s joint tuning. dataset: "" takes all that the
    protocol is defined on. root: by default `$DEFT_DATA/<dataset>`, of several sets `$DEFT_DATA`. folds: "" is 3, or
    the protocol's own. ProtocolError for a protocol that nobody knows.
    """
    chain = Chain(profile)
    given = chain.parameters(book.find(chain.stages, "07"))
    if protocol:
        found = protocols.get(protocol)
        protocol, dataset = found.name, dataset or "+".join(getattr(found, "datasets", ()))
    if not dataset:
        raise LicensedError("say which data set: DATASET=casme2, or a protocol: PROTOCOL=megc2019")
    if "+" in dataset and not root and not os.environ.get("DEFT_DATA", ""):
        raise LicensedError(
            f"{dataset.replace('+', ', ')}: say which folder holds theirs: DATA=folder, or export DEFT_DATA=folder"
        )
    root, landmarks = root and Path(root).expanduser(), landmarks and Path(landmarks).expanduser()
    return Recipe(
        dataset,
        root or (paths.data(dataset) if "+" not in dataset else paths.data("")),
        profile,
        folds.strip().lower() or ("" if protocol else "3"),
        seeds=given["draws"],
        protocol=protocol,
        landmarks=landmarks,
        errata=errata,
        school=given["school_steps"] if given["base"] else 0,
        **{name: given[name] for name in ("epochs", "instruct", "batch", "seed", "chat", "unit_tokens")},
    )


# ---------------------------------------------------------------- what is done already
@dataclass(frozen=True)
class Step:
    """One step on a licensed set: whether it is done (`deft.cache`: what it reads, its code, and its files by hash),
    and what does it.
    """

    state: cache.State
    make: Callable[[], object]

    def do(self) -> str:
        """Do it unless it is done; -> the key of what is there now."""
        if not self.state:
            self.make()
            self.state.seal()
        return self.state.key


# ---------------------------------------------------------------- the profile's part
def borrowing(recipe: Recipe) -> Step:
    """Copy what `profile` learned on simulated people to work/<set>. LicensedError when the profile was not run.

    Of the corpus only its units come along: how often one shows is what `bayes-experts` divides out. How the training
    went (history.json, with its seconds) is copied and decides nothing."""
    source = paths.work(recipe.profile)
    languages = ["base"] + ["instructed"] * (recipe.instruct > 0) + ["schooled"] * (recipe.school > 0)
    borrowed = [
        *BORROWED,
        *(str(paths.of_draw(Path("mllm"), d) / name) for d in range(recipe.seeds) for name in languages),
    ]
    if absent := next((part for part in (*borrowed, "clips/corpus") if not (source / part).exists()), None):
        raise LicensedError(
            f"profile {recipe.profile} has no {absent}: `make reproduce PROFILE={recipe.profile}` makes experts and"
            " language model; then run this again (notebooks 01 to 07 are enough)"
        )
    corpus = store.ClipStore(source / "clips" / "corpus")
    units = corpus.array("units_true")
    files = [
        path
        for part in borrowed
        for path in (sorted((source / part).rglob("*")) if (source / part).is_dir() else [source / part])
        if path.is_file() and path.name != "history.json" and not path.name.startswith(".")
    ]
    state = cache.fresh(
        recipe.work,
        files,
        {"units": hashlib.sha256(units.tobytes()).hexdigest()},
        name="borrowed",
        files=(*borrowed, "clips/corpus/units.npz"),
    )

    def copy() -> None:
        for part in borrowed:
            with runtime.atomic(recipe.work / part) as fresh:
                (shutil.copytree if (source / part).is_dir() else shutil.copyfile)(source / part, fresh)
        store.write_shard(
            recipe.work / "clips" / "corpus" / "units.npz", corpus.index.to_dict("records"), state.key, units_true=units
        )

    return Step(state, copy)
