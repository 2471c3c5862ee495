"""One clip of the reader's own, from a video to one offline page: `python -m deft analyse CLIP` or `make analyse
CLIP=...`.

What is measured (flow, regions, noise floor, evidence per unit) needs no trained model; the answer
(`deft.mllm.pipeline`) does, and the page says so when there is none. Nothing leaves the machine, and the page carries
what it cannot be used for."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deft import config, paths, runtime
from deft import drawing as draw
from deft.analyse import page, pictures
from deft.clips.footage import Footage, readable
from deft.faces import align, mesh
from deft.faces import landmarks as points
from deft.motion import courses, evidence
from deft.motion.locate import ClipError, check_inside, check_order
from deft.unimer.check import UNIT_THRESHOLD
from deft.unimer.measure import measure

ASSUMED_FPS = 200.0  # of a folder of pictures, which does not say: the rate of CASME II and of SAMM
LARGE = 288  # px, side of the moving pictures
CLEAR = 2.0  # the apex must stand out this many times from the median energy, or the moments are called guesses


def analyse(
    path: str | Path,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    landmarks: Path | None = None,
    profile: str = "demo",
    out: str | Path | None = None,
    fps: float | None = None,
) -> Path:
    """Write report.html and report.json about one clip and return the path of the page.

    path: video or folder of frames; onset, apex, offset: frame numbers from 0, found from the motion when None;
    landmarks: CSV with 68 points (`deft.faces.imported`), or `mesh.NAME` for the optional detector; out:
    folder, by default work/<profile>/own/<name of the clip>-<six digits of
    its path's hash>; fps: frames per second when the source does not say. Memory is bounded (`deft.clips.footage`).
    Raises ClipError, FaceError, FootageError or OSError with a remedy; nothing is half-written, and a call that fails
    leaves no folder."""
    path = Path(path)
    config.check_profile(profile, paths.NOTEBOOKS)
    check_order(onset, apex, offset)
    work = paths.work(profile)
    folder = Path(out) if out else work / "own" / folder_name(path)
    _check_writable(folder)
    footage = Footage(path)
    check_inside(len(footage), onset=onset, apex=apex, offset=offset)
    rate = float((footage.fps or ASSUMED_FPS) if fps is None else fps)
    cascade, calibration = _of_profile(work)
    if mesh.asked(landmarks):
        cascade, landmarks = mesh.load(), None
    clip = measure(footage, rate, onset, apex, offset, landmarks, cascade, calibration)
    first, top, _ = clip.shown
    face, noise = clip.face, clip.noise
    field = courses.flows(face.gray[clip.shown], face.landmarks)[0].mean(0) * draw.face_mask(face.landmarks)[..., None]
    matrix = align.subject_similarity(face.source, LARGE)
    (onset_large,) = align.apply(footage[first][None], matrix, LARGE)
    assumed = (
        []
        if fps or footage.fps
        else [
            f"{rate:g} frames per second are assumed, because the clip does not say: every time on this page, and the"
            " stretch in which onset and offset are searched, hang on it. Give FPS= (--fps) if you know it."
        ]
    )
    report = {
        "clip": readable(path.name),
        "profile": profile,
        "commit": runtime.commit(),
        "frames": len(footage),
        "size": list(footage.size),
        "fps": rate,
        "fps_assumed": bool(assumed),
        "face": face.face,
        "landmarks": f"{face.how}, frame {face.at}",
        "notes": [*footage.notes, *assumed, *clip.notes, *_notes(clip, work)],
        **clip.report(),
        "answer": _answer(clip, work),
        "limits": list(page.LIMITS),
        "provenance": runtime.provenance(),
    }
    show = {
        "strip": pictures.strip(face.rgb, clip.when),
        "energy": pictures.energy(clip.when, rate),
        "points": pictures.points(onset_large, align.points(face.source, matrix)),
        "flow": pictures.flow(face.rgb[first], face.rgb[top], field),
        "plain": pictures.moving(onset_large, field, 1),
        "magnified": pictures.moving(onset_large, field, draw.MAGNIFY),
        "regions": pictures.regions(clip.motion, noise),
        "units": pictures.units(clip.probability),
    }
    text = page.html(report, {name: page.data_url(content) for name, content in show.items()}, draw.MAGNIFY)
    with _made(folder):
        runtime.write_json(folder / "report.json", report)
        with runtime.atomic(folder / "report.html") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def _of_profile(work):
    """(landmark regressor, calibration of the evidence) of a profile; None for what was not made yet."""
    cascade, calibration = work / "faces" / "landmarks", work / "evidence" / "calibration.json"
    return (
        points.load(cascade) if (cascade / "weights.npz").exists() else None,
        evidence.Calibration.load(calibration) if calibration.exists() else None,
    )


def _answer(clip, work):
    """What the profile's model says about the clip, or why there is none."""
    if not (work / "mllm" / "runs" / "deft" / "seed0" / "fold0" / "config.json").is_file():
        return {
            "text": "",
            "why_not": (
                f"The model has not been trained yet in profile {work.name}. Train it with `make reproduce"
                f" PROFILE={work.name}`, then make this report again. Everything above is measured and needs no model."
            ),
        }
    from transformers.utils import logging as hf_logging

    from deft.mllm.pipeline import DeftPipeline

    hf_logging.disable_progress_bar()  # one line of result, not a bar per file that is loaded
    pipeline = DeftPipeline.from_pretrained(work)
    said = pipeline.answer(clip)
    right = [statement["supported"] for statement in said["statements"]]
    return {
        **{name: said[name] for name in ("moving", "text", "written", "dropped", "sure", "scores", "statements")},
        "source": pipeline.source,
        "precision": float(np.mean(right)) if right else 1.0,
        "expert_units": [row for row in said["units"] if row["probability"] >= UNIT_THRESHOLD],
    }


