"""One clip of the reader's own, from a video to one offline page: `python -m deft analyse CLIP` or `make analyse CLIP=...`.

What is measured (flow, regions, noise floor, evidence per unit) needs no trained model; the answer does, and the page says
so when there is none. Nothing leaves the machine, and the page carries what it cannot be used for.
"""

import hashlib
import os
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deft import config, paths, runtime
from deft.clips import keyframes
from deft.clips.facs import NAMES, SIDES, UNITS
from deft.clips.footage import Footage, readable
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
    of the clip's own frame; at: the frame they are of; box: (x, y, w, h) px of the face there; face, how: where face and landmarks
    come from, in words."""

    rgb: np.ndarray
    gray: np.ndarray
    landmarks: np.ndarray
    source: np.ndarray
    at: int
    box: tuple
    face: str
    how: str


def analyse(path, onset=None, apex=None, offset=None, landmarks=None, profile="demo", out=None, fps=None) -> Path:
    """Write report.html and report.json about one clip and return the path of the page.

    path: video or folder of frames; onset, apex, offset: frame numbers from 0, found from the motion when None;
    landmarks: OpenFace CSV with 68 points; out: folder, by default work/<profile>/own/<name of the clip>-<six digits of its path's
    hash>; fps: frames per second when the source does not say. Memory is bounded (`deft.clips.footage`). Raises AnalyseError, FaceError,
    FootageError or OSError with a remedy; nothing is half-written, and a call that fails leaves no folder.
    """
    path = Path(path)
    config.check_profile(profile, paths.NOTEBOOKS)
    check_order(onset, apex, offset)
    if fps is not None and not 1 <= fps <= 10_000:
        raise AnalyseError(f"FPS {fps:g} is no frame rate: give frames per second, from 1 to 10000")
    folder = Path(out) if out else paths.work(profile) / "own" / folder_name(path)
    _check_writable(folder)
    footage = Footage(path)
    check_inside(len(footage), onset=onset, apex=apex, offset=offset)
    rate = float(fps or footage.fps or ASSUMED_FPS)
    face, when, moved = locate(footage, landmarks, profile, rate, onset, apex, offset)
    keys = list(keyframes.key_frames(when.onset, when.apex, when.offset, cut_off=True))
    moments = [keys[position] for position in keyframes.shown(len(keys))]  # onset, apex, hold
    described = courses.describe(face.gray[keys], face.landmarks)
    motion, noise = keyframes.peak_mean(described["courses"])[..., :2], float(described["noise"])
    probability, calibrated = _evidence(described["courses"], noise, profile)
    reply = _answer(profile, face.rgb[moments], described, motion, noise, probability)
    field = courses.flows(face.gray[moments], face.landmarks)[0].mean(0) * draw.face_mask(face.landmarks)[..., None]
    onset_large, = align.apply(footage[keys[0]][None], align.subject_similarity(face.source, LARGE), LARGE)
    notes = [*footage.notes, *([] if fps or footage.fps else [f"{rate:g} frames per second are assumed, because the clip does not say: every time on this page, and "
             "the stretch in which onset and offset are searched, hang on it. Give FPS= (--fps) if you know it."]), *moved, *_notes(when, motion, noise, face, profile)]
    report = {
        "clip": readable(path.name), "profile": profile, "commit": runtime.commit(), "frames": len(footage), "size": list(footage.size),
        "fps": rate, "fps_assumed": not (fps or footage.fps), "face": face.face, "landmarks": f"{face.how}, frame {face.at}", "notes": notes,
        "moments": {"onset": when.onset, "apex": when.apex, "offset": when.offset, "found": list(when.found), "rule": timing.RULE,
                    "energy_px": when.energy.round(4).tolist(), "key_frames": keys},
        "noise_px": noise, "regions": region_rows(motion, noise),
        "evidence": {"note": calibrated, "threshold": 0.5, "moved": [{**row, "rows": because(described["courses"], noise, row)} for row in unit_rows(probability, 0.5)],
                     "all": unit_rows(probability, 0.0)},
        "answer": reply, "limits": list(page.LIMITS), "provenance": runtime.provenance(),
    }
    show = {"strip": pictures.strip(face.rgb, when), "energy": pictures.energy(when, rate),
            "flow": pictures.flow(*face.rgb[moments[:2]], field), "plain": pictures.moving(onset_large, field, 1),
            "magnified": pictures.moving(onset_large, field, draw.MAGNIFY), "regions": pictures.regions(motion, noise), "units": pictures.units(probability)}
    text = page.html(report, {name: page.data_url(content) for name, content in show.items()}, draw.MAGNIFY)
    with _made(folder):
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
    if moments.get("onset") == count - 1:
        raise AnalyseError(f"ONSET {count - 1} is the last frame of the clip: nothing moves after it; frame numbers count from 0")
    for name in ("apex", "offset"):
        if moments.get(name) == 0:
            raise AnalyseError(f"{name.upper()} 0 is the first frame of the clip: the onset must lie before it; frame numbers count from 0, leave {name.upper()}= "
                               "out if you do not know it")


def _check_writable(folder):
    """Refuse a folder for the report that cannot be made or written, before any work is done. Makes nothing."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise AnalyseError(f"{readable(folder)} cannot be made ({readable(there)} is no folder): choose another folder with OUT= (--out), or set DEFT_WORK")
    if not os.access(there, os.W_OK | os.X_OK):
        raise AnalyseError(f"{readable(there)} is not writable: choose another folder with OUT= (--out), or set DEFT_WORK")


