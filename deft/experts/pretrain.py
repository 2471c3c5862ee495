"""Pretraining the experts on the corpus, whose subjects are in no benchmark; then their tokens and probabilities for
every set.

One loop for all: `pretrain(name, data, settings, folder)`. The best epoch on the corpus' validation subjects is kept.
An epoch ends in a checkpoint (safetensors, no pickle), so a killed run goes on where it was and ends in the same bytes;
a finished expert is left alone while its data, settings and code stay what they were (`deft.cache`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from deft import cache, paths, runtime
from deft.checkpoint import Checkpoint, warm_cosine
from deft.clips.facs import UNITS
from deft.experts import data as pairs
from deft.experts.calibrate import Calibration
from deft.experts.data import Pairs
from deft.experts.encoder import Expert
from deft.experts.frozen import RECORD, Frozen
from deft.experts.motion import Motion
from deft.experts.rgb import Rgb
from deft.experts.structure import Structure
from deft.experts.texture import Texture
from deft.weights import Reference

CLASSES: dict[str, type[Expert]] = {"structure": Structure, "texture": Texture, "motion": Motion, "rgb": Rgb}
SPEAKING = tuple(name for name, kind in CLASSES.items() if kind.has_units)


@dataclass(frozen=True)
class Settings:
    """How one expert is trained. The paper does not say; sizes and rate follow what learned within minutes on two
    cores.
    """

    epochs: int = 16
    rate: float = 2e-3
    batch: int = 64
    decay: float = 0.05
    seed: int = 7
    strength: float | None = None  # of the adversaries; None: the expert's own default

    def __post_init__(self):
        if self.epochs < 1 or self.batch < 2 or self.rate <= 0:
            raise ValueError(f"epochs {self.epochs}, batch {self.batch}, rate {self.rate}: expected >= 1, >= 2, > 0")


# ---------------------------------------------------------------- building, saving, loading


def build(name: str, sizes: dict, seed: int) -> Expert:
    """A fresh expert; sizes: keyword arguments of its class. First weights come from (seed, name) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed_of(seed, f"weights/{name}"))
        return CLASSES[name](**sizes)


