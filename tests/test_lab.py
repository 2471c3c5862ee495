"""What notebooks call to be read: checked sentences and shown functions; and the clips that they follow."""

import json
import os
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from conftest import write_notebook

from deft import cache, closure, lab, paths, runtime
from deft.__main__ import main
from deft.clips import story
from deft.clips.facs import UNIT_INDEX
from deft.config import ConfigError
from deft.run import hand, see, stale
from deft.run.chain import Chain


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
    assert [b[lab.MIME]["outcome"] for b in shown] == [lab.EXPECTED, lab.NOT_HERE]
    assert (
        "3 of 9" in shown[1]["text/plain"]
        and "why the chin moves" in shown[1]["text/plain"]
        and "why" not in shown[0]["text/plain"]
    )


def test_smoke_prints_no_sentence_as_if_it_held(shown, monkeypatch):
    monkeypatch.setattr(lab._shown, "profile", lab.SMALL)
    lab.see("the expert finds units", True)
    lab.see("onset and apex differ by less than the head moved", True, small=True)
    assert [b[lab.MIME]["outcome"] for b in shown] == [lab.TOO_SMALL, lab.EXPECTED]


def test_arguments_in_the_wrong_order_are_refused(shown):
    with pytest.raises(TypeError, match="sentence first"):
        lab.see(True, "a sentence")


def test_source_shows_the_function_as_it_is_now(shown):
    lab.source(closure.file_of)
    text = shown[0]["text/plain"]
    assert (
        text.startswith("# deft/closure.py, line ") and "def file_of(name: str" in text and "<" in shown[0]["text/html"]
    )


def test_what_only_shows_makes_no_stage_stale():
    files = closure.Closure(paths.ROOT).files(["from deft import lab, runtime"])
    assert "deft/runtime.py" in files and "deft/lab.py" not in files


# ---------------------------------------------------------------- python -m deft see


def keep_executed(folder, name, *checks):
    """An executed notebook whose cells show these checks: (words, outcome, numbers, unanswered)."""
    book = nbformat.v4.new_notebook()
    for words, outcome, numbers, unanswered in checks:
        data = {
            see.MIME: {"words": words, "outcome": outcome, "numbers": numbers, "unanswered": unanswered},
            "text/plain": words,
        }
        book.cells.append(nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data=data)]))
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, folder / f"{name}.ipynb")


HOLDS, FAILS = ("the cheek rises", see.EXPECTED, ".3 px", ""), ("the nose lies still", see.NOT_HERE, ".2 px", "")
OPEN, SMALL = (*FAILS[:3], "why it moves with AU 9"), ("experts find units", see.TOO_SMALL, "", "")


@pytest.mark.parametrize("check, code", [(HOLDS, 0), (OPEN, 0), (SMALL, 0), (FAILS, 1)])
def test_a_failing_check_ends_in_1_unless_it_is_an_open_question(world, capsys, check, code):
    keep_executed(paths.work("demo") / "executed", "03_motion", HOLDS, check)
    assert main(["see", "--profile", "demo"]) == code
    printed = capsys.readouterr().out
    assert check[0] in printed and check[2] in printed and check[3] in printed and f"{code} not here" in printed
    assert main(["see", "--json"]) == code
    assert [row["outcome"] for row in json.loads(capsys.readouterr().out)] == [see.EXPECTED, check[1]]


def test_without_a_run_the_reference_is_read_and_without_both_it_says_so(world, capsys):
    assert main(["see", "--profile", "demo"]) == 2 and "make reproduce PROFILE=demo" in capsys.readouterr().err
    assert main(["see", "--profile", "dmeo"]) == 2 and "did you mean 'demo'" in capsys.readouterr().err
    runtime.write_json(
        paths.figures("demo") / "reference" / see.STORED,
        [{"notebook": "03_motion", **dict(zip(("words", "outcome", "numbers", "unanswered"), FAILS))}],
    )
    assert main(["see", "--profile", "demo"]) == 1 and "committed reference" in capsys.readouterr().out


