"""The check of a text before it is said, and the question before it: does anything move on this face?"""

import numpy as np
import pytest

from deft.clips import simulator
from deft.clips.facs import SIDES, UNIT_INDEX, UNITS
from deft.faces import align
from deft.mllm.checked import AGAIN, STILL, UNHEARD, checked
from deft.motion import courses, evidence, stillness
from deft.unimer.check import Evidence
from deft.unimer.facts import Facts, MotionFact, UnitFact, component, facts_from_units, group_regions
from deft.unimer.kinds import KINDS
from deft.unimer.reading import parse

TRUE = Facts(
    "anger", "negative", (UnitFact(4), UnitFact(7, "L")), (MotionFact("inner brow", "B", "down"),)
)  # what happens
FALSE = Facts("", "", (UnitFact(12),), (MotionFact("lip corner", "B", "up"),))  # what is planted
TIMES = np.linspace(0, 340, 9)


def told(facts: Facts) -> tuple[np.ndarray, Evidence]:
    """Experts and flow that bear out exactly these facts."""
    experts, region = np.full((len(UNITS), 2), 0.03), np.zeros((36, 2))
    for fact in facts.units:
        for side in fact.side if fact.side in SIDES else SIDES:
            experts[UNIT_INDEX[fact.code], SIDES.index(side)] = 0.9
    for fact in facts.motions:
        for place in group_regions(fact.region, fact.side):
            region[place, 1] = 0.4 if fact.direction == "down" else -0.4
        assert (component(region, fact.region, fact.side, fact.direction) > 0.1).all()
    return experts, Evidence(region, 0.05, experts)


def both(one: Facts, other: Facts) -> str:
    return KINDS["reasoning"].put(
        Facts(one.emotion, one.coarse, one.units + other.units, one.motions + other.motions), None
    )


def test_a_planted_false_statement_is_dropped_and_the_true_ones_stay():
    experts, measured = told(TRUE)
    said = checked(both(TRUE, FALSE), experts, measured)
    assert parse(said.text) == said.facts == TRUE
    assert {(one.text, one.why) for one in said.dropped} == {
        ("au12 lip corner puller both", UNHEARD),
        ("the lip corners move up", UNHEARD),
    }


def test_on_inverted_evidence_the_true_statements_go_and_the_planted_ones_stay():
    experts, measured = told(FALSE)
    said = checked(both(TRUE, FALSE), experts, measured).facts
    assert (said.units, said.motions) == (FALSE.units, FALSE.motions)


def test_either_witness_is_enough_for_a_unit_and_none_is_too_few():
    experts, measured = told(TRUE)
    nothing = np.zeros_like(experts)
    text = KINDS["reasoning"].put(TRUE, None)
    assert checked(text, nothing, measured).text == text
    assert checked(text, experts, Evidence(measured.region, 0.05, nothing)).text == text
    assert checked(text, np.full_like(experts, np.nan), Evidence(measured.region, 0.05)).facts.units == ()


def test_a_statement_is_narrowed_to_the_sides_that_are_borne_out():
    experts, measured = told(TRUE)
    said = checked("class : anger . evidence : au7 lid tightener both , au4 both .", experts, measured)
    assert said.facts.units == (UnitFact(7, "L"), UnitFact(4))
    assert said.dropped[0].instead.startswith("au7") and "left" in said.dropped[0].instead
    turned = checked("class : anger . evidence : au7 lid tightener right .", experts, measured)
    assert turned.facts.units == (UnitFact(7, "L"),) and parse(turned.text) == turned.facts


def test_the_wider_of_two_statements_stays_in_either_order():
    experts, measured = told(TRUE)
    for pair in ("au4 left , au4 both", "au4 both , au4 left"):
        said = checked(f"class : anger . evidence : {pair} .", experts, measured)
        assert said.facts.units == (UnitFact(4),) and parse(said.text).units == said.facts.units
        assert [one.why for one in said.dropped] == [AGAIN]


def test_a_class_beyond_the_five_emotions_stays():
    experts, measured = told(TRUE)
    written = "class : repression . evidence : au4 both , au12 both . reasoning : the inner brows sink ."
    said = checked(written, experts, measured, named="repression")
    assert said.dropped and said.text.startswith("class : repression . evidence : au4")
    assert checked(written, experts, measured, False, "repression").dropped[0].text == "class : repression"


