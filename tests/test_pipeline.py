"""From frames to an answer in memory: the same numbers as stage by stage, a folder that holds everything, and errors
with a remedy.
"""

import json
import shutil

import cv2
import made_profile
import numpy as np
import pandas as pd
import pytest
import transformers
from transformers import AutoConfig, AutoModel, AutoProcessor

from deft import runtime
from deft.clips import facs, simulator, store
from deft.clips.footage import Frames
from deft.clips.record import Clip
from deft.experts import pretrain
from deft.faces import landmarks
from deft.mllm import DeftLLMConfig, DeftLLMForConditionalGeneration, DeftLLMProcessor, card, data, runs, score, tune
from deft.mllm.checked import checked
from deft.mllm.pipeline import DeftPipeline
from deft.motion import evidence, prepare, stillness
from deft.systems import SYSTEMS
from deft.unimer.check import Evidence, check

FPS, MOMENTS = 100.0, {"onset": 0, "apex": 13, "offset": 24}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder of random weights, with a tuned run."""
    work = tmp_path_factory.mktemp("pipeline") / "tiny"
    made_profile.write_profile(work)
    made_profile.write_run(work)
    return work


def film(actions, drift=0.0):
    """The frames of a clip with the moments MOMENTS."""
    return simulator.render_clip(
        simulator.sample_identity(1021, size=160),
        actions,
        times_ms=np.arange(0, 260, 1000 / FPS),
        truth="none",
        timing=simulator.Timing(130, 40, 80),
        camera=simulator.Camera(noise=2.0, head_drift=drift, jpeg=85),
        seed=3,
        fps=FPS,
    ).frames


@pytest.fixture(scope="module")
def frames():
    return film({"6": 0.3, "12": 0.35})


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
    assert [said["written"]] == score.answers(model, tokenizer, bench, np.array([0]))
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
    assert said["text"] == checked(said["written"], units, Evidence(peak, found["noise"], probability)).text
    keys = "moving emotion sure scores units text written dropped statements evidence"
    assert said["moving"] and set(said) == set(keys.split()) and json.dumps(said)


def test_of_a_still_face_it_says_nothing_and_of_a_strong_unit_what_it_wrote(pipeline, monkeypatch):
    """Whatever the model writes: a face that only drifts has no emotion and no unit; of a face that moves the statement
    that the flow bears out stays and the other one goes."""
    wrote = "class : happiness . evidence : au12 lip corner puller both . reasoning : the lip corners move up ."
    monkeypatch.setattr(score, "answers", lambda *_: [wrote.replace(" .", " , the inner brows move down .")])
    still = pipeline(film({}, drift=3.0), fps=FPS, **MOMENTS)
    assert (still["moving"], still["emotion"], still["sure"], still["units"]) == (False, "", False, [])
    assert still["text"] == stillness.NOTHING and not still["statements"] and "lip corners" in still["written"]
    smile = pipeline(film({"12": 0.4}), fps=FPS, **MOMENTS)
    assert smile["moving"] and smile["emotion"] in facs.EMOTIONS
    assert "lip corners move up" in smile["text"] and "inner brows" not in smile["text"]
    assert any("inner brows" in one["text"] for one in smile["dropped"])


def test_moments_that_are_not_given_are_found(pipeline, frames):
    found = pipeline([frame.mean(-1).astype(np.uint8) for frame in frames], fps=FPS)["evidence"]["moments"]
    assert (
        found["found"] == ["onset", "apex", "offset"]
        and found["onset"] < found["apex"] <= found["offset"]
        and len(found["key_frames"]) == 9
    )


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    """What `save_pretrained` wrote, moved."""
    place = tmp_path_factory.mktemp("saved")
    return pipeline.save_pretrained(place / "model").rename(place / "elsewhere")


def test_the_folder_holds_everything(folder, work, frames, said):
    parts = runtime.read_json(folder / "pipeline.json")["parts"]
    assert set(parts) == {"model", "landmarks", "evidence", "structure", "texture", "motion"}
    assert not any(place.startswith("/") for place in parts.values())
    assert DeftPipeline.from_pretrained(folder)(frames, fps=FPS, **MOMENTS) == said
    for file in (*folder.glob("*.json"), folder / "README.md"):
        assert str(work) not in file.read_text() and str(folder.parent) not in file.read_text(), file.name


def test_transformers_reads_the_folder(folder, frames, said, tmp_path):
    """Auto classes, and the pipeline by its task's name, on a folder of frames and on open footage."""
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert isinstance(model, DeftLLMForConditionalGeneration) and isinstance(processor, DeftLLMProcessor)
    assert isinstance(AutoConfig.from_pretrained(folder), DeftLLMConfig)
    answers = transformers.pipeline("micro-expression", str(folder), device="cpu")
    assert answers(Frames(frames), fps=FPS, **MOMENTS) == said
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), frame[..., ::-1])
    assert answers(str(tmp_path), fps=FPS, **MOMENTS)["text"] == said["text"]
    with pytest.raises(TypeError, match="unknown argument 'frames'"):
        answers(str(tmp_path), frames=3)
    with pytest.raises(ValueError, match="does not say its frames per second"):
        answers(str(tmp_path))


