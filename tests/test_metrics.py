"""Every metric against an example worked by hand and against scikit-learn; intervals against a case whose truth is
known.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from deft.evaluation import metrics, protocols, reported

CLASSES = ("a", "b", "c")


def test_worked_example():
    truth = list("aaabbc")
    said = ["a", "a", "b", "b", None, "a"]
    # a: TP 2 FP 1 FN 1 -> F1 4/6, recall 2/3; b: TP 1 FP 1 FN 1 -> 2/4, 1/2; c: TP 0 FN 1 -> 0, 0
    found = metrics.recognition_scores(truth, said, CLASSES)
    assert found["uf1"] == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)
    assert found["uar"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["accuracy"] == pytest.approx(3 / 6)


def test_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    truth, said = generator.choice(CLASSES, 200), generator.choice([*CLASSES, "nonsense"], 200)
    found = metrics.recognition_scores(truth, said, CLASSES)
    extra = {"labels": list(CLASSES), "average": "macro", "zero_division": 0}
    assert found["uf1"] == pytest.approx(f1_score(truth, said, **extra))
    assert found["uar"] == pytest.approx(recall_score(truth, said, **extra))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))


def test_answer_outside_the_vocabulary_is_a_miss_not_a_class():
    good = metrics.recognition_scores(list("ab"), ["a", "b"], ("a", "b"))
    odd = metrics.recognition_scores(list("ab"), ["a", "joy"], ("a", "b"))
    assert good["uf1"] == 1.0
    assert odd == {"uf1": 0.5, "uar": 0.5, "accuracy": 0.5}  # a: 1, b: 0; no third class dilutes the mean


def test_a_class_that_never_occurs_does_not_vanish():
    assert metrics.recognition_scores(list("ab"), list("ab"), CLASSES)["uf1"] == pytest.approx(2 / 3)
    assert metrics.recognition_scores(list("ab"), list("ab"), CLASSES)["accuracy"] == 1.0


@pytest.mark.parametrize(
    "truth, said, classes, words",
    [
        ([], [], CLASSES, "no clips"),
        (["a"], [], CLASSES, "1 truths but 0"),
        (["z"], ["a"], CLASSES, "row 0: truth 'z'"),
        (["a"], ["a"], (), "class list is empty"),
        (["a"], ["a"], ("a", "a"), "names a class twice"),
    ],
)
def test_bad_input_is_named(truth, said, classes, words):
    with pytest.raises(ValueError, match=words):
        metrics.recognition_scores(truth, said, classes)


def test_fold_average_is_another_number_and_a_class_can_vanish():
    truth, said, fold = list("aab" + "abb"), list("aaa" + "abb"), [0] * 3 + [1] * 3
    pooled = metrics.recognition_scores(truth, said, ("a", "b"))["uf1"]
    averaged = metrics.fold_averaged_scores(truth, said, fold, ("a", "b"))["uf1"]
    assert pooled == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert averaged == pytest.approx(((4 / 5 + 0) / 2 + 1) / 2)
    # A fold of one class, all right: with the protocol's list it scores 1/2, with the occurring classes 1.
    assert metrics.fold_averaged_scores(list("aa"), list("aa"), [0, 0], ("a", "b"))["uf1"] == 0.5
    assert metrics.fold_averaged_scores(list("aa"), list("aa"), [0, 0], ("a", "b"), vanish=True)["uf1"] == 1.0


def test_vanishing_matches_scikit_learn_without_labels():
    generator = np.random.default_rng(3)
    truth, said = generator.choice(["a", "b"], 40), generator.choice(["b", "c"], 40)
    found = metrics.fold_averaged_scores(truth, said, np.zeros(40), ("a", "b", "c", "d"), vanish=True)
    assert found["uf1"] == pytest.approx(f1_score(truth, said, average="macro", zero_division=0))


def _study(generator, subjects=40, clips=14, skill=0.7, spread=0.15):
    """Subjects whose skill varies; truth 'a' or 'b' in equal parts, so the population accuracy is `skill`."""
    rows = []
    for subject in range(subjects):
        right = generator.random(clips) < np.clip(generator.normal(skill, spread), 0, 1)
        truth = generator.choice(["a", "b"], clips)
        rows.append(
            pd.DataFrame(
                {
                    "dataset": "d",
                    "subject": f"s{subject}",
                    "truth": truth,
                    "prediction": np.where(right, truth, np.where(truth == "a", "b", "a")),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def _sample(rows, constant=False):
    return metrics.sample(rows, metrics.confusions(rows["truth"], rows["prediction"], ("a", "b")), constant)


def _shares(part, draws=(0,), look=None, constant=False):
    """part: (S, K) share of 10 clips -> Sample of [right, clips] per subject and draw."""
    part = np.asarray(part, float)
    rows = pd.DataFrame(
        [
            {"dataset": "d", "subject": f"s{s:02d}", "seed": k, "look": look[s] if look else 0}
            for k in draws
            for s in range(len(part))
        ]
    )
    return metrics.sample(rows, np.stack([part.T.reshape(-1) * 10, np.full(part.size, 10.0)], axis=1), constant)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator, inside = np.random.default_rng(1), 0
    for _ in range(150):
        interval = metrics.interval(_sample(_study(generator)), metrics.accuracy, B=300)
        inside += interval.low <= 0.7 <= interval.high
    assert 0.87 <= inside / 150 <= 0.99


def test_bootstrap_equals_the_slow_way():
    """Two looks of 3 and 4 people, two draws: every replicate again by repeating clips, scored one by one."""
    parts = [_study(np.random.default_rng(2 + k), subjects=7).assign(seed=k) for k in range(2)]
    rows = pd.concat([part.assign(look=(part["subject"] > "s2").astype(int)) for part in parts], ignore_index=True)
    one = _sample(rows)
    people, draws = metrics.subject_weights(one.strata, 20, 5), metrics.draw_weights(2, 20, 5)
    subject, slow = np.searchsorted(one.subjects, metrics.subject_of(rows)), []
    for weight, draw in zip(people, draws):
        times = np.round(weight[subject] * 6).astype(int)  # 6 x weight is whole: 3/2 and 4/3 times a count
        each = [
            metrics.recognition_scores(
                *(np.repeat(rows[name], np.where(rows["seed"] == k, times, 0)) for name in ("truth", "prediction")),
                ("a", "b"),
            )["uf1"]
            for k in range(2)
        ]
        slow.append(np.dot(draw, each))
    found = metrics.interval(one, metrics.uf1, B=20, seed=5)
    assert (found.low, found.high) == (
        pytest.approx(np.percentile(slow, 2.5)),
        pytest.approx(np.percentile(slow, 97.5)),
    ) and found.draws == 2
    whole = [metrics.recognition_scores(part["truth"], part["prediction"], ("a", "b"))["uf1"] for part in parts]
    assert found.value == pytest.approx(np.mean(whole))


def test_resampling_within_looks_keeps_what_hangs_on_looks():
    """Two looks, each showing its own emotion. A reader who knows one of them only: plain resampling deals other shares
    of emotions, so that UF1 moves and its mean shifts; within looks every replicate is the score itself."""
    rows = pd.DataFrame(
        [
            {"dataset": "d", "subject": f"s{s}", "truth": "ab"[s >= 5], "look": int(s >= 5), "prediction": "a"}
            for s in range(7)
            for _ in range(5)
        ]
    )
    within, plain = _sample(rows), _sample(rows.drop(columns="look"))
    value = (2 * 5 / (2 * 5 + 2)) / 2  # a: 5 right, 2 wrongly called a; b: never
    assert metrics.replicates([(within, metrics.uf1)]) == pytest.approx(value)
    shifted = metrics.replicates([(plain, metrics.uf1)])
    assert shifted.mean() < value - 0.005 and shifted.std() > 0.02
    weight = metrics.subject_weights(within.strata)
    assert (weight[:, :5].sum(1), weight[:, 5:].sum(1)) == (pytest.approx(5), pytest.approx(2))


def test_looks_of_one_subject_are_pooled():
    weight = metrics.subject_weights(["a", "a", "a", "b", "c"])
    assert (
        weight[:, :3].sum(1) == pytest.approx(3) and weight[:, 3:].sum(1) == pytest.approx(2) and weight[:, 3].std() > 0
    )
    weight = metrics.subject_weights(["a", "a", "b"])  # nobody to pool with but a: one stratum of three
    assert weight[:, 2].std() > 0 and weight.sum(1) == pytest.approx(3)


def test_subjects_and_draws_widen_the_interval_as_theory_says():
    # Four people: 0, 0, 1, 1. s^2 = 1/3, so the variance of their mean is 1/12. Everybody alike in three draws of .5 .6
    # .7:
    # s^2 = .01, variance of the mean .01/3. Both at once: the sum.
    people = metrics.replicates([(_shares([[0], [0], [1], [1]]), metrics.share)], B=20000)
    assert people.var() == pytest.approx(1 / 12, rel=0.05)
    draws = _shares([[0.5, 0.6, 0.7]] * 4, (0, 1, 2))
    found = metrics.replicates([(draws, metrics.share)], B=20000)
    assert found.var() == pytest.approx(0.01 / 3, rel=0.05)
    interval = metrics.interval(draws, metrics.share)
    assert (interval.value, interval.low, interval.high, interval.draws) == (
        pytest.approx(0.6),
        pytest.approx(0.5),
        pytest.approx(0.7),
        3,
    )
    both = metrics.replicates(
        [(_shares([[k - 0.1, k, k + 0.1] for k in (0.3, 0.3, 0.7, 0.7)], (0, 1, 2)), metrics.share)], B=20000
    )
    assert both.var() == pytest.approx((0.16 / 3) / 4 + 0.01 / 3, rel=0.05)
    one = metrics.interval(_shares([[0.6]] * 4), metrics.share)
    assert (one.low, one.high, one.draws) == (
        pytest.approx(0.6),
        pytest.approx(0.6),
        1,
    )  # one draw says nothing about others


def test_a_pair_shares_subjects_and_draws():
    base = np.array([[0.2, 0.5, 0.8], [0.3, 0.6, 0.9], [0.1, 0.2, 0.3]])
    better, worse = _shares(base + 0.1, (0, 1, 2)), _shares(base, (0, 1, 2))
    found = metrics.difference(better, worse, metrics.share)
    assert (found.value, found.low, found.high) == tuple(pytest.approx(0.1) for _ in range(3))
    assert metrics.difference(worse, better, metrics.share).high == pytest.approx(-0.1)
    ratio = metrics.combined(
        [(_shares(base / 2, (0, 1, 2)), metrics.share), (worse, metrics.share)], lambda a, b: a / b
    )
    assert (ratio.low, ratio.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_only_draws_that_both_have_are_compared():
    a, b = _shares([[0.9, 0.5, 0.7]] * 3, (0, 1, 2)), _shares([[0.4, 0.4, 0.0]] * 3, (1, 2, 3))
    found = metrics.difference(a, b, metrics.share)
    assert (
        found.value == pytest.approx((0.5 + 0.7) / 2 - 0.4)
        and found.draws == 2
        and metrics.shared_draws(a, b) == (1, 2)
    )
    fixed = _shares([[0.4]] * 3, (0,), constant=True)
    found = metrics.difference(a, fixed, metrics.share)
    assert found.value == pytest.approx(0.7 - 0.4) and found.draws == 3 and found.high - found.low > 0.2
    assert metrics.difference(a, _shares([[0.4]] * 3, (0,)), metrics.share).value == pytest.approx(
        0.9 - 0.4
    )  # not constant: draw 0 alone
    with pytest.raises(ValueError, match="no draw is shared"):
        metrics.difference(a, _shares([[0.4]] * 3, (7,)), metrics.share)


def test_a_draw_that_states_nothing_is_left_out():
    rows = pd.DataFrame([{"dataset": "d", "subject": s, "seed": k} for k in range(2) for s in "abc"])
    one = metrics.sample(rows, np.array([[1, 2]] * 3 + [[0, 0]] * 3))
    assert metrics.interval(one, metrics.share).value == 0.5


def test_auroc_interval_equals_the_slow_way():
    generator = np.random.default_rng(5)
    rows = pd.DataFrame(
        {"dataset": "d", "subject": [f"s{i // 8}" for i in range(48)], "look": [i // 24 for i in range(48)]}
    )
    truth, score = generator.random((48, 2)) < 0.4, generator.integers(0, 6, (48, 2)) / 6
    score += 0.3 * truth
    weight, subject, slow = metrics.subject_weights(["0"] * 3 + ["1"] * 3, 30, 3), np.arange(48) // 8, []
    for one in weight:
        times = np.round(one[subject] * 2).astype(int)
        slow.append(
            np.mean([roc_auc_score(np.repeat(truth[:, u], times), np.repeat(score[:, u], times)) for u in range(2)])
        )
    found = metrics.auroc_interval(truth, score, rows, B=30, seed=3)
    assert (found.low, found.high) == (
        pytest.approx(np.percentile(slow, 2.5)),
        pytest.approx(np.percentile(slow, 97.5)),
    )
    assert found.value == pytest.approx(np.mean([metrics.auroc(truth[:, u], score[:, u]) for u in range(2)]))


def test_paired_interval_is_narrower_than_the_two_and_zero_against_itself():
    rows = _study(np.random.default_rng(4), spread=0.3)
    better = rows.copy()
    miss = np.flatnonzero(better["truth"] != better["prediction"])[::6]
    better.loc[miss, "prediction"] = better.loc[miss, "truth"]
    a, b = _sample(better), _sample(rows)
    paired, alone = metrics.difference(a, b, metrics.uf1), metrics.interval(b, metrics.uf1)
    assert 0 < paired.low < paired.value < paired.high
    assert paired.high - paired.low < alone.high - alone.low
    same = metrics.difference(b, b, metrics.uf1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="different subjects"):
        metrics.difference(b, _sample(rows[rows["subject"] != "s3"]), metrics.uf1)


def test_subjects_of_two_datasets_are_two_people():
    rows = pd.DataFrame({"dataset": ["d", "e"], "subject": ["01", "01"]})
    assert len(set(metrics.subject_of(rows))) == 2
    with pytest.raises(ValueError, match="at least 2 subjects"):
        metrics.subject_weights(["a"])
    alone = metrics.interval(_shares([[0.5]]), metrics.share)
    assert alone.value == 0.5 and np.isnan(alone.low) and np.isnan(alone.high)


def test_rows_that_do_not_fit_are_named():
    rows = pd.DataFrame({"dataset": "d", "subject": ["s1", "s1", "s2"], "look": [0, 1, 0], "seed": [0, 0, 0]})
    with pytest.raises(ValueError, match="subject d/s1 wears looks 0 and 1"):
        metrics.sample(rows, np.ones(3))
    with pytest.raises(ValueError, match="subject d/s2 has no answer in draw 1"):
        metrics.sample(rows.assign(look=0, seed=[0, 1, 0]), np.ones(3))


# ---------------------------------------------------------------- protocols
def test_roles_and_folds_file(tmp_path):
    folds = pd.DataFrame(
        {"subject": ["s1", "s2", "s3"], "dataset": "d", "look": 0, "fold": [0, 1, 1], "validation_of": [-1, -1, 0]}
    )
    index = pd.DataFrame({"dataset": "d", "subject": ["s1", "s2", "s3", "s1"]})
    assert list(protocols.roles_of(index, folds, 0)) == ["test", "train", "validation", "test"]
    folds.to_csv(tmp_path / "folds.csv", index=False)
    assert protocols.read_folds(tmp_path / "folds.csv").equals(folds)
    folds.assign(validation_of=folds["fold"]).to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(ValueError, match="tested and validated"):
        protocols.read_folds(tmp_path / "folds.csv")
    with pytest.raises(ValueError, match="no row for"):
        protocols.roles_of(index.assign(subject="s9"), folds, 0)


# ---------------------------------------------------------------- published numbers
# Rows truth, columns answer: negative, positive, surprise.  UF1, mean recall, mean precision as their authors' logs
# give them.
STSTNET = {
    "STSTNet": ([[219, 22, 9], [40, 62, 7], [21, 3, 59]], 0.7353, 0.7186, 0.7605),
    "STSTNet, authors' PyTorch rerun": ([[195, 39, 16], [36, 68, 5], [12, 7, 64]], 0.7209, 0.7250, None),
}


@pytest.mark.parametrize("method", STSTNET)
def test_a_published_confusion_matrix_gives_its_published_scores(method):
    """What the paper prints as UAR is macro precision: the metric here and scikit-learn's must both say so."""
    matrix, uf1, uar, precision = np.array(STSTNET[method][0]), *STSTNET[method][1:]
    assert list(matrix.sum(axis=1)) == [250, 109, 83]  # the composite's classes
    row, column = np.indices(matrix.shape)
    truth, said = np.repeat(row.ravel(), matrix.ravel()), np.repeat(column.ravel(), matrix.ravel())
    found = metrics.recognition_scores(truth, said, range(3))
    assert (round(found["uf1"], 4), round(found["uar"], 4)) == (uf1, uar)
    assert (
        round(f1_score(truth, said, average="macro"), 4) == uf1
        and round(recall_score(truth, said, average="macro"), 4) == uar
    )
    if precision is not None:
        swapped = metrics.recognition_scores(said, truth, range(3))  # recall of the transposed matrix is precision
        assert round(swapped["uar"], 4) == round(precision_score(truth, said, average="macro"), 4) == precision != uar
    table = reported.load()
    line = table[(table["protocol"] == "composite, full") & (table["method"] == method)].squeeze()
    assert (line["uf1"], line["uar"]) == (uf1, uar)


