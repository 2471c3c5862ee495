"""MEFlow: a small learned estimator of sub-pixel facial motion (DESIGN, section 3).

`model` is the network, `pairs` the truth it learns from, `augment` what a camera does to a pair, `train` the fitting. The
name follows MEFlowNet, of which the public record says little; what stands here is our own reading of "iterative and
warping-based", and the sources of each part are named where it stands. This file imports no torch: `deft.motion.flow` asks it
where the weights lie before anything heavy is loaded.
"""
import os
from pathlib import Path

from deft import paths

NAME = "meflow"
VARIABLE = "DEFT_MEFLOW"


def folder(weights=None):
    """Where trained weights lie: `weights` if given, else `$DEFT_MEFLOW`, else `meflow` under the work folder of the default profile.

    Raises FileNotFoundError when nothing finished lies there.
    """
    place = Path(weights or os.environ.get(VARIABLE) or paths.work("demo") / NAME)
    if not (place / "config.json").is_file() or not (place / "model.safetensors").is_file():
        raise FileNotFoundError(f"{place} holds no trained MEFlow (config.json and model.safetensors): train it with deft.motion.meflow.train.fit, "
                                f"or name another folder by weights= or ${VARIABLE}")
    return place
