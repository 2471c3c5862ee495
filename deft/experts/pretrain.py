"""Pretraining the experts on the corpus, whose subjects are in no benchmark; then their tokens and probabilities for every set.

One loop for all: `pretrain(name, data, settings, folder)`. The best epoch on the corpus' validation subjects is kept. An epoch
ends in a checkpoint (safetensors, no pickle), so a killed run goes on where it was and ends in the same bytes; a finished expert
is left alone while its data, settings and code stay what they were (`deft.cache`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from deft import cache, paths, runtime
from deft.checkpoint import Checkpoint
from deft.clips.facs import UNITS
from deft.experts import data as pairs
from deft.experts.calibrate import Calibration
from deft.experts.data import INPUTS, Jitter, Pairs
from deft.experts.encoder import Expert
from deft.experts.motion import Motion
from deft.experts.rgb import Rgb
from deft.experts.structure import Structure
from deft.experts.texture import Texture

CLASSES: dict[str, type[Expert]] = {"structure": Structure, "texture": Texture, "motion": Motion, "rgb": Rgb}
SPEAKING = ("texture", "motion", "rgb")  # experts that have a unit head
JITTER = {"structure": Jitter(), "texture": Jitter(noise=0.2), "motion": Jitter(noise=0.2, drop=0.1), "rgb": Jitter(noise=0.02, shift=2)}


@dataclass(frozen=True)
class Settings:
    """How one expert is trained. The paper does not say; sizes and rate follow what learned within minutes on two cores."""

    epochs: int = 16
    rate: float = 2e-3
    batch: int = 64
    decay: float = 0.05
    seed: int = 7
    strength: float | None = None  # of the adversaries; None: the expert's own default

    def __post_init__(self):
        if self.epochs < 1 or self.batch < 2 or self.rate <= 0:
            raise ValueError(f"epochs {self.epochs}, batch {self.batch}, rate {self.rate}: expected >= 1, >= 2, > 0")


# ---------------------------------------------------------------- targets that need a look at the training clips

def phrase_words(units: np.ndarray, seed: int) -> list[list[str]]:
    """units (N, 17, 2) true intensity -> the words of one motion phrase per clip, as the Uni-MER grammar writes it."""
    from deft.unimer import facts, grammar

    said = (facts.facts_from_units(facts.merge_sides(row > 0), runtime.rng(seed, "phrase", i)) for i, row in enumerate(units))
    return [grammar.answer("motion", fact).split() for fact in said]  # the plain wording: same motion, same words, a positive pair


def phrase_ids(phrases: list[list[str]], words: list[str]) -> np.ndarray:
    """(N, L) int64, 0 = padding, i + 1 = words[i]; sorted within a row, since the text side is a bag of words."""
    place = {word: i + 1 for i, word in enumerate(words)}
    unknown = {word for phrase in phrases for word in phrase} - set(place)
    if unknown:
        raise ValueError(f"the phrases use words the grammar's vocabulary() lacks: {sorted(unknown)[:5]}")
    ids = np.zeros((len(phrases), max(map(len, phrases), default=1)), np.int64)
    for row, phrase in zip(ids, phrases):
        row[:len(phrase)] = sorted(place[word] for word in phrase)
    return ids


def unexplained_direction(region_true: np.ndarray, furrows: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What of the regions' motion a linear map of the furrows does not explain, (N, 72) in units of its spread over `rows`.

    Fitted on `rows` and their mirror images, so that the target mirrors like the motion itself.
    """
    y, x = torch.from_numpy(np.array(region_true)), torch.from_numpy(np.array(furrows))
    both_y = torch.cat([y[rows], pairs.mirror("region_true", y[rows])]).flatten(1).numpy()
    both_x = torch.cat([x[rows], pairs.mirror("furrows", x[rows])]).numpy()
    weight = np.linalg.solve(both_x.T @ both_x + 1e-2 * np.eye(both_x.shape[1]), both_x.T @ both_y)
    left = region_true.reshape(len(region_true), -1) - furrows @ weight
    return (left / ((both_y - both_x @ weight).std(0) + 1e-3)).astype(np.float32)


