"""Table T8: which estimator sees micro-motion? Errors against exact truth, by size of the motion, clean and through a
camera.

Two kinds of pairs. *Simulated faces* of people that no set of this run holds (another seed), head motion, blinks and
furrows included; inside the regions of the units that move, and at the lids and the lip line, they are counted once
more. *Pictures the simulator did not make*: a photograph in the public domain (Grace Hopper, US Navy, shipped with
matplotlib as sample data) and noise with a natural spectrum, under random smooth fields and thin-plate splines
(Bookstein, PAMI 11(6), 1989). MEFlow was trained on none of them.

Angular error is that of Barron et al. (IJCV 12(1), 1994): the angle between (u, v, 1) and the true (u, v, 1), so that a
motion of a tenth of a pixel is not judged by its direction alone. This module imports no torch; the learned estimator
does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates

from deft import paths, runtime
from deft.clips import benchmark
from deft.clips.facs import expected_vectors, unit_sides
from deft.evaluation.tables.present import Column, Page, Part, called, figure, highest, listed, said
from deft.faces import regions
from deft.motion import flow
from deft.motion.meflow import augment, pairs

ZERO, LEARNED = "zero", "meflow"
ESTIMATORS = (ZERO, "farneback", "dis", "dis-finest", "tvl1", LEARNED)
EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, np.inf)  # px of true motion
BINS = ("<.1", ".1-.25", ".25-.5", ".5-1", "1-2", ">2")
NUISANCES = {  # grey levels, relative change of the light, JPEG quality, px
    "clean": {},
    "noise": {"noise": 5.0},
    "illumination": {"flicker": 0.02, "ramp": 0.04},
    "jpeg": {"jpeg": 60},
    "blur": {"blur": 0.8},
    "camera": {"noise": 4.0, "flicker": 0.01, "jpeg": 60},  # as in sim-v1
}
FACES, PHOTOGRAPH, TEXTURE = "simulator", "photograph", "noise texture"
SEED = 20271114  # people and pictures of this study; `sim-v2` was later given the same seed, and shares people with it
SIZE, FINE, MARGIN = 128, 2, 12  # px of a pair; supersampling and spare border (px) of pictures that are warped
# px; a picture that is not blurred before it is sampled changes its sharpness with the fraction of a pixel it moved
LENS = 0.5
BORDER = 4  # px at the rim where a picture's truth is not judged


@dataclass(frozen=True)
class Pair:
    """first, second (H, W) float32 grey levels, clean; flow (H, W, 2) px first -> second; areas: set name -> (H, W)
    bool to be judged.
    """

    first: np.ndarray
    second: np.ndarray
    flow: np.ndarray
    areas: dict[str, np.ndarray]


# ---------------------------------------------------------------- simulated faces


def face(plan: benchmark.ClipPlan) -> Pair:
    """Onset and apex of one planned clip, drawn by a clean camera."""
    clip = pairs.take(plan, benchmark.identity_of(plan))
    points, ok = clip.truth.landmarks[0], clip.truth.valid[1]
    expected = regions.masks(points, SIZE)
    moving = [expected[row] > 0.3 * expected[row].max() for row in _rows(plan)]
    rims = np.zeros((SIZE, SIZE), np.uint8)
    for rim in (points[36:42], points[42:48], points[60:68]):  # both eyes, the inner lips
        cv2.polylines(rims, [np.rint(rim * 16).astype(np.int32)], True, 1, 5, shift=4)
    return Pair(
        flow.gray(clip.frames[0]).astype(np.float32),
        flow.gray(clip.frames[1]).astype(np.float32),
        clip.truth.flow[1],
        {
            FACES: ok,
            f"{FACES}: unit regions": ok & (np.any(moving, axis=0) if moving else False),
            f"{FACES}: lips and lids": ok & (rims > 0),
        },
    )


def _rows(plan: benchmark.ClipPlan) -> set[int]:
    """Regions that the clip's own units are expected to move."""
    sides = (
        unit_sides("+".join(key if key[-1] not in "LR" else key[-1] + key[:-1] for key, _ in plan.actions))
        if plan.actions
        else {}
    )
    return {
        row
        for unit, side in sides.items()
        for one in (("L", "R") if side == "B" else (side,))
        for row, *_ in expected_vectors(unit, one)
    }


