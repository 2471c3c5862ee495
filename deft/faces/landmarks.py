"""68 landmarks of a real frame: from an OpenFace file, or placed from face and eyes and refined by a small cascade.

The cascade follows the supervised descent method (Xiong and De la Torre, CVPR 2013): describe the picture around the
current points, predict by ridge regression how they should move, repeat. It is trained on simulated faces under strong
augmentation in stage 02; its error there says nothing about real faces, which look different, and the report repeats
that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from deft import runtime
from deft.faces import align
from deft.faces.detect import Face, FaceError

if TYPE_CHECKING:
    from deft.faces.mesh import Mesh

BINS = 6  # gradient orientations
REACH = 4.0  # px in the canonical frame: the descriptor looks at a point and at 4 places this far away
STAGES = 4
RIDGE = 0.3  # share of the mean diagonal of the kernel


# ---------------------------------------------------------------- the shape to start from


@lru_cache(maxsize=1)
def mean_shape() -> np.ndarray:
    """Mean 68-point shape (68, 2) px in the canonical frame: the mean geometry of 60 simulated people."""
    from deft.clips.simulator.identity import Geometry, sample_identity

    faces = [Geometry(sample_identity(900_000 + number)) for number in range(60)]
    shapes = [face.pixels(face.landmarks()) for face in faces]
    return np.mean([align.points(shape, align.subject_similarity(shape)) for shape in shapes], axis=0)


def place(eyes: np.ndarray) -> np.ndarray:
    """The mean shape moved by the similarity that puts its eyes on `eyes` (2, 2) px (person's right first) -> (68,
    2).
    """
    return align.points(mean_shape(), align.similarity(align.EYES, eyes))


# ---------------------------------------------------------------- descriptor


def orientation_maps(image: np.ndarray) -> np.ndarray:
    """Canonical gray image (128, 128) uint8 -> (BINS, 128, 128) float32: blurred gradient strength per orientation.

    Divided by the local total, so that light and contrast hardly matter.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    angle = np.arctan2(gy, gx)
    maps = np.stack(
        [
            cv2.GaussianBlur(np.maximum(gx * np.cos(a) + gy * np.sin(a), 0) * (np.cos(angle - a) > 0.5), (0, 0), 2.0)
            for a in 2 * np.pi * np.arange(BINS) / BINS
        ]
    )
    return maps / (cv2.GaussianBlur(maps.sum(0), (0, 0), 8.0) + 4.0)


def descriptor(maps: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Values of the maps at the points of a canonical shape (68, 2) and four neighbours of each -> (68 * 5 * BINS,)
    float32.
    """
    around = np.array([(0, 0), (REACH, 0), (-REACH, 0), (0, REACH), (0, -REACH)])
    at = np.clip(shape[:, None] + around, 0, maps.shape[1] - 1).reshape(-1, 1, 2).astype(np.float32)
    return np.concatenate([cv2.remap(one, at, None, cv2.INTER_LINEAR).ravel() for one in maps])


# ---------------------------------------------------------------- the cascade


@dataclass(frozen=True)
class Cascade:
    """Ridge regressions, one per stage. mean, weight, bias: (S, F), (S, F, 136), (S, 136), canonical px. errors: see
    `train`.
    """

    mean: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    errors: dict
    strays = 0.25  # eye distances between found eyes and refined ones beyond which the refinement is rejected

    @property
    def words(self) -> str:
        """How the points came about, for the report."""
        return (
            f"then refined (error {self.errors['cascade']:.1%} of the eye distance on simulated people; unknown on"
            " yours)"
        )

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What the points depend on."""
        return self.mean, self.weight, self.bias

    def refine(self, image: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Gray frame (H, W) uint8 and starting points (68, 2) px -> refined points (68, 2) px of the same frame."""
        for stage in range(len(self.weight)):
            matrix = align.subject_similarity(shape)  # the descriptor sees every face at the same size and upright
            patch = cv2.warpAffine(
                image, matrix, (align.SIZE, align.SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            local = align.points(shape, matrix)
            step = (
                (descriptor(orientation_maps(patch), local) - self.mean[stage]) @ self.weight[stage] + self.bias[stage]
            ).reshape(68, 2)
            inverse = cv2.invertAffineTransform(matrix)
            shape = align.points(local + step, inverse)
        return shape

    def save(self, folder: Path) -> None:
        """weights.npz (plain arrays) and cascade.json (errors, sizes)."""
        with runtime.atomic(Path(folder) / "weights.npz") as temporary:
            np.savez(
                temporary,
                mean=self.mean.astype(np.float32),
                weight=self.weight.astype(np.float32),
                bias=self.bias.astype(np.float32),
            )
        runtime.write_json(
            Path(folder) / "cascade.json",
            {
                "schema": "deft/landmarks/1",
                "bins": BINS,
                "reach": REACH,
                "stages": len(self.weight),
                "errors": self.errors,
                "sha256": runtime.sha256(Path(folder) / "weights.npz"),
            },
        )


def load(folder: Path) -> Cascade:
    """The cascade saved in `folder`; FileNotFoundError names the stage that makes it, ValueError a file that is
    damaged or of other code.
    """
    path = Path(folder) / "weights.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run 02_faces (make reproduce) or give OpenFace landmarks")
    record = runtime.read_json(Path(folder) / "cascade.json")
    if (record.get("schema"), record.get("bins"), record.get("reach")) != ("deft/landmarks/1", BINS, REACH):
        raise ValueError(f"{folder} was made by another version of the descriptor: run 02_faces again")
    if runtime.sha256(path) != record.get("sha256"):
        raise ValueError(
            f"{path} is damaged: it is not the file that stage 02 wrote; run 02_faces again (make reproduce)"
        )
    with np.load(path, allow_pickle=False) as found:
        return Cascade(found["mean"], found["weight"], found["bias"], record["errors"])


def augment(image: np.ndarray, shape: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One training view: another exposure, side light, blur, noise, mirroring and a small turn. (H, W) uint8, (68,
    2) px -> the same.
    """
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-12, 12), rng.uniform(0.85, 1.15))
    image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    shape = align.points(shape, matrix)
    if rng.random() < 0.5:
        image, shape = image[:, ::-1], _flip(shape, width)
    light = (image / 255.0) ** rng.uniform(0.6, 1.6) * rng.uniform(0.75, 1.25) + rng.uniform(-0.08, 0.08)
    light += rng.uniform(-0.25, 0.25) * (np.arange(width) / width - 0.5)[None]  # light from one side
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.3)) + rng.normal(
        0, rng.uniform(0.005, 0.03), light.shape
    )
    return np.clip(light * 255, 0, 255).astype(np.uint8), shape


