"""The experts and the tuned model on one clip: it is written as a set of one clip and takes the same code path as the benchmark.

Nothing is prepared a second way: the same readers, experts, calibrations and prompts as in notebooks 06 to 08 see the clip,
so the answer differs from a benchmark answer in the face alone.
"""

import tempfile
from pathlib import Path

import numpy as np

from deft import paths, runtime
from deft.clips import store
from deft.clips.facs import EMOTIONS
from deft.systems import DEFT

SYSTEM, SEED, FOLD = DEFT, 0, 0


def trained(profile):
    """None when everything the answer needs is there, else a sentence that says what is missing and how to get it."""
    work = paths.work(profile)
    run = work / "mllm" / "runs" / SYSTEM / f"seed{SEED}" / f"fold{FOLD}" / "config.json"
    if run.exists():
        return None
    return (f"The model has not been trained yet in profile {profile}: there is no {run.relative_to(work).as_posix()}. Train it with "
            f"`make reproduce PROFILE={profile}`, then make this report again. Everything above is measured and needs no model.")


def answer(profile, rgb, described, apex=3):
    """What the tuned model says about one clip.

    rgb: (3, 128, 128, 3) uint8 aligned onset, apex, hold; described: `motion.courses.describe` of its nine frames.
    Returns {"text", "scores" {emotion: share}, "units" (17, 2) mean of the experts' calibrated probabilities, "source"}.
    """
    from transformers.utils import logging as hf_logging

    from deft.experts import data as pairs
    from deft.experts import pretrain
    from deft.experts.calibrate import Calibration
    from deft.mllm import score, tune

    hf_logging.disable_progress_bar()  # one line of result, not a bar per file that is loaded
    work = paths.work(profile)
    tokenizer, model = _load(tune.Job(SYSTEM, SEED, FOLD).folder(work), profile)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        _write_set(scratch, rgb, described, apex)
        for name in model.streams:
            tokens, logits = pretrain.look(pretrain.load(work / "experts" / name), pairs.read(scratch, "own", name, targets=False))
            runtime.save_array(scratch / "features" / "own", name, tokens.astype(np.float32))
            if logits is not None:
                calibration = Calibration.load(work / "experts" / name / "calibration.json")
                runtime.save_array(scratch / "features" / "own", f"{name}_units", calibration.apply(logits))
        bench = tune.read_bench(scratch, "own", model.config.streams, facts=False)
    likelihood = score.emotion_scores(model, tokenizer, bench, np.array([0]))[0]
    text, = score.answers(model, tokenizer, bench, np.array([0]))
    units = np.mean([bench.features[f"{name}_units"][0] for name in model.unit_streams], axis=0)
    return {"text": text, "scores": {e: float(p) for e, p in zip(EMOTIONS, likelihood)}, "units": units,
            "source": f"{SYSTEM}, seed {SEED}, fold {FOLD}, profile {profile}; trained on simulated faces only"}


def _load(folder, profile):
    """(tokenizer, model) of a finished run; ValueError names the file that is not as it was written, or the folder that cannot be loaded."""
    from safetensors import SafetensorError

    from deft.mllm import score

    try:
        return score.load(folder)
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{folder} cannot be loaded ({error}); remove it and run 07_joint_tuning again (make reproduce PROFILE={profile})") from error


def _write_set(work, rgb, described, apex):
    """clips/own, faces/own and motion/own of a set that holds one clip, as stages 01 to 03 write them."""
    row = dict(clip="own", dataset="own", subject="own", condition="own", look=0, emotion="", coarse="", fps=0.0, onset=0, apex=apex,
               offset=len(described["courses"]), units="", distractor="", split="")
    store.write_shard(work / "clips" / "own" / "own.npz", [row], "own")
    runtime.save_array(work / "faces" / "own", "rgb", rgb[None])
    for name in ("courses", "peak", "residual"):
        runtime.save_array(work / "motion" / "own", name, described[name][None])
    runtime.save_array(work / "motion" / "own", "noise", np.array([described["noise"]], np.float32))