def _targets(name: str, data: Pairs, rows: np.ndarray, settings: Settings, words: list[str] | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(per-clip targets, constants of the loss)."""
    arrays = {key: torch.from_numpy(np.array(data.arrays[key])) for key in pairs.TARGETS[name]}
    constants: dict[str, Tensor] = {}
    if "look" in arrays:
        arrays["look"] = arrays["look"].long()
        names = {subject: i for i, subject in enumerate(sorted(set(data.index["subject"].iloc[rows])))}
        arrays["subject"] = torch.tensor([names.get(subject, 0) for subject in data.index["subject"]])  # validation rows never ask
    if name == "texture":
        arrays["direction"] = torch.from_numpy(unexplained_direction(data.arrays["region_true"], data.arrays["furrows"], rows))
        constants["furrow_scale"] = arrays["furrows"][rows].std() + 1e-4  # one for all ten: mirroring mixes sides
    if name == "motion":
        phrases = phrase_words(data.arrays["units"], settings.seed)
        arrays["phrase"] = torch.from_numpy(phrase_ids(phrases, words))
    return arrays, constants


def _mirror_words(ids: Tensor, words: list[str]) -> Tensor:
    """Word ids of the mirrored phrase: 'left' and 'right' change places."""
    place = {word: i + 1 for i, word in enumerate(words)}
    left, right = place.get("left", -1), place.get("right", -1)
    return torch.where(ids == left, right, torch.where(ids == right, left, ids)).sort(dim=1, stable=True).values


# ---------------------------------------------------------------- building, saving, loading

def build(name: str, sizes: dict, seed: int) -> Expert:
    """A fresh expert; sizes: keyword arguments of its class. First weights come from (seed, name) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed_of(seed, f"weights/{name}"))
        return CLASSES[name](**sizes)


