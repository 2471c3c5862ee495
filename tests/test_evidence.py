"""Evidence: known units score, their neighbours do not, time counts, probabilities and verdicts say what they claim."""

import dataclasses

import numpy as np
import pytest

from deft.clips import keyframes, simulator
from deft.clips.facs import REGION_INDEX, REGIONS, SIDES, UNIT_INDEX, UNITS
from deft.evaluation import distractors
from deft.faces import align
from deft.motion import courses, envelope, evidence

TIMES = np.array([0, 45, 90, 140, 180, 220, 260, 300, 340.0])
LEFT, RIGHT = SIDES.index("L"), SIDES.index("R")


def film(actions, seed=4, identity=77):
    clip = simulator.render_clip(
        simulator.sample_identity(identity),
        actions,
        times_ms=TIMES,
        truth="apex",
        truth_index=3,
        seed=seed,
        camera=simulator.Camera(noise=3.0, head_drift=1.5, jpeg=70),
    )
    face = align.align_clip(clip.frames, clip.truth.landmarks[0])
    return courses.measure_clip(face.gray, face.landmarks)


@pytest.fixture(scope="module")
def smile():
    return film({"12L": 0.3})


def at(values, unit, side):
    return values[UNIT_INDEX[unit], side]


def test_a_one_sided_smile_is_found_on_its_side_and_nowhere_else(smile):
    score = evidence.score(smile["courses"], smile["noise"])
    assert score.shape == (17, 2)
    assert at(score, 12, LEFT) > 5 and at(score, 12, LEFT) == score.max()
    assert at(score, 12, RIGHT) < 1 and at(score, 15, LEFT) < 0


def test_sharing_out_separates_units_that_share_a_region(smile):
    plain, shared = (
        evidence.plain(smile["courses"], smile["noise"]),
        evidence.parts(smile["courses"], smile["noise"]).spatial,
    )
    margin = lambda values: at(values, 20, LEFT) / at(values, 12, LEFT)
    assert margin(shared) < margin(plain)


@pytest.mark.parametrize("actions, unit", [({"4": 0.3}, 4), ({"1": 0.3, "2": 0.3}, 2), ({"9": 0.3}, 9)])
def test_brow_and_nose_units_are_found_on_both_sides(actions, unit):
    found = film(actions, seed=unit)
    score = evidence.score(found["courses"], found["noise"])
    own = min(at(score, unit, LEFT), at(score, unit, RIGHT))
    assert own > 2 and max(at(score, other, side) for other in (12, 15) for side in (LEFT, RIGHT)) < own / 2


def test_a_still_face_has_no_evidence():
    found = film({})
    assert evidence.score(found["courses"], found["noise"]).max() < 2


def test_a_step_or_a_flicker_does_not_score_like_rise_hold_fall(smile):
    peak = smile["courses"][2:4].mean(0)
    parts = {
        name: evidence.parts(np.asarray(shape, float)[:, None, None] * peak, smile["noise"])
        for name, shape in {
            "movement": envelope.ENVELOPE,
            "step": np.ones(8),
            "flicker": (0, 1, 1, 1, 0, 1, 0, 1),
            "late": (0, 0.5, 1, 1, 1, 1, 1, 0.9),
        }.items()
    }
    for name in ("step", "flicker", "late"):
        assert at(parts[name].spatial, 12, LEFT) == pytest.approx(
            at(parts["movement"].spatial, 12, LEFT), rel=0.1
        )  # the place alone cannot tell
        assert at(parts[name].temporal, 12, LEFT) < 0.4 * at(parts["movement"].temporal, 12, LEFT)
        assert at(parts[name].combined, 12, LEFT) < 0.15 * at(parts["movement"].combined, 12, LEFT)


def test_without_a_course_time_is_neutral(smile):
    parts = evidence.parts(smile["courses"][2:4], smile["noise"])
    assert not parts.temporal.any() and np.array_equal(parts.spatial, parts.combined)