def test_the_reference_keeps_the_checks_of_its_run(world, monkeypatch):
    """Of notebooks that the run took over, the checks stand where these were executed."""
    from deft.evaluation.source import Answers
    from deft.verify import reference

    monkeypatch.setattr(Answers, "of_work", lambda profile: SimpleNamespace(export=lambda where: None))
    figures, run = paths.figures("demo"), world / "run0" / "demo"
    with runtime.atomic(figures / "tables" / "T1.csv") as fresh:
        fresh.write_text("a\n1\n")
    keep_executed(paths.work("demo") / "executed", "03_motion", HOLDS)
    keep_executed(paths.work("demo") / "executed", "08_answers", FAILS)
    keep_executed(run / "executed", "08_answers", OPEN)
    where = reference.keep("demo", figures, "run0", run)
    assert [(c["notebook"], c["unanswered"]) for c in runtime.read_json(where / see.STORED)] == [
        ("03_motion", ""),
        ("08_answers", OPEN[3]),
    ]


def test_every_check_of_the_demo_holds_or_is_an_open_question():
    """On the numbers that the repository holds: a sentence that its numbers contradict has to be looked at when
    results move.
    """
    stored = paths.ROOT / "figures" / "demo" / "reference" / see.STORED
    if not stored.is_file():
        pytest.skip(f"the reference holds no {see.STORED} yet: it is written with the next reference run")
    found = runtime.read_json(stored)
    assert not [see.told(check) for check in found if see.fails(check)]
    sentences = [check["words"] for check in found]
    assert len(sentences) > 20 and len(set(sentences)) == len(sentences)


# ---------------------------------------------------------------- the clip that is followed


class Clips:
    """As much of a ClipStore as the choice needs: (units written, {unit: intensity that moved})."""

    def __init__(self, *clips):
        import pandas as pd

        self.index = pd.DataFrame(
            [
                {"condition": "broken", "emotion": emotion, "distractor": "", "units": written}
                for emotion, written, _ in clips
            ]
        )
        self.intensity = np.zeros((len(clips), len(UNIT_INDEX), 2))
        for row, (_, _, moved) in enumerate(clips):
            for unit, value in moved.items():
                self.intensity[row, UNIT_INDEX[unit]] = value

    def array(self, name):
        assert name == "units_true"
        return self.intensity


def test_the_story_has_a_word_to_confirm_and_one_to_reject():
    clips = Clips(
        ("anger", "4+7", {4: 0.9}),
        ("happiness", "6+12", {6: 0.8, 12: 0.8}),
        ("happiness", "6+12", {12: 0.2}),
        ("happiness", "6+12+26", {6: 0.1, 12: 0.3}),
        ("happiness", "12", {6: 0.5, 12: 0.4}),
    )
    assert story.story(clips) == 3 and story.second(clips) == 4


def test_a_set_without_such_a_clip_still_has_a_story():
    assert story.story(Clips(("anger", "4", {4: 0.3}), ("happiness", "12", {12: 0.3}))) == 1
    assert story.story(Clips(("anger", "4", {4: 0.3}))) == 0


# ---------------------------------------------------------------- notebooks opened by hand


@pytest.fixture
def desk(world, monkeypatch, capsys):
    """Two notebooks, profiles smoke (4 epochs) and big (9); `desk.open(...)` is what the setup cell of one of them
    does.
    """
    monkeypatch.delenv(runtime.DRIVEN, raising=False)
    monkeypatch.delenv(hand.PROFILE, raising=False)
    monkeypatch.setenv(runtime.BY_HAND, "{}")
    monkeypatch.setattr(lab, "_shown", SimpleNamespace(profile=lab.SMALL, opened=None))
    runtime.KEPT.clear(), runtime.REMADE.clear()
    notebooks = world / "notebooks"
    (notebooks / "params" / "tiny.yaml").unlink()
    for name, epochs in (("smoke", 4), ("big", 9)):
        (notebooks / "params" / f"{name}.yaml").write_text(f"all:\n  seed: 7\n01_train:\n  epochs: {epochs}\n")
    write_notebook(notebooks, "00_make", ["x = 1"], writes=["a.txt"], parameters='profile = ""\nseed = 7')
    write_notebook(
        notebooks,
        "01_train",
        ["y = 1"],
        reads=["a.txt"],
        writes=["model"],
        parameters='profile = ""\nseed = 7\nepochs = 4',
    )

    class Desk:
        def chain(self, profile):
            return Chain(profile, notebooks)

        def ran(self, profile, finished="2026-11-21T14:53:00+0000"):
            """As if the driver had made this profile."""
            chain = self.chain(profile)
            for stage, name in zip(chain.stages, ("a.txt", "model/weights.txt")):
                with runtime.atomic(chain.work / name) as fresh:
                    fresh.write_text(f"{profile} {chain.parameters(stage)}")
                hashes = stale.Hashes(chain)
                chain.write_record(
                    stage,
                    {
                        "stage": stage.name,
                        "state": stale.DONE,
                        "parameters": chain.parameters(stage),
                        "finished": finished,
                        "fingerprint": stale.fingerprint(chain, stage, hashes, closure.Closure(chain.root)),
                        "outputs": {f: hashes.entry(f) for promise in stage.writes for f in hashes.files(promise)},
                    },
                )

        def open(self, name="01_train", again=False, **typed):
            """(the notebook, its globals, the line)"""
            names = {"profile": "", "seed": 7, **({"epochs": 4} if name == "01_train" else {}), **typed}
            opened = hand.Opened(name, names, again, notebooks)
            lab._open(opened, names)
            return opened, names, capsys.readouterr().out

    return Desk()