def load(folder: Path) -> Expert:
    """A finished expert (config.json + model.safetensors), ready to predict. Errors name the folder that lacks one or is damaged."""
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no finished expert ({name} is missing); run 06_experts")
    if words := cache.damage(folder):
        raise ValueError(f"{words}; run 06_experts again")
    config = runtime.read_json(folder / "config.json")
    model = CLASSES[config["name"]](**config["sizes"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


# ---------------------------------------------------------------- looking

@torch.no_grad()
def look(model: Expert, data: Pairs, rows: np.ndarray | None = None, batch: int = 256) -> tuple[np.ndarray, np.ndarray | None]:
    """Predict: (tokens (M, 4, 64), unit logits (M, 17, 2) or None) of clips `rows`; logits are the mean over a face and its mirror image."""
    model.eval()
    rows = np.arange(len(data)) if rows is None else rows
    tokens, logits = [], []
    for start in range(0, len(rows), batch):
        block = rows[start:start + batch]
        inputs = {key: pairs.tensor(key, data.arrays[key][block]) for key in model.keys}
        seen = model(inputs)
        tokens.append(seen)
        if model.name in SPEAKING:
            other = model.units(model({key: pairs.mirror(key, x) for key, x in inputs.items()}))
            logits.append((model.units(seen) + other.flip(-1)) / 2)
    return torch.cat(tokens).numpy(), torch.cat(logits).numpy() if logits else None


def unit_auroc(scores: np.ndarray, active: np.ndarray) -> np.ndarray:
    """(17,) area under the ROC curve per unit, sides pooled; NaN where a unit never or always moves."""
    from sklearn.metrics import roc_auc_score

    out = np.full(len(UNITS), np.nan)
    for unit in range(len(UNITS)):
        truth = active[:, unit].ravel()
        if 0 < truth.sum() < len(truth):
            out[unit] = roc_auc_score(truth, scores[:, unit].ravel())
    return out


@torch.no_grad()
def landmark_error(model: Expert, data: Pairs, rows: np.ndarray) -> tuple[float, float]:
    """Mean distance in px (of 128) between predicted and true landmarks, and that of the mean shape."""
    model.eval()
    truth = data.arrays["landmarks"][rows]
    found = np.concatenate([model.landmarks({key: pairs.tensor(key, data.arrays[key][block]) for key in model.keys}).numpy()
                            for block in np.array_split(rows, math.ceil(len(rows) / 256))])
    distance = lambda shape: float(np.linalg.norm(shape - truth, axis=-1).mean())  # noqa: E731
    return distance(found), distance(model.mean_shape.numpy()[None])


@torch.no_grad()
def large_motion(model: Rgb, data: Pairs, rows: np.ndarray) -> float:
    """Share of the regions' motion (R2) that the RGB encoder reports when the second moment is pushed by some px."""
    model.eval()
    pair = pairs.tensor("pair", data.arrays["pair"][rows])
    moved, added = model.pushed(pair, torch.Generator().manual_seed(runtime.seed_of(0, "large motion")))
    truth = added + torch.from_numpy(np.array(data.arrays["region_true"][rows]))
    seen = torch.cat([model.regions(model({"pair": block})) for block in moved.split(256)])
    return float(1 - (seen - truth).square().sum() / (truth - truth.mean(0)).square().sum())


def validate(model: Expert, data: Pairs, rows: np.ndarray) -> dict[str, float]:
    """What is measured after every epoch; 'score' (higher is better) decides which epoch is kept."""
    report: dict[str, float] = {}
    if model.name in SPEAKING:
        _, logits = look(model, data, rows)
        found = unit_auroc(logits, data.arrays["units"][rows] > 0)
        report["auroc"] = report["score"] = float(np.nanmean(found)) if np.isfinite(found).any() else 0.5
    if model.name in ("structure", "rgb"):
        report["landmark_px"], report["mean_shape_px"] = landmark_error(model, data, rows)
        report.setdefault("score", -report["landmark_px"])
    if model.name == "rgb":
        report["large_motion_r2"] = large_motion(model, data, rows)
    return report


# ---------------------------------------------------------------- the loop

def _rate(step: int, steps: int, top: float) -> float:
    """Linear warm-up over a tenth of the run, then half a cosine down to 2 % of the top."""
    warm = max(1, steps // 10)
    if step < warm:
        return top * (step + 1) / warm
    return top * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def pretrain(
    name: str, data: Pairs, settings: Settings, folder: Path, progress: Callable[[dict], None] | None = None
) -> list[dict]:
    """Train expert `name` on the training subjects of `data`; returns its history, one dict per epoch.

    Writes folder/{config.json, model.safetensors, history.json} and, for experts with a unit head, calibration.json.
    progress: called with one dict per finished epoch.
    """
    folder = Path(folder)
    rows, held = data.rows("train"), data.rows("validation")
    words = None
    sizes: dict = {}
    if name == "motion":
        from deft.unimer import grammar
        words = list(grammar.vocabulary())
        sizes["words"] = len(words)
    if name in ("texture", "motion"):
        sizes |= {"subjects": data.index["subject"].iloc[rows].nunique(), "looks": int(data.arrays["look"].max()) + 1}
        if settings.strength is not None:
            sizes["strength"] = settings.strength
    state = cache.fresh(folder, settings={"expert": name, "data": data.fingerprint(), **asdict(settings), "torch": torch.__version__}, code="deft.experts.pretrain")
    if state:
        return runtime.read_json(folder / "history.json")

    began = time.perf_counter()
    model = build(name, sizes, settings.seed)
    targets, constants = _targets(name, data, rows, settings, words)
    sample = rows[np.sort(runtime.rng(settings.seed, "statistics").permutation(len(rows))[:1000])]
    statistics = {k: pairs.tensor(k, data.arrays[k][sample]) for k in INPUTS[name]}
    if "landmarks" in targets:
        both = targets["landmarks"][rows]
        model.mean_shape.copy_((both.mean(0) + pairs.mirror("landmarks", both).mean(0)) / 2)
    model.prepare(statistics)
    spread = {k: x.std(dim=[0, *range(2, x.ndim)]) for k, x in statistics.items()}
    jitter = JITTER[name]

    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    checkpoint = Checkpoint(folder, state.key)
    history, best = checkpoint.load(model, optimiser)
    batches = max(1, len(rows) // settings.batch)  # the last short batch is left out: batch norm needs several clips
    steps = settings.epochs * batches
    for epoch in range(len(history), settings.epochs):
        model.train()
        order = runtime.rng(settings.seed, f"order/{name}", epoch).permutation(len(rows))
        drawn = pairs.draws(jitter, len(data), settings.seed, epoch)
        sums: dict[str, float] = {}
        for step in range(batches):
            chosen = rows[order[step * settings.batch:(step + 1) * settings.batch]]
            draw = {k: v[chosen] for k, v in drawn.items()}
            batch = {k: pairs.tensor(k, data.arrays[k][chosen]) for k in INPUTS[name]} | {k: v[chosen] for k, v in targets.items()}
            batch = pairs.augment(batch, draw, jitter, spread)
            if "phrase" in batch:
                batch["phrase"] = torch.where(torch.from_numpy(draw["mirror"])[:, None], _mirror_words(batch["phrase"], words), batch["phrase"])
            chance = runtime.seed_of(settings.seed, f"chance/{name}/{epoch}", step)
            with torch.random.fork_rng(devices=[]):  # dropout knows only the global generator: lend it a seeded one
                torch.manual_seed(chance)
                loss, parts = model.loss({k: batch[k] for k in model.keys}, {k: batch[k] for k in targets} | constants, torch.Generator().manual_seed(chance))
            if not torch.isfinite(loss):
                raise RuntimeError(f"{name}: the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1}; lower `rate` ({settings.rate})")
            for group in optimiser.param_groups:
                group["lr"] = _rate(epoch * batches + step, steps, settings.rate)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            for k, v in parts.items():
                sums[k] = sums.get(k, 0.0) + v / batches
        report = validate(model, data, held)
        if not history or report["score"] > max(row["score"] for row in history):
            best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        history.append({"epoch": epoch + 1, **sums, **report})
        checkpoint.save(model, optimiser, history, best)
        if progress:
            progress({"expert": name, **history[-1]})

    model.load_state_dict(best)
    with runtime.atomic(folder / "model.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in best.items()}, temporary)
    if name in SPEAKING:
        _, logits = look(model, data, held)
        Calibration.fit(logits, data.arrays["units"][held] > 0, data.index["subject"].to_numpy()[held]).save(folder / "calibration.json")
    runtime.write_json(folder / "history.json", history)
    runtime.write_json(folder / "config.json", {"name": name, "sizes": sizes, "settings": asdict(settings), "words": words or []})
    state.seal(seconds=round(time.perf_counter() - began, 1))
    checkpoint.path.unlink(missing_ok=True)
    return history


def folder_of(work: Path, name: str, draw: int = 0) -> Path:
    """Where expert `name` of a draw lies."""
    return paths.of_draw(Path(work) / "experts", draw) / name


def _one(name: str, work: Path, settings: Settings, threads: int, draw: int) -> tuple[str, float, list[dict]]:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    history = pretrain(name, pairs.read(work, "corpus", name), settings, folder_of(work, name, draw))
    return name, time.perf_counter() - began, history


def pretrain_all(
    work: Path, settings: dict[str, Settings], workers: int | None = None, report: Callable[[str], None] = print, draw: int = 0
) -> dict[str, list[dict]]:
    """Every expert of `settings`, one process with one thread each, as many at a time as there are cores.

    These networks are too small to split over threads: two processes side by side finish sooner than one with two threads.
    report: called with one line of text per finished expert. draw: which folder they go to; their seeds stand in `settings`.
    """
    from joblib import Parallel, delayed

    workers = min(workers or runtime.jobs(), len(settings))
    histories = {}
    for name, seconds, history in Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")(
            delayed(_one)(name, work, chosen, 1, draw) for name, chosen in settings.items()):
        best = max(history, key=lambda row: row["score"])
        report(f"{name}: best of {len(history)} epochs is {best['epoch']}, validation score {best['score']:.3f}, {seconds:.0f} s")
        histories[name] = history
    return {name: histories[name] for name in settings}


def extract(name: str, which: str, work: Path, draw: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Tokens (N, 4, 64) and calibrated unit probabilities (N, 17, 2) of set `which`, written where draw `draw` is read (`experts.draws`)."""
    work = Path(work)
    model = load(folder_of(work, name, draw))
    tokens, logits = look(model, pairs.read(work, which, name, targets=False))
    folder = paths.of_draw(work / "features", draw) / which
    runtime.save_array(folder, name, tokens.astype(np.float32))
    if logits is None:
        return tokens, None
    probability = Calibration.load(folder_of(work, name, draw) / "calibration.json").apply(logits)
    runtime.save_array(folder, f"{name}_units", probability)
    return tokens, probability
