"""The knowledge tables are consistent, and the annotation grammar loses and joins nothing."""

import dataclasses
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft.clips import facs
from deft.clips.facs import ActionUnit, ParsedUnits, format_units, parse_action_units, unit_sides


def short(cell):
    return [
        (
            u.side
            + u.lip
            + ("" if u.kind == "AU" else u.kind)
            + str(u.code)
            + u.intensity
            + ("" if u.certain else "?"),
            u.group,
        )
        for u in parse_action_units(cell).units
    ]


@pytest.mark.parametrize(
    "cell, units, unparsed",
    [
        (12, [("12", 0)], ()),
        (12.0, [("12", 0)], ()),
        ("4+7+L10", [("4", 0), ("7", 1), ("L10", 2)], ()),
        ("R1+R2", [("R1", 0), ("R2", 1)], ()),
        ("L2+26+38", [("L2", 0), ("26", 1), ("38", 2)], ()),
        ("(R6 or R12)+R15", [("R6", 0), ("R12", 0), ("R15", 1)], ()),
        ("R14A or 17A or 24A", [("R14A", 0), ("17A", 0), ("24A", 0)], ()),
        ("10A/B", [("10A", 0), ("10B", 0)], ()),
        ("A/L12", [("A12", 0), ("L12", 0)], ()),
        ("A12+A7", [("A12", 0), ("A7", 1)], ()),
        ("7B+ ref(43)", [("7B", 0), ("reflex43", 1)], ()),
        ("ref(L10)+A12B", [("Lreflex10", 0), ("A12B", 1)], ()),
        ("R14+17+soft focus", [("R14", 0), ("17", 1)], ("soft focus",)),
        ("1A+2B+L14C", [("1A", 0), ("2B", 1), ("L14C", 2)], ()),
        ("12+15 ", [("12", 0), ("15", 1)], ()),
        ("4，11，", [("4", 0), ("11", 1)], ()),
        ("13?", [("13?", 0)], ()),
        ("AU-4+L_12+AU 6", [("4", 0), ("L12", 1), ("6", 2)], ()),
        ("-4", [], ("-4",)),
        ("(" * 15_000 + "4" + ")" * 15_000, [], ("(" * 15_000 + "4" + ")" * 15_000,)),
        ("AD31+AD38+M57+L12", [("AD31", 0), ("AD38", 1), ("M57", 2), ("L12", 3)], ()),
        ("AU4(k)", [("4", 0)], ("(k)",)),
        ("AU4(k)+AU7", [("4", 0), ("7", 1)], ("(k)",)),
        ("AU1+AU2+AD31+M58", [("1", 0), ("2", 1), ("AD31", 2), ("M58", 3)], ()),
        ("Ｌ１２＋４", [("L12", 0), ("4", 1)], ()),
        ("4,7,", [("4", 0), ("7", 1)], ()),
        ("43", [("43", 0)], ()),
        ("61", [("61", 0)], ()),
        ("T23+B25", [("T23", 0), ("B25", 1)], ()),
        ("?", [], ("?",)),
        ("12.5", [], ("12.5",)),
        ("141724", [], ("141724",)),
        ("(4+7) or 9", [], ("(4+7) or 9",)),
        (float("nan"), [], ()),
        (None, [], ()),
        ("  ", [], ()),
    ],
)
def test_forms_of_the_sheets(cell, units, unparsed):
    written = [(w.replace("Lreflex", "Lreflex"), g) for w, g in units]
    assert short(cell) == written
    assert parse_action_units(cell).unparsed == unparsed


@pytest.mark.parametrize(
    "cell",
    [
        "(" * 15_000 + "4" + ")" * 15_000,
        "ref(" * 6_000 + "4" + ")" * 6_000,
        "(" * 15_000,
        "((4)+" * 3_000 + "4" + ")" * 3_000,
    ],
)
def test_brackets_without_end_are_returned_verbatim(cell):
    parsed = parse_action_units(cell)
    assert parsed == ParsedUnits((), (cell,)) and parse_action_units(format_units(parsed)) == parsed


