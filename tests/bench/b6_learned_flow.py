"""B6: MEFlow beside Farneback, DIS and TV-L1: end-point error against exact truth and time of a pair, on the same
simulated faces.

The arms take turns inside one run, one thread each, pairs of 128 px through the camera of sim-v1; people that no set
holds. Speed needs no training and is always measured; errors need the weights that 13_meflow trains (`make reproduce`)
and are missing without them."""

import time

import numpy as np

from deft import runtime
from deft.evaluation import flow_study
from deft.motion import flow, meflow
from deft.motion.meflow import model
from tests.bench import rows

ROUNDS, PAIRS = 5, 8
CLASSICAL = ("farneback", "dis", "dis-finest", "tvl1")


def _filmed() -> list[tuple]:
    """PAIRS x (first, second uint8 (128, 128), true flow (128, 128, 2) px, points of regions that the clip's units
    move (128, 128)).
    """
    made = []
    for number, plan in enumerate(flow_study.faces(PAIRS)):
        pair, rng = flow_study.face(plan), runtime.rng(flow_study.SEED, "bench/B6", number)
        frames = [
            flow_study.augment.photograph(picture, rng, noise=4.0, flicker=0.01 * rng.normal(), jpeg=60)
            for picture in (pair.first, pair.second)
        ]
        made.append((*frames, pair.flow, pair.areas[f"{flow_study.FACES}: unit regions"]))
    return made


def measure() -> list[dict]:
    place, filmed = meflow.folder(), _filmed()
    network = model.load(place) if place else model.MEFlow().eval()
    arms = {flow.LEARNED: lambda a, b: model.predict(network, a, b)["flow"]} | {
        name: lambda a, b, name=name: flow.estimate(a, b, name) for name in CLASSICAL
    }
    times, errors = {name: [] for name in arms}, {}
    for _ in range(ROUNDS):
        for name, estimate in arms.items():
            began = time.perf_counter()
            found = [estimate(first, second) for first, second, *_ in filmed]
            times[name].append(1e3 * (time.perf_counter() - began) / PAIRS)
            apart = [np.linalg.norm(f - true, axis=-1)[ok] for f, (_, _, true, ok) in zip(found, filmed)]
            errors[name] = [np.concatenate(apart).mean()] if name in CLASSICAL or place else []
    return [
        *rows("B6", "time of a pair of 128 px, one thread (ms)", times, {"dis-finest": "ratio_to_first >= 0.5"}),
        *rows(
            "B6",
            "end-point error in unit regions, camera of sim-v1 (px)",
            errors,
            dict.fromkeys(CLASSICAL, "ratio_to_first >= 2"),
        ),
    ]
