"""What one expert alone knows of the units: a reader finds what was put in, and nothing that was not."""

import numpy as np
import pytest

from deft import runtime
from deft.evaluation import unique

PEOPLE, CLIPS, UNITS = 40, 10, 4


@pytest.fixture(scope="module")
def said():
    """Motion and texture see units, each with its own errors; the resting face says how strong motion is."""
    r = runtime.rng(3, "unique")
    person = np.repeat(np.arange(PEOPLE), CLIPS)
    moved = r.random((len(person), UNITS, 2)) < 0.3
    gain = np.exp(r.normal(size=PEOPLE))[person]
    motion = 2 * gain[:, None, None] * moved + r.normal(size=moved.shape)
    resting = np.column_stack([3 * np.log(gain), r.normal(size=(PEOPLE, 9))[person]])
    return unique.Said({"motion": motion, "texture": 1.5 * moved + r.normal(size=moved.shape)}, resting, moved, person)


def test_what_each_expert_adds_is_found_and_what_it_does_not_add_is_not(said):
    whole = unique.losses(said, ("structure", "texture", "motion")).mean()
    rest = {
        one: unique.losses(said, [name for name in ("structure", "texture", "motion") if name != one]).mean()
        for one in ("structure", "texture", "motion")
    }
    assert whole < rest["structure"] - 0.04  # the resting face moderates
    assert whole < rest["texture"] - 0.16 and whole < rest["motion"] - 0.16
    order = runtime.rng(4, "unique").permutation(PEOPLE).repeat(CLIPS) * CLIPS + np.tile(np.arange(CLIPS), PEOPLE)
    for name in rest:  # dealt to other people it says nothing, and little is lost by listening
        dealt = unique.losses(said.shuffled(name, order), ("structure", "texture", "motion")).mean()
        assert -0.024 < dealt - rest[name] < 0.16, name


def test_it_is_the_log_loss_of_people_left_out(said):
    rate, noise = said.moved.mean(), runtime.rng(5, "unique").normal(size=said.moved.shape)
    told = unique.losses(unique.replace(said, odds={"motion": noise}), ["motion"])
    surprise = -2 * UNITS * (rate * np.log(rate) + (1 - rate) * np.log(1 - rate))  # of who knows how often units move
    assert (
        told.shape == (PEOPLE * CLIPS,) and surprise < told.mean() < surprise + 0.16
    )  # fitted to itself, it were less
    assert unique.losses(said, ["motion"]).mean() < surprise - 0.8
    with pytest.raises(ValueError, match="splits"):
        unique.losses(unique.replace(said, person=np.zeros_like(said.person)), ["motion"])
