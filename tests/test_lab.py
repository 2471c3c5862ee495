"""What notebooks call to be read: checked sentences and shown functions; and the clips that they follow."""

import numpy as np
import pytest

from deft import closure, lab, paths
from deft.clips import story
from deft.clips.facs import UNIT_INDEX


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, and a notebook that shows the demo."""
    bundles = []
    monkeypatch.setattr(lab, "_display", bundles.append)
    monkeypatch.setattr(lab._shown, "profile", "demo")
    return bundles


def test_a_sentence_is_printed_with_its_outcome(shown):
    lab.see("still regions stay below the line", np.bool_(True), "9 of 9")
    lab.see("still regions stay below the line", np.float64(0.2) > 0.5, "3 of 9", unanswered="why the chin moves")
    assert [b[lab.SEE]["outcome"] for b in shown] == [lab.EXPECTED, lab.NOT_HERE]
    assert "3 of 9" in shown[1]["text/plain"] and "why the chin moves" in shown[1]["text/plain"] and "why" not in shown[0]["text/plain"]


def test_smoke_prints_no_sentence_as_if_it_held(shown, monkeypatch):
    monkeypatch.setattr(lab._shown, "profile", lab.SMALL)
    lab.see("the expert finds units", True)
    lab.see("onset and apex differ by less than the head moved", True, small=True)
    assert [b[lab.SEE]["outcome"] for b in shown] == [lab.TOO_SMALL, lab.EXPECTED]


def test_arguments_in_the_wrong_order_are_refused(shown):
    with pytest.raises(TypeError, match="sentence first"):
        lab.see(True, "a sentence")


def test_source_shows_the_function_as_it_is_now(shown):
    lab.source(closure.file_of)
    text = shown[0]["text/plain"]
    assert text.startswith("# deft/closure.py, line ") and "def file_of(name: str" in text and "<" in shown[0]["text/html"]


def test_what_only_shows_makes_no_stage_stale():
    files = closure.Closure(paths.ROOT).files(["from deft import lab, runtime"])
    assert "deft/runtime.py" in files and "deft/lab.py" not in files


class Clips:
    """As much of a ClipStore as the choice needs: (units written, {unit: intensity that moved})."""

    def __init__(self, *clips):
        import pandas as pd

        self.index = pd.DataFrame([{"condition": "broken", "emotion": emotion, "distractor": "", "units": written} for emotion, written, _ in clips])
        self.intensity = np.zeros((len(clips), len(UNIT_INDEX), 2))
        for row, (_, _, moved) in enumerate(clips):
            for unit, value in moved.items():
                self.intensity[row, UNIT_INDEX[unit]] = value

    def array(self, name):
        assert name == "units_true"
        return self.intensity


def test_the_story_has_a_word_to_confirm_and_one_to_reject():
    clips = Clips(("anger", "4+7", {4: 0.9}), ("happiness", "6+12", {6: 0.8, 12: 0.8}), ("happiness", "6+12", {12: 0.2}),
                  ("happiness", "6+12+26", {6: 0.1, 12: 0.3}), ("happiness", "12", {6: 0.5, 12: 0.4}))
    assert story.story(clips) == 3 and story.second(clips) == 4


def test_a_set_without_such_a_clip_still_has_a_story():
    assert story.story(Clips(("anger", "4", {4: 0.3}), ("happiness", "12", {12: 0.3}))) == 1
    assert story.story(Clips(("anger", "4", {4: 0.3}))) == 0
