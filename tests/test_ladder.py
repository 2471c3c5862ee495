"""The ladder: what is masked says nothing, the textbook climbs with what it is told, recalibration moves no order."""

from dataclasses import replace

import numpy as np
import pytest
from fake_bench import write
from test_mllm import fresh

from deft import runtime
from deft.clips.facs import EMOTIONS
from deft.evaluation import ladder
from deft.mllm import language
from deft.mllm.data import read_bench
from tests import recipe


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(model off its start, tokenizer, bench)."""
    tokenizer = language.build_tokenizer()
    data = read_bench(write(tmp_path_factory.mktemp("ladder")), letters="stm")
    return fresh(tokenizer, trained=True), tokenizer, data


def other(data, *names):
    """The same bench, these features dealt to other clips."""
    order = runtime.rng(1, "ladder").permutation(len(data.index))
    return {**data.features, **{name: data.features[name][order] for name in names}}


@pytest.mark.parametrize(
    ("masks", "silent", "heard"),
    [
        ({}, (), ("structure", "texture", "texture_units", "motion", "motion_units")),
        ({"without": ("texture",)}, ("texture", "texture_units"), ("structure", "motion", "motion_units")),
        ({"hidden": ("structure", "texture", "motion")}, ("structure", "texture", "motion"), ("motion_units",)),
        (
            {"without": ("structure",), "hidden": ("motion",)},
            ("structure", "motion"),
            ("texture", "texture_units", "motion_units"),
        ),
    ],
)
def test_what_is_masked_says_nothing_and_the_rest_is_heard(asked, masks, silent, heard):
    model, tokenizer, data = asked
    rows = np.arange(0, len(data.index), 5)
    said = ladder.reading(model, tokenizer, data, rows, **masks)
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-5)
    for name in silent:
        told = ladder.reading(model, tokenizer, replace(data, features=other(data, name)), rows, **masks)
        np.testing.assert_array_equal(told, said)
    for name in heard:
        told = ladder.reading(model, tokenizer, replace(data, features=other(data, name)), rows, **masks)
        assert np.abs(told - said).max() > 1e-4, name


def test_unmasked_it_is_the_score_that_the_tables_read(asked):
    from deft.mllm import score

    model, tokenizer, data = asked
    rows = np.arange(8)
    np.testing.assert_allclose(
        ladder.reading(model, tokenizer, data, rows), score.emotion_scores(model, tokenizer, data, rows), atol=1e-5
    )


def test_recalibration_reads_the_other_folds_alone():
    """Answers that are twice too bold come back to what they were; a fold's own labels do not enter."""
    r = runtime.rng(2, "ladder")
    honest = r.dirichlet(np.full(5, 0.5), 3000)
    truth = np.array([r.choice(5, p=one) for one in honest])
    bold = honest**2 / (honest**2).sum(1, keepdims=True)
    fold, kept = np.arange(3000) % 3, np.arange(3000) % 2 == 0
    found = ladder.recalibrated(bold, truth, fold, kept)
    lost = [-np.log(np.maximum(p[np.arange(3000), truth], 1e-6)).mean() for p in (honest, bold, found)]
    assert lost[1] > lost[0] + 0.05 and abs(lost[2] - lost[0]) < 0.02
    turned = np.where(fold == 1, (truth + 1) % len(EMOTIONS), truth)
    again = ladder.recalibrated(bold, turned, fold, kept)
    np.testing.assert_array_equal(again[fold == 1], found[fold == 1])
    assert np.abs(again[fold == 0] - found[fold == 0]).max() > 0.01


def test_a_recipe_is_changed_field_by_field_and_answers_are_put_together():
    """What tests/recipe.py compares: a field that no recipe has is named; a mean of one answer is that answer."""
    asked = recipe.recipes("demo", ["swap=1 rehearse=0.3"])
    own, changed = asked.values()
    assert changed == replace(own, swap=1.0, rehearse=0.3) and isinstance(changed.epochs, int)
    with pytest.raises(SystemExit, match="classes"):
        recipe.recipes("demo", ["classes=anger"])
    said = runtime.rng(0, "recipe").dirichlet(np.ones(5), 8)
    assert np.allclose(recipe.together(said, said), said)
    assert np.allclose(recipe.together(said, np.full_like(said, 0.2)).argmax(1), said.argmax(1))