def test_the_filter_is_unbiased_and_halves_the_variance():
    peak, both, time, both_noise, time_noise = envelope.filters(8)
    assert both @ envelope.ENVELOPE == pytest.approx(1) and both_noise**2 < 0.55
    covariance = np.eye(8) + 1
    assert peak @ covariance @ time == pytest.approx(0, abs=1e-12)  # the halves have independent noise


def test_noise_scales_the_evidence_and_many_equal_one_by_one(smile):
    assert at(evidence.score(smile["courses"], 4 * smile["noise"]), 12, LEFT) < at(
        evidence.score(smile["courses"], smile["noise"]), 12, LEFT
    )
    many = evidence.score(np.stack([smile["courses"]] * 2), np.full(2, smile["noise"]))
    assert np.allclose(many[1], evidence.score(smile["courses"], smile["noise"]))
    with pytest.raises(ValueError, match="courses must be"):
        evidence.score(np.zeros((8, 35, 5)), 0.1)
    with pytest.raises(ValueError, match="positive"):
        evidence.score(smile["courses"], 0.0)


def test_the_mirrored_face_has_the_mirrored_score(smile):
    swap = [REGION_INDEX[name, {"L": "R", "R": "L", "": ""}[side]] for name, side in REGIONS]
    mirrored = smile["courses"][:, swap] * np.array([-1, 1, 1, 1, 1])
    assert np.allclose(
        evidence.parts(mirrored, smile["noise"]).spatial[:, ::-1],
        evidence.parts(smile["courses"], smile["noise"]).spatial,
        atol=0.35,
    )


# ---------------------------------------------------------------- probability


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    present = rng.random((400, 17, 2)) < 0.15
    scores = np.where(present, rng.normal(4, 2, present.shape), rng.normal(-1, 1, present.shape))
    return evidence.Calibration.fit(scores, present, "made up"), scores, present


def test_probabilities_are_calibrated_and_survive_json(calibration, tmp_path):
    fitted, scores, present = calibration
    p = fitted.apply(scores)
    assert p.dtype == np.float32 and p.shape == scores.shape and 0 <= p.min() and p.max() <= 1
    sure = (p > 0.4) & (p < 0.6)
    assert present[p > 0.9].mean() > 0.9 and present[p < 0.1].mean() < 0.1 and 0.2 < present[sure].mean() < 0.8
    fitted.save(tmp_path / "c.json")
    assert np.array_equal(evidence.Calibration.load(tmp_path / "c.json").apply(scores[0]), p[0])


def test_calibration_refuses_what_does_not_fit(calibration):
    fitted = calibration[0]
    with pytest.raises(ValueError, match="both be"):
        evidence.Calibration.fit(np.zeros((5, 17, 2)), np.zeros((5, 17)))
    with pytest.raises(ValueError, match="no unit is present"):
        evidence.Calibration.fit(np.zeros((5, 17, 2)), np.zeros((5, 17, 2), bool))
    with pytest.raises(ValueError, match="run 04_evidence again"):
        evidence.Calibration.from_json({**fitted.to_json(), "units": [1, 2]})


def test_separation_is_an_auroc_per_strength():
    intensity = np.zeros((40, 17, 2))
    intensity[:10], intensity[10:20] = 0.05, 0.3
    found = evidence.separation(intensity + 0.0, intensity)
    assert found["all"] == 1.0 and found[0.02, 0.08] == 1.0 and np.isnan(found[0.08, 0.15])


# ---------------------------------------------------------------- posterior


def test_the_posterior_means_what_it_says():
    """Clips drawn with a known rate, a calibrated flow and a coder of known reliability: of the sides given p, a
    share p moved.
    """
    generator = np.random.default_rng(3)
    rate, reliability, d = 0.1, 0.85, 1.5
    moved = generator.random((6000, 17, 2)) < rate
    ratio = d * (generator.normal(size=moved.shape) + d * moved - d / 2)
    flow = 1 / (1 + np.exp(-ratio) * (1 - rate) / rate)
    written = np.where(
        moved,
        generator.random(moved.shape) < reliability,
        generator.random(moved.shape) < rate * (1 - reliability) / (1 - rate),
    )
    belief = evidence.posterior(flow, written, rate, reliability)
    for low in np.arange(0, 1, 0.1):
        inside = (belief >= low) & (belief < low + 0.1)
        assert inside.sum() > 200 and moved[inside].mean() == pytest.approx(belief[inside].mean(), abs=0.05)
    brier = {
        name: np.square(p - moved).mean()
        for name, p in (("flow", flow), ("coder", np.where(written, 0.85, 0.017)), ("both", belief))
    }
    assert brier["both"] < 0.9 * min(brier["flow"], brier["coder"])


