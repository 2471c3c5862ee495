"""From recorded clips to the arrays of stages 02 and 03, one clip at a time: what a licensed data set goes through.

The simulator's sets are small and come in shards; a real one may hold 8,000 clips of 100 frames. Here a clip is
decoded, its face found, aligned and measured, written to a file of its own, and forgotten: memory holds one clip per
worker, a killed run goes on where it stopped, and a clip that fails is reported while the others are prepared. `gather`
then writes the arrays under `faces/<set>` and `motion/<set>` clip by clip into memory-mapped files.

Work is spread by joblib: threads by default (OpenCV and numpy release the lock), any other engine by the caller's
`joblib.parallel_config("loky")` or `("dask")`; the bytes do not depend on it.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import cv2
import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from deft import cache, runtime
from deft.clips.keyframes import key_frames, shown
from deft.clips.record import Clip
from deft.faces import align, detect, landmarks, regions
from deft.faces.mesh import Mesh
from deft.motion import courses, moments


class Points(Protocol):
    """Landmarks that another detector found (`deft.licensed.points`). files: {clip id: the file of its points}."""

    files: Mapping[str, Path]

    def points(self, clip: Clip) -> np.ndarray:
        """(68, 2) px of the clip's onset; FaceError without."""


FACES, MOTION = ("gray", "rgb", "landmarks", "matrix"), ("courses", "peak", "residual", "noise")
# of the other arrays of a file, so that it is whole by itself and no list has to be kept beside thousands of them
SUM = "sha256"
ATTEMPTS = 3  # a worker may be killed (memory, a scheduler); its clips are tried again


def prepare(
    clips: Iterable[Clip],
    folder: Path,
    cascade: landmarks.Cascade | Mesh | None = None,
    method: str = courses.METHOD,
    jobs: int | None = None,
    points: Points | None = None,
) -> pd.DataFrame:
    """Prepare every clip into folder/<hash of what it is made from>.npz; finished clips are kept. -> one row per clip:
    clip, file, error.

    clips: records with onset, apex and offset as positions in `frames`; frames may be decoded at access
    (`deft.clips.read`). cascade: landmark regressor (stage 02); without one, landmarks hang on face and eyes alone.
    points: landmarks that another detector found; then no other are used.
    error: "" or what is wrong with this clip, in words (no face, two faces, a cut, unreadable frames, moments that do
    not rise)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = list(clips)
    twice = pd.Series([clip.id for clip in asked]).loc[lambda ids: ids.duplicated()]
    if len(twice):
        raise ValueError(f"clip {twice.iloc[0]} occurs twice; every clip needs an id of its own")
    errors, files = {}, targets(asked, cascade, method, points)
    for attempt in range(ATTEMPTS):
        waiting = [clip for clip in asked if clip.id not in errors and not (folder / files[clip.id]).exists()]
        try:
            with threadpool_limits(1):
                done = joblib.Parallel(
                    n_jobs=jobs or runtime.jobs(), prefer="threads", return_as="generator_unordered"
                )(joblib.delayed(_one)(clip, folder / files[clip.id], cascade, method, points) for clip in waiting)
                for name, error in runtime.bar(done, len(waiting), "prepare", "clip") if waiting else ():
                    if error:
                        errors[name] = error
            break
        except TerminatedWorkerError as error:
            if attempt == ATTEMPTS - 1:
                raise RuntimeError(
                    f"workers were killed {ATTEMPTS} times, most likely for memory; finished clips are kept: run again"
                    " with fewer jobs"
                ) from error
    return pd.DataFrame(
        [
            {"clip": clip.id, "file": "" if clip.id in errors else files[clip.id], "error": errors.get(clip.id, "")}
            for clip in asked
        ]
    )


def targets(
    clips: Iterable[Clip],
    cascade: landmarks.Cascade | Mesh | None = None,
    method: str = courses.METHOD,
    points: Points | None = None,
) -> dict[str, str]:
    """{clip id: name of its file}: valid on every file system, and another one as soon as what the arrays are computed
    from changes.

    Of decoded-at-access frames (`deft.clips.read`) that is their files' paths, sizes and times, so that pictures put in
    the place of others are prepared anew; of an array of frames it is the clip's id."""
    common = hashlib.sha256(cache.key(settings={"method": method}, code="deft.motion.prepare").encode())
    for array in () if cascade is None else cascade.arrays:
        common.update(np.ascontiguousarray(array))
    names = {}
    for clip in clips:
        reel = clip.__dict__.get("_source")  # a RecordedClip's; reading `clip.frames` would decode it
        stats = [
            (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            for path in (
                *getattr(reel, "files", ()),
                getattr(reel, "video", None),
                points and points.files.get(clip.id),
            )
            if path is not None
        ]
        stats += ["points"] if points else []
        own = (clip.id, clip.onset, clip.apex, clip.offset, stats, getattr(reel, "positions", ()), common.hexdigest())
        names[clip.id] = hashlib.sha256(repr(own).encode()).hexdigest()[:24] + ".npz"
    return names


def _one(clip: Clip, target: Path, cascade, method: str, points: Points | None) -> tuple[str, str]:
    """(id, error); the file appears whole or not at all."""
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):  # sums of two threads have other last digits, and a worker may be given two
            arrays = describe(clip, cascade, method, points)
    except ValueError as error:  # what is wrong with one clip; anything else is a mistake of ours and stops the run
        return clip.id, str(error)
    arrays = {"clip": np.array(clip.id), **arrays}
    with runtime.atomic(target) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, **{SUM: np.array(_sum(arrays))})
    return clip.id, ""