def test_the_processor_gives_what_the_stages_give(folder, pipeline):
    """Its prompt scores and answers like `deft.mllm.score`; features that do not fit are refused."""
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal((2, 4, 64)).astype(np.float32) for name in model.streams}
    given |= {f"{name}_units": rng.random((2, 17, 2)).astype(np.float32) for name in model.unit_streams}
    bench = data.TuningData(pd.DataFrame({"clip": ["a", "b"]}), given, [None] * 2, None, [False] * 2)
    inputs = processor(given)
    ids = model.generate(**inputs, max_new_tokens=12, eos_token_id=processor.tokenizer.eos_token_id)
    answers = [processor.decode_answer(row) for row in ids]
    assert [one["text"] for one in answers] == score.answers(model, processor.tokenizer, bench, np.arange(2), limit=12)
    likelihood = score.emotion_scores(model, processor.tokenizer, bench, np.arange(2))
    opened = processor(given, answer=score.PREFIX)
    likely = score.score_labels(
        model,
        {**opened, **{name: opened[name][:, :-1] for name in ("input_ids", "attention_mask", "labels")}},
        facs.EMOTIONS,
    )
    assert likely.shape == (2, 5) and likely.argmax(1).tolist() == likelihood.argmax(1).tolist()
    told = processor.decode_answer(
        processor.tokenizer(" class : anger . evidence : au4 both .", add_special_tokens=False)["input_ids"]
    )
    assert told["class"] == "anger" and told["evidence"] == "au4 both" and told["parsed"] and told["unknown"] == 0
    assert not processor.decode_answer([])["parsed"]
    with pytest.raises(ValueError, match="another motion expert"):
        processor(given | {"experts": {"motion": "0" * 64}})
    with pytest.raises(ValueError, match="hold no motion_units"):
        processor({name: value for name, value in given.items() if name != "motion_units"})
    with pytest.raises(ValueError, match=r"texture must be finite and of shape \(N, 4, 64\)"):
        processor(given | {"texture": given["texture"] * np.inf})
    with pytest.raises(ValueError, match="different numbers of clips"):
        processor(given | {"texture": given["texture"][:1]})
    with pytest.raises(ValueError, match="3 questions"):
        processor(given, question=["why ?"] * 3)


def test_another_expert_than_the_model_was_tuned_on_is_refused(pipeline, tmp_path):
    saved = pipeline.save_pretrained(tmp_path / "model")
    shutil.copytree(saved / "texture", saved / "motion", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="motion is another expert than the model was tuned on"):
        DeftPipeline.from_pretrained(saved)


def test_the_card_says_what_it_is_and_is_not(folder, tmp_path):
    words = (folder / "README.md").read_text()
    assert words.startswith("---\n") and all(line in words for line in card.LIMITS) and "Not measured yet" in words
    (tmp_path / "T2.csv").write_text(
        "system,set,condition,clips," + ",".join(f"{m},{m}_low,{m}_high" for m in card.MEASURES) + "\n"
        "deft,bench,kept,504.0," + ",".join(["0.8,0.7,0.9"] * 4) + "\nother,bench,kept,1,,,,,,,,,,,,\n"
    )
    rows = card.metrics(tmp_path / "T2.csv", "deft")
    assert rows == [["bench", "kept", "504", *["0.800 [0.700, 0.900]"] * 4]]
    config = AutoConfig.from_pretrained(folder).to_dict() | {
        "named_base": {"id": "a/b", "revision": "c", "sha256": "d"}
    }
    shown = card.text(config, "deft", "made-up clips", rows, "abc")
    assert "base_model: a/b" in shown and "| bench | kept | 504 | 0.800 [0.700, 0.900] |" in shown


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


def test_a_model_without_soft_words_answers_through_its_own_prompt(work, frames, tmp_path):
    """`deft-tokens`: its prompt has no slots of units, in the processor as in tuning; the experts name units all the
    same."""
    job = runs.Job("deft-tokens", 0, 0)
    tokenizer, model = tune.build(work, job.system, tune.TuneSettings(), 7)
    model.save_pretrained(job.folder(work))
    tokenizer.save_pretrained(job.folder(work))
    pipeline = DeftPipeline.of_work(work, job.system)
    said = pipeline(frames, fps=FPS, **MOMENTS)
    assert said["written"] is not None and set(pipeline.calibrations) == {"texture", "motion"}
    processor = AutoProcessor.from_pretrained(pipeline.save_pretrained(tmp_path / "saved"))
    features = {name: np.zeros((1, 4, 64)) for name in pipeline.experts}
    features |= {f"{name}_units": np.full((1, 17, 2), 0.5) for name in pipeline.calibrations}
    own = score.prompts(model, tokenizer, 1)
    assert processor(features)["input_ids"].tolist() == own["input_ids"].tolist()


def test_a_model_of_recorded_faces_says_so(work, tmp_path):
    copy = shutil.copytree(work, tmp_path / "casme2-tiny-folds3")
    runtime.write_json(copy / "set.json", {"dataset": "casme2", "simulated": False})
    pipeline = DeftPipeline.of_work(copy)
    words = (pipeline.save_pretrained(tmp_path / "saved") / "README.md").read_text()
    assert "tuned on recorded faces (casme2)" in words and "No face of a person" not in words
    (tmp_path / "T2.csv").write_text("system,scored by,clips\ndeft,fine,3\n")
    assert card.metrics(tmp_path / "T2.csv", "deft") == []
