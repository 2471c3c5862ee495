"""The benchmark's plan and picture: frozen, tied as the dial says, dealt into honest folds, stored whole or not at
all.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from deft.clips import benchmark, fingerprint, freeze, keyframes, splits, store
from deft.clips.facs import EMOTIONS, parse_action_units
from deft.clips.simulator import appearance, camera
from deft.evaluation.metrics import recognition_scores


@pytest.fixture(scope="module")
def spec():
    return benchmark.BenchmarkSpec()


@pytest.fixture(scope="module")
def plans(spec):
    return benchmark.plan_bench(spec)


def best_by_look(plans, condition):
    """Accuracy of naming each look's commonest emotion."""
    table = pd.DataFrame([(p.look, p.emotion) for p in plans if p.condition == condition], columns=["look", "emotion"])
    return pd.crosstab(table.look, table.emotion).max(axis=1).sum() / len(table)


# ---------------------------------------------------------------- the freeze


def test_frozen_record_matches(spec):
    """Parameters, plans, and the pictures, landmarks and truth of clips of all three sets, rendered here."""
    record = freeze.check_frozen(spec)
    assert set(record) == {"version", "spec", "plan", "held_back", "corpus"}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"tie": 0.8}, r"tie \(0.85 -> 0.8\)"),
        ({"size": 96}, r"size \(128 -> 96\)"),
        ({"apex": 4}, r"apex \(3 -> 4\)"),
        ({"corpus_frames": (0, 3, 5)}, r"corpus_frames\[2\] \(4 -> 5\)"),
        ({"landmark_jitter": 0.0}, "landmark_jitter"),
        ({"looks": (benchmark.LOOKS[0],) * 5}, r"looks\[1\].hair \(long -> short\)"),
        (
            {
                "cameras": tuple(
                    (name, dataclasses.replace(one, noise=5.0)) for name, one in benchmark.BenchmarkSpec().cameras
                )
            },
            "noise",
        ),
    ],
)
def test_a_moved_parameter_is_named(spec, change, words):
    with pytest.raises(ValueError, match=f"is frozen, yet it differs.*{words}"):
        freeze.check_frozen(dataclasses.replace(spec, **change))


def test_a_moved_plan_is_named(spec, monkeypatch):
    monkeypatch.setitem(benchmark.habits.HABITS["sim-b"], "anger", ((1.0, "9"),))
    with pytest.raises(ValueError, match="differs.*plan.*held_back"):
        freeze.check_frozen(spec)


def test_frozen_clips_cover_looks_cameras_conditions_distractors_and_sets(spec):
    chosen = freeze.frozen_clips(spec)
    for which, part in chosen.items():
        assert [plan.clip for plan in part] == list(freeze.frozen_fingerprints(spec, which))
    bench, cameras = chosen["bench"], {name for name, _ in spec.cameras}
    assert {p.look for p in bench} == set(range(len(spec.looks))) and {p.condition for p in bench} == {"kept", "broken"}
    assert all({p.dataset for p in chosen[which]} == cameras for which in ("bench", "heldback"))
    assert {"", "blink", "gaze"} <= {p.distractor for p in bench}
    assert {"macro", "neutral"} <= {p.distractor for p in chosen["corpus"]}
    assert sum(map(len, chosen.values())) >= 12


@pytest.fixture
def two(spec, monkeypatch):
    """`check_frozen` for two clips only: a full rendering is paid for once, above."""
    few = ("sb01_broken_01", "sa10_broken_01")
    chosen = {"bench": [plan for plan in freeze.frozen_clips(spec)["bench"] if plan.clip in few]}
    monkeypatch.setattr(freeze, "frozen_clips", lambda spec: chosen)
    return chosen["bench"]


def test_another_lens_is_noticed_and_said(spec, two, monkeypatch):
    monkeypatch.setattr(appearance, "LENS_SIGMA", 1.5)
    with pytest.raises(
        ValueError, match="bench: .*contrast within blocks of the frames: 2 of 2 clips differ, .* grey levels"
    ):
        freeze.check_frozen(spec)


def test_landmarks_without_jitter_and_a_stretched_truth_are_noticed(spec, two, monkeypatch):
    real = benchmark.render_plan

    def other(plan):
        row, arrays = real(plan)
        return row, arrays | {
            "landmarks": arrays["landmarks_true"][0],
            "flow_true": arrays["flow_true"] * np.float16(1.3),
        }

    monkeypatch.setattr(benchmark, "render_plan", other)
    with pytest.raises(ValueError, match="landmarks as written: 2 of 2 clips differ.*true motion of the skin") as error:
        freeze.check_frozen(spec)
    assert "frames" not in str(error.value)


def _changed(plan, **camera):
    return dataclasses.replace(plan, camera=tuple(sorted({**dict(plan.camera), **camera}.items())))


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: _changed(plan, jpeg=75),
        lambda plan: _changed(plan, noise=dict(plan.camera)["noise"] * 1.25),
        lambda plan: dataclasses.replace(plan, seed=plan.seed + 1),
        lambda plan: dataclasses.replace(plan, appearance=benchmark.fields_of(benchmark.LOOKS[2])),
    ],
    ids=["jpeg", "noise", "draw", "look"],
)
def test_other_pictures_have_other_fingerprints(spec, two, change):
    known = freeze.frozen_fingerprints(spec, "bench")
    found = freeze.fingerprints([change(plan) for plan in two])
    said = fingerprint.differences([known[plan.clip] for plan in two], found, [plan.clip for plan in two])
    assert any("frames" in line and "2 of 2" in line for line in said), said