def test_two_witnesses():
    flow = np.full((17, 2), 0.1)  # the base rate: the flow says nothing either way
    yes, no = np.ones((17, 2), bool), np.zeros((17, 2), bool)
    assert np.allclose(evidence.posterior(flow, yes, 0.1), evidence.RELIABILITY)
    assert (evidence.posterior(flow, no, 0.1) < 0.1).all()
    assert (evidence.posterior(np.full((17, 2), 1e-4), yes, 0.1) < 0.5).all()
    doubtful = np.full(
        (17, 2), 0.05
    )  # the flow speaks against it: likely by the coder's word alone, so not confirmed by the pixels
    assert (evidence.posterior(doubtful, yes, 0.1) > 0.5).all() and not evidence.is_confirmed(doubtful, yes, 0.1).any()
    assert evidence.is_confirmed(flow, yes, 0.1).all() and evidence.is_confirmed(np.full((17, 2), 0.98), no, 0.1).all()
    unsure = np.full((17, 2), 0.95)  # more probable than not, but not as sure as what a coder saw
    assert (evidence.posterior(unsure, no, 0.1) > 0.5).all() and not evidence.is_confirmed(unsure, no, 0.1).any()
    rare = evidence.posterior(flow, yes, np.r_[0.01, np.full(16, 0.1)])
    assert (rare[0] > rare[1]).all()  # p = .1 is strong evidence for a unit seen once in a hundred
    with pytest.raises(ValueError, match="annotation must both be"):
        evidence.posterior(flow, yes[:3])
    with pytest.raises(ValueError, match="reliability"):
        evidence.posterior(flow, yes, reliability=1.0)


def test_the_posterior_decides_what_is_confirmed_and_a_coder_is_believed_where_the_flow_does_not_object():
    """One threshold for all: what is written stands exactly from the base rate on; with the coder's word, less is
    needed of the flow than without.
    """
    flow = np.broadcast_to(np.linspace(0.001, 0.999, 400)[:, None, None], (400, 17, 2))
    rate = np.linspace(0.02, 0.3, 17)
    yes = np.ones(flow.shape, bool)
    written, alone = (evidence.is_confirmed(flow, told, rate) for told in (yes, ~yes))
    assert np.array_equal(written, flow >= rate[:, None])
    assert np.array_equal(alone, evidence.posterior(flow, ~yes, rate) >= evidence.RELIABILITY)
    assert (written | ~alone).all() and alone.any((0, 2)).all() and (written.sum(0) > 2 * alone.sum(0)).all()


def test_a_unit_that_explains_the_motion_takes_it_from_units_that_share_its_regions(monkeypatch):
    """Each unit alone: it comes first, and far fewer others seem to have moved than when each is asked by itself."""
    moved, noise = 0.4 * evidence.TEMPLATES, np.full(len(evidence.TEMPLATES), 0.08)
    shared = evidence.explain(moved, noise)
    monkeypatch.setattr(evidence, "EXPLAIN", 0.0)
    alone, others = evidence.explain(moved, noise), ~np.eye(len(moved), dtype=bool)
    assert (shared.argmax(1) == np.arange(len(moved))).all() and (np.diagonal(shared) > 5).all()
    assert (shared[others] > 0).sum() < 0.7 * (alone[others] > 0).sum()


def test_outward_of_the_right_side_is_towards_smaller_x():
    still = np.zeros((8, len(REGIONS), 5))
    for side, towards in (("L", 1.0), ("R", -1.0)):
        region, courses = REGIONS.index(("lip_corner", side)), still.copy()
        courses[:, region, 0] = 0.5 * towards
        row = evidence.region_row(courses, 0.1, region)
        assert (row.side, row.direction, row.px) == (side, "outward", 0.5)
        assert evidence.region_row(-courses, 0.1, region).direction == "inward"


