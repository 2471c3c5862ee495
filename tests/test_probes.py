"""Probes, dependence and counterfactuals on made-up data of which it is known what they must find (T5, T5b, F7)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deft import paths, runtime
from deft.clips import benchmark, store
from deft.clips.facs import EMOTIONS
from deft.evaluation import metrics, robustness, tables, unique, versions
from deft.evaluation.figures import f7_robustness
from deft.evaluation.tables import t5_probes
from deft.evaluation.versions import AS_FILMED, CLIP, FACE, LEVELS, MOTION, Version
from deft.experts import probes

PROFILE = "made-up"


# ---------------------------------------------------------------- measures


def test_cka_and_hsic_identities():
    r = np.random.default_rng(0)
    x, y = r.normal(size=(300, 8)), r.normal(size=(300, 5))
    q, _ = np.linalg.qr(r.normal(size=(8, 8)))
    assert probes.linear_cka(x, x) == pytest.approx(1) and probes.linear_cka(x, 3 * x @ q + 1) == pytest.approx(1)
    assert probes.linear_cka(x, y) < 0.1 and probes.linear_cka(x, y) == pytest.approx(probes.linear_cka(y, x))
    assert probes.hsic(x, x) == pytest.approx(1) and probes.hsic(x, x @ q) == pytest.approx(1, abs=1e-6)
    assert probes.hsic(x, np.abs(x)) > 2 * probes.linear_cka(x, np.abs(x))  # HSIC sees what a linear measure cannot


def test_probes_find_what_is_there_and_nothing_else():
    r = np.random.default_rng(0)
    subject = np.repeat(np.arange(30), 10)
    who, what = r.normal(size=(30, 16))[subject], r.integers(0, 3, 300)
    x = np.concatenate([who + 0.3 * r.normal(size=(300, 16)), np.eye(3)[what] + 0.2 * r.normal(size=(300, 3))], axis=1)
    rows = {
        row["factor"]: row
        for row in probes.probe_matrix(
            {"e": x},
            {
                "look": what,
                "emotion": r.integers(0, 3, 300),
                "unit": np.stack([what == 1, what == 2], 1),
                "landmarks": r.normal(size=(300, 2)),
            },
            subject,
        )
    }
    assert rows["identity"]["score"] > 0.8 and rows["look"]["score"] > 0.95 and rows["unit"]["score"] > 0.95
    assert abs(rows["emotion"]["score"] - 1 / 3) < 0.12 and rows["landmarks"]["score"] < 0.1
    with pytest.raises(ValueError, match="mood"):
        probes.probe_matrix({"e": x}, {"mood": what}, subject)


def test_a_permutation_keeps_people_together():
    groups = np.repeat(["a", "b", "c", "d"], [3, 3, 3, 5])
    for number in range(5):
        order = probes.reshuffled(groups, np.random.default_rng(number))
        assert sorted(order) == list(range(14))
        assert all(len(set(groups[order[groups == one]])) == 1 for one in "abc")
        assert set(groups[order[groups == "d"]]) == {"d"}  # nobody else has five clips
    assert len({tuple(probes.reshuffled(groups, np.random.default_rng(n))) for n in range(5)}) == 5


def test_independent_features_are_found_dependent_as_often_as_p_says():
    """Both hold who it is, each in its own way: shuffling single clips would call them dependent nearly always."""
    r, who, found, naive = np.random.default_rng(0), np.repeat(np.arange(10), 4), [], []
    for study in range(80):
        a, b = (r.normal(size=(10, 4))[who] + 0.7 * r.normal(size=(40, 4)) for _ in range(2))
        found.append(probes.independence(a, b, who, rounds=19, seed=study)["HSIC"]["p"])
        if study < 20:
            naive.append(probes.independence(a, b, np.arange(40), rounds=19, seed=study)["HSIC"]["p"])
    found, naive = np.array(found), np.array(naive)
    assert min(found) >= 1 / 20 and (naive <= 0.05).mean() > 0.3
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):  # uniform: within three standard errors
        assert abs((found <= level).mean() - level) < 3 * np.sqrt(level * (1 - level) / len(found)) + 1 / 40


def test_dependent_features_are_found_dependent_and_the_interval_encloses_the_value():
    r, who = np.random.default_rng(1), np.repeat(np.arange(20), 6)
    a = r.normal(size=(120, 5))
    rows = probes.independence(a, np.abs(a) + 0.1 * r.normal(size=a.shape), who, rounds=99)
    assert rows["HSIC"]["p"] == 0.01 and rows["HSIC"]["value"] > rows["HSIC"]["chance"]
    for row in rows.values():
        assert 0 <= row["low"] < row["value"] < row["high"] <= 1
    whole = probes.independence(a, 2 * a + 1, who, rounds=9)["CKA"]
    assert whole["value"] == pytest.approx(1, abs=1e-5) == whole["high"]


# ---------------------------------------------------------------- T5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A work folder in which texture holds furrows and nothing else, motion holds motion and units, structure holds the
    person and RGB holds noise.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_WORK", str(tmp_path_factory.mktemp("probes")))
        work, r = paths.work(PROFILE), np.random.default_rng(0)
        for which, condition, split in (("corpus", "corpus", "validation"), ("bench", "broken", "")):
            people, clips = 12, 10
            count, who = people * clips, np.repeat(np.arange(people), clips)
            units, furrows = (r.random((count, 17, 2)) < 0.3) * 0.2, r.random((count, 10))
            moved, emotion = r.normal(size=(count, 36, 2)), r.integers(0, 5, count)
            face = 60 + 20 * r.normal(size=(people, 68, 2))[who] + r.normal(size=(count, 68, 2))
            for person in range(people):
                mine = np.flatnonzero(who == person)
                rows = [
                    dict.fromkeys(store.INDEX_COLUMNS, "")
                    | {"clip": f"{which}{n}", "dataset": "d", "subject": f"s{person:02d}", "condition": condition}
                    | {"look": person % 3, "emotion": EMOTIONS[emotion[n]] * (which == "bench"), "split": split}
                    for n in mine
                ]
                arrays = {
                    "units_true": units[mine],
                    "furrows_true": furrows[mine],
                    "landmarks_true": face[mine][:, None],
                }
                store.write_shard(work / "clips" / which / f"s{person:02d}.npz", rows, "p", **arrays)
            runtime.save_array(work / "faces" / which, "matrix", np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)))
            runtime.save_array(work / "motion" / which, "region_true", moved.astype(np.float32))
            holds = {
                "structure": [r.normal(size=(people, 20))[who], 0.05 * face.reshape(count, -1)[:, :20]],
                "texture": [furrows],
                "motion": [moved.reshape(count, -1), units.reshape(count, -1) * 5, np.eye(5)[emotion] * 3],
                "rgb": [r.normal(size=(count, 5))],
            }
            for name, parts in holds.items():
                tokens = np.zeros((count, 256), np.float32)
                known = np.concatenate(parts, axis=1)
                tokens[:, : known.shape[1]] = known + 0.01 * r.normal(size=known.shape)
                runtime.save_array(work / "features" / which, name, tokens.reshape(count, 4, 64))
            for name, skill in (("texture", 2.0), ("motion", 4.0)):
                odds = skill * (units > 0) + r.normal(size=units.shape) - 1
                runtime.save_array(work / "features" / which, f"{name}_units", 1 / (1 + np.exp(-odds)))
        yield work


@pytest.fixture(scope="module")
def t5(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(t5_probes, "TESTS", 19)
        patch.setattr(t5_probes, "ROUNDS", 3)
        return tables.t5(PROFILE)


def test_t5_reads_what_is_there_and_nothing_else(t5):
    value = t5[t5.what == "probe"].set_index(["expert", "factor"])
    assert list(value.index.unique("factor")) == list(probes.FACTORS) and len(value) == 28
    for expert, factor in (
        ("structure", "identity"),
        ("texture", "furrow"),
        ("motion", "unit"),
        ("motion", "region direction"),
        ("motion", "emotion"),
    ):  # a linear reader of 80 clips shrinks
        row = value.loc[expert, factor]
        assert row["value"] > 0.6 and row.low > row.chance + 0.3, (expert, factor, row["value"])
    for factor in ("landmarks", "region direction", "unit", "furrow", "emotion"):
        row = value.loc["rgb", factor]
        assert abs(row["value"] - row.chance) < 0.15, (factor, row["value"], row.chance)
    assert (value.low <= value["value"]).all() and (value["value"] <= value.high).all()
    assert value.chance["rgb", "unit"] == pytest.approx(0.5, abs=0.06)
    pairs = t5[(t5.what == "dependence") & (t5.metric == "HSIC")].set_index("expert")
    assert set(pairs.index) == {"structure + texture", "structure + motion", "texture + motion"}
    assert (abs(pairs["value"] - pairs.chance) < 0.1).all()
    own = value[value.over_others.notna()]
    assert set(own.index) == set(unique.OWN.items())
    assert own.loc["texture"].over_others_low.item() > 0.5 and own.loc["motion"].over_others_low.item() > 0.3
    furrow = value.xs("furrow", level="factor")["value"]
    assert own.loc["texture"].over_others.item() == pytest.approx(
        furrow["texture"] - furrow[["structure", "motion"]].max(), abs=2e-4
    )
    alone = t5[t5.what == "unique information"].set_index("expert")
    assert list(alone.index) == list(unique.OWN) and (alone.metric == "log loss").all()
    assert alone.loc["motion", "high"] < alone.loc["texture", "high"] < 0  # the better detector is missed more
    assert abs(alone.loc["structure", "value"]) < 0.3 and (alone.chance > -0.17).all()


def test_t5_gives_what_the_probe_matrix_gives(world, t5):
    """06 shows the same numbers without intervals: one estimator, two places to read it."""
    asked = t5_probes.Asked(world, "corpus")
    found = probes.probe_matrix(
        {name: tokens[0] for name, tokens in asked.tokens.items()}, asked.factors, asked.people, 7
    )
    value = t5.set_index(["expert", "factor"])["value"]
    assert len(found) == 24
    for row in found:
        assert value[row["expert"], row["factor"]] == pytest.approx(row["score"], abs=1e-4), row


def test_t5_averages_the_draws_of_the_experts(world, monkeypatch, t5):
    monkeypatch.setattr(t5_probes, "TESTS", 3)
    monkeypatch.setattr(t5_probes, "ROUNDS", 1)
    monkeypatch.setattr(t5_probes, "alone", lambda *asked: [])  # probes are asked about here
    for which in ("corpus", "bench"):
        for name in t5_probes.EXPERTS:
            tokens = runtime.load_array(world / "features" / which, name)
            folder = paths.of_draw(world / "features", 1) / which
            runtime.save_array(folder, name, np.zeros_like(tokens) if name == "texture" else tokens)
    monkeypatch.setattr(t5_probes.draws, "count", lambda work: 2)
    one, two = (t.set_index(["expert", "factor", "metric"]) for t in (t5, tables.t5(PROFILE)))
    furrow, unit = ("texture", "furrow", "R²"), ("motion", "unit", "AUROC")
    assert two["value"][unit] == one["value"][unit] and two.draws[unit] == 2
    assert two["value"][furrow] < 0.6 * one["value"][furrow]
    assert two.high[furrow] - two.low[furrow] > 3 * (one.high[furrow] - one.low[furrow])  # the draws disagree


# ---------------------------------------------------------------- versions of clips


def plan_of(**changes):
    return replace(
        benchmark.plan_bench(benchmark.BenchmarkSpec(), subjects_per_dataset=1, clips_per_subject=2)[0], **changes
    )


def test_a_version_changes_one_thing():
    plan = plan_of()
    assert versions.replanned(plan, Version(AS_FILMED)) == plan == versions.replanned(plan, Version("noise", 3.0))
    half = versions.replanned(plan, Version("amplitude", 0.5))
    assert [x for _, x in half.actions] == [0.5 * x for _, x in plan.actions]
    assert replace(half, actions=plan.actions) == plan
    still = versions.replanned(plan, Version("head motion", 0.0))
    assert dict(still.camera)["head_drift"] == 0 and replace(still, camera=plan.camera) == plan
    for level in LEVELS["frame rate"][1:]:
        slow = versions.replanned(plan, Version("frame rate", level))
        times, before = (np.array(p.key_frames) * 1000 / p.fps for p in (slow, plan))
        assert len(times) == 9 and abs(times - before).max() <= 1000 / level and times[3] > 0 and times[8] > times[3]
        assert replace(slow, fps=plan.fps, key_frames=plan.key_frames) == plan
    for level in LEVELS["apex jitter"][1:]:
        late = versions.replanned(plan, Version("apex jitter", level))
        off = abs(late.key_frames[3] - plan.key_frames[3]) * 1000 / plan.fps
        assert (
            off == pytest.approx(level, abs=5) and late.key_frames[0] == 0 and late.key_frames[8] == plan.key_frames[8]
        )


def test_filmed_again_is_the_stored_clip_and_a_frame_that_is_kept_twice_is_one_frame():
    plan = plan_of()
    frames, landmarks = versions.filmed(plan)
    _, stored = benchmark.render_plan(plan)
    assert np.array_equal(frames, stored["frames"]) and np.array_equal(landmarks, stored["landmarks"])
    twice, _ = versions.filmed(replace(plan, key_frames=(0, 0, *plan.key_frames[2:])))
    assert np.array_equal(twice[0], twice[1]) and dict(plan.camera)["noise"] > 0


def test_counterfactuals_keep_the_face_or_the_motion():
    plan, *others = benchmark.plan_bench(benchmark.BenchmarkSpec(), subjects_per_dataset=2, clips_per_subject=2)
    other = next(one for one in others if one.subject != plan.subject and one.dataset == plan.dataset)
    face = versions.counterfactual(plan, Version(FACE), other)
    assert benchmark.identity_of(face) == benchmark.identity_of(other) and face.actions == plan.actions
    assert (face.seed, face.timing, face.key_frames, face.camera) == (
        plan.seed,
        plan.timing,
        plan.key_frames,
        plan.camera,
    )
    motion = versions.counterfactual(plan, Version(MOTION), other)
    assert benchmark.identity_of(motion) == benchmark.identity_of(plan) and motion.actions == other.actions
    assert (motion.timing, motion.key_frames, motion.fps) == (other.timing, other.key_frames, other.fps)


def test_degraded_frames_lose_what_they_are_said_to_lose():
    plan = plan_of()
    frames = np.random.default_rng(0).integers(60, 180, (9, 128, 128, 1)).repeat(3, axis=-1).astype(np.uint8)
    lost = {}
    for nuisance in versions.RECORDED:
        change = [
            np.abs(versions.degraded(frames, plan, Version(nuisance, level)).astype(int) - frames).mean()
            for level in LEVELS[nuisance][1:]
        ]
        lost[nuisance] = change
        assert change == sorted(change) and change[0] > 1, (nuisance, change)
    again = versions.degraded(frames, plan, Version("noise", 3.0))
    assert np.array_equal(again, versions.degraded(frames, plan, Version("noise", 3.0)))
    assert lost["noise"][1] == pytest.approx(2 * lost["noise"][0], rel=0.1)


def test_clips_and_partners_are_chosen_by_rule():
    plans = benchmark.plan_bench(benchmark.BenchmarkSpec())
    index = (
        pd.DataFrame(
            [(p.clip, p.dataset, p.subject, p.condition, p.look, p.emotion) for p in plans],
            columns=["clip", "dataset", "subject", "condition", "look", "emotion"],
        )
        .sort_values("subject", kind="stable")
        .reset_index(drop=True)
    )
    folds = benchmark.folds_of(plans, 3, 7)
    rows = versions.chosen(index, 2)
    picked = index.loc[rows]
    assert (picked.groupby("subject").size() == 2).all() and picked.subject.nunique() == 36
    assert set(picked.condition) == {"broken"} and picked.emotion.value_counts().between(10, 19).all()
    fold = index.subject.map(folds.set_index("subject").fold)
    for row, (face, motion) in versions.partners(index, rows, folds).items():
        mine, theirs, moves = index.loc[row], index.loc[face], index.loc[motion]
        assert theirs.subject != mine.subject and theirs.look != mine.look and fold[face] == fold[row]
        assert moves.emotion != mine.emotion and moves.dataset == mine.dataset and motion in rows


# ---------------------------------------------------------------- exchange of streams


def test_a_stream_is_taken_with_its_words_and_no_other_is_touched():
    r = np.random.default_rng(0)
    features = {
        name: r.normal(size=(6, 2)) for name in ("structure", "texture", "texture_units", "motion", "motion_units")
    }
    own, other = np.array([0, 2]), np.array([1, 5])
    taken = robustness.exchanged(features, own, other, ("texture",))
    for name, x in features.items():
        assert np.array_equal(taken[name], x[other if name.startswith("texture") else own]), name


def made_up(listens: str) -> pd.DataFrame:
    """Answers of a system that names the emotion of one stream, in the form of robustness.jsonl."""
    r, rows = np.random.default_rng(0), []
    for clip in range(40):
        mine, other = r.choice(EMOTIONS, 2, replace=False)
        common = {
            "clip": f"c{clip}",
            "dataset": "d",
            "subject": f"s{clip % 8}",
            "look": clip % 2,
            "condition": "broken",
        }
        common |= {"truth": mine, "other": other, "system": "deft", "seed": 0, "fold": 0, "level": 0.0, "scores": {}}
        rows.append({**common, "nuisance": AS_FILMED, "streams": "", "prediction": mine})
        for nuisance in (FACE, MOTION, CLIP):
            for streams in (" + ".join(one) for one in robustness.EXCHANGED["deft"]):
                carries = {FACE: "structure", MOTION: "motion", CLIP: "structure + motion"}[nuisance]
                heard = listens in streams and listens in carries
                rows.append(
                    {**common, "nuisance": nuisance, "streams": streams, "prediction": other if heard else mine}
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("listens, ignored", [("motion", "structure"), ("structure", "motion")])
def test_exchange_of_an_ignored_stream_changes_no_answer(tmp_path, monkeypatch, listens, ignored):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    runtime.write_jsonl(paths.work(PROFILE) / "robustness.jsonl", made_up(listens).to_dict("records"))
    table = tables.t5b(PROFILE).set_index(["counterfactual", "exchanged"])
    heard, deaf = (MOTION, FACE) if listens == "motion" else (FACE, MOTION)
    for counterfactual in (FACE, MOTION, CLIP):
        assert table.changed[counterfactual, ignored] == 0 == table.changed_high[counterfactual, ignored]
        assert table.changed[counterfactual, "texture"] == 0
    assert table.changed[heard, listens] == 1 == table.follows[heard, listens] == table.changed[CLIP, "everything"]
    assert table.changed[deaf, "everything"] == 0 and np.isnan(table.follows[deaf, "everything"])


# ---------------------------------------------------------------- confidence


def test_abstention_and_calibration_of_answers_whose_worth_is_known():
    r = np.random.default_rng(0)
    given = r.uniform(0.2, 1, 4000)
    right = r.random(4000) < given
    covered, accuracy = f7_robustness.abstention(given, right)
    assert covered[-1] == 1 and accuracy[-1] == right.mean() and accuracy[1999] > accuracy[-1] + 0.15
    assert f7_robustness.expected_calibration_error(given, right) < 0.03
    assert f7_robustness.expected_calibration_error(np.minimum(given + 0.3, 1), right) > 0.15
    flat = f7_robustness.abstention(np.full(10, 0.5), [True] * 5 + [False] * 5)[1]
    assert flat[4] == 1 and flat[-1] == 0.5  # equally sure: in their order


def test_a_loss_is_the_difference_to_the_clip_as_filmed(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    r, rows = np.random.default_rng(0), []
    for clip in range(60):
        mine = EMOTIONS[clip % 5]
        for nuisance, level, skill in (
            (AS_FILMED, 0.0, 1.0),
            *((n, x, 0.5 if n == "blur" else 1.0) for n, levels in LEVELS.items() for x in levels if x is not None),
        ):
            said = mine if r.random() < skill else EMOTIONS[(clip + 1) % 5]
            rows.append(
                {"clip": f"c{clip}", "dataset": "d", "subject": f"s{clip % 12}", "look": 0, "condition": "broken"}
                | {"truth": mine, "prediction": said, "system": "deft", "seed": 0, "nuisance": nuisance}
                | {"level": level, "streams": "", "scores": {}}
            )
    runtime.write_jsonl(paths.work(PROFILE) / "robustness.jsonl", rows)
    found = f7_robustness.scores(PROFILE).set_index(["nuisance", "level"])
    assert len(found) == sum(map(len, LEVELS.values()))
    assert np.allclose(found.lost + found.uf1, 1, atol=2e-4) and found.lost["noise", 6.0] == 0
    assert found.lost_low["blur", 2.0] > 0.2 and found.lost.drop("blur").eq(0).all()


def test_the_jackknife_of_a_mean_is_the_textbooks(world):
    asked = t5_probes.Asked(world, "bench")
    values = np.random.default_rng(0).normal(size=asked.count)
    row = asked.row("e", "f", "accuracy", [lambda weight: ((weight @ values) / weight.sum(1))[:, None]], 0.0)
    spread = 1.96 * values.std(ddof=1) / np.sqrt(asked.count)
    assert row["value"] - row["low"] == pytest.approx(spread, rel=1e-6)
    assert metrics.known_mean(np.array([[1.0, np.nan, 3.0]]))[0] == 2


def test_one_subject_cannot_be_probed():
    found = probes.probe(np.zeros((6, 2)), np.arange(6) % 2, groups=np.zeros(6, int))
    assert np.isnan(found["score"])
