"""From actions to frames with truth: layers are moved, laid over each other and filmed.

For each frame the displacement field is summed from the units, inverted by a 5-step fixed point at 1x (it is smooth),
and applied to the layers at 2x supersampling. Every frame is resampled, the neutral one too: otherwise blur alone would
give motion away (docs/method.md#simulated-faces, points 3 to 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from deft.clips.facs import SIDES, UNITS
from deft.clips.record import Clip, Truth
from deft.clips.simulator import cues, gains, idle
from deft.clips.simulator import pose as pose3d
from deft.clips.simulator.appearance import (
    BACKGROUND,
    EYES,
    FRONT,
    SKIN_LOWER,
    SKIN_UPPER,
    UNDER,
    Face,
    Layers,
    face_of,
)
from deft.clips.simulator.camera import Camera, compose, invert
from deft.clips.simulator.canvas import SUPER, over
from deft.clips.simulator.identity import sample_identity
from deft.clips.simulator.motion import BLINK, LOWER, UPPER, Timing, furrow_amounts, parse_actions, smoothstep
from deft.clips.simulator.person import Identity
from deft.clips.simulator.shapes import box_of
from deft.runtime import rng

DISTRACTORS = ("blink", "gaze", "macro", "neutral", idle.CHEW)
TRUTHS = ("none", "skin", "apex", "all")
INVERSION_STEPS = 5


def render(
    identity: int,
    actions: Mapping[str, float],
    *,
    seed: int = 0,
    size: int = 128,
    frames: int = 32,
    fps: float = 200.0,
    onset_ms: float = 130.0,
    hold_ms: float = 40.0,
    offset_ms: float = 170.0,
    distractors: Sequence[str] = (),
    furrows: bool = True,
    truth: str = "all",
    devices: Sequence[str] = (),
    **camera: object,
) -> Clip:
    """Film the person `identity` doing `actions` ({"12L": 0.3, "4": 0.2}) from the onset on, with complete truth.

    `**camera`: fields of `Camera` (noise, head_drift, flicker, jpeg, blur, gray, pose); clean when none is given.
    `seed` is the clip's: another seed is another take of the same person. devices: as `Identity.devices`.
    """
    if frames < 1 or fps <= 0:
        raise ValueError(f"frames={frames} and fps={fps} must be positive")
    unknown = sorted(set(camera) - set(Camera.__dataclass_fields__))
    if unknown:
        raise TypeError(
            f"render() got {unknown[0]!r}, which is no field of the camera; fields:"
            f" {', '.join(Camera.__dataclass_fields__)}"
        )
    return render_clip(
        sample_identity(int(identity), size=size, devices=tuple(devices)),
        actions,
        times_ms=np.arange(frames) * 1000.0 / fps,
        timing=Timing(onset_ms, hold_ms, offset_ms),
        camera=Camera(**camera),
        seed=seed,
        truth=truth,
        distractors=distractors,
        furrows=furrows,
        fps=fps,
    )


@dataclass(frozen=True)
class Eyes:
    """Course of lids and gaze. closed: (T,) 0 open .. 1 shut; gaze: (T, 2) px displacement of the irises."""

    closed: np.ndarray
    gaze: np.ndarray


def render_clip(
    identity: Identity,
    actions: Mapping[str, float],
    *,
    times_ms: Sequence[float],
    timing: Timing = Timing(),
    camera: Camera = Camera(),
    seed: int = 0,
    truth: str = "all",
    truth_index: int | None = None,
    distractors: Sequence[str] = (),
    furrows: bool = True,
    fps: float | None = None,
) -> Clip:
    """Render the given instants (ms from the onset) only.

    truth: "none", "all", or "apex": dense truth only for frame `truth_index` (default: the frame nearest the middle of
    the hold); the other rows are NaN. "skin": of that frame `skin_flow` alone, without asking which surface a pixel
    shows. `times_ms` must begin with the onset, 0, when truth is asked for.
    """
    times = np.asarray(times_ms, np.float64)
    if times.ndim != 1 or not len(times):
        raise ValueError(f"times_ms must be a list of instants, got shape {times.shape}")
    if truth not in TRUTHS:
        raise ValueError(f"truth={truth!r} is not one of {', '.join(TRUTHS)}")
    if truth != "none" and times[0] != 0.0:
        raise ValueError(
            f"times_ms starts at {times[0]} ms; truth is measured from the onset, so the first instant must be 0"
        )
    for name in distractors:
        if name not in DISTRACTORS:
            raise ValueError(f"distractor {name!r} is not one of {', '.join(DISTRACTORS)}")
    cv2.setNumThreads(1)  # clips are rendered in parallel; threads inside OpenCV would fight over the cores
    face = face_of(identity)
    peak = _distract(parse_actions(actions), distractors)
    intensities = timing.intensities(peak, times)
    eyes = _eye_course(face, timing, times, distractors, seed)
    poses = camera.poses(times, identity.size, face.geometry.centre, seed, identity.index)
    skin, shown = gains.moved(identity, intensities), cues.amounts(identity, intensities)
    depth = furrow_amounts(gains.folded(identity, intensities))
    idly = idle.courses(identity.index, identity.devices, times, tuple(distractors), seed)
    turns = pose3d.angles(identity.index, identity.devices, times, seed)
    if truth_index is None:
        truth_index = int(np.argmin(np.abs(times - timing.onset_ms - 0.5 * timing.hold_ms)))
    wanted = (
        set() if truth == "none" else set(range(len(times))) if truth == "all" else {range(len(times))[truth_index]}
    )
    fields = [
        face.fields.total(skin[t], 0.8 * float(eyes.closed[t]), {name: course[t] for name, course in idly.items()})
        for t in range(len(times))
    ]
    still = _eye_layer(face, 0.0, np.zeros(2, np.float32))
    pictures, seen, backs = [], {}, invert(poses)
    for t in range(len(times)):
        moving = eyes.closed[t] > 0 or eyes.gaze[t].any()
        behind = _eye_layer(face, eyes.closed[t], eyes.gaze[t]) if moving else still
        surfaces = truth in ("apex", "all") and (t in wanted or t == 0)
        change = (depth[t], shown[t]) if furrows else None
        picture, surface = _frame(face, fields[t], poses[t], backs[t], turns[t], change, behind, surfaces)
        pictures.append(picture)
        if surface is not None:
            seen[t] = surface
    frames = camera.record(np.stack(pictures), times, identity.size, seed, identity.index)
    blink = 0.8 * eyes.closed.astype(np.float64)
    points = landmarks_at(face, skin, blink, idly)
    known = _truth(
        face,
        fields,
        (poses, turns),
        points,
        eyes,
        seen,
        sorted(wanted),
        len(times),
        intensities,
        timing.envelope(times),
        depth,
    )
    course = timing.envelope(times)
    return Clip(
        frames=frames,
        times_ms=times,
        fps=fps,
        identity=identity.index,
        seed=seed,
        actions=dict(actions),
        truth=known,
        id=f"person{identity.index}_take{seed}",
        dataset="simulator",
        subject=f"person{identity.index}",
        onset=int(np.abs(times).argmin()),
        apex=int(course.argmax()),
        offset=int(np.abs(times - timing.total_ms).argmin()),
    )


def _distract(peak: np.ndarray, distractors: Sequence[str]) -> np.ndarray:
    if "neutral" in distractors:
        return np.zeros_like(peak)
    if "macro" in distractors and peak.any():
        return peak * max(1.0, 0.85 / peak.max())  # a macro-expression of the same units
    return peak


def _eye_course(face: Face, timing: Timing, times: np.ndarray, distractors: Sequence[str], seed: int) -> Eyes:
    """A blink closes in ~75 ms and opens in ~130 ms (Stern et al. 1984 give 150-300 ms in all); a saccade lasts ~40
    ms.
    """
    closed, gaze = np.zeros(len(times), np.float32), np.zeros((len(times), 2), np.float32)
    person = face.identity.index
    if "blink" in distractors:
        draw = rng(seed, "simulator/blink", person)
        shut = draw.uniform(0.5 * timing.onset_ms, timing.onset_ms + timing.hold_ms)
        start, end = shut - draw.uniform(60, 90), shut + draw.uniform(100, 160)
        closed = (smoothstep(start, shut, times) * (1 - smoothstep(shut + 15, end, times))).astype(np.float32)
    if "gaze" in distractors:
        draw = rng(seed, "simulator/gaze", person)
        start = draw.uniform(0.1 * timing.onset_ms, 0.8 * timing.onset_ms)
        angle, far = draw.uniform(0, 2 * np.pi), draw.uniform(0.02, 0.05)  # face units; 0.02 is about 8 degrees
        course = smoothstep(start, start + 40.0, times)
        gaze = (course[:, None] * far * np.array([np.cos(angle), 0.4 * np.sin(angle)]) * face.geometry.scale).astype(
            np.float32
        )
    return Eyes(closed, gaze)


# --- one frame --------------------------------------------------------------------------------------------------------
def _grid(matrix: np.ndarray, n: int, factor: int) -> np.ndarray:
    """Apply a (2, 3) matrix in 1x px to the pixel centres of the `factor` times finer image -> (n, n, 2) float32, 1x
    px.
    """
    p = (np.arange(n, dtype=np.float32) + 0.5) / factor - 0.5
    m = matrix.astype(np.float32)
    out = np.empty((n, n, 2), np.float32)
    for axis in range(2):
        out[..., axis] = m[axis, 0] * p[None, :] + m[axis, 1] * p[:, None] + m[axis, 2]
    return out


def inverse_displacement(field: np.ndarray, target: np.ndarray) -> np.ndarray:
    """u with p = target + u, p + field(p) = target. field: (H, W, 2) px; target: (H, W, 2) px."""
    u = np.zeros_like(target)
    for _ in range(INVERSION_STEPS):
        u = -cv2.remap(field, target + u, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return u


def _maps(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (..., 2) in 1x px -> where to sample a supersampled layer, in OpenCV's fixed point (32nds of a px).

    cv2.remap is faster with these than with floats, and rounds alike.
    """
    return cv2.convertMaps(where * SUPER + 0.5 * (SUPER - 1), None, cv2.CV_16SC2)