def load(folder: Path) -> Expert:
    """A finished expert (config.json + model.safetensors), ready to predict; an encoder that it reads is named and not
    yet looked for. Errors name the folder that lacks one or is damaged.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no finished expert ({name} is missing); run 06_experts")
    if words := cache.damage(folder):
        raise ValueError(f"{words}; run 06_experts again")
    config = runtime.read_json(folder / "config.json")
    model = CLASSES[config["name"]](**config["sizes"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    if "encoder" in config:
        place = runtime.read_json(folder / RECORD)["folder"] if (folder / RECORD).is_file() else ""
        model.frozen = Frozen(Reference(**config["encoder"]), place)
    return model.eval()


# ---------------------------------------------------------------- looking


@torch.no_grad()
def predict(
    model: Expert, data: Pairs, rows: np.ndarray | None = None, batch: int = 256
) -> tuple[np.ndarray, np.ndarray | None]:
    """Predict: (tokens (M, 4, 64), unit logits (M, 17, 2) or None) of clips `rows`; logits are the mean over a face
    and its mirror image.
    """
    model.eval()
    rows = np.arange(len(data)) if rows is None else rows
    tokens, logits = [], []
    for start in range(0, len(rows), batch):
        block = rows[start : start + batch]
        inputs = {key: pairs.tensor(key, data.arrays[key][block]) for key in model.keys}
        seen = model(inputs)
        tokens.append(seen)
        if model.has_units:
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


def validate(model: Expert, data: Pairs, rows: np.ndarray) -> dict[str, float]:
    """What is measured after every epoch; 'score' (higher is better) decides which epoch is kept."""
    report: dict[str, float] = {}
    if model.has_units:
        _, logits = predict(model, data, rows)
        found = unit_auroc(logits, data.arrays["units"][rows] > 0)
        report["auroc"] = report["score"] = float(np.nanmean(found)) if np.isfinite(found).any() else 0.5
    model.eval()
    report |= model.measure(data, rows)
    return report


# ---------------------------------------------------------------- the loop


def pretrain(
    name: str, data: Pairs, settings: Settings, folder: Path, progress: Callable[[dict], None] | None = None
) -> list[dict]:
    """Train expert `name` on the training subjects of `data`; returns its history, one dict per epoch.

    Writes folder/{config.json, model.safetensors, history.json} and, for experts with a unit head, calibration.json. An
    encoder that `data` comes from is named in config.json (id, revision, hash).
    progress: called with one dict per finished epoch.
    """
    folder = Path(folder)
    rows, held = data.rows("train"), data.rows("validation")
    kind = CLASSES[name]
    words = kind.words()
    sizes = kind.sizes(data, rows, words, settings.strength)
    state = state_of(name, data, settings, folder)
    if state:
        return runtime.read_json(folder / "history.json")

    began = time.perf_counter()
    model = build(name, sizes, settings.seed)
    targets, constants = kind.targets(data, rows, settings.seed, words)
    sample = rows[np.sort(runtime.rng(settings.seed, "statistics").permutation(len(rows))[:1000])]
    statistics = {k: pairs.tensor(k, data.arrays[k][sample]) for k in model.keys}
    model.prepare(statistics, {k: v[rows] for k, v in targets.items()})
    spread = {k: x.std(dim=[0, *range(2, x.ndim)]) for k, x in statistics.items()}

    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    checkpoint = Checkpoint(folder, state.key)
    history, best = checkpoint.load(model, optimiser)
    batches = max(1, len(rows) // settings.batch)  # the last short batch is left out: batch norm needs several clips
    steps = settings.epochs * batches
    for epoch in range(len(history), settings.epochs):
        model.train()
        order = runtime.rng(settings.seed, f"order/{name}", epoch).permutation(len(rows))
        drawn = pairs.draws(model.jitter, len(data), settings.seed, epoch)
        sums: dict[str, float] = {}
        for step in range(batches):
            chosen = rows[order[step * settings.batch : (step + 1) * settings.batch]]
            draw = {k: v[chosen] for k, v in drawn.items()}
            batch = {k: pairs.tensor(k, data.arrays[k][chosen]) for k in model.keys} | {
                k: v[chosen] for k, v in targets.items()
            }
            batch = kind.mirrored(
                pairs.augment(batch, draw, model.jitter, spread), torch.from_numpy(draw["mirror"]), words
            )
            chance = runtime.seed_of(settings.seed, f"chance/{name}/{epoch}", step)
            with torch.random.fork_rng(devices=[]):  # dropout knows only the global generator: lend it a seeded one
                torch.manual_seed(chance)
                loss, parts = model.loss(
                    {k: batch[k] for k in model.keys},
                    {k: batch[k] for k in targets} | constants,
                    torch.Generator().manual_seed(chance),
                )
            if not torch.isfinite(loss):
                raise RuntimeError(
                    f"{name}: the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1}; lower `rate`"
                    f" ({settings.rate})"
                )
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(epoch * batches + step, steps, settings.rate, max(1, steps // 10), 0.02)
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
    if kind.has_units:
        _, logits = predict(model, data, held)
        Calibration.fit(logits, data.arrays["units"][held] > 0, data.index["subject"].to_numpy()[held]).save(
            folder / "calibration.json"
        )
    runtime.write_json(folder / "history.json", history)
    about = {"name": name, "sizes": sizes, "settings": asdict(settings), "words": words}
    if data.frozen:
        about |= {"encoder": asdict(data.frozen.reference)}
        runtime.write_json(folder / RECORD, {"folder": data.frozen.place})
    runtime.write_json(folder / "config.json", about)
    state.seal(seconds=round(time.perf_counter() - began, 1))
    checkpoint.path.unlink(missing_ok=True)
    return history


def folder_of(work: Path, name: str, draw: int = 0) -> Path:
    """Where expert `name` of a draw lies."""
    return paths.of_draw(Path(work) / "experts", draw) / name


def _one(
    name: str, work: Path, settings: Settings, threads: int, draw: int, frozen: Frozen | None
) -> tuple[str, float, list[dict]]:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    history = pretrain(name, pairs.read(work, "corpus", name, frozen=frozen), settings, folder_of(work, name, draw))
    return name, time.perf_counter() - began, history


def state_of(name: str, data: Pairs, settings: Settings, folder: Path) -> cache.State:
    """Whether expert `name` of this data, these settings and this code is finished in `folder`."""
    about = {"expert": name, "data": data.fingerprint(), **asdict(settings), "torch": torch.__version__}
    about |= {"encoder": data.frozen.reference.sha256} if data.frozen else {}
    return cache.fresh(folder, settings=about, code="deft.experts.pretrain")


def pretrain_all(
    work: Path,
    settings: dict[str, Settings],
    workers: int | None = None,
    report: Callable[[str], None] = print,
    draw: int = 0,
    encoders: Mapping[str, Frozen] | None = None,
) -> dict[str, list[dict]]:
    """Every expert of `settings`, one process with one thread each, as many at a time as there are cores.

    These networks are too small to split over threads: two processes side by side finish sooner than one with two
    threads. report: called with one line of text per finished expert. draw: which folder they go to; their seeds stand
    in `settings`. encoders: of the experts that read one from elsewhere (`frozen.named`)."""
    from joblib import Parallel, delayed

    encoders = encoders or {}
    folders = {name: folder_of(work, name, draw) for name in settings}
    histories = {
        name: runtime.read_json(folders[name] / "history.json")
        for name, chosen in settings.items()
        if (folders[name] / "history.json").is_file()
        and state_of(name, pairs.read(work, "corpus", name, frozen=encoders.get(name)), chosen, folders[name])
    }
    if histories:
        report(f"finished before, not made again: {', '.join(histories)}")
    waiting = {name: chosen for name, chosen in settings.items() if name not in histories}
    done = Parallel(
        n_jobs=min(workers or runtime.jobs(), len(waiting) or 1), batch_size=1, return_as="generator_unordered"
    )(delayed(_one)(name, work, chosen, 1, draw, encoders.get(name)) for name, chosen in waiting.items())
    for name, seconds, history in runtime.bar(done, len(waiting), "experts", "expert") if waiting else ():
        best = max(history, key=lambda row: row["score"])
        reached = (
            f"AUROC of units {best['auroc']:.3f}" if "auroc" in best else f"landmark error {best['landmark_px']:.2f} px"
        )
        report(
            f"{name}: best of {len(history)} epochs is {best['epoch']}, {reached} on validation people, {seconds:.0f} s"
        )
        histories[name] = history
    return {name: histories[name] for name in settings}


def extract(name: str, which: str, work: Path, draw: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Tokens (N, 4, 64) and calibrated unit probabilities (N, 17, 2) of set `which`, written where draw `draw` is
    read (`experts.draws`).
    """
    work = Path(work)
    model = load(folder_of(work, name, draw))
    tokens, logits = predict(model, pairs.read(work, which, name, targets=False, frozen=model.frozen))
    folder = paths.of_draw(work / "features", draw) / which
    runtime.save_array(folder, name, tokens.astype(np.float32))
    if logits is None:
        return tokens, None
    probability = Calibration.load(folder_of(work, name, draw) / "calibration.json").apply(logits)
    runtime.save_array(folder, f"{name}_units", probability)
    return tokens, probability