def test_brackets_that_somebody_could_have_written_are_read():
    assert short("(" * 8 + "4 or R12" + ")" * 8) == short("(4 or R12)")


UNIT = st.builds(
    ActionUnit,
    code=st.integers(1, 99),
    kind=st.sampled_from(["AU", "AD", "M", "reflex"]),
    side=st.sampled_from(["", "L", "R", "A"]),
    lip=st.sampled_from(["", "T", "B"]),
    intensity=st.sampled_from(["", "A", "B", "C", "D", "E"]),
    certain=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(st.lists(UNIT, min_size=1, max_size=3), max_size=5))
def test_print_then_parse_is_the_identity(groups):
    units = tuple(dataclasses.replace(u, group=g) for g, members in enumerate(groups) for u in members)
    assert parse_action_units(format_units(units)) == ParsedUnits(units)


CELL = st.text(alphabet="0123456789LRATBCDEadum+,/ ()?.orefx，⟦⟧\\", max_size=24) | st.text(max_size=16)


@settings(max_examples=400, deadline=None)
@given(CELL)
def test_parse_print_parse_is_the_identity_on_any_text(cell):
    parsed = parse_action_units(cell)
    assert parse_action_units(format_units(parsed)) == parsed


@settings(max_examples=400, deadline=None)
@given(CELL)
def test_no_digits_are_joined_and_nothing_is_lost(cell):
    parsed = parse_action_units(cell)
    narrow = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in cell)
    runs = {int(run) for run in re.findall("[0-9]+", narrow)}
    assert {unit.code for unit in parsed.units} <= runs
    kept = "".join(parsed.unparsed).translate({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)})
    for run in runs - {0}:
        assert any(unit.code == run for unit in parsed.units) or str(run) in kept


@settings(deadline=None)
@given(st.floats() | st.integers() | st.booleans() | st.none())
def test_cells_that_are_not_text(cell):
    parsed = parse_action_units(cell)
    if isinstance(cell, int) and not isinstance(cell, bool) and 1 <= cell <= 99:
        assert [unit.code for unit in parsed.units] == [cell]


def test_sides_for_facts_leave_doubt_out():
    assert unit_sides("4+L12+R12+(1 or 2)+ref(43)+13?+AD31+R14") == {4: "B", 12: "B", 14: "R"}


def test_tables_agree_with_each_other():
    assert len(facs.UNITS) == 17 and len(facs.REGIONS) == 36 and len(facs.FURROWS) == 10
    assert set(facs.UNITS) == set(facs.NAMES) == set(facs.MUSCLES) == set(facs.EXPECTED)
    assert set(facs.STABLE) <= set(facs.REGIONS)
    stable = {name for name, _ in facs.STABLE}
    for unit, rows in facs.EXPECTED.items():
        for name, outward, down, weight in rows:
            assert name in facs.REGION_NAMES + facs.MIDLINE and name not in stable, unit
            assert math.isclose(math.hypot(outward, down), 1) and 0 < weight <= 1
            assert name not in facs.MIDLINE or outward == 0
    for emotion in facs.EMOTIONS:
        assert math.isclose(sum(weight for weight, _ in facs.PROTOTYPES[emotion]), 1)
        assert all(units <= set(facs.UNITS) for _, units in facs.PROTOTYPES[emotion])
    shared = frozenset({4, 7})
    assert all(shared in [units for _, units in facs.PROTOTYPES[e]] for e in ("disgust", "anger"))


def test_left_is_the_persons_left():
    """An upward, outward lip corner goes to larger image x on the person's left, to smaller x on the right."""
    left = {i: u for i, u, _, _ in facs.expected_vectors(12, "L")}[facs.REGION_INDEX[("lip_corner", "L")]]
    right = {i: u for i, u, _, _ in facs.expected_vectors(12, "R")}[facs.REGION_INDEX[("lip_corner", "R")]]
    assert left > 0 > right