def test_rounding_of_another_processor_passes(spec, two, monkeypatch):
    """One pixel in a hundred rounds to the neighbouring grey level before JPEG, three in ten after it."""
    real = camera._jpeg

    def rounded(frame, share):
        draw = np.random.default_rng(int(frame.sum(dtype=np.int64)))
        return np.clip(
            frame + draw.choice([-1, 0, 1], p=[share / 2, 1 - share, share / 2], size=frame.shape), 0, 255
        ).astype(np.uint8)

    monkeypatch.setattr(camera, "_jpeg", lambda frame, quality: rounded(real(rounded(frame, 0.01), quality), 0.3))
    freeze.check_frozen(spec)


# ---------------------------------------------------------------- the plan


def test_sizes_and_shares(spec, plans):
    table = pd.DataFrame(
        [(p.dataset, p.subject, p.condition, p.emotion) for p in plans],
        columns=["dataset", "subject", "condition", "emotion"],
    )
    assert table.subject.nunique() >= 36 and table.dataset.nunique() == 3
    assert (table.groupby("condition").size() >= 500).all()
    counts = table[table.condition == "broken"].emotion.value_counts()
    assert set(counts.index) == set(EMOTIONS) and counts.max() > 2 * counts.min()


def test_tie_dial(spec, plans):
    """Kept: the look names the emotion about as often as the dial says. Broken: no better than the commonest class
    allows.
    """
    assert best_by_look(plans, "kept") > spec.tie
    broken = [p for p in plans if p.condition == "broken"]
    commonest = max(sum(p.emotion == e for p in broken) for e in EMOTIONS) / len(broken)
    assert best_by_look(plans, "broken") < commonest + 0.06
    # and the emotions of a look, broken, are as even as chance makes them (chi-square below its 99.9 % point for 16
    # degrees)
    table = pd.crosstab(pd.Series([p.look for p in broken]), pd.Series([p.emotion for p in broken]))
    expected = np.outer(table.sum(1), table.sum(0)) / len(broken)
    assert ((table - expected) ** 2 / expected).to_numpy().sum() < 39.3


def test_reading_looks_scores_at_chance_when_broken(plans):
    broken = [p for p in plans if p.condition == "broken"]
    scores = recognition_scores([p.emotion for p in broken], [EMOTIONS[p.look] for p in broken], EMOTIONS)
    assert scores["uf1"] < 0.30


def test_units_are_shared_between_emotions(plans):
    by_unit = {}
    for plan in plans:
        for key, _ in plan.actions:
            by_unit.setdefault(key.rstrip("LR"), set()).add(plan.emotion)
    assert {"disgust", "anger"} <= by_unit["4"] and {"surprise", "sadness"} <= by_unit["1"]


def test_annotations_parse_and_are_noisy(plans):
    invented = missed = 0
    for plan in plans:
        parsed = parse_action_units(plan.annotated)
        assert not parsed.unparsed
        moved, written = {int(k.rstrip("LR")) for k, _ in plan.actions}, {u.code for u in parsed.units}
        invented += bool(written - moved)
        missed += bool(moved - written)
    assert 0.05 < invented / len(plans) < 0.4 and 0.05 < missed / len(plans) < 0.4


def test_plan_is_deterministic_and_held_back_differs(spec, plans):
    assert benchmark.plan_hash(plans) == benchmark.plan_hash(benchmark.plan_bench(spec))
    held = benchmark.plan_bench(spec, held_back=True)
    assert not {p.subject for p in held} & {p.subject for p in plans}
    assert not {p.seed for p in held} & {p.seed for p in plans}
    corpus = benchmark.plan_corpus(spec, 6, 3)
    assert not {(p.identity, p.identity_seed) for p in corpus} & {(p.identity, p.identity_seed) for p in plans}


def test_key_frames_rise():
    assert keyframes.key_frames(0, 24, 64) == (0, 8, 16, 24, 32, 40, 48, 56, 64)
    with pytest.raises(ValueError, match="must rise"):
        keyframes.key_frames(0, 5, 5)


def test_folds_are_disjoint_and_stratified(plans):
    folds = benchmark.folds_of(plans, 3, seed=7)
    assert len(folds) == 36 and folds.groupby("fold").size().tolist() == [12, 12, 12]
    assert (pd.crosstab(folds.dataset, folds.fold) == 4).all().all()
    for fold in range(3):
        roles = splits.roles(folds, fold)
        assert sum(role == "validation" for role in roles.values()) == 4
        train_looks = {row.look for row in folds.itertuples() if roles[row.subject] == "train"}
        assert train_looks == set(folds.look)


def test_a_set_keeps_its_plans(tmp_path):
    plans = benchmark.plan_bench(benchmark.BenchmarkSpec(), subjects_per_dataset=1, clips_per_subject=1)[:1]
    benchmark.render_set(plans, tmp_path)
    assert benchmark.read_plans(tmp_path) == {plans[0].clip: plans[0]}
    with pytest.raises(FileNotFoundError):
        benchmark.read_plans(tmp_path / "elsewhere")


def test_shards_survive_a_kill(tmp_path):
    rows = [dict.fromkeys(store.INDEX_COLUMNS, 0) | {"clip": f"a_{i}", "subject": "a"} for i in range(3)]
    path = tmp_path / "a.npz"
    store.write_shard(path, rows, "plan", x=np.arange(3))
    assert store.ClipStore(tmp_path).array("x").tolist() == [0, 1, 2]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(store.StoreError, match="a.npz is not a whole shard"):
        store.ClipStore(tmp_path)
    with pytest.raises(store.StoreError, match="has 2 rows for 3 clips"):
        store.write_shard(path, rows, "plan", x=np.arange(2))
