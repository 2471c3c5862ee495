"""The systems of other papers on folds and across data sets: who teaches, who is tested, what is kept."""

import cv2
import numpy as np
import pandas as pd
import pytest

from deft import paths, runtime
from deft.clips import store
from deft.clips.facs import COARSE, EMOTIONS
from deft.clips.keyframes import APEX, COUNT
from deft.clips.simulator.identity import Geometry, sample_identity
from deft.evaluation import cross, metrics
from deft.evaluation.peers import linear, prepare, runs
from deft.evaluation.protocols import read_folds, roles_of

PROFILE, SEED = "made-up", 7
COURSE = np.concatenate([np.linspace(0, 1, APEX + 1), np.linspace(1, 0, COUNT - APEX)[1:]])


def film(person, emotion, draw):
    """(9, 128, 128) uint8: skin around the mouth moves 2 px; the direction tells the emotion."""
    y, x = np.mgrid[:128, :128].astype(np.float32)
    skin = cv2.GaussianBlur(np.random.default_rng(person).normal(0, 1, (128, 128)).astype(np.float32), (0, 0), 3.0)
    skin = 128 + 35 * skin / skin.std()
    turn = 2 * np.pi * emotion / len(EMOTIONS)
    move = 2.5 * np.exp(-((x - 64) ** 2 + (y - 86) ** 2) / 400)[..., None] * np.float32([np.cos(turn), np.sin(turn)])
    seen = [cv2.remap(skin, np.stack([x, y], -1) - np.float32(s) * move, None, cv2.INTER_LINEAR) for s in COURSE]
    return np.clip(np.array(seen) + draw.normal(0, 1.5, (COUNT, 128, 128)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Nine people in three sets, an emotion of each kind twice per person: once with the tie kept, once broken."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DEFT_WORK", str(tmp_path_factory.mktemp("peers")))
    for module in (runs, cross):
        patch.setattr(module, "in_parallel", lambda function, arguments, **_: [function(*a) for a in arguments])
    place, draw, people = paths.work(PROFILE), np.random.default_rng(0), []
    face = Geometry(sample_identity(3))
    points = face.pixels(face.landmarks()).astype(np.float32)
    for part in runs.SETS:
        gray = []
        for number in range(9 if part == "bench" else 3):
            name, rows = f"{part[0]}{number}", []
            for take in range(10):
                condition = ("kept", "broken")[take >= 5]
                rows.append(
                    {"clip": f"{name}-{take}", "dataset": f"sim-{'abc'[number % 3]}", "subject": name, "look": 0,
                     "condition": condition, "emotion": EMOTIONS[take % 5], "coarse": COARSE[EMOTIONS[take % 5]],
                     "fps": 200.0, "onset": 0, "apex": 3, "offset": 8, "units": "", "distractor": "", "split": ""}
                )  # fmt: skip
                gray.append(film(100 * len(part) + number, take % 5, draw))
            store.write_shard(place / "clips" / part / f"{name}.npz", rows, "made")
            if part == "bench":
                fold = number // 3
                people.append((name, rows[0]["dataset"], 0, fold, (fold + 1) % 3 if number % 3 == 0 else -1))
        runtime.save_array(place / "faces" / part, "gray", np.array(gray))
        runtime.save_array(place / "faces" / part, "landmarks", np.tile(points, (len(gray), 1, 1)))
        runtime.save_array(place / "motion" / part, "courses", np.zeros((len(gray), COUNT - 1, 36, 5), np.float32))
    pd.DataFrame(people, columns=["subject", "dataset", "look", "fold", "validation_of"]).to_csv(
        place / "clips" / "folds.csv", index=False
    )
    yield place
    patch.undo()


def test_every_clip_is_answered_by_the_fold_that_never_saw_its_subject(work):
    costs = runs.fit_all(PROFILE, SEED, ["biwoof", "ststnet"], draws=2)
    assert costs.loc["biwoof", "draws"] == 1 and costs.loc["ststnet", "draws"] == 2  # nothing is drawn in the first
    assert costs.loc["ststnet", "parameters"] == 2485 and costs.loc["ststnet", "last_loss"] < 0.8
    index, folds = store.ClipStore(work / "clips" / "bench").index, read_folds(work / "clips" / "folds.csv")
    answers = pd.DataFrame(runs.answers(PROFILE))
    assert len(answers) == 3 * len(index) and not answers.duplicated(["system", "seed", "clip"]).any()
    for fold in range(3):
        asked = set(index["clip"][roles_of(index, folds, fold) == "test"])
        assert set(answers["clip"][answers["fold"] == fold]) == asked
    for _, mine in answers.groupby(["system", "seed"]):
        assert metrics.recognition_scores(mine["truth"], mine["prediction"], EMOTIONS)["uf1"] > 0.6
    held = pd.DataFrame(runs.answers(PROFILE, "heldback"))
    assert set(held["fold"]) == {-1} and len(held) == 3 * 30


def test_what_is_finished_is_kept_and_test_people_teach_nothing(work, monkeypatch):
    seen = []
    monkeypatch.setattr(prepare, "read", lambda *a, **k: seen.append(a) or pytest.fail("nothing is left to do"))
    runs.fit_all(PROFILE, SEED, ["biwoof", "ststnet"], draws=2)
    assert not seen
    run = runs.Run("biwoof", 1, 0)
    index, folds = store.ClipStore(work / "clips" / "bench").index, read_folds(work / "clips" / "folds.csv")
    told = runtime.read_json(run.folder(work) / "history.json")
    learning = (roles_of(index, folds, 1) != "test") & (index["condition"] == "kept").to_numpy()
    assert told["clips"] == learning.sum() == 30
    with pytest.raises(ValueError, match="'resnet'; choose of lbptop"):
        runs.asked(["resnet"], 1, [0])


def test_flow_of_both_phases_goes_out_and_back(work):
    inputs = prepare.read(work, "bench", np.arange(5))
    there, back = inputs.rise[0, 80:92, 58:70].mean((0, 1)), inputs.fall[0, 80:92, 58:70].mean((0, 1))
    assert there[0] > 1 and back[0] < -1 and abs(there[1]) < 0.5  # emotion 0 moves right
    with pytest.raises(ValueError, match="hold different numbers of clips"):
        runtime.save_array(work / "motion" / "odd", "courses", np.zeros((2, 8, 36, 5), np.float32))
        for stage in ("faces", "peers/flow"):
            for name in ("gray", "landmarks", "rise", "fall"):
                runtime.save_array(work / stage / "odd", name, np.zeros((3, 9)))
        prepare.read(work, "odd", np.arange(2))


def test_across_sets_nobody_is_trained_and_tested(work):
    index = store.ClipStore(work / "clips" / "bench").index
    for fit in cross.fits(["biwoof"]):
        role = cross.parts(fit, index)
        who = {name: set(index["subject"].iloc[rows]) for name, rows in role.items()}
        assert not who["test"] & (who["train"] | who["validation"])
        sets = set(index["dataset"].iloc[role["test"]])
        assert sets == ({fit.train} if fit.fold >= 0 else set(cross.SETS) - {fit.train})
        assert (index["condition"].iloc[role["train"]] == "kept").all()
    with pytest.raises(ValueError, match="'template' has no part"):
        cross.fits(["template"])


def test_a_cross_table_is_answered_whole(work, monkeypatch):
    rise = prepare.read(work, "bench", np.arange(90)).rise
    monkeypatch.setattr(cross.peers, "views", lambda *_: {"course": rise[:, 70:100:6, 50:80:6].reshape(90, -1)})
    cross.run_all(PROFILE, SEED, ["majority", "lr-flow", "offapexnet"])
    rows = pd.DataFrame(runtime.read_jsonl(work / "cross.jsonl"))
    assert len(rows) == 3 * 3 * 90 and not rows.duplicated(["system", "train", "clip"]).any()
    away = rows[rows["train"] != rows["dataset"]]
    score = {
        name: metrics.recognition_scores(mine["truth"], mine["prediction"], cross.THREE)["uf1"]
        for name, mine in away.groupby("system")
    }
    assert score["lr-flow"] > 0.6 and score["offapexnet"] > 0.6 and score["majority"] < 0.35
    assert linear.Reader and (away.groupby("system")["parameters"].nunique() == 1).all()
