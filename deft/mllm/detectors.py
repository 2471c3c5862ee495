"""What the experts would have said of a clip that never existed: their errors, learned from real ones.

Text pretraining and rehearsal show the language model units as soft words without a clip. What it learns there is how
much each expert can be trusted, so the probabilities must err as the experts do: one linear model gives the log odds of
all experts from the units that truly moved (which side, how strongly, and what they make other units look like), and
the residuals of measured clips are added, those of all experts and both sides together. Detectors that err
independently taught the model to count the same evidence twice.

Fitted on clips of the corpus' validation people, whom no expert was trained on, by ridge regression; residuals are
those of people left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from deft import cache, paths, runtime
from deft.clips.facs import UNITS
from deft.clips.store import ClipStore
from deft.experts import draws
from deft.mllm import prompt

SIDES = 2
PENALTY = 3.0  # of the ridge, in units of one clip: a unit seen in a dozen clips keeps four fifths of its effect
CLIPPED = 1e-4  # probabilities closer than this to 0 or 1 say no more than that


@dataclass(frozen=True)
class Detectors:
    """names: E experts. weight (E, 68, 34) and offset (E, 34): log odds from [active, intensity] of 34 unit sides.

    residual (M, E, 34) of the M clips that they were measured on; strength (M, 34): intensity of each unit side there,
    0 (still) .. 1."""

    names: tuple[str, ...]
    weight: np.ndarray
    offset: np.ndarray
    residual: np.ndarray
    strength: np.ndarray

    @classmethod
    def fit(
        cls, probability: dict[str, np.ndarray], intensity: np.ndarray, subject: np.ndarray, folds: int = 5
    ) -> Detectors:
        """probability: {expert: (M, 17, 2) calibrated}; intensity: (M, 17, 2) true, 0 where still; subject: (M,), whose
        clips are left out together.

        ValueError with fewer than two people, other shapes or numbers that are no probabilities.
        """
        people = np.unique(subject)
        if len(people) < 2:
            raise ValueError(f"{len(people)} person(s): residuals of people left out need at least two")
        strength = np.asarray(intensity, np.float32).reshape(len(intensity), -1)
        for name, p in probability.items():
            if p.shape != (len(strength), len(UNITS), SIDES) or not ((p >= 0) & (p <= 1)).all():
                raise ValueError(
                    f"{name}: {p.shape} for {len(strength)} clips, or not between 0 and 1; rerun 06_experts"
                )
        logits = np.stack([logit(p).reshape(len(p), -1) for p in probability.values()], axis=1)
        flat, seen = logits.reshape(len(logits), -1), np.hstack([strength > 0, strength])
        told = np.zeros_like(flat)
        for train, test in GroupKFold(min(folds, len(people))).split(seen, groups=subject):
            told[test] = Ridge(PENALTY).fit(seen[train], flat[train]).predict(seen[test])
        model, experts = Ridge(PENALTY).fit(seen, flat), len(probability)
        weight = model.coef_.reshape(experts, strength.shape[1], -1).transpose(0, 2, 1)
        return cls(
            tuple(probability),
            weight.astype(np.float32),
            model.intercept_.reshape(experts, -1).astype(np.float32),
            (flat - told).reshape(logits.shape).astype(np.float32),
            strength,
        )

    def simulate(self, active: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Probabilities {expert: (17, 2) float32} of a clip in which `active` (17, 2) bool moved.

        A measured clip lends its residuals; a unit side that moved takes its intensity and its residuals from a clip in
        which it moved."""
        moved = np.asarray(active, bool).ravel()
        residual = self.residual[rng.integers(len(self.residual))].copy()
        strength = np.zeros(len(moved), np.float32)
        for unit in np.flatnonzero(moved.reshape(-1, SIDES).any(axis=1)):
            pair = slice(SIDES * unit, SIDES * unit + SIDES)
            like = np.flatnonzero(((self.strength[:, pair] > 0) == moved[pair]).all(axis=1))
            if not len(like):  # never seen on these sides: the other unit sides' strength, the lender's residuals
                strength[pair] = moved[pair] * rng.choice(self.strength[self.strength > 0])
                continue
            lender = like[rng.integers(len(like))]
            strength[pair], residual[:, pair] = self.strength[lender, pair], self.residual[lender][:, pair]
        said = np.hstack([moved.astype(np.float32), strength]) @ self.weight + self.offset + residual
        return {name: expit(row).reshape(-1, SIDES) for name, row in zip(self.names, said)}

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        arrays = {
            name: np.ascontiguousarray(getattr(self, name)) for name in ("weight", "offset", "residual", "strength")
        }
        with runtime.atomic(path) as fresh:
            save_file(arrays, fresh, metadata={"experts": ",".join(self.names)})

    @classmethod
    def load(cls, path: Path) -> Detectors:
        """What `save` wrote. FileNotFoundError, ValueError: no such file, a damaged one."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is missing: run 07_joint_tuning")
        try:
            with safe_open(path, "np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}
                return cls(tuple(file.metadata()["experts"].split(",")), **arrays)
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): delete it and run 07_joint_tuning again") from error


def path_of(work: Path, draw: int = 0) -> Path:
    """Where the detectors lie that draw `draw` of the language model learns from: one file per draw of the experts."""
    return paths.of_draw(Path(work) / "mllm", draws.read_by(work, draw)) / "detectors.safetensors"


def prepare(work: Path, draw: int = 0) -> Path:
    """Fit the detectors of a draw on the corpus' validation people under work/<profile> and write them, unless they
    are there; -> the file.
    """
    path, corpus = path_of(work, draw), Path(work) / "clips" / "corpus"
    features = draws.features(work, "corpus", draw)
    inputs = [features / f"{name}_units.npy" for name in prompt.UNIT_STREAMS] + [corpus]
    state = cache.fresh_file(path, inputs, {}, "deft.mllm.detectors")
    if not state:
        Detectors.fit(*_measured(work, draw)).save(path)
        state.seal()
    return path


def logit(p: np.ndarray) -> np.ndarray:
    """Probabilities -> log odds, limited to about +-9."""
    p = np.clip(np.asarray(p, np.float64), CLIPPED, 1 - CLIPPED)
    return np.log(p / (1 - p))


def expit(x: np.ndarray) -> np.ndarray:
    """Log odds -> probabilities, float32."""
    return (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)


def _measured(work: Path, draw: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Of the corpus' validation clips: each expert's probabilities (M, 17, 2), true intensities (M, 17, 2), subjects
    (M,).
    """
    store = ClipStore(Path(work) / "clips" / "corpus")
    held = (store.index["split"] == "validation").to_numpy()
    said = {
        name: np.asarray(runtime.load_array(draws.features(work, "corpus", draw), f"{name}_units"))[held]
        for name in prompt.UNIT_STREAMS
    }
    return said, store.array("units_true")[held], store.index["subject"].to_numpy()[held]


