"""Dense optical flow behind one function, and what is derived from it.

The estimators of the field: Farneback (SCIA 2003), DIS (Kroeger et al., ECCV 2016) and TV-L1 (Zach et al., DAGM 2007;
the usual choice for micro-expressions), all from OpenCV, and "meflow", learned (`deft.motion.meflow`). Flow is always
onset -> later frame, (H, W, 2) float32 in px, +x right, +y down: the pixel at (x, y) of the first frame is found at (x
+ u, y + v) in the second."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from deft.faces.align import gray

METHODS = ("dis", "dis-finest", "farneback", "tvl1")
LEARNED = "meflow"  # needs trained weights
_local = threading.local()  # OpenCV's flow objects keep buffers: one per thread


def _build(method: str) -> cv2.DenseOpticalFlow:
    if method == "tvl1":
        return cv2.optflow.DualTVL1OpticalFlow_create()
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if method == "dis-finest":
        # The medium preset stops at half resolution and halves sub-pixel motion (slope .4 against truth per region);
        # the
        # full resolution keeps two thirds. Larger patches and 6 descent steps instead of 25 stop it from fitting sensor
        # noise:
        # the spread of still regions falls from .10 to .06 px at noise 5, JPEG 60, for .02 px more error on clean
        # frames.
        dis.setFinestScale(0), dis.setPatchSize(12), dis.setPatchStride(6), dis.setGradientDescentIterations(6)
    return dis


def estimate(
    first: np.ndarray, second: np.ndarray, method: str = "dis", weights: str | Path | None = None
) -> np.ndarray:
    """Flow from `first` to `second`.

    first, second: uint8 (H, W) or (H, W, 3) RGB of the same size, at least 16 px a side. method: one of METHODS, or
    "meflow". weights: folder of a trained MEFlow (default: see `deft.motion.meflow.folder`; where no profile has
    trained one, the network's starting point, iterated least squares, answers with a warning). Returns (H, W, 2)
    float32 px, +x right, +y down. Raises ValueError for an unknown method or wrong arrays, FileNotFoundError when
    `weights` holds none."""
    if method not in (*METHODS, LEARNED):
        raise ValueError(f"unknown flow method {method!r}; choose one of {', '.join((*METHODS, LEARNED))}")
    if weights is not None and method != LEARNED:
        raise ValueError(f"method {method!r} has no weights; only {LEARNED!r} takes them")
    a, b = gray(first, "first"), gray(second, "second")
    if a.shape != b.shape:
        raise ValueError(f"first is {a.shape} and second is {b.shape}: both frames must have the same size")
    if min(a.shape) < 16:
        raise ValueError(f"frames are {a.shape}; flow needs at least 16 px a side")
    if method == LEARNED:
        from deft.motion.meflow import folder, model  # torch, loaded only when it is asked for

        place = folder(weights)
        return model.predict(model.load(place) if place else model.untrained(), a, b)["flow"]
    engines = _local.__dict__
    if method not in engines:
        cv2.setNumThreads(
            1
        )  # clips are spread over threads; OpenCV's own threads gain nothing at 128 px and fight with ours
        engines[method] = None if method == "farneback" else _build(method)
    if method == "farneback":
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 15, 5, 5, 1.1, 0)
    return engines[method].calc(a, b, None).astype(np.float32, copy=False)


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Carry the onset image to frame t along flow onset -> t: I_t(x) = I_onset(x - flow), (H, W[, C]) -> the same
    shape.

    The flow lives on onset pixels, so the pull needs its inverse; four fixed-point steps give it for smooth flow of a
    few px (Chen et al., Medical Physics 35(1), 2008). Zero flow returns the image itself. flow: (H, W, 2) px;
    ValueError for another shape."""
    image, flow = np.asarray(image), np.asarray(flow, np.float32)
    if flow.shape != image.shape[:2] + (2,):
        raise ValueError(f"flow must be {image.shape[:2] + (2,)} for an image of {image.shape}, got {flow.shape}")
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    back = flow
    for _ in range(4):
        back = cv2.remap(flow, x - back[..., 0], y - back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.remap(image, x - back[..., 0], y - back[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def strain(flow: np.ndarray) -> np.ndarray:
    """Optical strain magnitude (..., H, W) of flow (..., H, W, 2): sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2) (Shreve et al., FG
    2011).

    Central differences; px per px. A translation has none; a rotation by the angle a has 1 - cos a per axis, nearly
    none."""
    flow = np.asarray(flow, np.float32)
    uy, ux = np.gradient(flow[..., 0], axis=(-2, -1))
    vy, vx = np.gradient(flow[..., 1], axis=(-2, -1))
    return np.sqrt(ux**2 + vy**2 + 0.5 * (uy + vx) ** 2)


def colour(flow: np.ndarray, limit: float) -> np.ndarray:
    """Flow (H, W, 2) as RGB uint8: hue = direction, saturation = length / limit (px); white is no motion.

    One `limit` must serve all pictures of a figure: it is required for that reason. Longer vectors are drawn at full
    colour. Raises ValueError for a limit that is not positive.
    """
    if not limit > 0:
        raise ValueError(f"limit is the length in px drawn at full colour and must be positive, got {limit}")
    flow = np.asarray(flow, np.float32)
    angle = np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360
    length = np.clip(np.hypot(flow[..., 0], flow[..., 1]) / limit, 0, 1)
    hsv = np.stack([angle, length, np.ones_like(length)], -1).astype(np.float32)
    return np.round(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def wheel(size: int = 64) -> np.ndarray:
    """The key to `colour`: (size, size, 3) uint8 disc in which a pixel's colour is the direction from the centre."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    disc = np.stack(np.meshgrid(axis, axis), -1)
    picture = colour(disc, 1.0)
    picture[np.hypot(disc[..., 0], disc[..., 1]) > 1] = 255
    return picture