def _sum(arrays: dict[str, np.ndarray]) -> str:
    """sha256 over names, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def load(path: Path, clip: str) -> dict[str, np.ndarray]:
    """The arrays of one prepared clip. Raises ValueError, naming the file, when it is damaged, altered or of another
    clip.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} of clip {clip} cannot be read ({error})") from error
    if str(arrays.pop(SUM, "")) != _sum(arrays):
        raise ValueError(f"{path} of clip {clip} was altered since it was written")
    if str(arrays["clip"]) != clip:
        raise ValueError(f"{path} holds clip {arrays['clip']}, not {clip}")
    return arrays


def damage(path: Path, clip: str) -> str:
    """What is wrong with the prepared file of a clip, in words; "" when it is whole."""
    try:
        load(path, clip)
    except ValueError as error:
        return str(error)
    return ""


def describe(
    clip: Clip,
    cascade: landmarks.Cascade | Mesh | None = None,
    method: str = courses.METHOD,
    points: Points | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of stages 02 and 03 for one clip, at its nine key frames: see FACES and MOTION, without the clip axis.
    And `moments` (3,): the positions of onset, apex and offset that were used.

    clip: onset, apex and offset are positions in its frames; an apex that lies on onset or offset is found from the
    motion between them. cascade: landmark regressor (stage 02), or None. method: of flow. points: as for `prepare`.
    Raises ValueError, naming the clip, where a moment is unknown or outside the frames, and FaceError where no face is
    found."""
    if clip.onset is None or clip.apex is None or clip.offset is None:
        raise ValueError(f"{clip.id}: onset, apex and offset must be known (positions in its frames)")
    frames = clip.frames  # decoded here, once
    if clip.offset >= len(frames):
        raise ValueError(f"{clip.id}: offset {clip.offset} is outside its {len(frames)} frames")
    looked_for = clip.apex in (clip.onset, clip.offset) and clip.offset - clip.onset > 1
    keys = () if looked_for else key_frames(clip.onset, clip.apex, clip.offset)  # refused before a face is looked for
    if points is None:
        marks = landmarks.from_face(frames[clip.onset], detect.find_in_clip(frames, clip.onset), cascade)
    else:
        marks = points.points(clip)
        if not (marks.min() >= -max(frames.shape[1:3]) and (marks.mean(0) < frames.shape[2:0:-1]).all()):
            raise detect.FaceError(
                f"{points.files[clip.id]}: points outside of the {frames.shape[2]}x{frames.shape[1]} px frame"
            )
    apex = _apex(clip, frames, marks) if looked_for else clip.apex
    keys = keys or key_frames(clip.onset, apex, clip.offset)
    frames = frames[list(keys)]  # the others are forgotten here
    aligned = align.align_clip(frames, marks)
    local = aligned.landmarks.astype(np.float32)
    return {
        "gray": aligned.gray,
        "rgb": aligned.rgb[shown(len(keys))],
        "landmarks": local,
        "matrix": aligned.matrix.astype(np.float32),
        "moments": np.array([clip.onset, apex, clip.offset]),
        **courses.measure_clip(aligned.gray, local, method),
    }


def _apex(clip: Clip, frames: np.ndarray, marks: np.ndarray) -> int:
    """Position of the frame between onset and offset that moves most (`deft.motion.moments`)."""
    aligned = align.align_clip(frames[clip.onset : clip.offset + 1], marks)
    points, last = aligned.landmarks.astype(np.float32), clip.offset - clip.onset
    rate = clip.fps or last / moments.RISE / 2  # without a rate, motion is compared over half of the clip
    found = moments.find(aligned.gray, points, regions.masks(points), rate, onset=0, offset=last)
    return clip.onset + found.apex


def gather(table: pd.DataFrame, folder: Path, faces: Path, motion: Path) -> list[str]:
    """Write the prepared clips of `table` (from `prepare`, those without error) as faces/<set>/*.npy and
    motion/<set>/*.npy.

    -> ids in the order of the arrays. Raises ValueError when no clip was prepared or a file is damaged,
    FileNotFoundError when one is gone."""
    ready = table[table["error"] == ""]
    if ready.empty:
        raise ValueError("no clip could be prepared; the column `error` of the table says why")
    with ExitStack() as files:
        out = {}
        for row, (name, file) in enumerate(zip(ready["clip"], ready["file"])):
            if not (folder / file).exists():
                raise FileNotFoundError(f"{folder / file} of clip {name} is gone; run `prepare` again")
            try:
                arrays = load(folder / file, name)
            except ValueError as error:
                raise ValueError(f"{error}; remove it and run `prepare` again") from error
            for key in (*FACES, *MOTION):
                if key not in out:
                    path = files.enter_context(runtime.atomic((faces if key in FACES else motion) / f"{key}.npy"))
                    out[key] = np.lib.format.open_memmap(
                        path, mode="w+", dtype=arrays[key].dtype, shape=(len(ready), *arrays[key].shape)
                    )
                out[key][row] = arrays[key]
        for array in out.values():
            array.flush()
    return list(ready["clip"])