def test_nothing_is_said_twice_and_a_good_text_stays_as_it_is():
    experts, measured = told(TRUE)
    text = (
        "class : anger . evidence : au4 brow lowerer both , au7 lid tightener left . reasoning : the inner brows sink ."
    )
    assert checked(text, experts, measured).text == text
    twice = text + " the inner brows sink . au4 left . the inner brows sink ."
    said = checked(twice, experts, measured)
    assert parse(said.text) == TRUE and not parse(said.text).repeated and said.text.count("inner brow") == 1
    assert [one.why for one in said.dropped] == [AGAIN, AGAIN, AGAIN]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_said_is_borne_out_whatever_is_written(seed):
    """Invariants: the checked text states a part of what was written or measured, nothing twice, and stays when it is
    checked again."""
    rng = np.random.default_rng(seed)
    written = [
        facts_from_units(dict.fromkeys(map(int, rng.choice(UNITS, 3, False)), side), rng, "anger") for side in "LB"
    ]
    experts = rng.random((len(UNITS), 2)) ** 3
    measured = Evidence(rng.normal(0, 0.2, (36, 2)), 0.06, rng.random((len(UNITS), 2)) ** 3)
    said = checked(both(*written), experts, measured)
    assert all(measured.bears_out(fact) for fact in said.facts.motions)
    assert parse(said.text) == said.facts and not parse(said.text).repeated
    again = checked(said.text, experts, measured)
    assert again.text == said.text and not again.dropped


def test_of_a_still_face_only_that_is_said():
    experts, measured = told(TRUE)
    said = checked(both(TRUE, FALSE), experts, measured, moving=False)
    assert said.text == stillness.NOTHING and parse(said.text) == Facts() == said.facts
    assert len(said.dropped) == 6 and {one.why for one in said.dropped} == {STILL}


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(34,\).*\(17, 2\)"):
        checked("class : anger .", np.zeros(34), Evidence())


# ---------------------------------------------------------------- does anything move?
def film(actions=None, seed=5, timing=None, **show):
    """Courses and noise floor of a filmed face."""
    timing = timing or simulator.Timing(140, 40, 160)
    clip = simulator.render_clip(
        simulator.sample_identity(407, seed=seed),
        actions or {},
        times_ms=TIMES,
        timing=timing,
        camera=simulator.Camera(noise=4.0, jpeg=60, **show.pop("camera", {})),
        truth="none",
        seed=seed,
        **show,
    )
    face = align.align_clip(clip.frames, clip.truth.landmarks[0])
    found = courses.measure_clip(face.gray, face.landmarks)
    return found["courses"], found["noise"]


def test_a_face_that_is_still_drifts_or_blinks_does_not_move_and_one_with_a_unit_does():
    still = [film(), film(camera={"head_drift": 8.0}), film(distractors=("blink",))]
    moving = [film({"12": 0.25}), film({"4": 0.25}), film({"1": 0.25, "2": 0.2}), film({"15": 0.25})]
    assert [bool(stillness.moves(*one)) for one in still] == [False] * 3
    assert [bool(stillness.moves(*one)) for one in moving] == [True] * 4


def test_a_course_that_rises_holds_and_falls_passes_and_one_that_does_not_fails():
    smile = evidence.TEMPLATES[2 * UNIT_INDEX[12]] + evidence.TEMPLATES[2 * UNIT_INDEX[12] + 1]
    shapes = {
        "once": evidence.ENVELOPE,
        "for good": np.minimum(1, np.arange(1, 9) / 3),
        "twice": np.tile(evidence.ENVELOPE[[0, 2, 4, 6]], 2),
        "none": np.zeros(8),
    }
    moving = {}
    for name, shape in shapes.items():
        series = np.zeros((8, 36, 5))
        series[..., :2] = 0.5 * shape[:, None, None] * smile
        moving[name] = bool(stillness.moves(series, 0.06))
        assert moving[name] == bool(stillness.moves(series[None], np.array([0.06]))[0])
    assert moving == {"once": True, "for good": False, "twice": False, "none": False}
    series[..., :2] = 0.5 * shapes["for good"][:, None, None] * smile
    assert stillness.moves(series, 0.06, whole=False)  # of a clip that ends at its apex the course says nothing
