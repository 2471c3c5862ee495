"""MEFlow: a small learned estimator of sub-pixel facial motion.

`model` is the network, `pairs` the truth it learns from, `augment` what a camera does to a pair, `train` the fitting.
The name follows MEFlowNet, of which the public record says little; what stands here is our own reading of "iterative
and warping-based", and the sources of each part are named where it stands. This file imports no torch:
`deft.motion.flow` asks it where the weights lie before anything heavy is loaded."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from deft import paths, runtime

NAME = "meflow"
VARIABLE = "DEFT_MEFLOW"
FILES = ("config.json", "model.safetensors")


def folder(weights: str | Path | None = None) -> Path | None:
    """Where trained weights lie: `weights` if given, else `$DEFT_MEFLOW`, else `meflow` under the work folder of a
    profile, `demo` first.

    Returns None when nobody named a place (an empty `$DEFT_MEFLOW` names none) and no profile has trained any. Raises
    FileNotFoundError for a named place without them.
    """
    named = weights or os.environ.get(VARIABLE)
    if not named:
        demo = paths.work("demo") / NAME
        return next(
            (place for place in (demo, *sorted(demo.parent.parent.glob(f"*/{NAME}"))) if _finished(place)), None
        )
    if not _finished(Path(named)):
        raise FileNotFoundError(
            f"{named} holds no trained MEFlow (config.json and model.safetensors): train it with"
            f" deft.motion.meflow.train.fit, or name another folder by weights= or ${VARIABLE}"
        )
    return Path(named)


def of_chain(work: Path) -> Path:
    """Where the weights lie that the chain of the profile in `work` may use: `$DEFT_MEFLOW`, else `work`/meflow; never
    another profile's.

    Raises FileNotFoundError when there are none.
    """
    place = _chosen(work)
    if not _finished(place):
        raise FileNotFoundError(
            f"{place} holds no trained MEFlow ({' and '.join(FILES)}), and another profile's is not taken over unasked:"
            f" run 13_meflow of this profile, or name a folder by ${VARIABLE}"
        )
    return place


def digest(work: Path) -> str | None:
    """Hash over the files of the weights that `of_chain` names, None when there are none: what a stage that uses
    them depends on.
    """
    place = _chosen(work)
    return (
        hashlib.sha256("".join(runtime.sha256(place / name) for name in FILES).encode()).hexdigest()
        if _finished(place)
        else None
    )


def using(weights: str | Path | None) -> AbstractContextManager[None]:
    """Inside, "meflow" means the network in the folder `weights`, whatever was trained elsewhere; None changes
    nothing.
    """
    return nullcontext() if weights is None else runtime.environment(**{VARIABLE: str(weights)})


def _finished(place: Path) -> bool:
    return all((place / name).is_file() for name in FILES)


def _chosen(work) -> Path:
    return Path(os.environ.get(VARIABLE) or Path(work) / NAME)
