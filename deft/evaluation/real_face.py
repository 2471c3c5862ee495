"""How far the measurement carries on a real face: a photograph moved by known fields, and the landmarks' error on it.

Nobody can film a real micro-expression with known truth. But a photograph can be moved: Grace Hopper (US Navy, public
domain, shipped with matplotlib) gets five movements of less than a pixel, one of them on one side only, and a still
control, each with a head that drifts and a camera that adds noise. The fields are written from anatomy, by hand, and
know neither the simulator's muscles nor the directions that the evidence expects. `study` then does what `analyse`
does, with landmarks placed by hand, with the built-in ones, and with the optional detector where it is installed.

This is one photograph: it shows that the chain can fail or hold on a real skin, not how often."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from deft import drawing as draw
from deft.clips.footage import Frames
from deft.clips.simulator.camera import Camera, invert
from deft.faces import align, imported, landmarks, mesh
from deft.faces.detect import find_face
from deft.faces.regions import MIRROR
from deft.motion import evidence
from deft.palette import arrows
from deft.unimer.check import UNIT_THRESHOLD
from deft.unimer.measure import Measurement, measure, unit_rows

HAND, BUILT_IN = "placed by hand", "built-in"
PEAK = 0.8  # px of the aligned face: the largest displacement of a movement
FPS, FRAMES, ONSET, APEX, OFFSET = 100.0, 48, 10, 22, 37
CROP = (90, 38, 346)  # left, upper edge and side of the square of the photograph that is filmed, px
SIDE = 173  # px of a frame: half the photograph's, so that a pixel of the aligned face is 1.35 of the film
CAMERA = Camera(noise=2.0, head_drift=1.0, flicker=0.004, jpeg=90, pose=0.0)
PARTS = {"jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68), "all": (0, 68)}

Detectors = dict[str, landmarks.Cascade | mesh.Mesh | None]  # None: the mean shape on the eyes


@dataclass(frozen=True)
class Pull:
    """Skin that is pulled: a Gaussian of width `reach` about a landmark of the person's left, moved `above` it. out,
    up: displacement outwards and up, 1 being the movement's largest. All lengths in eye distances."""

    mark: int
    out: float
    up: float
    reach: float
    above: float = 0.0


BROWS = {1: Pull(22, 0.0, 1.0, 0.16, 0.05), 2: Pull(25, 0.0, 0.9, 0.17, 0.05), 0: Pull(23, 0.0, 0.6, 0.18, 0.32)}
CORNER = (Pull(54, 0.6, 0.8, 0.15), Pull(46, 0.1, 0.45, 0.2, -0.45))  # the corner, and the cheek above it
# name -> (the units and sides that move, the pulls, on which sides)
MOVEMENTS = {
    "AU1+2": ({(unit, side) for unit in (1, 2) for side in "LR"}, tuple(BROWS.values()), "LR"),
    "AU4": ({(4, "L"), (4, "R")}, (Pull(22, -0.55, -0.85, 0.16, 0.03), Pull(24, -0.15, -0.5, 0.18)), "LR"),
    "AU12": ({(12, "L"), (12, "R")}, CORNER, "LR"),
    "AU12 left": ({(12, "L")}, CORNER, "L"),
    "AU15": ({(15, "L"), (15, "R")}, (Pull(54, 0.15, -1.0, 0.13), Pull(55, 0.0, -0.4, 0.12, -0.12)), "LR"),
    "still": (set(), (), ""),
}


# ---------------------------------------------------------------- photographs and their hand-placed points


@lru_cache(maxsize=1)
def hopper() -> np.ndarray:
    """(600, 512, 3) RGB uint8, from the installed matplotlib."""
    from matplotlib import cbook, image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.ascontiguousarray(image.imread(file, format="jpg"))


def astronaut() -> np.ndarray:
    """(512, 512, 3) RGB uint8: Eileen Collins (NASA, public domain), from scikit-image, which the lock does not hold:
    ImportError without."""
    from skimage.data import astronaut

    return astronaut()


PHOTOGRAPHS = {"hopper": hopper, "astronaut": astronaut}


def by_hand(photograph: str) -> np.ndarray:
    """The points (68, 2) px that were placed by hand on a photograph, at 10 times its size."""
    return imported.read(Path(__file__).with_name(f"{photograph}68.csv"))