def faces(count: int) -> list[benchmark.ClipPlan]:
    """Plans of `count` clips of as many people, by the rules of the corpus but from this study's own seed."""
    return benchmark.plan_corpus(dataclasses.replace(benchmark.BenchmarkSpec(), seed=SEED), count, 1)


# ---------------------------------------------------------------- pictures the simulator did not make


@lru_cache(maxsize=1)
def photograph() -> np.ndarray:
    """(600, 512) float32 grey levels: the public-domain portrait that matplotlib ships."""
    from matplotlib import cbook, image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return flow.gray(np.ascontiguousarray(image.imread(file, format="jpg"))).astype(np.float32)


def cut(rng: np.random.Generator) -> np.ndarray:
    """A random square of the photograph, FINE times finer than a pair and with a margin."""
    whole, side = photograph(), FINE * (SIZE + 2 * MARGIN)
    y, x = (int(rng.integers(length - side + 1)) for length in whole.shape)
    return whole[y : y + side, x : x + side]


def texture(rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency^a, like natural pictures (Field, JOSA A 4(12), 1987), of the same
    size as `cut`.
    """
    side = FINE * (SIZE + 2 * MARGIN)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    gain = 1 / np.maximum(np.hypot(fy, fx), 1 / side) ** rng.uniform(0.8, 1.6)
    picture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * gain, (side, side))
    return (128 + rng.uniform(15, 40) * (picture - picture.mean()) / picture.std()).astype(np.float32)


def _scaled(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The field with a longest vector between .15 and 4 px, all orders of magnitude alike."""
    return (field * np.exp(rng.uniform(np.log(0.15), np.log(4.0))) / np.linalg.norm(field, axis=-1).max()).astype(
        np.float32
    )


def smooth(rng: np.random.Generator) -> np.ndarray:
    """A random smooth field (SIZE, SIZE, 2) px."""
    sigma = rng.uniform(6, 24)
    return _scaled(
        np.dstack([cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)), (0, 0), sigma) for _ in range(2)]), rng
    )


def spline(rng: np.random.Generator) -> np.ndarray:
    """A thin-plate spline through random displacements of 25 points, (SIZE, SIZE, 2) px."""
    axis = np.linspace(0, SIZE - 1, 5)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) + rng.uniform(-6, 6, (25, 2))
    y, x = np.indices((SIZE, SIZE))
    bent = RBFInterpolator(points, rng.standard_normal((25, 2)), kernel="thin_plate_spline")(
        np.stack([x.ravel(), y.ravel()], -1)
    )
    return _scaled(bent.reshape(SIZE, SIZE, 2), rng)


