"""Clips on which no action unit moves: what they show, what is asked about them, and what the tables make of it."""

import numpy as np
import pandas as pd
import pytest

from deft import paths, runtime
from deft.clips import benchmark, simulator, still, store
from deft.clips.facs import EMOTIONS, REGION_INDEX, UNIT_INDEX
from deft.evaluation import tables
from deft.faces import align, regions
from deft.mllm import language, prompt
from deft.mllm.data import TuningData, with_still
from deft.mllm.detectors import Detectors
from deft.mllm.examples import TuneSettings, ask_still, collate, plan
from deft.motion import courses, stillness
from deft.systems import CHECKED, DEFT, RGB, TEMPLATE
from deft.unimer.facts import Facts, text_facts
from deft.unimer.reading import parse

SPEC = benchmark.BenchmarkSpec()


@pytest.fixture(scope="module")
def plans():
    return still.plan_still(SPEC, range(still.FIRST, still.FIRST + 6))


def test_each_person_is_new_and_shows_every_kind_once(plans):
    assert benchmark.plan_hash(plans) == benchmark.plan_hash(
        still.plan_still(SPEC, range(still.FIRST, still.FIRST + 6))
    )
    assert len({plan.clip for plan in plans}) == len({plan.seed for plan in plans}) == 24
    assert [plan.distractor for plan in plans[:4]] == list(still.KINDS)
    assert not any(plan.actions or plan.annotated or plan.emotion for plan in plans)
    others = benchmark.plan_bench(SPEC) + benchmark.plan_corpus(SPEC, 24, 1)
    assert not {plan.identity for plan in plans} & {plan.identity for plan in others}
    assert {plan.dataset for plan in plans} == {name for name, _ in SPEC.cameras} and len({p.look for p in plans}) == 5


def test_a_talking_mouth_opens_and_closes_and_no_unit_is_scored(plans):
    talk = next(plan for plan in plans if plan.distractor == "talk")
    _, shown = benchmark.render_plan(talk)
    face = align.align_clip(shown["frames"], shown["landmarks"])
    true = courses.region_truth(shown["flow_true"], face.matrix, regions.masks(face.landmarks))
    speed = np.linalg.norm(true, axis=1)
    assert speed[REGION_INDEX["chin", ""]] > 0.3 > 0.05 > speed[REGION_INDEX["brow_inner", "L"]]
    assert not shown["units_true"].any()
    found = courses.measure_clip(face.gray, face.landmarks)
    assert not stillness.moves(found["courses"], found["noise"])
    once = simulator.Timing(*talk.timing)  # the same mouth, opened once as an expression would: that moves
    actions, course = simulator.speech(talk.seed, talk.timing)
    times = np.array(talk.key_frames) * 1000 / talk.fps
    opened = course.intensities(np.ones((17, 2)), times)[:, UNIT_INDEX[26], 0]
    assert set(actions) == {"25", "26"} and 0 <= opened.min() and opened.max() <= 1 and np.ptp(opened) > 0.2
    clip = simulator.render_clip(
        benchmark.identity_of(talk),
        actions,
        times_ms=times,
        timing=once,
        camera=simulator.Camera(noise=2.0),
        truth="none",
    )
    face = align.align_clip(clip.frames, shown["landmarks"])
    found = courses.measure_clip(face.gray, face.landmarks)
    assert stillness.moves(found["courses"], found["noise"])


def test_the_answer_about_a_still_face_names_no_emotion_no_unit_and_no_motion():
    asked = [ask_still(np.random.default_rng(seed)) for seed in range(60)]
    for _kind, _question, answer in asked:
        told = parse(answer)
        assert (told.emotion, told.units, told.motions, told.times) == ("", (), (), ())
    assert {kind for kind, _, _ in asked} >= {"reasoning", "units", "motion"}