def likeness(said: dict[str, dict[str, np.ndarray]], there: np.ndarray) -> pd.DataFrame:
    """How alike real and simulated experts are. said: {expert: {"real": (N, 17, 2), "simulated": ...}}; there: (N, 17,
    2) bool.

    -> one row per expert, its AUROC over all unit sides, and a last row: correlation of the first two experts' log odds
    where nothing moved."""
    rows = {
        f"{name}, AUROC": {kind: roc_auc_score(there.ravel(), p.ravel()) for kind, p in pair.items()}
        for name, pair in said.items()
    }
    first, second = list(said.values())[:2]
    return pd.DataFrame(
        rows
        | {
            "correlation of errors": {
                kind: np.corrcoef(logit(first[kind][~there]), logit(second[kind][~there]))[0, 1] for kind in first
            }
        }
    ).T


def beside(work: Path, rng: np.random.Generator, draw: int = 0) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Real and simulated probabilities of the corpus' validation clips, and what moved in them: what `likeness`
    compares.
    """
    model, (real, strength, _) = Detectors.load(prepare(work, draw)), _measured(work, draw)
    drawn = [model.simulate(clip, rng) for clip in strength > 0]
    return {
        name: {"real": real[name], "simulated": np.stack([clip[name] for clip in drawn])} for name in model.names
    }, strength > 0
