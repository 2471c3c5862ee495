"""Preparing recorded clips: the same bytes for any engine, nothing lost when a worker dies, one bad clip harms no
other.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from deft import cache, runtime
from deft.clips import facs, simulator
from deft.clips.record import Clip
from deft.faces import align
from deft.motion import courses, prepare


@pytest.fixture(scope="module")
def clips():
    """Two simulated people filmed at 192 px, as a reader would hand them over (truth left out)."""
    found = []
    for person in (3, 8):
        clip = simulator.render(person, {"12": 0.5}, size=192, frames=24, fps=100.0, seed=person)
        found.append(
            Clip(
                frames=clip.frames,
                times_ms=clip.times_ms,
                fps=100.0,
                id=f"set/s{person:02d}/réac 1",
                subject=f"s{person:02d}",
                onset=clip.onset,
                apex=clip.apex,
                offset=min(clip.offset, 23),
            )
        )
    return found


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.npz")}


@pytest.fixture(scope="module")
def threads(clips, tmp_path_factory):
    """What the usual engine makes of the clips: its table and its files."""
    folder = tmp_path_factory.mktemp("threads")
    return prepare.prepare(clips, folder), content(folder)


def test_any_engine_gives_the_same_bytes(clips, threads, tmp_path):
    table, files = threads
    assert list(table["error"]) == ["", ""] and list(table["clip"]) == [c.id for c in clips] and len(files) == 2
    prepare.prepare(clips, tmp_path / "one", jobs=1)
    with joblib.parallel_config("loky", n_jobs=2):
        prepare.prepare(clips, tmp_path / "processes")
    assert files == content(tmp_path / "one") == content(tmp_path / "processes")


def test_dask_gives_the_same_bytes(clips, threads, tmp_path):
    import distributed

    with distributed.Client(n_workers=1, threads_per_worker=2, dashboard_address=None), joblib.parallel_config("dask"):
        prepare.prepare(clips, tmp_path / "dask")
    assert threads[1] == content(tmp_path / "dask")


def test_what_is_finished_is_kept_and_a_bad_clip_is_named(clips, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 120, 120, 3), dtype=np.uint8)
    bad = [
        replace(clips[0], frames=noise, id="set/noise", apex=4, offset=9),
        replace(clips[1], id="set/order", apex=clips[1].onset, offset=clips[1].onset + 1),
        replace(clips[1], id="set/long", offset=400),
    ]
    first = prepare.prepare([clips[0], *bad], tmp_path)
    times = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    errors = dict(zip(first["clip"], first["error"]))
    assert (
        errors[clips[0].id] == ""
        and "no face" in errors["set/noise"]
        and "must rise" in errors["set/order"]
        and "outside its 24 frames" in errors["set/long"]
    )
    second = prepare.prepare([*clips, *bad], tmp_path)
    assert (second["error"] == "").sum() == 2 and all(
        p.stat().st_mtime_ns == times[p.name] for p in tmp_path.glob("*.npz") if p.name in times
    )
    assert not list(tmp_path.glob("*partial*"))
    with pytest.raises(ValueError, match="occurs twice"):
        prepare.prepare([clips[0], clips[0]], tmp_path)


def test_an_apex_on_onset_or_offset_is_found_from_the_motion(clips):
    """The true apex to within a tenth of a second; an apex that rises is used as it is written."""
    true = clips[0].apex
    for at in (clips[0].onset, clips[0].offset):
        onset, apex, offset = prepare.describe(replace(clips[0], apex=at))["moments"]
        assert (onset, offset) == (clips[0].onset, clips[0].offset) and onset < apex < offset and abs(apex - true) <= 10
    assert prepare.describe(replace(clips[0], apex=true + 1))["moments"][1] == true + 1


def test_prepared_files_follow_all_the_code_that_makes_them(clips, monkeypatch):
    """Of detection, landmarks, regions and the rigid fit as much as of the flow: what they made before is not taken
    for theirs.
    """
    code, before = cache.code_of("deft.motion.prepare"), prepare.targets(clips)
    assert prepare.targets(clips) == before
    for name in (
        "faces/detect",
        "faces/landmarks",
        "faces/regions",
        "faces/align",
        "motion/rigid",
        "motion/courses",
        "motion/flow",
        "motion/prepare",
    ):
        assert f"deft/{name}.py" in code
        monkeypatch.setattr(
            cache, "code_of", lambda dotted, root=None, name=name: {**code, f"deft/{name}.py": "edited"}
        )
        assert not set(prepare.targets(clips).values()) & set(before.values()), name


def test_a_damaged_or_altered_file_is_named(clips, tmp_path):
    table = prepare.prepare(clips, tmp_path)
    files = [tmp_path / name for name in table["file"]]
    whole = files[0].read_bytes()
    assert [prepare.damage(file, clip.id) for file, clip in zip(files, clips)] == ["", ""]
    with np.load(files[0], allow_pickle=False) as arrays:
        edited = {**arrays, "noise": arrays["noise"] * 2}
    for content, words in (
        (whole[:5000], "cannot be read"),
        (whole[:9000] + bytes([whole[9000] ^ 4]) + whole[9001:], "cannot be read"),
        (b"", "cannot be read"),
        (files[1].read_bytes(), "holds clip"),
        (None, "was altered since"),
    ):
        files[0].write_bytes(content) if content is not None else np.savez(files[0], **edited)
        assert words in prepare.damage(files[0], clips[0].id) and str(files[0]) in prepare.damage(files[0], clips[0].id)
        with pytest.raises(ValueError, match="remove it and run `prepare` again"):
            prepare.gather(table, tmp_path, tmp_path / "faces", tmp_path / "motion")


@dataclass(frozen=True)
class Deadly(Clip):
    """Kills the process that decodes it, the first time."""

    flag: str = ""

    def __getattribute__(self, name):
        if name == "frames":
            flag = Path(object.__getattribute__(self, "flag"))
            if not flag.exists():
                flag.write_text("been here")
                os._exit(9)
        return object.__getattribute__(self, name)


def test_the_clip_of_a_killed_worker_is_redone(clips, tmp_path):
    fields = {name: getattr(clips[1], name) for name in Clip.__dataclass_fields__}
    deadly = Deadly(**{**fields, "id": "set/deadly"}, flag=str(tmp_path / "flag"))
    with joblib.parallel_config("loky", n_jobs=2):
        table = prepare.prepare([clips[0], deadly], tmp_path / "out")
    assert list(table["error"]) == ["", ""] and len(content(tmp_path / "out")) == 2


def test_gather_gives_what_the_later_stages_read(clips, tmp_path):
    table = prepare.prepare(clips, tmp_path / "clips")
    assert prepare.gather(table, tmp_path / "clips", tmp_path / "faces", tmp_path / "motion") == [c.id for c in clips]
    gray, measured = runtime.load_array(tmp_path / "faces", "gray"), runtime.load_array(tmp_path / "motion", "courses")
    assert gray.shape == (2, 9, align.SIZE, align.SIZE) and measured.shape == (2, 8, 36, 5)
    with threadpool_limits(1):  # as `prepare` computes: several threads of the matrix library add in another order
        again = courses.measure_clip(
            np.asarray(gray[0]), np.asarray(runtime.load_array(tmp_path / "faces", "landmarks")[0])
        )
    assert np.array_equal(again["courses"], measured[0])
    corner = [row for row, (name, side) in enumerate(facs.REGIONS) if name == "lip_corner"]
    assert (measured[:, 2:4, corner, 1].mean((1, 2)) < -0.1).all()  # a smile: the lip corners rise
    (tmp_path / "clips" / table["file"][1]).unlink()
    with pytest.raises(FileNotFoundError, match="run `prepare` again"):
        prepare.gather(table, tmp_path / "clips", tmp_path / "faces", tmp_path / "motion")
    with pytest.raises(ValueError, match="no clip could be prepared"):
        prepare.gather(table.assign(error="x"), tmp_path / "clips", tmp_path / "faces", tmp_path / "motion")
