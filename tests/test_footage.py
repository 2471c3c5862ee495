"""Frames on disk: nothing damaged is read in silence, no name ends the process, and memory does not grow with the
clip.
"""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from deft import paths
from deft.clips import footage
from deft.clips.footage import Footage, FootageError


def write_video(path, frames, fps=50):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def noise(count, height=48, width=64):
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3)).astype(np.uint8)


def write_folder(path, frames, suffix=".png"):
    path.mkdir()
    for number, frame in enumerate(frames):
        (path / f"{number}{suffix}").write_bytes(cv2.imencode(suffix, frame)[1].tobytes())
    return path


@pytest.mark.parametrize("kept", [footage.KEPT_BYTES, 0])
def test_frames_are_the_same_whether_kept_or_decoded_again(tmp_path, kept):
    for path in (write_video(tmp_path / "a.avi", noise(7)), write_folder(tmp_path / "b", noise(7))):
        clip, whole = Footage(path, kept_bytes=kept), list(Footage(path))
        assert len(clip) == 7 and (clip._all is None) == (kept == 0)
        for _ in range(2):
            assert all(np.array_equal(a, b) for a, b in zip(clip, whole, strict=True))
        clip.hold([5, 2])
        assert all(np.array_equal(clip[at], whole[at]) for at in (2, 5, 0, 6))
        with pytest.raises(IndexError):
            clip[7]


def test_a_video_that_is_cut_short_is_refused(tmp_path):
    whole = write_video(tmp_path / "whole.avi", noise(25)).read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        FootageError, match=r"half.avi is cut short: it says 25 frames, \d+ can be decoded; copy it again"
    ):
        Footage(tmp_path / "half.avi")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_a_picture_that_is_cut_short_is_named(tmp_path, suffix):
    folder = write_folder(tmp_path / "clip", noise(4), suffix)
    Footage(folder)
    cut = folder / f"2{suffix}"
    cut.write_bytes(cut.read_bytes()[: int(0.97 * cut.stat().st_size)])
    with pytest.raises(FootageError, match=f"2{suffix} is cut short: copy it again"):
        Footage(folder)


def test_ten_bits_in_sixteen_keep_their_grey_levels(tmp_path):
    ramp = np.repeat(np.arange(0, 1024, 8, dtype=np.uint16)[None, :, None], 3, 2)
    clip = Footage(write_folder(tmp_path / "ten", [np.repeat(ramp, 16, 0)] * 2))
    assert len(np.unique(clip[0])) == 128 and clip[0].max() == 254 and "of which 10 are used" in clip.notes[0]
    full = Footage(write_folder(tmp_path / "full", [np.repeat(ramp * 64, 16, 0)] * 2))
    assert np.array_equal(full[0], clip[0])


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", noise(7))
    with pytest.raises(FootageError, match="more than 5 frames: cut the clip"):
        Footage(path, max_frames=5)
    monkeypatch.setattr(footage, "MAX_PIXELS", 3000)
    for clip in (path, write_folder(tmp_path / "b", noise(3))):
        with pytest.raises(FootageError, match="a frame of 64x48 is larger than"):
            Footage(clip)


USE = """
import os, resource, sys
from pathlib import Path
from deft.clips.footage import Footage
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    clip = Footage(Path(name))
    clip.hold([3])
    if not clip.path.is_dir():
        from deft.clips.readers.reel import Reel
        assert len(Reel((1, 2), (), clip.path, (0, 3)).load()) == 2
    print(len(clip), clip[3].shape, sum(1 for _ in clip))
print("peak", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def in_a_process(code, *arguments):
    """What a process of its own printed: a segmentation fault or a high peak of memory would be this process's."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=paths.ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    return done.stdout


def test_a_name_that_is_not_utf8_ends_no_process(tmp_path):
    folder = tmp_path / os.fsdecode(b"gbk-\xff\xd6")
    folder.mkdir()
    video = write_video(tmp_path / "a.avi", noise(5)).rename(folder / os.fsdecode(b"\xff.avi"))
    pictures = write_folder(folder / os.fsdecode(b"clip\xfe"), noise(5))
    assert in_a_process(USE, str(video), str(pictures)).splitlines()[:2] == ["5 (48, 64, 3) 5"] * 2
    (folder / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(FootageError, match=r"gbk-\\xff\\xd6/bad.mp4 cannot be decoded"):
        Footage(folder / "bad.mp4")
    with pytest.raises(FootageError, match="no such file"):
        Footage(folder / "absent.mp4")


def test_memory_does_not_grow_with_the_clip(tmp_path):
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    path = write_video(tmp_path / "long.avi", [frame] * 60)  # 370 MB of frames
    peak = int(in_a_process(USE.replace("Path(name)", "Path(name), kept_bytes=64 * 2**20"), str(path)).split("peak")[1])
    assert peak < 64 + 120, f"{peak} MB"
