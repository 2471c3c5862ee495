"""One clip of the reader's own, from a video to one offline page: `python -m deft analyse CLIP` or `make analyse CLIP=...`.

What is measured (flow, regions, noise floor, evidence per unit) needs no trained model; the answer does, and the page says
so when there is none. Nothing leaves the machine, and the page carries what it cannot be used for.
"""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deft import config, paths, runtime
from deft.clips.facs import NAMES, SIDES, UNITS
from deft.evaluation.figures import draw
from deft.faces import align, detect, landmarks as points, regions
from deft.motion import courses, evidence
from deft.report import answer as model_answer
from deft.report import moments as timing
from deft.report import page, pictures
from deft.unimer.check import Evidence, check

ASSUMED_FPS = 200.0   # of a folder of pictures, which does not say: the rate of CASME II and of SAMM
LARGE = 288            # px, side of the moving pictures
CLEAR = 2.0           # the apex must stand out this many times from the median energy, or the moments are called guesses


class AnalyseError(ValueError):
    """The clip cannot be analysed; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Aligned:
    """rgb: (T, 128, 128, 3) uint8; gray: (T, 128, 128) uint8; landmarks: (68, 2) px of the aligned frame; source: (68, 2) px
    of the clip's own frame; face, how: where face and landmarks come from, in words."""

    rgb: np.ndarray
    gray: np.ndarray
    landmarks: np.ndarray
    source: np.ndarray
    face: str
    how: str


def analyse(path, onset=None, apex=None, offset=None, landmarks=None, profile="demo", out=None, fps=None) -> Path:
    """Write report.html and report.json about one clip and return the path of the page.

    path: video or folder of frames; onset, apex, offset: frame numbers from 0, found from the motion when None;
    landmarks: OpenFace CSV with 68 points; out: folder, by default work/<profile>/own/<name of the clip>; fps: frames per
    second when the source does not say. Raises AnalyseError, FaceError or OSError with a remedy; nothing is half-written.
    """
    path = Path(path)
    config.check_profile(profile, paths.NOTEBOOKS)
    check_order(onset, apex, offset)
    folder = _writable(Path(out) if out else paths.work(profile) / "own" / (_plain_name(path.stem or path.name) or "clip"))
    frames, found_fps = detect.read_clip(path)
    check_inside(len(frames), onset=onset, apex=apex, offset=offset)
    rate = float(fps or found_fps or ASSUMED_FPS)
    face = _align(frames, landmarks, onset or 0, profile)
    weights = regions.masks(face.landmarks)
    when = timing.find(face.gray, face.landmarks, weights, rate, onset, apex, offset)
    check_order(when.onset, when.apex, when.offset)
    keys = list(timing.key_frames(when))
    described = courses.describe(face.gray[keys], face.landmarks)
    motion, noise = described["courses"][2:4, :, :2].mean(0), float(described["noise"])   # mean of apex and hold, as evidence reads it
    probability, calibrated = _evidence(described["courses"], noise, profile)
    reply = _answer(profile, face.rgb[[keys[0], keys[3], keys[4]]], described, motion, noise, probability)
    field = courses.flows(face.gray[[keys[0], keys[3], keys[4]]], face.landmarks)[0].mean(0) * draw.face_mask(face.landmarks)[..., None]
    onset_large, = align.apply(frames[[keys[0]]], align.subject_similarity(face.source, LARGE), LARGE)
    report = {
        "clip": path.name, "profile": profile, "commit": runtime.commit(), "frames": len(frames), "size": [frames.shape[2], frames.shape[1]],
        "fps": rate, "fps_assumed": not (fps or found_fps), "face": face.face, "landmarks": face.how, "notes": _notes(when, noise, face),
        "moments": {"onset": when.onset, "apex": when.apex, "offset": when.offset, "found": list(when.found), "rule": timing.RULE,
                    "energy_px": when.energy.round(4).tolist(), "key_frames": keys},
        "noise_px": noise, "regions": region_rows(motion, noise),
        "evidence": {"note": calibrated, "threshold": 0.5, "moved": [{**row, "rows": because(described["courses"], noise, row)} for row in unit_rows(probability, 0.5)],
                     "all": unit_rows(probability, 0.0)},
        "answer": reply, "limits": list(page.LIMITS), "provenance": runtime.provenance(),
    }
    show = {"strip": pictures.strip(face.rgb, when), "energy": pictures.energy(when, rate),
            "flow": pictures.flow(face.rgb[keys[0]], face.rgb[keys[3]], field), "plain": pictures.moving(onset_large, field, 1),
            "magnified": pictures.moving(onset_large, field, draw.MAGNIFY), "regions": pictures.regions(motion, noise), "units": pictures.units(probability)}
    text = page.html(report, {name: page.data_url(content) for name, content in show.items()}, draw.MAGNIFY)
    runtime.write_json(folder / "report.json", report)
    with runtime.atomic(folder / "report.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


# -------------------------------------------------------------------------------------------------------- checks

def check_order(onset, apex, offset):
    """The moments that are known must rise: onset < apex <= offset."""
    for (early, a), (late, b), strict in ((("ONSET", onset), ("APEX", apex), True), (("APEX", apex), ("OFFSET", offset), False),
                                          (("ONSET", onset), ("OFFSET", offset), True)):
        if a is not None and b is not None and (a >= b if strict else a > b):
            raise AnalyseError(f"{early} {a} is not before {late} {b}: frame numbers count from 0 and must rise from onset over apex to offset; "
                               "correct them, or leave one out and it is found from the motion")


def check_inside(count, **moments):
    """Every given frame number must exist."""
    for name, value in moments.items():
        if value is not None and not 0 <= value < count:
            raise AnalyseError(f"{name.upper()} {value} is outside the clip: it has {count} decoded frames, numbered 0 to {count - 1}")


def _writable(folder):
    """Make the folder of the report, or say why not, before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AnalyseError(f"{folder} cannot be made ({error.strerror}): choose another folder with --out, or set DEFT_WORK") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AnalyseError(f"{folder} is not writable: choose another folder with --out, or set DEFT_WORK")
    return folder


def _plain_name(name):
    """A clip's name as a folder name: letters, digits and a few signs, so that no file name can leave the folder."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFKC", name))
    return kept.strip("._")[:80]


# ------------------------------------------------------------------------------------------------------ stations

def _align(frames, csv, onset, profile):
    """Face, landmarks of the onset frame, and one similarity for the whole clip."""
    if csv is not None:
        detect.check_uncut(frames)
        found, face, how = points.read_openface(csv, onset), "you", f"from your file, frame {onset}"
    else:
        box, cascade = detect.find_in_clip(frames, onset), _cascade(profile)
        found, face = points.from_face(frames[onset], box, cascade), "a cascade"
        how = "placed by face and eyes" if box.eyes_found else "placed by the face alone: the eyes were not found"
        if cascade:
            how += f", then refined (error {cascade.errors['cascade']:.1%} of the eye distance on simulated people; unknown on yours)"
    matrix = align.subject_similarity(found)
    rgb = align.apply(frames, matrix)
    gray = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in rgb])
    return Aligned(rgb, gray, align.points(found, matrix).astype(np.float32), found, face, how)