def _flip(shape: np.ndarray, width: int) -> np.ndarray:
    from deft.faces.regions import MIRROR

    return np.stack([width - 1 - shape[:, 0], shape[:, 1]], 1)[MIRROR]


def start(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Starting points with a detector's error: the mean shape on the true eyes, moved by 6 %, turned and scaled.
    (68, 2) -> (68, 2) px.
    """
    eyes = align.eye_centres(shape)
    distance = np.linalg.norm(eyes[1] - eyes[0])
    middle, half = eyes.mean(0) + rng.normal(0, 0.06, 2) * distance, (eyes[1] - eyes[0]) / 2
    turn, grow = rng.normal(0, 0.06), 1 + rng.normal(0, 0.07)
    half = grow * np.array(
        [half[0] * np.cos(turn) - half[1] * np.sin(turn), half[0] * np.sin(turn) + half[1] * np.cos(turn)]
    )
    return place(np.stack([middle - half, middle + half]))


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of points (68, 2) over the eye distance, the usual landmark error."""
    eyes = align.eye_centres(true)
    return float(np.linalg.norm(found - true, axis=-1).mean() / np.linalg.norm(eyes[1] - eyes[0]))


def train(
    images: Sequence[np.ndarray],
    shapes: np.ndarray,
    held_images: Sequence[np.ndarray],
    held_shapes: np.ndarray,
    *,
    seed: int = 7,
    views: int = 6,
    stages: int = STAGES,
) -> Cascade:
    """Fit the cascade. images: gray (H, W) uint8 onset frames; shapes: (N, 68, 2) true points, px; held_*: people held
    out.

    views: augmented views per image. `errors` of the result: mean error over the eye distance on augmented held-out
    people, before (mean shape) and after."""
    rng = runtime.rng(seed, "landmarks/train")
    pairs = [augment(image, shape, rng) for image, shape in zip(images, shapes) for _ in range(views)]
    current, mean, weight, bias = [start(shape, rng) for _, shape in pairs], [], [], []
    for _ in range(stages):
        features, targets, matrices, locals_ = [], [], [], []
        for (image, true), shape in zip(pairs, current):
            matrix = align.subject_similarity(shape)
            patch = cv2.warpAffine(
                image, matrix, (align.SIZE, align.SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            local = align.points(shape, matrix)
            features.append(descriptor(orientation_maps(patch), local)), locals_.append(local), matrices.append(matrix)
            targets.append((align.points(true, matrix) - local).ravel())
        x, y = np.array(features, np.float64), np.array(targets)
        mean.append(x.mean(0)), bias.append(y.mean(0))
        x, y = x - mean[-1], y - bias[-1]
        kernel = x @ x.T  # fewer views than features: the dual form of ridge regression
        weight.append(x.T @ np.linalg.solve(kernel + RIDGE * np.trace(kernel) / len(x) * np.eye(len(x)), y))
        steps = (x @ weight[-1] + bias[-1]).reshape(-1, 68, 2)
        current = [
            align.points(local + step, cv2.invertAffineTransform(matrix))
            for local, step, matrix in zip(locals_, steps, matrices)
        ]
    cascade = Cascade(np.array(mean), np.array(weight), np.array(bias), {})
    rng = runtime.rng(seed, "landmarks/held-out")
    before, after = [], []
    for image, shape in zip(held_images, held_shapes):
        image, shape = augment(image, shape, rng)
        first = start(shape, rng)
        before.append(relative_error(first, shape)), after.append(relative_error(cascade.refine(image, first), shape))
    cascade.errors.update(
        people_views=len(pairs),
        held_out=len(after),
        mean_shape=float(np.mean(before)),
        cascade=float(np.mean(after)),
        cascade_p90=float(np.percentile(after, 90)),
        simulated=True,
    )
    return cascade


# ---------------------------------------------------------------- what the report calls


def from_face(frame: np.ndarray, face: Face, cascade: Cascade | Mesh | None = None) -> np.ndarray:
    """Landmarks (68, 2) px of a frame (H, W, 3) RGB or (H, W) gray uint8 from a found face: mean shape on its eyes,
    refined by `cascade` if one is given. A refinement that moves an eye by more than `cascade.strays` of the eye
    distance is rejected: the placed shape is returned."""
    placed = place(face.eyes)
    if cascade is None:
        return placed
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) if np.ndim(frame) == 3 else np.asarray(frame)
    refined = cascade.refine(gray, placed)
    distance = np.linalg.norm(face.eyes[1] - face.eyes[0])
    lost = (
        not np.isfinite(refined).all()
        or np.linalg.norm(align.eye_centres(refined) - face.eyes, axis=1).max() > cascade.strays * distance
    )
    return placed if lost else refined


def read_openface(path: str | Path, frame: int = 0, least_confidence: float = 0.5) -> np.ndarray:
    """68 landmarks (68, 2) float64 px of one frame from an OpenFace `FeatureExtraction` CSV.

    frame: counted from 0, as everywhere here; OpenFace counts from 1. Its header pads names with blanks (" x_0"). Needs
    columns x_0..x_67 and y_0..y_67; `success` and `confidence` are heeded when present. FaceError names row and value.
    """
    path = Path(path)
    if not path.is_file():
        raise FaceError(f"{path}: no such file; give the CSV that OpenFace FeatureExtraction wrote")
    try:
        table = pd.read_csv(path, dtype=str, skipinitialspace=True, index_col=False, encoding="utf-8-sig")
        table = table.rename(columns=str.strip).dropna(how="all")
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        raise FaceError(f"{path} is not a CSV text file ({error})") from error
    if table.empty:
        raise FaceError(f"{path} holds no rows; run FeatureExtraction with -2Dfp")
    wanted = [f"{axis}_{i}" for i in range(68) for axis in "xy"]
    if missing := [name for name in wanted if name not in table]:
        raise FaceError(
            f"{path} has no column {missing[0]} ({len(missing)} of 136 landmark columns missing); "
            "run FeatureExtraction with -2Dfp"
        )
    if "face_id" in table and (people := table["face_id"].nunique()) > 1:
        raise FaceError(f"{path} follows {people} faces; crop the video to one person")
    table = table.assign(
        **{
            name: default
            for name, default in {"frame": range(1, len(table) + 1), "success": 1, "confidence": 1}.items()
            if name not in table
        }
    )
    try:
        numbers = table["frame"].astype(float).astype(int)
        row = table[numbers == frame + numbers.min()][[*wanted, "success", "confidence"]].head(1).astype(float)
    except ValueError as error:
        raise FaceError(f"{path}: a value is missing or not a number ({error})") from error
    if row.empty:
        raise FaceError(
            f"{path} has no frame {frame + numbers.min()} (frames {numbers.min()} to {numbers.max()}); "
            f"the onset is frame {frame}, counted from 0"
        )
    *points, success, confidence = row.to_numpy()[0]
    if not (success >= 1 and confidence >= least_confidence):
        raise FaceError(
            f"{path}: OpenFace was not sure of frame {frame + numbers.min()} (success {success:g}, confidence "
            f"{confidence:g}); choose another onset or track the face again"
        )
    if not np.isfinite(points).all():
        raise FaceError(f"{path}: frame {frame + numbers.min()} holds NaN or infinite landmarks")
    return np.array(points).reshape(68, 2)