def test_tuning_on_still_clips_teaches_silence_and_is_off_by_default():
    rng, tokenizer, streams = np.random.default_rng(0), language.build_tokenizer(), ("motion",)
    features = {"motion": np.zeros((10, 4, 64), np.float32), "motion_units": np.full((10, 17, 2), 0.1, np.float32)}
    facts = [*(text_facts(rng) for _ in range(8)), Facts(), Facts()]
    moved = (rng.random((12, 17, 2)) < 0.3) * 0.5
    heard = Detectors.fit({"motion": rng.random((12, 17, 2))}, moved, np.arange(12) // 4)
    bench = TuningData(
        pd.DataFrame({"clip": range(10)}), features, facts, None, [True] * 10, heard, still=np.array([8, 9])
    )

    def drawn(**given):
        return plan(tokenizer, bench, np.arange(8), streams, TuneSettings(epochs=30, batch=8, **given), 7)

    plain, mixed = drawn(), drawn(still=0.5)
    quiet = [example for example in mixed if example["row"] >= 8]
    assert all(example["row"] < 8 for example in plain) and 0.4 < len(quiet) / len(mixed) < 0.6
    for example in quiet:
        answer = [token for token in example["labels"] if token != prompt.IGNORE]
        told = parse(tokenizer.decode(answer, skip_special_tokens=True))
        assert tokenizer.unk_token_id not in answer and not example["simulated"]
        assert (told.emotion, told.units, told.motions) == ("", (), ())
    batch = collate([*quiet[:2], *plain[:2]], tokenizer, bench, streams)
    assert batch["emotion"][:2].tolist() == [prompt.IGNORE] * 2 and (batch["emotion"][2:] >= 0).all()
    assert not batch["units"][:2].any()


def test_the_still_clips_of_tuning_are_those_of_training_people_without_a_unit(tmp_path):
    rows = [
        dict.fromkeys(store.INDEX_COLUMNS, "") | {"clip": f"c{i}", "subject": "c", "split": split}
        for i, split in enumerate(("train", "train", "validation", "train"))
    ]
    units = np.zeros((4, 17, 2), np.float32)
    units[1, 3] = 0.2
    store.write_shard(tmp_path / "clips" / "corpus" / "c.npz", rows, "made up", units_true=units)
    for name, shape in (("motion", (4, 64)), ("motion_units", (17, 2))):
        array = np.arange(4, dtype=np.float32).reshape(-1, *[1] * len(shape)) * np.ones((4, *shape), np.float32)
        runtime.save_array(tmp_path / "features" / "corpus", name, array)
    bench = TuningData(
        pd.DataFrame({"clip": ["b"]}),
        {"motion": np.zeros((1, 4, 64)), "motion_units": np.zeros((1, 17, 2))},
        [None],
        None,
        [True],
    )
    both = with_still(bench, tmp_path, "m")
    assert both.index["clip"].tolist() == ["b", "c0", "c3"] and both.still.tolist() == [1, 2]
    assert both.features["motion"][:, 0, 0].tolist() == [0, 0, 3] and both.facts == [None, Facts(), Facts()]


# ---------------------------------------------------------------- tables
@pytest.fixture
def said(tmp_path, monkeypatch):
    """Answers about six people: DEFT always names a smile, checked it does for one clip in eight; two draws."""
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    rows = []
    for one in still.plan_still(SPEC, range(still.FIRST, still.FIRST + 6)):
        for system in (DEFT, CHECKED, TEMPLATE, RGB):
            for draw in range(1 if system == TEMPLATE else 2):
                quiet = system == CHECKED and (one.distractor != "talk" or draw)
                text = (
                    stillness.NOTHING
                    if quiet
                    else "class : happiness . evidence : au12 both . reasoning : no clear motion ."
                )
                rows.append(
                    {
                        **{name: getattr(one, name) for name in ("clip", "dataset", "subject", "look")},
                        "system": system,
                        "seed": draw,
                        "text": text,
                        "scores": {e: 0.6 if e == "happiness" else 0.1 for e in EMOTIONS},
                    }
                )
    runtime.write_jsonl(paths.work("made-up") / "predictions_still.jsonl", rows)
    return pd.DataFrame(rows)


def test_t7b_counts_what_is_said_of_faces_that_show_nothing(said):
    table = tables.t7b("made-up").set_index("system")
    assert table.loc[DEFT, ["statement", "emotion", "sure"]].tolist() == [1, 1, 1]
    checked = table.loc[CHECKED]
    assert checked[["statement", "emotion", "sure"]].tolist() == [0.125] * 3 and checked["draws"] == 2
    assert checked[[f"statement_{kind}" for kind in still.KINDS]].tolist() == [0, 0, 0, 0.5]
    assert checked["statement_low"] < checked["statement"] < checked["statement_high"]
    with pytest.raises(FileNotFoundError, match="run 08_answers"):
        tables.t7b("nobody")
