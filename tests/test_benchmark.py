"""The benchmark's plan: frozen, tied as the dial says, dealt into honest folds, and stored whole or not at all."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from deft.clips import benchmark, splits, store
from deft.clips.facs import EMOTIONS, parse_action_units
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


def test_frozen_record_matches(spec):
    benchmark.check_frozen(spec)


def test_a_moved_number_is_noticed(spec):
    with pytest.raises(ValueError, match="frozen"):
        benchmark.check_frozen(dataclasses.replace(spec, tie=0.8))


def test_sizes_and_shares(spec, plans):
    table = pd.DataFrame([(p.dataset, p.subject, p.condition, p.emotion) for p in plans], columns=["dataset", "subject", "condition", "emotion"])
    assert table.subject.nunique() >= 36 and table.dataset.nunique() == 3
    assert (table.groupby("condition").size() >= 500).all()
    counts = table[table.condition == "broken"].emotion.value_counts()
    assert set(counts.index) == set(EMOTIONS) and counts.max() > 2 * counts.min()


def test_tie_dial(spec, plans):
    """Kept: the look names the emotion about as often as the dial says. Broken: no better than the commonest class allows."""
    assert best_by_look(plans, "kept") > spec.tie
    broken = [p for p in plans if p.condition == "broken"]
    commonest = max(sum(p.emotion == e for p in broken) for e in EMOTIONS) / len(broken)
    assert best_by_look(plans, "broken") < commonest + 0.06
    # and the emotions of a look, broken, are as even as chance makes them (chi-square below its 99.9 % point for 16 degrees)
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
    assert benchmark.key_frames(0, 24, 64) == (0, 8, 16, 24, 32, 40, 48, 56, 64)
    with pytest.raises(ValueError, match="must rise"):
        benchmark.key_frames(0, 5, 5)


def test_folds_are_disjoint_and_stratified(plans):
    folds = benchmark.folds_of(plans, 3, seed=7)
    assert len(folds) == 36 and folds.groupby("fold").size().tolist() == [12, 12, 12]
    assert (pd.crosstab(folds.dataset, folds.fold) == 4).all().all()
    for fold in range(3):
        roles = splits.roles(folds, fold)
        assert sum(role == "validation" for role in roles.values()) == 4
        train_looks = {row.look for row in folds.itertuples() if roles[row.subject] == "train"}
        assert train_looks == set(folds.look)


def test_shards_survive_a_kill(tmp_path):
    rows = [dict.fromkeys(store.INDEX_COLUMNS, 0) | {"clip": f"a_{i}", "subject": "a"} for i in range(3)]
    path = tmp_path / "a.npz"
    store.write_shard(path, rows, "plan", x=np.arange(3))
    assert store.shard_plan(path) == "plan" and store.ClipStore(tmp_path).array("x").tolist() == [0, 1, 2]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert store.shard_plan(path) is None
    with pytest.raises(store.StoreError, match="a.npz is not a whole shard"):
        store.ClipStore(tmp_path)
    with pytest.raises(store.StoreError, match="has 2 rows for 3 clips"):
        store.write_shard(path, rows, "plan", x=np.arange(2))