def test_published_numbers_carry_their_source_and_selection(tmp_path):
    table = reported.load()
    assert (table["source"].str.strip() != "").all()
    number = table["uf1"].notna() | table["uar"].notna() | (table["other"] != "")
    assert (
        set(table["selection"][number]) <= set(reported.SELECTIONS)
        and (table["selection"][~number] == reported.NOT_AVAILABLE).all()
    )
    apex = table[table["method"].str.startswith("OFF-ApexNet") & table["source"].str.startswith("tvaranka/meb")]
    assert len(apex) == 3 and apex["method"].str.contains("one-stream variant").all()
    assert np.isnan(table.set_index("method").loc["DEFT-LLM", "uf1"])
    flattered = next(line for line in table.itertuples() if line.method.startswith("STSTNet, rerun with test"))
    assert reported.note(flattered) == "selection: best epoch on test"


@pytest.mark.parametrize(
    "line, words",
    [
        ("x,y,.5,not available,unknown,,", "row 2: 'y' has no source"),
        ("x,y,not available,not available,not available,,", "row 2: 'y' has no source"),
        ("x,y,.5,not available,,,z", "row 2, column selection: ''"),
        ("x,y,.5,not available,not available,,z", "row 2, column selection: 'not available'"),
        ("x,y,not available,not available,best epoch on test,,z", "row 2, column selection"),
        ("x,y,88,not available,unknown,,z", "row 2, column uf1: 88 is not between 0 and 1"),
    ],
)
def test_a_published_number_without_source_or_selection_is_refused(tmp_path, line, words):
    path = tmp_path / "reported.csv"
    path.write_text(f"{','.join(reported.COLUMNS)}\n{line}\n")
    with pytest.raises(ValueError, match=words):
        reported.load(path)