# ---------------------------------------------------------------- verdicts


def test_four_verdicts_with_their_rows(smile):
    probability = np.full((17, 2), 0.002)
    probability[UNIT_INDEX[12], LEFT], probability[UNIT_INDEX[4], RIGHT] = 0.95, 0.98
    found = {(v.unit, v.side): v for v in evidence.verdicts("12+L15+1", probability, smile["courses"], smile["noise"])}
    assert {key: v.verdict for key, v in found.items()} == {
        (12, "L"): "confirmed",
        (12, "R"): "unsupported",
        (15, "L"): "contradicted",
        (1, "L"): "unsupported",
        (1, "R"): "unsupported",
        (4, "R"): "unannotated",
    }
    row = found[12, "L"].rows[0]
    assert (
        (row.region, row.side) == ("lip_corner", "L")
        and row.direction in ("outward", "up")
        and row.px > 0.1
        and row.z > 5
    )
    assert row.frames[0] <= 3 <= row.frames[1]
    assert all(isinstance(value, (str, float, tuple)) for value in dataclasses.astuple(row))


def test_templates_have_one_row_per_unit_and_side():
    assert (
        evidence.TEMPLATES.shape == (2 * len(UNITS), len(REGIONS), 2)
        and (np.abs(evidence.TEMPLATES).sum((1, 2)) > 0).all()
    )


# ---------------------------------------------------------------- time apart from space


def test_a_region_that_comes_late_speaks_against_the_unit(smile):
    """The lip corner trails the other regions of unit 12 by two key frames, some 85 ms: the place still fits, the
    time does not.
    """
    corner = [row for row, (name, _) in enumerate(REGIONS) if name == "lip_corner"]
    late = smile["courses"].copy()
    late[2:, corner], late[:2, corner] = smile["courses"][:-2, corner], 0
    together, apart = evidence.parts(smile["courses"], smile["noise"]), evidence.parts(late, smile["noise"])
    unit = UNIT_INDEX[12], LEFT
    assert apart.spatial[unit] > 0.4 * together.spatial[unit] > 3  # where it moves is still said by the place
    assert apart.temporal[unit] < 0.5 * together.temporal[unit]
    assert apart.combined[unit] < 0.25 * together.combined[unit]


# ---------------------------------------------------------------- distractors


def test_still_faces_confirm_nothing_by_themselves(monkeypatch):
    """Head drift, blink and flicker alone: no unit is reported, and the flow withholds most of what a wrong coder
    claims.
    """
    monkeypatch.setattr(
        distractors, "CASES", {name: distractors.CASES[name] for name in ("head drift", "blink", "flicker")}
    )
    calibration = evidence.Calibration((0.9,) * 17, (0.3,) * 17, (-2.6,) * 17)
    table = distractors.study(calibration, people=3)
    assert list(table["case"]) == ["head drift", "blink", "flicker"] and (table["reported"] <= 1 / 3).all()
    assert (table["confirmed"] < 0.3).all() and (table["confirmed"] <= table["by_word"]).all()


def test_the_filter_of_all_flows_measures_what_the_peak_measures_with_less_noise():
    rng, truth = np.random.default_rng(0), np.array([0.6, -0.3])
    shared, own = rng.normal(size=(4000, 1, 2)), rng.normal(size=(4000, 8, 2))
    flows = envelope.ENVELOPE[:, None] * truth + 0.1 * (shared + own)  # every flow starts at the same noisy onset
    peak, filtered = keyframes.peak_mean(flows, 1), envelope.at_peak(flows, 1)
    assert np.allclose(filtered[0].mean(0), peak.mean(0), atol=0.01)
    assert filtered[0].std(0) == pytest.approx(filtered[1] * peak.std(0), rel=0.05) and filtered[1] < 0.75
    short = flows[:, :2]  # onset, apex, hold: nothing but the mean is known
    assert np.array_equal(envelope.at_peak(short, 1)[0], short.mean(1)) and envelope.at_peak(short, 1)[1] == 1
