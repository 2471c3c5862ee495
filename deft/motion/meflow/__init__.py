"""MEFlow: a small learned estimator of sub-pixel facial motion.

`model` is the network, `pairs` the truth it learns from, `augment` what a camera does to a pair, `train` the fitting. The
name follows MEFlowNet, of which the public record says little; what stands here is our own reading of "iterative and
warping-based", and the sources of each part are named where it stands. This file imports no torch: `deft.motion.flow` asks it
where the weights lie before anything heavy is loaded.
"""
import os
from contextlib import contextmanager
from pathlib import Path

from deft import paths

NAME = "meflow"
VARIABLE = "DEFT_MEFLOW"


def folder(weights=None):
    """Where trained weights lie: `weights` if given, else `$DEFT_MEFLOW`, else `meflow` under the work folder of a profile, `demo` first.

    Returns None when nobody named a place and no profile has trained any. Raises FileNotFoundError for a named place without them.
    """
    named = weights or os.environ.get(VARIABLE)
    if named is None:
        demo = paths.work("demo") / NAME
        return next((place for place in (demo, *sorted(demo.parent.parent.glob(f"*/{NAME}"))) if _finished(place)), None)
    if not _finished(Path(named)):
        raise FileNotFoundError(f"{named} holds no trained MEFlow (config.json and model.safetensors): train it with deft.motion.meflow.train.fit, "
                                f"or name another folder by weights= or ${VARIABLE}")
    return Path(named)


@contextmanager
def using(weights):
    """Inside, "meflow" means the network in the folder `weights`, whatever was trained elsewhere; None changes nothing."""
    before = os.environ.get(VARIABLE)
    if weights is not None:
        os.environ[VARIABLE] = str(weights)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def _finished(place: Path) -> bool:
    return (place / "config.json").is_file() and (place / "model.safetensors").is_file()
