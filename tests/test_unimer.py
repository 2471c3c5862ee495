"""Uni-MER: every answer can be read back, every record is checked by line, and what is denied is false."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft.clips.facs import EMOTIONS, MIDLINE, REGION_INDEX, SIDES, UNIT_INDEX, UNITS, expected_vectors
from deft.unimer import build, check, export, grammar, parse, schema
from deft.unimer.check import Evidence
from deft.unimer.facts import (DIRECTIONS, GROUPS, Facts, MotionFact, UnitFact, facts_from_units, hard_negatives, stated_by, supports, supports_unit,
                               text_facts, unit_array)

SEEDS = st.integers(0, 2**32 - 1)
MOTION = st.builds(MotionFact, st.sampled_from(sorted(set(GROUPS) - {"chin", "glabella"})), st.sampled_from("LRB"), st.sampled_from(DIRECTIONS)) | st.builds(
    MotionFact, st.sampled_from(["chin", "glabella"]), st.just("B"), st.sampled_from(("up", "down")))
UNIT = st.builds(UnitFact, st.sampled_from(UNITS), st.sampled_from("LRB"))


@st.composite
def any_facts(draw):
    """Facts with no thought of sense: the wording must carry them all the same."""
    emotion = draw(st.sampled_from(EMOTIONS))
    units = draw(st.lists(UNIT, max_size=4, unique_by=lambda f: f.code))
    motions = draw(st.lists(MOTION, max_size=4, unique_by=lambda f: (f.region, f.side)))
    denied = draw(st.lists(MOTION | UNIT, max_size=1))
    coarse = {"happiness": "positive", "surprise": "surprise"}.get(emotion, "negative")
    return Facts(emotion, coarse, tuple(units), tuple(motions), tuple(denied))


# --- grammar -----------------------------------------------------------------------------------------------------------
@settings(max_examples=250, deadline=None)
@given(any_facts(), SEEDS)
def test_every_answer_reads_back_to_its_facts(facts, seed):
    rng = np.random.default_rng(seed)
    for kind in grammar.KINDS:
        part = grammar.focus(kind, facts, rng)
        for draw in (rng, None):
            text = grammar.answer(kind, part, draw)
            read = parse(text)
            assert read == grammar.mentioned(kind, part), text
            assert read.unknown == 0


def test_texts_stay_within_the_vocabulary_and_are_short():
    words, rng = set(grammar.vocabulary()), np.random.default_rng(3)
    assert len(words) <= 500 and all(word == word.lower() for word in words)
    lengths = []
    for i in range(400):
        facts = text_facts(rng, flat=bool(i % 2))
        for kind in grammar.KINDS:
            part = grammar.focus(kind, facts, rng)
            for text in (grammar.question(kind, part, rng), grammar.answer(kind, part, rng)):
                assert set(text.split()) <= words, set(text.split()) - words
                assert text.split() == grammar.tokens(text), "blanks must surround every token"
        lengths.append(len(grammar.answer("reasoning", facts, rng).split()))
    assert max(lengths) <= 48 and np.median(lengths) <= 40


def test_kinds_have_at_least_six_patterns():
    patterns = [*grammar.QUESTIONS.values(), grammar.MOTION_ANSWERS, grammar.MOTION_CLAUSES, grammar.UNIT_ANSWERS, grammar.SIDE_ANSWERS, grammar.COARSE_ANSWERS,
                grammar.FINE_ANSWERS, grammar.ASK_UNIT, grammar.ASK_MOTION, grammar.YES_UNIT, grammar.NO_UNIT, grammar.YES_MOTION, grammar.NO_MOTION_ASKED]
    assert all(len(set(group)) >= 6 for group in patterns)


def test_agreement_and_class_first():
    facts = Facts("disgust", "negative", (UnitFact(4, "B"), UnitFact(7, "L")), (MotionFact("inner brow", "B", "down"), MotionFact("lower lid", "L", "up")))
    assert grammar.answer("reasoning", facts) == (
        "class : disgust . evidence : au4 brow lowerer both , au7 lid tightener left . reasoning : the inner brows move down and the left lower lid moves up .")
    assert grammar.question("negative", Facts(denied=(MotionFact("cheek", "B", "up"),))) == "do the cheeks move up ?"
    assert grammar.question("negative", Facts(denied=(MotionFact("upper lip", "B", "up"),))) == "does the upper lip move up ?"


def test_a_clip_without_facts_still_has_answers():
    for kind in grammar.KINDS:
        assert grammar.question(kind, Facts("anger", "negative")) and parse(grammar.answer(kind, Facts("anger", "negative"))).units == ()


# --- text without clips ------------------------------------------------------------------------------------------------
def test_flat_text_carries_no_emotion_knowledge():
    """With prototypes a unit tells of the emotion; with flat ones it does not."""
    def chance_of_12(flat):
        rng = np.random.default_rng(11)
        drawn = [text_facts(rng, flat=flat) for _ in range(2500)]
        return [np.mean([any(u.code == 12 for u in f.units) for f in drawn if f.emotion == e]) for e in ("happiness", "sadness")]

    happy, sad = chance_of_12(False)
    assert happy > 0.7 and sad < 0.1
    happy, sad = chance_of_12(True)
    assert abs(happy - sad) < 0.08


def test_expected_motion_of_a_unit_is_what_facs_says():
    facts = facts_from_units({12: "L"}, emotion="happiness")
    assert MotionFact("lip corner", "L", "outward") in facts.motions and MotionFact("lip corner", "L", "up") in facts.motions
    assert facts_from_units(unit_array([UnitFact(4)])).motions[0] == MotionFact("inner brow", "B", "down")


# --- support -----------------------------------------------------------------------------------------------------------
def test_outward_is_away_from_the_midline_on_both_sides():
    vectors = np.zeros((36, 2))
    vectors[REGION_INDEX[("lip_corner", "L")]] = (0.5, -0.3)  # the person's left: larger x is outward
    vectors[REGION_INDEX[("lip_corner", "R")]] = (-0.5, 0.0)
    assert supports(MotionFact("lip corner", "B", "outward"), vectors, 0.4)
    assert supports(MotionFact("lip corner", "L", "up"), vectors, 0.2)
    assert not supports(MotionFact("lip corner", "B", "up"), vectors, 0.2)  # "both" claims both
    assert not supports(MotionFact("lip corner", "R", "inward"), vectors, 0.1)
    assert not supports(MotionFact("chin", "B", "outward"), vectors, 0.1)  # the midline has no outward


def test_units_are_held_against_either_side():
    units = np.zeros((17, 2))
    units[UNIT_INDEX[12], SIDES.index("L")] = 0.9
    assert supports_unit(UnitFact(12, "L"), units, 0.5) and not supports_unit(UnitFact(12, "B"), units, 0.5)


# --- checker -----------------------------------------------------------------------------------------------------------
def worked():
    """The inner brows sink on both sides, the left lip corner rises; unit 4 on both sides and 12 on the left were found."""
    region, probability = np.zeros((36, 2)), np.full((17, 2), 0.05)
    for name, side, vector in (("brow_inner", "L", (0, 0.4)), ("brow_inner", "R", (0, 0.5)), ("lip_corner", "L", (0.1, -0.6))):
        region[REGION_INDEX[(name, side)]] = vector
    probability[UNIT_INDEX[4]] = 0.9
    probability[UNIT_INDEX[12], 0] = 0.8
    return {"region": region, "noise": 0.08, "probability": probability}


@pytest.mark.parametrize("text, precision, recall, statements", [
    ("class : anger . evidence : au4 brow lowerer both , au12 lip corner puller left . reasoning : the inner brows move down .", 1.0, 5 / 6, 3),
    ("the inner brows move down and the left lip corner moves up .", 1.0, 1.0, 2),
    ("au4 both .", 1.0, 2 / 3, 1),
    ("au12 both .", 0.0, 1 / 3, 1),
    ("the inner brows move up .", 0.0, 0.0, 1),
    ("no , the right lip corner does not move up .", 1.0, 0.0, 1),
    ("no , the left lip corner does not move up .", 0.0, 0.0, 1),
    ("", 1.0, 0.0, 0),
])
def test_check_on_worked_examples(text, precision, recall, statements):
    found = check(text, worked())
    assert (found["precision"], len(found["statements"])) == (precision, statements)
    assert found["recall"] == pytest.approx(recall)
    assert all(set(row) == {"text", "kind", "supported", "why"} for row in found["statements"])


def test_check_says_why_and_names_bad_evidence():
    assert "threshold 0.13 px" in check("the left cheek moves up .", worked())["statements"][0]["why"]
    with pytest.raises(ValueError, match="unknown key.*'regions'"):
        check("au4 both .", {"regions": np.zeros((36, 2))})
    with pytest.raises(ValueError, match="'region' has shape"):
        check("au4 both .", {"region": np.zeros((17, 2))})


@pytest.mark.parametrize("text, units, motions", [
    ("AU12 LEFT!!", [(12, "L")], []),
    ("au4 brow lowerer the inner brows move down", [(4, "B")], [("inner brow", "B", "down")]),
    ("au4 au4 both au99 aux au", [(4, "B")], []),
    ("the lip corners move up and outward .", [], [("lip corner", "B", "up"), ("lip corner", "B", "outward")]),
    ("the inner brows and the left cheek move down .", [], [("inner brow", "B", "down"), ("cheek", "L", "down")]),
    ("au7 lid tightener and the left lower lid moves up .", [(7, "B")], [("lower lid", "L", "up")]),
    ("the left and right cheeks rise .", [], [("cheek", "B", "up")]),
    ("reasoning reasoning : , , up . left", [], []),
    ("the cheeks", [], []),
])
def test_parse_of_loose_text(text, units, motions):
    found = parse(text)
    assert [(u.code, u.side) for u in found.units] == units
    assert [(m.region, m.side, m.direction) for m in found.motions] == motions


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*grammar.vocabulary(), "xyz", "au", "auau", "au999999999999", "²"]), max_size=40).map(" ".join) | st.text(max_size=60))
def test_parse_never_raises_and_check_stays_in_range(text):
    found = check(text, worked())
    assert 0 <= found["precision"] <= 1 and 0 <= found["recall"] <= 1
    facts = parse(text)
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_words_that_are_not_known_are_counted():
    assert parse("the wombat moves up .").unknown == 1


# --- negatives ---------------------------------------------------------------------------------------------------------
def test_hard_negatives_of_text_are_false_and_near():
    rng, near = np.random.default_rng(2), 0
    for _ in range(300):
        facts = text_facts(rng)
        assert facts.denied
        for fact in facts.denied:
            assert not stated_by(facts)(fact)
            near += any(getattr(f, "code", getattr(f, "region", None)) == getattr(fact, "code", getattr(fact, "region", None))
                        for f in (*facts.units, *facts.motions))
    assert near > 300  # more than one of two is the right unit or region with the wrong side or direction


def test_nothing_possible_is_denied():
    facts = Facts("happiness", "positive", (UnitFact(12, "L"),), (MotionFact("lip corner", "L", "up"),))
    assert hard_negatives(facts, lambda fact: True, np.random.default_rng(0)) == ()


# --- records -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def clips():
    """24 made-up clips: units of a text, regions that move as expected plus noise, annotation that errs on some."""
    rng, rows = np.random.default_rng(5), []
    truth, region = np.zeros((24, 17, 2)), np.zeros((24, 36, 2))
    for i in range(24):
        facts = text_facts(rng)
        truth[i] = unit_array(facts.units) * rng.uniform(0.1, 0.3)
        for fact in facts.units:
            for side in SIDES if fact.side == "B" else fact.side:
                for index, u, v, weight in expected_vectors(fact.code, side):
                    region[i, index] += np.array([u, v]) * weight * 0.8
        written = {f.code: f.side for f in facts.units} | ({24: "B"} if i % 4 == 0 else {})  # annotated, but nothing moved
        rows.append({"clip": f"c{i:02d}", "dataset": "sim-a", "subject": f"s{i % 3}", "condition": "kept", "emotion": facts.emotion,
                     "units": "+".join(("" if side == "B" else side) + str(code) for code, side in written.items())})
    envelope = np.array([0.3, 0.7, 1, 1, 0.8, 0.6, 0.3, 0])[:, None, None]
    courses = np.zeros((24, 8, 36, 5), np.float32)
    courses[..., :2] = envelope * region[:, None] + rng.normal(0, 0.04, (24, 8, 36, 2))
    probability = np.where(truth > 0, 0.9, 0.005)
    return pd.DataFrame(rows), probability, courses, np.full(24, 0.06), truth, region


def test_records_state_what_was_annotated_and_moved(clips, tmp_path):
    index, probability, courses, noise, truth, region = clips
    records = build.build_records(index, probability, courses, noise)
    assert schema.write_records(tmp_path / "r.jsonl", records) == len(records)
    records = schema.read_records(tmp_path / "r.jsonl")
    assert {r["kind"] for r in records} == set(grammar.KINDS)
    clip = dict(zip(index["clip"], build.measured(probability, courses, noise)))
    place = {name: i for i, name in enumerate(index["clip"])}
    for record in records:
        stated = Facts.from_json(record["stated"])
        assert parse(record["answer"]) == stated
        found = check(record["answer"], clip[record["clip"]].evidence)
        assert found["precision"] == 1.0, (record["answer"], found)
        assert bool(record["evidence"]) == bool(stated.units or stated.motions or stated.denied)
        for fact in stated.denied:  # false by truth, too
            i = place[record["clip"]]
            assert not (supports_unit(fact, truth[i], 1e-6) if isinstance(fact, UnitFact) else supports(fact, region[i], 0.05))
    assert records == json.loads(json.dumps(build.build_records(index, probability, courses, noise)))  # the same again


def test_constraints_differ_as_they_should(clips):
    index, probability, courses, noise, truth, region = clips
    facts = {c: build.all_facts(index, probability, courses, noise, c) for c in schema.CONSTRAINTS}
    assert facts["both"] == build.facts_of(build.build_records(index, probability, courses, noise, "both"))
    share = {c: build.truth_counts(facts[c], index, truth, region) for c in schema.CONSTRAINTS}
    assert share["both"]["unit_precision"] == 1.0 > share["au"]["unit_precision"] > share["none"]["unit_precision"]
    assert share["both"]["motion_precision"] > share["none"]["motion_precision"]
    with pytest.raises(ValueError, match="unknown constraint 'some'"):
        build.build_records(index, probability, courses, noise, "some")


def test_verdicts_and_counts_by_hand():
    probability, courses = np.full((17, 2), 0.001), np.zeros((8, 36, 5))
    probability[UNIT_INDEX[12]] = (0.9, 0.01)  # annotated both, moved left
    probability[UNIT_INDEX[4]] = 0.95          # moved, not annotated
    courses[2:4, REGION_INDEX[("brow_outer", "R")], 1] = 0.5  # unit 2 annotated right, the outer brow sinks
    written = build.annotated_array(["12+R2"])
    rows = build.verdicts(written[0], build.Measured(courses, 0.06, probability))
    assert {(r["unit"], r["side"]): r["verdict"] for r in rows} == {
        (12, "L"): "confirmed", (12, "R"): "unsupported", (2, "R"): "contradicted", (4, "L"): "unannotated", (4, "R"): "unannotated"}
    truth = np.zeros((1, 17, 2))
    truth[0, UNIT_INDEX[12], 0] = truth[0, UNIT_INDEX[4], 0] = 0.2
    counts = build.t1_counts(written, probability[None] >= 0.5, truth)
    assert (counts["annotated"], counts["moved_flow"], counts["moved_truth"]) == (3, 3, 2)
    assert counts["unsupported_flow"] == pytest.approx(2 / 3) == counts["unsupported_truth"]
    assert counts["unannotated_flow"] == pytest.approx(2 / 3) and counts["unannotated_truth"] == pytest.approx(1 / 2)
    assert build.t1_counts(written[:0], probability[None][:0] > 0, truth[:0])["unsupported_flow"] is None


def test_stages_out_of_step_are_named(clips):
    index, probability, courses, noise, *_ = clips
    with pytest.raises(ValueError, match="courses of 23.*run 03_motion"):
        build.build_records(index, probability, courses[1:], noise)


# --- schema and exports ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spoil, told", [
    (lambda r: r.pop("answer"), "'answer' is a required property"),
    (lambda r: r.update(extra=1), "'extra'"),
    (lambda r: r.update(kind="poem"), "kind: 'poem'"),
    (lambda r: r["facts"]["units"].append([3, "L"]), "facts/units"),
    (lambda r: r["facts"]["motions"].append(["ear", "L", "up"]), "facts/motions"),
    (lambda r: r["facts"]["units"].append([4, "L", "up"]), "facts/units"),
    (lambda r: r["verdicts"][0].update(probability=1.5), "verdicts/0/probability"),
])
def test_schema_refuses_by_file_and_line(clips, tmp_path, spoil, told):
    index, probability, courses, noise, *_ = clips
    records = json.loads(json.dumps(build.build_records(index[:2], probability[:2], courses[:2], noise[:2])))
    spoil(records[2])
    path = tmp_path / "bad.jsonl"
    with pytest.raises(ValueError, match=r"bad\.jsonl:3: ") as error:
        schema.write_records(path, records)
    assert told in str(error.value) and not path.exists()
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    with pytest.raises(ValueError, match=r"bad\.jsonl:3: "):
        schema.read_records(path)


def test_broken_lines_and_double_ids_are_named(clips, tmp_path):
    index, probability, courses, noise, *_ = clips
    records = build.build_records(index[:1], probability[:1], courses[:1], noise[:1])
    with pytest.raises(ValueError, match=r":2: id 'c00/0' was already used in line 1"):
        schema.write_records(tmp_path / "r.jsonl", [records[0], records[0]])
    (tmp_path / "half.jsonl").write_text(json.dumps(json.loads(json.dumps(records[0]))) + '\n{"id": "c0')
    with pytest.raises(ValueError, match=r"half\.jsonl:2: not JSON"):
        schema.read_records(tmp_path / "half.jsonl")


def test_schema_is_valid_json_schema():
    from jsonschema import Draft7Validator

    Draft7Validator.check_schema(schema.SCHEMA)


def test_megc_round_trips(clips, tmp_path):
    index, probability, courses, noise, *_ = clips
    records = build.build_records(index, probability, courses, noise)
    export.write_megc(tmp_path / "m.jsonl", records)
    back = export.from_megc(tmp_path / "m.jsonl")
    assert export.to_megc(back) == export.to_megc(records)
    by_id = {r["id"]: r for r in records}
    for row in back:
        record = by_id[row["id"]]
        assert row["kind"] == record["kind"]
        ours, theirs = Facts.from_json(record["stated"]), Facts.from_json(row["stated"])
        assert (theirs.emotion, theirs.coarse, {u.code for u in theirs.units}) == (ours.emotion, ours.coarse, {u.code for u in ours.units})
        assert {u.code for u in theirs.denied} == {u.code for u in ours.denied}
    joint = next(r for r in back if r["kind"] == "reasoning")
    assert joint["answer"].startswith("The action unit") and "Therefore, the fine-grained expression class is" in joint["answer"]


def test_megc_test_rows_and_bad_rows(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"video_id": "v1", "video": "v1.mp4", "question": "What is the coarse expression class?", "answer": ""}\n{"id": 1}\n')
    with pytest.raises(ValueError, match=r"t\.jsonl:2: fields .*missing"):
        export.from_megc(path)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    (row,) = export.from_megc(path)
    assert (row["clip"], row["kind"], row["stated"]["coarse"]) == ("v1", "coarse", "")


def test_llava_conversations(clips):
    index, probability, courses, noise, *_ = clips
    talks = export.to_llava(build.build_records(index[:3], probability[:3], courses[:3], noise[:3]))
    assert [t["id"] for t in talks] == ["c00", "c01", "c02"]
    for talk in talks:
        assert [turn["from"] for turn in talk["conversations"]] == ["human", "gpt"] * (len(talk["conversations"]) // 2)
        assert sum("<video>" in turn["value"] for turn in talk["conversations"]) == 1


def test_groups_cover_regions_that_units_move():
    assert set(GROUPS.values()) >= {name for unit in UNITS for index, *_ in expected_vectors(unit, "L") for name in [list(REGION_INDEX)[index][0]]}
    assert all(GROUPS[g] in MIDLINE for g in ("chin", "glabella"))
    assert Evidence().moving() == {}