def landmark_errors(detectors: Detectors, photographs: Iterable[str]) -> pd.DataFrame:
    """A row per photograph and detector: mean distance to the hand-placed points, part by part, over the eye
    distance."""
    rows = []
    for photograph in photographs:
        picture, true = PHOTOGRAPHS[photograph](), by_hand(photograph)
        face, length = find_face(picture), np.linalg.norm(np.diff(align.eye_centres(true), axis=0))
        for name, detector in detectors.items():
            off = np.linalg.norm(landmarks.from_face(picture, face, detector) - true, axis=1) / length
            parts = {part: float(off[first:last].mean()) for part, (first, last) in PARTS.items()}
            rows.append({"photograph": photograph, "landmarks": name, **parts})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- the moved photograph


def resting() -> np.ndarray:
    """The hand-placed points (68, 2) of the photograph at rest, px of the film."""
    return (by_hand("hopper") - CROP[:2] + 0.5) * (SIDE / CROP[2]) - 0.5  # of pixel centres


def field(movement: str) -> np.ndarray:
    """The movement at its apex, (SIDE, SIDE, 2) float32 px of the film: where the skin at each place goes."""
    points = resting()
    right, left = align.eye_centres(points)
    length = float(np.linalg.norm(left - right))
    across = (left - right) / length
    up = np.array([across[1], -across[0]])
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    _, pulls, sides = MOVEMENTS[movement]
    total = np.zeros((SIDE, SIDE, 2), np.float32)
    for pull in pulls:
        for which in sides:
            mark, sign = (pull.mark, 1) if which == "L" else (MIRROR[pull.mark], -1)
            middle = points[mark] + pull.above * length * up
            weight = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * (pull.reach * length) ** 2))
            total += weight[..., None] * (sign * pull.out * across + pull.up * up)
    most = np.linalg.norm(total, axis=-1).max()
    scale = PEAK * length / (align.EYES[1, 0] - align.EYES[0, 0])  # px of the film per px of the aligned face
    return (total * (scale / most if most else 0)).astype(np.float32)


def course() -> np.ndarray:
    """(FRAMES,) share of the movement in each frame: a smooth rise from onset to apex, a short hold, a smooth fall."""
    time = np.arange(FRAMES)
    rise = np.clip((time - ONSET) / (APEX - 2 - ONSET), 0, 1)
    fall = np.clip((OFFSET - time) / (OFFSET - APEX - 2), 0, 1)
    return (1 - np.cos(np.pi * np.minimum(rise, fall))) / 2