def _pull(layer: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Sample a supersampled layer at 1x-px positions; beyond its edge it goes on as it ends."""
    return cv2.remap(layer, *_maps(where), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _eye_layer(face: Face, closed: float, gaze: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies behind the skin at rest pose -> (RGBA (n, n, 4), how much is lid (n, n), how much is iris (n, n))."""
    layers, n = face.layers, face.layers.iris.shape[0]
    iris = layers.iris
    if gaze.any():
        iris = cv2.warpAffine(
            iris, np.float32([[1, 0, SUPER * gaze[0]], [0, 1, SUPER * gaze[1]]]), (n, n), flags=cv2.INTER_LINEAR
        )
    here = box_of(layers.eyes[..., 3])  # the sclera is wider than the iris at any gaze
    eye = over(layers.gloss[here], over(iris[here], layers.eyes[here]))
    eye[..., 3] = layers.eyes[here][..., 3]
    lid = np.zeros((n, n), np.float32)
    if closed > 0:
        v = layers.lid_height
        margin = 1.12 * closed
        lid = np.clip((margin - v) / 0.12, 0, 1) * (v > -5)
        lash = np.exp(-0.5 * ((v[here] - margin + 0.06) / 0.09) ** 2) * min(1.0, 4 * closed)
        rgb = layers.lid[here] * (1 - 0.75 * lash[..., None])
        eye[..., :3] += lid[here][..., None] * (rgb * eye[..., 3:] - eye[..., :3])
    out = layers.under.copy()
    out[here] = over(eye, out[here])
    return out, lid, iris[..., 3]


def _reach(boxes: np.ndarray, n: int, pose: np.ndarray, slack: np.ndarray) -> list[tuple[slice, slice]]:
    """Rows and columns of the supersampled picture (n, n) where layers may show.

    boxes (k, 2, 2): outside them the layers are empty; pose: how the head has moved; slack (k,): how far a layer moves
    by itself at most, 1x px.
    """
    # A layer that touches the picture's edge goes on beyond it.
    low, high = np.where(boxes == 0, -n, np.where(boxes == n, 2 * n, boxes)).transpose(1, 0, 2)
    centre = _apply(pose, (low + high) / (2 * SUPER))
    # Two px more for pixel centres and interpolation.
    half = ((high - low) / (2 * SUPER) + slack[:, None]) @ np.abs(pose[:, :2]).T + 2
    ends = np.clip(SUPER * np.stack([centre - half, centre + half], axis=1), 0, n).astype(int)
    return [np.s_[top:bottom, left:right] for (left, top), (right, bottom) in ends.tolist()]


SHEETS = {SKIN_LOWER: LOWER, SKIN_UPPER: UPPER}
TRANSPARENCY = np.float32([[0, 0, 0, -1, 1]] * 4)  # RGBA -> 1 - A in all four channels


def _lay(
    out: np.ndarray,
    layer: np.ndarray,
    box: np.ndarray,
    where: np.ndarray,
    part: tuple[slice, slice],
    covers: np.ndarray | None,
) -> None:
    """Lay a layer, cut to `box` and sampled at `where`, over `part` of `out` in place; its alpha goes to `covers`."""
    whole, fraction = _maps(where)
    whole = cv2.subtract(whole, (*box[0].tolist(), 0, 0))
    top, below = cv2.remap(layer, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), out[part]
    # As `over`, four channels alike: numpy is slow where it must repeat one channel.
    below *= cv2.transform(top, TRANSPARENCY)
    below += top
    if covers is not None:
        covers[part] = top[..., 3]


def _displacement(field: np.ndarray, coarse: np.ndarray, part: tuple[slice, slice]) -> np.ndarray:
    """Where the pixels of `part` of the supersampled picture come from, less `coarse`: (rows, columns, 2) in 1x px."""
    # A pixel more on each side for the interpolation.
    outer = [slice(max(0, p.start // SUPER - 1), -(-p.stop // SUPER) + 1) for p in part]
    u = inverse_displacement(field, coarse[tuple(outer)])
    u = cv2.resize(u, (SUPER * u.shape[1], SUPER * u.shape[0]), interpolation=cv2.INTER_LINEAR)
    return u[tuple(slice(p.start - SUPER * o.start, p.stop - SUPER * o.start) for p, o in zip(part, outer))]


def _frame(
    face: Face,
    field: np.ndarray,
    pose: np.ndarray,
    back: np.ndarray,
    turn: np.ndarray,
    change: tuple[np.ndarray, np.ndarray] | None,
    behind: tuple,
    surfaces: bool,
):
    """-> (picture (H, W, 3) float32, None or (labels (H, W) uint8, purity (H, W), lid and iris maps at rest pose)).

    `back`: the inverse of `pose`; `turn`: yaw and pitch, radians; `change`: depth of the furrows (10,), amounts of the
    cues (11,); `behind`: what `_eye_layer` returned.
    Each layer is sampled only where it can show; elsewhere it is empty and leaves what lies below as it is.
    """
    layers, size = face.layers, face.identity.size
    n = size * SUPER
    fine = _grid(back, n, SUPER)  # where each fine pixel comes from, head motion undone
    coarse = _grid(back, size, 1)
    sway = 0.0
    if turn.any():
        turned = pose3d.backward(layers.relief, turn, coarse)
        fine += cv2.resize(turned, (n, n), interpolation=cv2.INTER_LINEAR)
        coarse += turned
        sway = float(np.abs(turned).max())
    under, lid, iris = behind
    shade = None
    if change is not None:
        shade = _shade(layers, *change)
        if np.abs(change[1]).max() > 1e-3:
            under = under.copy()
            cues.shade(under, layers.cues, cues.EYES, change[1])
    coverage = (
        {label: np.zeros((n, n), np.float32) for label in (UNDER, SKIN_LOWER, SKIN_UPPER, FRONT)} if surfaces else {}
    )
    out = layers.background.copy()
    slack = {SKIN_LOWER: cv2.norm(field[LOWER], cv2.NORM_INF), SKIN_UPPER: cv2.norm(field[UPPER], cv2.NORM_INF)}
    reach = np.array([slack.get(label, 0.0) + sway for label in layers.boxes])
    parts = _reach(np.array(list(layers.boxes.values())), n, pose, reach)
    for (label, box), part in zip(layers.boxes.items(), parts):
        inside, where = np.s_[box[0, 1] : box[1, 1], box[0, 0] : box[1, 0]], fine[part]
        if not where.size:
            continue
        layer = (under if label == UNDER else layers.front if label == FRONT else layers.sheets[SHEETS[label]])[inside]
        if label in SHEETS and slack[label]:
            where = where + _displacement(field[SHEETS[label]], coarse, part)
        if label in SHEETS and shade is not None:
            layer = layer * shade[inside]
        _lay(out, layer, box, where, part, coverage.get(label))
    picture = cv2.resize(cv2.cvtColor(out, cv2.COLOR_RGBA2RGB), (size, size), interpolation=cv2.INTER_AREA)
    if not surfaces:
        return picture, None
    return picture, (*_labels(coverage, _pull(layers.eyes[..., 3].copy(), fine), size), lid, iris)


def _shade(layers: Layers, depth: np.ndarray, amount: np.ndarray) -> np.ndarray | None:
    """What furrows and cues multiply the skin's RGBA with, (n, n, 4); None where nothing shows."""
    active = np.flatnonzero(depth > 1e-3)
    if not len(active) and np.abs(amount).max() <= 1e-3:
        return None
    one = np.ones(layers.furrows.shape[1:], np.float32)
    gray = 1.0 + np.tensordot(depth[active], layers.furrows[active], axes=1) if len(active) else one
    shade = cv2.merge([gray] * 3 + [one])
    cues.shade(shade, layers.cues, cues.SKIN, amount)
    return shade


def _labels(coverage: dict[int, np.ndarray], eyes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Alphas of the layers -> (label of the surface seen at each pixel, share of the pixel that it fills)."""
    left = np.ones_like(coverage[UNDER])
    seen = np.zeros((6, size, size), np.float32)
    for label in (FRONT, SKIN_UPPER, SKIN_LOWER, UNDER):
        share = left * coverage[label]
        left = left - share
        if label == UNDER:
            seen[EYES] = cv2.resize(share * eyes, (size, size), interpolation=cv2.INTER_AREA)
            share = share * (1 - eyes)
        seen[label] = cv2.resize(share, (size, size), interpolation=cv2.INTER_AREA)
    seen[BACKGROUND] = cv2.resize(left, (size, size), interpolation=cv2.INTER_AREA)
    labels = np.argmax(seen, axis=0).astype(np.uint8)
    skin = seen[SKIN_UPPER] + seen[SKIN_LOWER]
    purity = np.where((labels == SKIN_UPPER) | (labels == SKIN_LOWER), skin, seen.max(axis=0))
    return labels, purity.astype(np.float32)


# --- truth ------------------------------------------------------------------------------------------------------------
def _sample(field: np.ndarray, where: np.ndarray, interpolation=cv2.INTER_LINEAR) -> np.ndarray:
    return cv2.remap(field, where[..., 0], where[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T.astype(points.dtype) + matrix[:, 2].astype(points.dtype)


def landmarks_at(
    face: Face, intensities: np.ndarray, blink: np.ndarray, idly: Mapping[str, np.ndarray] = MappingProxyType({})
) -> np.ndarray:
    """The 68 points under the given units (T, 17, 2), blink (T,) and other courses (T, 2) -> (T, 68, 2) px, canonical
    pose.
    """
    rest = face.fields.landmarks
    sheet = np.full(68, UPPER)
    sheet[np.r_[3:14, 55:60, 65:68]] = LOWER  # jaw below the mouth's height, lower lip
    moved = np.zeros((len(intensities), 2, 68, 2))
    courses = [(UNITS[u], SIDES[s], intensities[:, u, s]) for u, s in zip(*np.nonzero(intensities.any(axis=0)))]
    courses += [(BLINK, side, blink) for side in SIDES if blink.any()]
    courses += [(name, side, course[:, s]) for name, course in idly.items() for s, side in enumerate(SIDES)]
    for unit, side, course in courses:
        moved += course[:, None, None, None].astype(np.float32) * face.fields.of_landmarks(unit, side)
    return face.geometry.pixels(rest) + moved[:, sheet, np.arange(68)]


def _truth(face, fields, head, points, eyes, seen, wanted, count, intensities, envelope, depth) -> Truth:
    """head: similarities (T, 2, 3) and turns (T, 2); points: landmarks (T, 68, 2) px of the canonical pose."""
    poses, turns = head
    relief = face.layers.relief
    size = face.identity.size
    skin_flow = np.full((count if wanted else 0, size, size, 2), np.nan, np.float32)
    flow, rigid = (np.full((count if seen else 0, size, size, 2), np.nan, np.float32) for _ in range(2))
    valid = np.zeros((len(flow), size, size), bool)
    points = np.stack([_apply(pose, pose3d.forward(relief, turn, at)) for pose, turn, at in zip(poses, turns, points)])
    rest = invert(poses[0])
    masks, moved = {}, {}
    if wanted:
        canonical = _grid(rest, size, 1)  # the surface points that the onset frame shows, at canonical pose
        skin_cover = _pull(face.layers.skin_cover, canonical) > 0.5
        lower_skin = _below_lips(face, canonical)[..., None] > 0
        rotation = poses[0][:, :2].astype(np.float32)
    for t in wanted:
        moved[t] = [_sample(field, canonical) for field in fields[t]]
        latent = np.where(lower_skin, moved[t][LOWER], moved[t][UPPER])  # the skin, seen or not
        skin_flow[t] = np.where(skin_cover[..., None], latent @ rotation.T, 0.0)
    if seen:
        here = _grid(np.eye(2, 3), size, 1)  # pixels of the onset frame
        labels, purity, lid0, iris0 = seen[0]
        on_skin = (labels == SKIN_UPPER) | (labels == SKIN_LOWER)
        lower = (labels == SKIN_LOWER)[..., None]
        eye_here = labels == EYES
        iris_here = _pull(iris0, canonical)
        masks = {
            "skin": on_skin,
            "upper": labels == SKIN_UPPER,
            "lower": labels == SKIN_LOWER,
            "eyes": eye_here,
            "front": labels == FRONT,
            "background": labels == BACKGROUND,
        }
        near_mouth = _sample(face.layers.cut.astype(np.float32), canonical) > 0.5
        at_lip_line = near_mouth & (np.abs(_below_lips(face, canonical)) < 1.2)
    for t in wanted if seen else ():
        visible = np.where(on_skin[..., None], np.where(lower, moved[t][LOWER], moved[t][UPPER]), 0.0).astype(
            np.float32
        )
        gaze = (eyes.gaze[t] - eyes.gaze[0]).astype(np.float32)
        visible[eye_here & (iris_here > 0.5)] += gaze
        rigid[t] = _apply(poses[t], pose3d.forward(relief, turns[t], canonical)) - here
        flow[t] = _apply(poses[t], pose3d.forward(relief, turns[t], canonical + visible)) - here
        flow[t][labels == BACKGROUND] = 0.0
        if t == 0:
            flow[0] = rigid[0] = 0.0  # by definition, free of rounding
        # seen again, unmixed?
        labels_t, purity_t, lid_t, iris_t = seen[t]
        there = here + flow[t]
        label_t = _sample(labels_t, there, cv2.INTER_NEAREST)
        same = (label_t == labels) | (on_skin & ((label_t == SKIN_UPPER) | (label_t == SKIN_LOWER)) & ~near_mouth)
        pure = (purity > 0.85) & (_sample(purity_t, there) > 0.85)
        inside = (there >= 0).all(-1) & (there <= size - 1).all(-1)
        # A pixel on the lip line shows both lips; when they part or press, no single motion explains it.
        torn = at_lip_line & (np.linalg.norm(moved[t][LOWER] - moved[t][UPPER], axis=-1) > 0.1)
        ok = same & pure & inside & ~torn
        if eyes.closed.any() or eyes.gaze.any():
            shifted = canonical + np.where((iris_here > 0.5)[..., None], gaze, 0.0).astype(np.float32)
            kept = (np.abs(_pull(lid_t, shifted) - _pull(lid0, canonical)) < 0.15) & (
                np.abs(_pull(iris_t, shifted) - iris_here) < 0.15
            )
            ok &= ~eye_here | kept
        valid[t] = ok
    to_onset = [compose(pose, rest) for pose in poses]
    return Truth(
        flow=flow,
        valid=valid,
        landmarks=points.astype(np.float32),
        skin_flow=skin_flow,
        rigid=rigid,
        intensities=intensities,
        envelope=envelope,
        furrows=depth,
        masks=masks,
        pose=np.stack(to_onset).astype(np.float32),
    )


def _below_lips(face: Face, canonical: np.ndarray) -> np.ndarray:
    """How far points (px, canonical pose) lie below the lip line, px."""
    x = (canonical[..., 0] - face.geometry.centre[0]) / face.geometry.scale
    y = (canonical[..., 1] - face.geometry.centre[1]) / face.geometry.scale
    return (y - face.geometry.lip_line(x)) * face.geometry.scale