@contextmanager
def _made(folder):
    """The folder, made; what was made of it goes again when the work in it fails and left nothing there."""
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for made in new:
            if any(made.iterdir()):
                break
            made.rmdir()
        raise


def folder_name(path):
    """Name and six digits of the path's hash: two clips of one name, as EP02_01f of two subjects, have two folders."""
    return f"{_plain_name(readable(path.name)) or 'clip'}-{hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:6]}"


def _plain_name(name):
    """A clip's name as a folder name: letters, digits and a few signs, so that no file name can leave the folder."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFKC", name))
    return kept.strip("._")[:60]


# ------------------------------------------------------------------------------------------------------ stations

def locate(footage, csv, profile, fps, onset=None, apex=None, offset=None):
    """-> (Aligned, Moments, notes): the landmarks of the onset frame, and the moments as they are found with them.

    An onset that is not given is found with the landmarks of frame 0; where the face had moved until then, these lie elsewhere. So the
    face is found again at that onset, and the moments once more. Raises AnalyseError when it does not keep its place until the apex.
    """
    def moments():
        found = timing.find(face.gray, face.landmarks, regions.masks(face.landmarks), fps, onset, apex, offset)
        check_order(found.onset, found.apex, found.offset)
        return found

    detect.check_uncut(footage)
    footage.hold({onset or 0, len(footage) // 2, len(footage) - 1})
    first = face = _align(footage, csv, onset or 0, profile)
    when, notes = moments(), []
    if when.onset != face.at:
        footage.hold({when.onset, len(footage) // 2, len(footage) - 1})
        face = _align(footage, csv, when.onset, profile)
        when = moments()
        if detect.union_share(first.box, face.box) < detect.STEADY:
            notes.append(f"The face lies elsewhere in frame {first.at} than at the onset; it was found again in frame {face.at}, and the moments after that.")
    footage.hold({when.onset, when.apex})
    for name, at in (("onset", when.onset), ("apex", when.apex)):
        try:
            box = face.box if at == face.at else _face(footage, csv, at)[1]
        except detect.FaceError as error:
            if name == "onset" or "faces found" in str(error):
                raise
            notes.append(f"No face was found at the apex, frame {at}: whether the head kept its place until then is unknown.")
            continue
        share = detect.union_share(face.box, box)
        if share < detect.STEADY:
            raise AnalyseError(f"the face does not keep its place: its boxes in frame {face.at} and at the {name}, frame {at}, share {share:.0%} of their area "
                               f"({detect.STEADY:.0%} are needed). Cut the clip to a part in which the head is still, or give ONSET and APEX within one")
    return face, when, notes


def _face(footage, csv, at):
    """(found face or landmarks, its box) of one frame."""
    if csv is not None:
        found = points.read_openface(csv, at)
        return found, (*found.min(0), *np.ptp(found, axis=0))
    try:
        found = detect.find_face(footage[at])
    except detect.FaceError as error:
        raise detect.FaceError(f"frame {at}: {error}") from error
    return found, found.box


def _align(footage, csv, at, profile):
    """Face and landmarks of frame `at`, and one similarity for the whole clip, of which only the aligned faces are kept."""
    found, box = _face(footage, csv, at)
    if csv is not None:
        face, how = "you", "from your file"
    else:
        detect.check_stays(footage, found, at)
        cascade, face = _cascade(profile), "a cascade"
        how = "placed by face and eyes" if found.eyes_found else "placed by the face alone: the eyes were not found"
        if cascade:
            how += f", then refined (error {cascade.errors['cascade']:.1%} of the eye distance on simulated people; unknown on yours)"
        found = points.from_face(footage[at], found, cascade)
    matrix = align.subject_similarity(found)
    rgb = np.empty((len(footage), align.SIZE, align.SIZE, 3), np.uint8)
    for number, frame in enumerate(footage):
        rgb[number], = align.apply(frame[None], matrix)
    gray = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in rgb])
    return Aligned(rgb, gray, align.points(found, matrix).astype(np.float32), found, at, box, face, how)


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


def _notes(when, motion, noise, face, profile):
    """Caveats: what the reader must know before trusting the rest."""
    notes = []
    if when.found and when.energy[when.apex] < CLEAR * max(float(np.median(when.energy)), noise / 2):
        notes.append("No movement stands out clearly from the rest of this clip: the moments found are guesses. Give ONSET, APEX and OFFSET if you know them.")
    if not any(side["moves"] for row in region_rows(motion, noise) for name, side in row.items() if name != "region"):
        notes.append("No region moves enough for a statement: nothing was measured on this clip. A class or a unit that the model names below rests on nothing.")
    seen = paths.work(profile) / "motion" / "corpus" / "noise.npy"   # what the calibration of the evidence was fitted on
    if seen.is_file() and noise > (most := float(runtime.load_array(seen.parent, "noise").max())):
        notes.append(f"The noise floor, {noise:.2f} px, is above every one that the calibration saw (at most {most:.2f} px): its probabilities do not hold here. "
                     "The head moves too much, or the landmarks lie wrong.")
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