def test_holm_by_hand():
    assert metrics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01; 2 x .03; then at least that
    found = metrics.holm([0.5, float("nan"), 0.02])
    assert found[[0, 2]] == pytest.approx([0.5, 0.04]) and np.isnan(found[1])
    assert metrics.holm([0.9, 0.8])[0] == 1 and len(metrics.holm([])) == 0


def test_p_of_a_difference_is_small_where_the_interval_is_far_from_zero():
    rows = pd.DataFrame({"dataset": "a", "subject": [f"s{n:02d}" for n in range(30)], "look": 0})
    draw = np.random.default_rng(0)
    right = {name: draw.binomial(20, share, 30) for name, share in (("good", 0.8), ("same", 0.8), ("bad", 0.5))}
    one = {name: metrics.sample(rows, np.stack([n, np.full(30, 20)], 1)) for name, n in right.items()}
    assert metrics.p_value(one["good"], one["bad"], metrics.share) < 1e-6
    assert metrics.p_value(one["good"], one["same"], metrics.share) > 0.05
    assert metrics.p_value(one["good"], one["good"], metrics.share) == 1
    always, never = (metrics.sample(rows, np.stack([np.full(30, n), np.full(30, 20)], 1)) for n in (20, 0))
    assert np.isnan(metrics.p_value(always, never, metrics.share))  # nothing scatters, so no t tells how sure it is
    assert metrics.p_value(one["bad"], one["good"], metrics.share) == metrics.p_value(
        one["good"], one["bad"], metrics.share
    )