def _notes(clip, work):
    """Caveats: what the reader must know before trusting the rest."""
    notes, when = [], clip.when
    if when.found and when.energy[when.apex] < CLEAR * max(float(np.median(when.energy)), clip.noise / 2):
        notes.append(
            "No movement stands out clearly from the rest of this clip: the moments found are guesses. Give ONSET, APEX"
            " and OFFSET if you know them."
        )
    if not clip.moving:
        notes.append(
            "No movement found: no region, or none that speaks for an action unit, moves beyond the noise of this clip."
            " Whatever the model writes about it rests on nothing and is folded away."
        )
    seen = work / "motion" / "corpus" / "noise.npy"  # what the calibration of the evidence was fitted on
    if seen.is_file() and clip.noise > (most := float(runtime.load_array(seen.parent, "noise").max())):
        notes.append(
            f"The noise floor, {clip.noise:.2f} px, is above every one that the calibration saw (at most {most:.2f}"
            " px): its probabilities do not hold here. The head moves too much, or the landmarks lie wrong."
        )
    if when.apex == when.offset:
        notes.append(
            "The clip ends at its apex: the fall of the movement is not in it, so the time course says less than usual."
        )
    if "not found" in clip.face.how:
        notes.append(
            "The eyes were not found, so the regions may sit a little off. Landmarks from OpenFace (--landmarks) are"
            " better."
        )
    return notes


# -------------------------------------------------------------------------------------------------------- folders


def _check_writable(folder):
    """Refuse a folder for the report that cannot be made or written, before any work is done. Makes nothing."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise ClipError(
            f"{readable(folder)} cannot be made ({readable(there)} is no folder): choose another folder with OUT="
            " (--out), or set DEFT_WORK"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise ClipError(f"{readable(there)} is not writable: choose another folder with OUT= (--out), or set DEFT_WORK")


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


def folder_name(path: Path) -> str:
    """Name and six digits of the path's hash: two clips of one name, as EP02_01f of two subjects, have two folders."""
    digits = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:6]
    return f"{_plain_name(readable(path.name)) or 'clip'}-{digits}"


def _plain_name(name):
    """A clip's name as a folder name: letters, digits and a few signs, so that no file name can leave the folder."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFKC", name))
    return kept.strip("._")[:60]