def read(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """image (H, W) at real positions, cubic spline, float32. Not `cv2.remap`: that one rounds positions to 1/32 px,
    and here a tenth counts.
    """
    return map_coordinates(image, [y, x], order=3, mode="nearest", output=np.float32)


def warped(picture: np.ndarray, back: np.ndarray, name: str) -> Pair:
    """Two frames of one fine picture, the second moved: second(y) shows what first shows at y - back(y).

    Both frames are resampled (shifted by a fraction of a pixel), or blur would give the motion away. The forward truth
    solves f(x) = back(x + f(x)) by fixed-point steps, which converge because the fields stretch by less than one."""
    grid = (np.arange(SIZE * FINE) + 0.5) / FINE - 0.5
    y, x = np.meshgrid(grid, grid, indexing="ij")
    picture = cv2.GaussianBlur(picture, (0, 0), LENS * FINE)

    def frame(field):
        fine = np.zeros((2, *x.shape)) if field is None else np.stack([read(field[..., i], y, x) for i in (0, 1)])
        at = (
            (y - fine[1] + MARGIN + 0.3) * FINE + 0.5 * (FINE - 1),
            (x - fine[0] + MARGIN + 0.3) * FINE + 0.5 * (FINE - 1),
        )
        return cv2.resize(read(picture, *at), (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    py, px = np.indices((SIZE, SIZE), dtype=np.float64)
    forward = back
    for _ in range(12):
        forward = np.stack([read(back[..., i], py + forward[..., 1], px + forward[..., 0]) for i in (0, 1)], -1)
    ok = np.zeros((SIZE, SIZE), bool)
    ok[BORDER:-BORDER, BORDER:-BORDER] = True
    return Pair(frame(None), frame(back), forward, {name: ok})


def foreign(name: str, number: int) -> Pair:
    """Pair `number` of the photograph or of the noise texture: smooth fields and splines take turns."""
    rng = runtime.rng(SEED, f"flow study/{name}", number)
    picture = cut(rng) if name == PHOTOGRAPH else texture(rng)
    return warped(picture, (smooth, spline)[number % 2](rng), name)


# ---------------------------------------------------------------- judging


def angle(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Degrees between (u, v, 1) and the true (u, v, 1), both (..., 2) px."""
    dot = (found * true).sum(-1) + 1
    return np.degrees(np.arccos(np.clip(dot / np.sqrt(((found**2).sum(-1) + 1) * ((true**2).sum(-1) + 1)), -1, 1)))


def estimator(name: str, weights: Path | None = None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`f(first, second) -> (H, W, 2)` px of an estimator; weights: folder of a trained MEFlow."""
    if name == ZERO:
        return lambda first, second: np.zeros(first.shape + (2,), np.float32)
    return lambda first, second: flow.estimate(first, second, name, weights=weights)


def judged(pair: Pair, number: int, estimators: dict[str, Callable], nuisances: dict[str, dict]) -> Iterator[dict]:
    """Sums over the pixels of one pair, per estimator, nuisance, area and bin. The estimators take turns, so that a
    busy machine slows all alike.
    """
    length = np.linalg.norm(pair.flow, axis=-1)
    for nuisance, settings in nuisances.items():
        rng = runtime.rng(SEED, f"flow study/{nuisance}", number)
        frames = []
        for _ in range(2):
            light = {
                "flicker": settings.get("flicker", 0.0) * rng.normal(),
                "ramp": settings.get("ramp", 0.0) * rng.normal(0, 0.5, 2),
            }
            frames.append(augment.photograph(pair.first if not frames else pair.second, rng, **(settings | light)))
        for name, estimate in estimators.items():
            began = time.thread_time()
            found = estimate(*frames)
            seconds = time.thread_time() - began
            error, degrees = np.linalg.norm(found - pair.flow, axis=-1), angle(found, pair.flow)
            for area, inside in pair.areas.items():
                for low, high, size in zip((*EDGES[:-1], 0.0), (*EDGES[1:], np.inf), (*BINS, "all")):
                    here = inside & (length >= low) & (length < high)
                    yield {
                        "estimator": name,
                        "set": area,
                        "nuisance": nuisance,
                        "magnitude_bin": size,
                        "pixels": int(here.sum()),
                        "epe": float(error[here].sum()),
                        "angular_error": float(degrees[here].sum()),
                        "seconds": seconds,
                    }


def study(people: int, pictures: int, weights: Path | None = None, jobs: int | None = None) -> pd.DataFrame:
    """All sums of `people` simulated faces and `pictures` pairs each of photograph and texture, one row per pair and
    cell.
    """
    chosen = {name: estimator(name, weights if name == LEARNED else None) for name in ESTIMATORS}
    makers = [lambda plan=plan: face(plan) for plan in faces(people)]
    makers += [
        lambda name=name, number=number: foreign(name, number)
        for name in (PHOTOGRAPH, TEXTURE)
        for number in range(pictures)
    ]
    parts = joblib.Parallel(n_jobs=jobs or runtime.jobs(), prefer="threads", return_as="generator")(
        joblib.delayed(lambda number, make: list(judged(make(), number, chosen, NUISANCES)))(number, make)
        for number, make in enumerate(makers)
    )
    return pd.DataFrame([row for part in runtime.bar(parts, len(makers), "T8", "scene") for row in part])


def t8(profile: str, people: int = 16, pictures: int = 8) -> pd.DataFrame:
    """Flow estimators: end-point error (px) and angular error (degrees), pixels pooled, by set, nuisance and true
    length of the motion.

    `zero` answers "nothing moved": its end-point error is the mean length of the true motion. `pairs_per_second`: one
    thread, 128 px, from the median processor time of a call on that set. People and pictures are new to every
    estimator."""
    rows = study(people, pictures, paths.work(profile) / LEARNED)
    keys = ["estimator", "set", "nuisance", "magnitude_bin"]
    sums = rows.groupby(keys, sort=False)[["pixels", "epe", "angular_error"]].sum()
    table = (sums[["epe", "angular_error"]].div(sums["pixels"].replace(0, np.nan), axis=0)).round(4).reset_index()
    speed = 1 / rows[rows["estimator"] != ZERO].groupby(["estimator", "set"])["seconds"].median()
    table = table.merge(speed.rename("pairs_per_second").round(1).reset_index(), on=["estimator", "set"], how="left")
    return table


def _against_none(part: pd.DataFrame) -> list[str]:
    """Of one set: who is best over all sizes, and who is worse than the answer that nothing moved where the motion
    is small.
    """
    small = part[part.magnitude_bin == BINS[1]].set_index("estimator").epe
    worse = [NAMED(name) for name in small.index if small[name] > small.get(ZERO, np.nan)]
    return [
        said(
            "Least error over all sizes: {} px.",
            highest(
                part[(part.magnitude_bin == "all") & (part.estimator != ZERO)], "epe", "estimator", NAMED, least=True
            ),
        ),
        said(
            f"Where the motion is {SIZES(BINS[1])} px, the answer that nothing moved is better than {{}}.",
            listed(worse) if worse else "",
        ),
    ]


def _camera(part: pd.DataFrame) -> list[str]:
    wide = part[part.estimator != ZERO].pivot(index="nuisance", columns="estimator", values="epe")
    rise = (wide.loc["camera"] - wide.loc["clean"]).dropna().sort_values()
    return [
        f"The camera raises the error of {NAMED(name)} {word}, from {figure(wide.loc['clean', name])} to"
        f" {figure(wide.loc['camera', name])} px."
        for name, word in zip(rise.index[[-1, 0]] if len(rise) else (), ("most", "least"))
    ]


def _places(part: pd.DataFrame) -> list[str]:
    return [
        said(
            f"Least error on {PLACES(name)}: {{}}.",
            highest(rows[rows.estimator != ZERO], "epe", "estimator", NAMED, least=True),
        )
        for name, rows in part.groupby("set", sort=False)
    ]


NAMED = called(
    **{
        ZERO: "nothing moved",
        "farneback": "Farneback",
        "dis": "DIS",
        "dis-finest": "finest DIS",
        "tvl1": "TV-L1",
        LEARNED: "MEFlow",
    }
)
PLACES = called(
    **{
        FACES: "whole faces",
        PHOTOGRAPH: "the photograph",
        f"{FACES}: unit regions": "regions of the units",
        f"{FACES}: lips and lids": "lips and lids",
    }
)
SIZES = called(**dict(zip(BINS, ("under .1", ".1 to .25", ".25 to .5", ".5 to 1", "1 to 2", "over 2"))))
ERRORS = tuple(Column(NAMED(name), "epe", {"estimator": name}, best=min) for name in ESTIMATORS)
BY_SIZE = (Column("True motion, px", "magnitude_bin", spoken=SIZES),)
UNITS, CAMERA, ALL = {"set": f"{FACES}: unit regions"}, {"nuisance": "camera"}, {"magnitude_bin": "all"}
PAGE = Page(
    (
        Part(
            "faces, regions of the units that move, through a camera: end-point error in px",
            BY_SIZE,
            ERRORS,
            _against_none,
            UNITS | CAMERA,
            along=True,
        ),
        Part(
            "a photograph, moved by known fields, through a camera: end-point error in px",
            BY_SIZE,
            ERRORS,
            _against_none,
            {"set": PHOTOGRAPH} | CAMERA,
            along=True,
        ),
        Part(
            "faces, regions of the units that move, all sizes: end-point error in px",
            (Column("What disturbs", "nuisance"),),
            ERRORS,
            _camera,
            UNITS | ALL,
            along=True,
        ),
        Part(
            "all sizes, through a camera: end-point error in px",
            (Column("Place", "set", spoken=PLACES),),
            ERRORS,
            _places,
            CAMERA | ALL,
            along=True,
        ),
    ),
    "Errors pooled over pixels; people, pictures and warps are new to every estimator. Nothing moved: the error of the"
    " answer zero, the mean length of the true motion. Angular error, speed and the other places: in the CSV.",
)
