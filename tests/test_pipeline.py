"""From frames to an answer in memory: the same numbers as stage by stage, a folder that holds everything, and errors
with a remedy.
"""

import json

import made_profile
import numpy as np
import pytest

from deft import runtime
from deft.clips import facs, simulator, store
from deft.clips.record import Clip
from deft.experts import pretrain
from deft.faces import landmarks
from deft.mllm import data, runs, score
from deft.mllm.pipeline import DeftPipeline
from deft.motion import evidence, prepare
from deft.systems import SYSTEMS
from deft.unimer.check import check

FPS, MOMENTS = 100.0, {"onset": 0, "apex": 13, "offset": 24}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder of random weights, with a tuned run."""
    work = tmp_path_factory.mktemp("pipeline") / "tiny"
    made_profile.write_profile(work)
    made_profile.write_run(work)
    return work


@pytest.fixture(scope="module")
def frames():
    person = simulator.sample_identity(1021, size=160)
    return simulator.render_clip(
        person,
        {"6": 0.3, "12": 0.35},
        times_ms=np.arange(0, 260, 1000 / FPS),
        truth="none",
        timing=simulator.Timing(130, 40, 80),
        camera=simulator.Camera(noise=2.0, jpeg=85),
        seed=3,
        fps=FPS,
    ).frames


@pytest.fixture(scope="module")
def pipeline(work):
    return DeftPipeline.from_pretrained(work)


@pytest.fixture(scope="module")
def said(pipeline, frames):
    return pipeline(frames, fps=FPS, **MOMENTS)


def test_it_says_what_the_stages_say(work, frames, said):
    """Every stage writes its files and the next reads them; in memory the same numbers come out."""
    clip = Clip(frames, np.arange(len(frames)) * 1000 / FPS, FPS, id="own", **MOMENTS)
    found = prepare.describe(clip, landmarks.load(work / "faces" / "landmarks"))
    row = dict.fromkeys(store.INDEX_COLUMNS, "") | {
        "clip": "own",
        "subject": "own",
        "onset": 0,
        "apex": 3,
        "offset": 8,
        "look": 0,
        "fps": FPS,
    }
    store.write_shard(work / "clips" / "own" / "own.npz", [row], "own")
    for name in ("rgb", *prepare.MOTION):
        runtime.save_array(work / ("faces" if name == "rgb" else "motion") / "own", name, np.asarray(found[name])[None])
    for letter in SYSTEMS["deft"].streams:
        pretrain.extract({"s": "structure", "t": "texture", "m": "motion"}[letter], "own", work)
    bench = data.read_bench(work, "own", "stm", facts=False)
    tokenizer, model = score.load(runs.Job("deft", 0, 0).folder(work))
    likelihood = score.emotion_scores(model, tokenizer, bench, np.array([0]))[0]
    assert (
        said["scores"] == {emotion: float(p) for emotion, p in zip(facs.EMOTIONS, likelihood)}
        and said["emotion"] == facs.EMOTIONS[likelihood.argmax()]
    )
    assert [said["text"]] == score.answers(model, tokenizer, bench, np.array([0]))
    units = np.mean([bench.features[f"{name}_units"][0] for name in ("texture", "motion")], axis=0)
    assert {(row["unit"], row["side"]): row["probability"] for row in said["units"]} == {
        (unit, side): float(units[u, s])
        for u, unit in enumerate(facs.UNITS)
        for s, side in enumerate(("left", "right"))
    }
    probability = evidence.Calibration.load(work / "evidence" / "calibration.json").apply(
        evidence.score(found["courses"], found["noise"])
    )
    assert {
        (row["unit"], row["side"]): row["probability"] for row in said["evidence"]["evidence"]["all"]
    } == pytest.approx(
        {
            (unit, side): float(probability[u, s])
            for u, unit in enumerate(facs.UNITS)
            for s, side in enumerate(("left", "right"))
        }
    )
    peak = found["courses"][2:4, :, :2].mean(0)
    assert (
        said["statements"]
        == check(said["text"], {"region": peak, "noise": found["noise"], "probability": probability})["statements"]
    )
    assert set(said) == {"emotion", "scores", "units", "text", "statements", "evidence"} and json.dumps(said)


def test_moments_that_are_not_given_are_found(pipeline, frames):
    found = pipeline([frame.mean(-1).astype(np.uint8) for frame in frames], fps=FPS)["evidence"]["moments"]
    assert (
        found["found"] == ["onset", "apex", "offset"]
        and found["onset"] < found["apex"] <= found["offset"]
        and len(found["key_frames"]) == 9
    )


def test_the_folder_holds_everything(pipeline, frames, said, tmp_path):
    folder = pipeline.save_pretrained(tmp_path / "model")
    parts = runtime.read_json(folder / "pipeline.json")["parts"]
    assert set(parts) == {"model", "landmarks", "evidence", "structure", "texture", "motion"} and not any(
        place.startswith("/") for place in parts.values()
    )
    moved = folder.rename(tmp_path / "elsewhere")
    assert DeftPipeline.from_pretrained(moved)(frames, fps=FPS, **MOMENTS) == said
    referred = pipeline.save_pretrained(tmp_path / "referred", large=1)
    assert [p.name for p in referred.iterdir()] == ["pipeline.json"] and DeftPipeline.from_pretrained(
        referred
    ).source == pipeline.source


def test_what_is_missing_or_damaged_is_named_with_a_remedy(pipeline, frames, tmp_path):
    with pytest.raises(FileNotFoundError, match="no pipeline.json.*07_joint_tuning.*save_pretrained"):
        DeftPipeline.from_pretrained(tmp_path)
    (tmp_path / "mllm" / "runs").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no tuned model.*make reproduce"):
        DeftPipeline.from_pretrained(tmp_path)
    folder = pipeline.save_pretrained(tmp_path / "model")
    (folder / "motion" / "model.safetensors").unlink()
    with pytest.raises((FileNotFoundError, ValueError), match="motion.*06_experts"):
        DeftPipeline.from_pretrained(folder)
    with pytest.raises(FileExistsError, match="is no pipeline"):
        pipeline.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda f: f[:1], "1 frame; motion needs"),
        (lambda f: [f[0], f[1][:80]], "one size"),
        (lambda f: [x.astype(float) for x in f], "must be uint8"),
        (lambda f: [x[..., :2] for x in f], r"\(H, W, 3\) RGB"),
    ],
)
def test_frames_that_cannot_be_read(pipeline, frames, change, words):
    with pytest.raises(ValueError, match=words):
        pipeline(change(frames), fps=FPS)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"onset": 9, "apex": 3}, "ONSET 9 is not before APEX 3"),
        ({"apex": 99}, "outside the clip"),
        ({"fps": 0.0}, "no frame rate"),
    ],
)
def test_moments_that_cannot_be(pipeline, frames, given, words):
    with pytest.raises(ValueError, match=words):
        pipeline(frames, **{"fps": FPS, **given})