def _cascade(profile):
    """The landmark regressor of stage 02, None before it is trained."""
    folder = paths.work(profile) / "faces" / "landmarks"
    return points.load(folder) if (folder / "weights.npz").exists() else None


def _evidence(described, noise, profile):
    """(probability (17, 2), how it was calibrated in words)."""
    raw = evidence.score(described, noise)
    path = paths.work(profile) / "evidence" / "calibration.json"
    if path.exists():
        known = evidence.Calibration.load(path)
        return known.apply(raw), f"Agreement of the regions with each unit's expected direction, calibrated on simulated subjects (profile {profile}, {known.clips} clips)."
    prior = np.log(evidence.PRESENT / (1 - evidence.PRESENT))
    return 1 / (1 + np.exp(-np.clip(raw + prior, -30, 30))), (
        f"Agreement of the regions with each unit's expected direction. NOT calibrated: profile {profile} has no evidence/calibration.json yet "
        f"(make reproduce PROFILE={profile}); read the bars as an order, not as probabilities.")


def _answer(profile, rgb, described, motion, noise, probability):
    missing = model_answer.trained(profile)
    if missing:
        return {"text": "", "why_not": missing}
    reply = model_answer.answer(profile, rgb, described)
    found = check(reply["text"], {"region": motion, "noise": noise, "probability": probability})
    return {"text": reply["text"], "scores": reply["scores"], "source": reply["source"], "statements": found["statements"],
            "precision": found["precision"], "expert_units": unit_rows(reply["units"], 0.5)}


def _notes(when, noise, face):
    """What the reader must know before believing the rest."""
    notes = []
    if when.found and when.energy[when.apex] < CLEAR * max(float(np.median(when.energy)), noise / 2):
        notes.append("No movement stands out clearly from the rest of this clip: the moments found are guesses. Give ONSET, APEX and OFFSET if you know them.")
    if when.apex == when.offset:
        notes.append("The clip ends at its apex: the fall of the movement is not in it, so the time course says less than usual.")
    if "not found" in face.how:
        notes.append("The eyes were not found, so the regions may sit a little off. Landmarks from OpenFace (--landmarks) are better.")
    return notes


def unit_rows(probability, threshold):
    """(17, 2) -> [{unit, side, name, probability}] at or above the threshold, most probable first."""
    rows = [{"unit": unit, "side": {"L": "left", "R": "right"}[side], "name": NAMES[unit], "probability": float(probability[u, s])}
            for u, unit in enumerate(UNITS) for s, side in enumerate(SIDES) if probability[u, s] >= threshold]
    return sorted(rows, key=lambda row: -row["probability"])


def because(described, noise, row):
    """What was measured for one unit and side, most telling region first: the rows that justify the statement."""
    found = evidence.unit_rows(described, noise, row["unit"], row["side"][0].upper())
    return [{"region": r.region.replace("_", " "), "side": {"L": "left", "R": "right", "": "middle"}[r.side], "direction": r.direction, "px": r.px, "z": r.z}
            for r in found]


def region_rows(motion, noise):
    """(36, 2) px -> one row per region from forehead to jaw: its vector on each side, and whether it is enough for a statement."""
    needed = Evidence(noise=noise).threshold_px
    return [{"region": name, **{side: {"u_px": float(motion[i, 0]), "v_px": float(motion[i, 1]), "moves": bool(np.linalg.norm(motion[i]) >= needed)}
                                for side, i in ((("right", right), ("left", left)) if right != left else (("middle", left),))}}
            for name, right, left in draw.region_rows()]