def write(chain, name, text):
    with runtime.atomic(chain.work / name) as fresh:
        fresh.write_text(text)


def test_the_newest_complete_profile_is_shown_with_its_parameters(desk, monkeypatch):
    assert desk.open()[1] == {"profile": "smoke", "seed": 7, "epochs": 4}
    desk.ran("big")
    _, names, line = desk.open()
    assert (
        names == {"profile": "big", "seed": 7, "epochs": 9}
        and line.startswith("profile big, made ")
        and line.count("\n") == 1
    )
    assert "nothing below recomputes it" in line
    desk.ran("smoke", "2026-11-21T14:52:00+0000")
    assert desk.open()[1]["profile"] == "big"
    desk.chain("big").record_path(desk.chain("big").stages[1]).unlink()  # no longer complete
    assert desk.open()[1]["profile"] == "smoke"
    monkeypatch.setenv(hand.PROFILE, "big")
    assert desk.open()[1]["profile"] == "big" and desk.open(profile="smoke")[1]["profile"] == "smoke"
    for wrong in ("../big", "bgi"):
        with pytest.raises(ConfigError, match="unknown profile"):
            desk.open(profile=wrong)


def test_what_is_typed_wins_and_must_be_of_the_right_type(desk):
    desk.ran("big")
    _, names, line = desk.open(epochs=5)
    assert names["epochs"] == 5 and "epochs = 9" in line and "epochs = 5" in line
    with pytest.raises(ConfigError, match="epochs must be int"):
        desk.open(epochs="5")


def test_by_hand_a_product_is_replaced_only_when_asked_for(desk):
    desk.ran("big")
    model = (chain := desk.chain("big")).work / "model" / "weights.txt"
    before = model.read_text()
    opened, *_ = desk.open()
    write(chain, "model/weights.txt", "something else")
    assert model.read_text() == before and "weights.txt" in opened.after(True)
    desk.open(epochs=5)
    with pytest.raises(runtime.MadeOtherwise, match=r"epochs = 9.*epochs = 5.*again=True"):
        write(chain, "model/weights.txt", "trained for 5 epochs")
    write(chain, "a.txt", "another notebook's product stays too")
    write(chain, "scratch.txt", "what no notebook promises is free")
    assert model.read_text() == before and (chain.work / "a.txt").read_text() != "another notebook's product stays too"
    assert (chain.work / "scratch.txt").exists() and not list(chain.work.rglob(".*partial*"))
    desk.open(again=True, epochs=5)
    write(chain, "model/weights.txt", "trained for 5 epochs")
    assert model.read_text() == "trained for 5 epochs" and chain.record(chain.stages[1])["parameters"]["epochs"] == 5
    assert dict((r["stage"], r["state"]) for r in stale.states(chain)) == {
        "00_make": stale.DONE,
        "01_train": stale.BY_HAND,
    }
    assert "was run with epochs = 5, and here it is epochs = 9" in desk.open()[2]