@lru_cache(maxsize=len(MOVEMENTS))
def film(movement: str, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """(frames (T, SIDE, SIDE, 3) uint8 RGB, their true points (T, 68, 2) px): the photograph moved, the head drifting,
    and a camera's noise, flicker and JPEG."""
    left, upper, side = CROP
    picture = hopper()[upper : upper + side, left : left + side].astype(np.float32)
    picture = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    moved, start = field(movement), resting()
    times = 1000 * (np.arange(FRAMES) - ONSET) / FPS
    # The camera takes lengths for a picture whose eyes are 30 px of 128 apart, as those of this crop nearly are.
    poses = CAMERA.poses(times, SIDE, (SIDE / 2, SIDE / 2), seed, 0)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    here = np.stack([x, y], -1)
    frames, points = [], []
    for share, pose in zip(course(), poses):
        rest = align.points(here, invert(pose)).astype(np.float32)
        source = rest
        for _ in range(2):  # where did the skin come from that is here now? a fixed point of x = rest - field(x)
            source = rest - share * _read(moved, source)
        frames.append(_read(picture, source))
        at = start[:, None].astype(np.float32)
        points.append(align.points(start + share * _read(moved, at)[:, 0], pose))
    return CAMERA.record(np.stack(frames), times, SIDE, seed, 0), np.array(points)


def _read(picture, at):
    return cv2.remap(picture, at.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


# ---------------------------------------------------------------- the study


def look(
    movement: str,
    how: str,
    detector: landmarks.Cascade | mesh.Mesh | None,
    calibration: evidence.Calibration | None,
    given: bool = True,
) -> Measurement:
    """What `analyse` measures on a film. how: HAND gives the film's true points as a CSV, as a user would; any other
    takes `detector`. given: onset, apex and offset are given, as a licensed set has them; else they are found."""
    when = (ONSET, APEX, OFFSET) if given else ()
    frames, points = film(movement)
    with tempfile.TemporaryDirectory() as folder:
        csv = None
        if how == HAND:
            csv = Path(folder) / "points.csv"
            names = [f"{axis}{i}" for i in range(68) for axis in "xy"]
            pd.DataFrame(points.reshape(len(points), -1), columns=names).to_csv(csv, index=False)
        return measure(Frames(frames), FPS, *when, csv=csv, cascade=detector, calibration=calibration)


def study(
    detectors: Detectors,
    calibration: evidence.Calibration | None,
    movements: Iterable[str] = tuple(MOVEMENTS),
    given: bool = True,
) -> pd.DataFrame:
    """Every movement with hand-placed points and with each detector -> a row each: expected, found, missed, beside
    (stated, yet still; all as text), moving, onset and apex (frames off; NaN of the still one), points (error over the
    eye distance at the onset)."""
    rows = []
    for movement in movements:
        expected = MOVEMENTS[movement][0]
        for how, detector in {HAND: None, **detectors}.items():
            seen = look(movement, how, detector, calibration, given)
            found = {(row["unit"], row["side"][0].upper()) for row in unit_rows(seen.probability, UNIT_THRESHOLD)}
            rows.append(
                {
                    "movement": movement,
                    "landmarks": how,
                    "expected": text(expected),
                    "found": text(found),
                    "missed": text(expected - found),
                    "beside": text(found - expected),
                    "moving": seen.moving,
                    "onset": seen.when.onset - ONSET if expected else np.nan,
                    "apex": seen.when.apex - APEX if expected else np.nan,
                    "points": landmarks.relative_error(seen.face.source, film(movement)[1][seen.face.at]),
                }
            )
    return pd.DataFrame(rows)


def text(units: set[tuple[int, str]]) -> str:
    """{(12, "L"), (12, "R"), (6, "L")} -> "6L 12"."""
    both = {unit for unit, _ in units if {(unit, "L"), (unit, "R")} <= units}
    rest = {f"{unit}{side}": unit for unit, side in units if unit not in both} | {str(unit): unit for unit in both}
    return " ".join(sorted(rest, key=rest.get))


def detectors(cascade: landmarks.Cascade | None) -> Detectors:
    """The built-in landmarks, and the optional ones where they are installed."""
    try:
        return {BUILT_IN: cascade, mesh.NAME: mesh.load()}
    except imported.FaceError:
        return {BUILT_IN: cascade}


def picture(study: pd.DataFrame, detectors: Detectors) -> bytes:
    """PNG of a `study`: above, each movement as true arrows on the aligned photograph and the units found with each
    kind of landmarks; below, these landmarks with the regions that hang on them."""
    frames, points = film("still")
    hand = points[0]
    matrix = align.subject_similarity(hand)
    face = align.apply(frames[:1], matrix)[0]
    with draw.style():
        fig = draw.canvas(4.6)
        for i, (movement, rows) in enumerate(study.groupby("movement", sort=False)):
            place = fig.add_axes([i / len(MOVEMENTS), 0.62, 0.96 / len(MOVEMENTS), 0.26])
            draw.show(place, face, movement, fontweight="bold")
            arrows(place, align.flow(field(movement), matrix), PEAK)
            for line, row in enumerate(rows.itertuples()):
                good = not row.missed and (row.found or not row.expected)
                words, colour = f"{row.landmarks}:\n{row.found or 'nothing'}", draw.GREEN if good else draw.RED
                place.text(0, 132 + 30 * line, words, color=colour, va="top", fontsize=draw.SMALLEST)
        found = find_face(frames[0])
        kinds = {HAND: hand} | {name: landmarks.from_face(frames[0], found, one) for name, one in detectors.items()}
        for i, (name, marks) in enumerate(kinds.items()):
            place = fig.add_axes([i / len(kinds), 0.0, 0.9 / len(kinds), 0.45])
            draw.show_points(place, face, align.points(marks, matrix))
            off = "" if name == HAND else f", {landmarks.relative_error(marks, hand):.1%} of the eye distance off"
            place.set_title(name + off, pad=3)
            place.set_axis_off()
        return draw.png(fig)