def test_the_driver_and_the_commands_replace_as_ever(desk, monkeypatch):
    desk.ran("big")
    chain = desk.chain("big")
    desk.open(epochs=5)
    monkeypatch.delenv(runtime.BY_HAND)
    write(chain, "model/weights.txt", "new")
    assert (chain.work / "model" / "weights.txt").read_text() == "new"


def test_a_finished_product_is_refused_before_it_is_computed(desk):
    chain = desk.chain("smoke")
    state = cache.fresh(chain.work / "model", settings={"epochs": 9}, code="deft.runtime")
    write(chain, "model/weights.txt", "9")
    state.seal()
    desk.open()
    with pytest.raises(runtime.MadeOtherwise, match=r"made with epochs = 9; this call asks for epochs = 4"):
        cache.fresh(chain.work / "model", settings={"epochs": 4}, code="deft.runtime")
    assert cache.fresh(
        chain.work / "model", settings={"epochs": 9}, code="deft.cache"
    )  # of other code: kept, the line above says that it is stale
    assert (other := cache.fresh(chain.work / "model" / "draw1", settings={"epochs": 4})).why  # never made: it may be
    write(chain, "model/draw1/weights.txt", "4")
    other.seal()
    (chain.work / "model" / "weights.txt").write_text("damaged")
    with pytest.warns(RuntimeWarning, match="altered"):
        state = cache.fresh(chain.work / "model", settings={"epochs": 9}, code="deft.runtime")
    write(chain, "model/weights.txt", "9")
    state.seal()
    assert (chain.work / "model" / "weights.txt").read_text() == "9"
    write(chain, "model/weights.txt", "10")
    assert (chain.work / "model" / "weights.txt").read_text() == "9"


def test_what_changed_since_is_called_stale(desk):
    desk.ran("big")
    (desk.chain("big").work / "a.txt").write_text("other input")
    opened, _, line = desk.open()
    assert "STALE" in line and "00_make: output a.txt altered" in line and "make reproduce PROFILE=big" in line
    assert not opened.made(("other",)) and opened.made(("model",))


def test_a_chain_run_by_hand_is_kept_as_well(desk):
    opened, _, line = desk.open("00_make")
    assert "not made yet" in line and not opened.made(("a.txt",))
    write(opened.chain, "a.txt", "made by hand")
    opened.after(True)
    _, _, line = desk.open()
    assert "not made yet" in line and "STALE" not in line
    opened, _, line = desk.open("00_make")
    assert "nothing below recomputes it" in line and opened.made(("a.txt",))
    opened, *_ = desk.open("00_make", seed=8)
    with pytest.raises(runtime.MadeOtherwise, match=r"seed = 7.*seed = 8"):
        opened.made(("a.txt",))
    assert stale.states(opened.chain)[0] == {
        "stage": "00_make",
        "state": stale.BY_HAND,
        "reason": stale.MADE_BY_HAND[1],
    }


def test_a_notebook_without_its_inputs_says_which_to_run(desk):
    assert "a.txt is not there yet" in (line := desk.open()[2]) and "run 00_make first" in line


def test_the_parameters_cell_alone_brings_no_other_profile_back(desk, capsys):
    """Run again without the setup cell it leaves the committed literals; what is shown stays, an edit counts."""
    desk.ran("big")
    names = desk.open()[1]
    names.update(profile="", seed=7, epochs=4)
    lab._look_again(names)
    assert (names["profile"], names["epochs"]) == ("big", 9)
    names.update(profile="smoke", epochs=4)
    capsys.readouterr()
    lab._look_again(names)
    assert "run the setup cell again" in capsys.readouterr().out
    with pytest.raises(runtime.MadeOtherwise, match="run the setup cell again"):
        write(desk.chain("big"), "model/weights.txt", "of smoke")


def test_under_the_driver_nothing_is_chosen(monkeypatch, capsys):
    monkeypatch.setenv(runtime.DRIVEN, "1")
    names = {"profile": "big", "seed": 3}
    monkeypatch.setattr(lab, "_shown", SimpleNamespace(profile=lab.SMALL, opened=None))
    assert lab.parameters(names, "01_clips").seed == 3 and names["seed"] == 3 and not lab.made("model")
    assert runtime.BY_HAND not in os.environ and "run by the driver" in capsys.readouterr().out
