"""The chain on licensed data, on made-up sets: nobody tests where they trained, nothing vanishes in silence, nothing
is done twice.
"""

import dataclasses
import runpy
import shutil
from dataclasses import replace

import made_sets  # noqa: F401 (sets in every layout)
import numpy as np
import pandas as pd
import pytest
from made_profile import write_profile

from deft import __main__ as command_line
from deft import cache, licensed, paths, runtime
from deft.clips import labels, splits, store
from deft.clips.facs import EMOTIONS, UNITS
from deft.clips.readers import fixtures
from deft.evaluation import reproduced
from deft.licensed import agreed, material, stages
from deft.mllm import score, tune
from deft.run import RunError, lock


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder for DEFT_WORK and DEFT_FIGURES, recipe): the profile `tiny`, and CASME II with one face painted over."""
    base = tmp_path_factory.mktemp("licensed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_WORK", str(base / "work"))
        patch.setenv("DEFT_FIGURES", str(base / "figures"))
        write_profile(paths.work("tiny"))
        root = fixtures.write("casme2", base / "data" / "casme2", size=96, people=2)
        for picture in (root / "CASME2-RAW" / "sub61" / "EP90_61").iterdir():
            picture.write_bytes(grey(picture.read_bytes()))
        recipe = licensed.Recipe("casme2", root, "tiny", folds="2", epochs=1, batch=8, workers=1)
        lines = []
        table = licensed.run(recipe, lines.append)
        yield base, recipe, lines, table


def grey(picture):
    """The bytes of a picture of the same kind in which nobody is seen."""
    import cv2

    seen = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", np.full_like(seen, 128))[1].tobytes()


@pytest.fixture
def world(made, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(made[0] / "work"))
    monkeypatch.setenv("DEFT_FIGURES", str(made[0] / "figures"))
    return made


def times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != lock.NAME}


# ---------------------------------------------------------------- folds


@pytest.mark.parametrize("folds", ["2", "3", "loso"])
def test_every_subject_is_tested_once_and_never_where_they_trained(folds):
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        [
            {"subject": f"{s:02d}", "emotion": EMOTIONS[rng.integers(4)] if s < 9 else "", "scored": s < 9}
            for s in range(11)
            for _ in range(6)
        ]
    )
    told = material.folds_of(table, "set", folds, seed=7)
    assert sorted(told["subject"]) == sorted(table["subject"].unique()) and not told["subject"].duplicated().any()
    for fold in told["fold"].unique():
        role = splits.roles(told, fold)
        tested = {s for s, r in role.items() if r == "test"}
        assert tested and not tested & {s for s, r in role.items() if r == "train"}
        assert "train" in role.values()
        if folds == "loso":  # the field's LOSO: everybody else trains
            assert sorted(s for s, r in role.items() if r == "train") == sorted(set(told["subject"]) - tested)
        assert any(s in tested for s in map("{:02d}".format, range(9)))  # no fold of people without a label alone
    if folds == "loso":
        assert told["fold"].nunique() == 9


def test_folds_that_cannot_be_made_say_so():
    few = pd.DataFrame({"subject": ["a", "b"], "emotion": ["happiness", "disgust"], "scored": True})
    with pytest.raises(licensed.LicensedError, match="needs at least 3"):
        material.folds_of(few, "set", "loso", 7)
    for bad in ("1", "0", "abc", "", "-3", "2.5", "\u0663", "3 "):
        with pytest.raises(licensed.LicensedError, match="from 2, or loso"):
            licensed.Recipe("casme2", paths.ROOT, folds=bad)
    same = pd.DataFrame({"subject": list("abcd"), "emotion": ["happiness", *["disgust"] * 3], "scored": True})
    with pytest.raises(licensed.LicensedError, match="fewer than two emotions"):
        material.folds_of(same, "set", "loso", 7)


# ---------------------------------------------------------------- labels and coarse classes


def test_a_label_is_answered_by_one_of_the_five_or_by_none():
    for row in labels.table().itertuples():
        found = agreed.class_of(row.dataset, row.label)
        assert found in (*EMOTIONS, "")
        if row.label in EMOTIONS and row.seven:
            assert found == row.label
    assert (
        agreed.class_of("casme-cube-a", "happy") == "happiness"
        and agreed.class_of("casme2", "repression") == agreed.class_of("samm", "fear") == ""
    )


def test_a_coarse_class_is_as_likely_as_its_emotions_together():
    assert (
        reproduced.coarse_of({"happiness": 0.4, "disgust": 0.25, "surprise": 0.05, "sadness": 0.2, "anger": 0.1})
        == "negative"
    )
    assert (
        reproduced.coarse_of({"happiness": 0.5, "disgust": 0.2, "surprise": 0.1, "sadness": 0.1, "anger": 0.1})
        == "positive"
    )


# ---------------------------------------------------------------- the whole chain


def test_each_subject_is_answered_by_a_model_that_never_met_it(world):
    _, recipe, _, _ = world
    told = pd.read_csv(recipe.work / "clips" / "folds.csv", dtype={"subject": str})
    rows = pd.DataFrame(runtime.read_jsonl(recipe.work / "predictions.jsonl"))
    index = store.ClipStore(recipe.work / "clips" / "bench").index
    own = told.set_index("subject")["fold"]
    for system, part in rows[rows["system"] != stages.ELSEWHERE].groupby("system"):
        assert sorted(part["clip"]) == sorted(index["clip"]), system
        assert (part["fold"] == part["subject"].map(own)).all(), system
    bench = tune.read_bench(recipe.work)
    for fold in told["fold"].unique():
        train, test = (set(index["subject"][bench.rows(fold, role)]) for role in ("train", "test"))
        assert train and test and not train & test
        assert all(index["emotion"][r] in EMOTIONS for r in bench.rows(fold, "train", "kept"))


def test_clips_that_failed_are_named(world):
    _, recipe, lines, _ = world
    left = [part for line in lines for part in line.splitlines() if part.startswith("left out")]
    assert any("casme2_61_EP90_61" in line and "no face" in line for line in left)
    assert len(left) == 1  # an apex on onset or offset is estimated: no reason to leave a clip out
    many = pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(50)],
            "error": [f"c{i}: offset {i} is outside its 9 frames" for i in range(50)],
        }
    )
    assert len(material.left_out(many)) == 1 and "50 clips, c0, c1, c2 and 47 more" in material.left_out(many)[0]
    index = store.ClipStore(recipe.work / "clips" / "bench").index
    assert not index["clip"].str.contains("61_EP90_61").any() and len(index) == 13 - 1


def test_labels_without_a_counterpart_are_counted_and_not_scored(world):
    _, recipe, _, table = world
    counted = pd.read_csv(paths.figures(recipe.set) / "tables" / "labels.csv", keep_default_na=False).set_index("label")
    assert counted.loc["others", "answered as"] == counted.loc["repression", "answered as"] == ""
    assert counted.loc["others", ["clips", "prepared", "scored", "Uni-MER only"]].tolist() == [1, 1, 0, 1]
    assert counted["clips"].sum() == 13 and counted.loc["repression", "prepared"] == 2
    assert (table["clips"] == counted["scored"].sum()).all() and set(table["scored by"]) == {"emotions", "coarse"}
    records = runtime.read_jsonl(recipe.work / "unimer" / "bench.jsonl")
    assert {r["clip"] for r in records if r["condition"] == "unscored"} and all(
        r["facts"]["emotion"] == "" for r in records if r["condition"] == "unscored"
    )


def test_made_up_data_are_stamped(world):
    _, recipe, _, table = world
    page = (paths.figures(recipe.set) / "tables" / "T2.md").read_text()
    assert recipe.simulated and "SIMULATED" in page and "reproduced" not in page and set(table["kind"]) == {"simulated"}
    assert "tiny's simulator" in page and not any(
        name in page for name in ("EP9", "sub6")
    )  # no clip is named in a product
    assert (
        replace(recipe, root=recipe.root / "Cropped").simulated
        and runtime.read_json(recipe.work / "set.json")["simulated"]
    )
    assert (
        "reproduced on casme2, experts" in replace(recipe, root=recipe.root.parent).words
    )  # the mark decides, nothing else


def test_a_second_call_does_nothing(world, monkeypatch):
    base, recipe, _, _ = world
    monkeypatch.setattr(material.prepare, "prepare", None)  # called, it would fail
    before = times(base)
    licensed.run(recipe, lambda line: None)
    assert times(base) == before


def test_a_killed_run_goes_on_where_it_was(world, monkeypatch):
    """Killed in the second tuning of a new set: the first one, and all before it, stay; the rest is as if nothing
    had happened.
    """
    _, recipe, _, _ = world
    again = replace(recipe, name="killed")
    shutil.copytree(recipe.prepared, again.prepared)
    tuned, calls = tune.train, []

    def dies(*given, **more):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return tuned(*given, **more)

    monkeypatch.setattr(tune, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        licensed.run(again, lambda line: None)
    kept = times(again.work)
    assert not (again.work / "predictions.jsonl").exists() and not list(again.work.rglob("*.partial*"))
    licensed.run(again, lambda line: None)
    assert len(calls) == 2 + 3 and all(times(again.work)[p] == t for p, t in kept.items() if p.name != "jobs.json")
    assert (again.work / "predictions.jsonl").read_bytes() == (recipe.work / "predictions.jsonl").read_bytes()


def test_a_damaged_prepared_clip_is_named_and_made_again(world):
    _, recipe, _, _ = world
    clips, _ = licensed.take(recipe)
    ready = licensed.prepared(recipe, clips)
    file = recipe.prepared / ready["file"][ready["error"] == ""].iloc[0]
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:]):
        file.write_bytes(broken)
        lines = []
        assert ready.equals(licensed.prepared(recipe, clips, lines.append)) and file.read_bytes() == whole
        assert [line for line in lines if str(file) in line]


@pytest.mark.parametrize(
    "name", ["clips/folds.csv", "predictions.jsonl", "features/bench/motion.npy", "evidence/calibration.json"]
)
def test_an_edited_file_is_noticed_by_its_hash(world, name):
    """Noticed and named by `status`, which writes nothing; `run` makes it again: see the next test."""
    _, recipe, _, _ = world
    step = {"predictions.jsonl": "answered", "evidence/calibration.json": "borrowed"}.get(name, "described")
    assert cache.damage(recipe.work, step) == ""
    content = (recipe.work / name).read_bytes()
    (recipe.work / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert name in cache.damage(recipe.work, step)
    (recipe.work / name).write_bytes(content)


def test_edited_folds_and_answers_change_no_table(world, monkeypatch):
    """Every answer of deft made right, a subject moved to another fold: both files are made again, and nothing is
    tuned anew.
    """
    _, recipe, _, _ = world
    names = ("predictions.jsonl", "clips/folds.csv")
    whole = {name: (recipe.work / name).read_bytes() for name in names}
    table = (paths.figures(recipe.set) / "tables" / "T2.csv").read_bytes()
    rows = runtime.read_jsonl(recipe.work / "predictions.jsonl")
    runtime.write_jsonl(
        recipe.work / "predictions.jsonl", [{**row, "prediction": row["truth"] or row["prediction"]} for row in rows]
    )
    told = pd.read_csv(recipe.work / "clips/folds.csv", dtype={"subject": str})
    told.assign(fold=1 - told["fold"]).to_csv(recipe.work / "clips/folds.csv", index=False)
    (paths.work("tiny") / "experts" / "motion" / "history.json").write_text(
        '{"seconds": 12.5}'
    )  # how long a training took decides nothing
    monkeypatch.setattr(tune, "tune_all", None)  # called, it would fail
    with pytest.warns(RuntimeWarning, match="altered since it was written"):
        licensed.run(recipe, lambda line: None)
    assert {name: (recipe.work / name).read_bytes() for name in names} == whole
    assert (paths.figures(recipe.set) / "tables" / "T2.csv").read_bytes() == table


def test_status_says_what_is_done_and_what_differs(world, monkeypatch, capsys):
    _, recipe, _, _ = world
    monkeypatch.setattr(
        licensed, "recipe_of", lambda _, root, profile, folds="2", **more: replace(recipe, root=root, folds=folds)
    )
    before = times(recipe.work)
    assert command_line.main(["status", "--dataset", "casme2", "--profile", "tiny"]) == 0
    told = capsys.readouterr().out
    assert all(
        f"casme2-tiny-folds2 {step}" in told
        for step in ("data", "prepared", "borrowed", "described", "answered", "table")
    )
    assert told.count(" done ") == 6 and "13 clips, 4 oddities, 3 repaired" in told and times(recipe.work) == before
    content = (recipe.work / "predictions.jsonl").read_bytes()
    (recipe.work / "predictions.jsonl").write_bytes(content[:-40])
    command_line.main(["status", "--dataset", "casme2", "--profile", "tiny"])
    assert "predictions.jsonl was altered since it was written" in capsys.readouterr().out
    (recipe.work / "predictions.jsonl").write_bytes(content)
    command_line.main(["status", "--dataset", "samm", "--profile", "tiny"])
    assert "never run" in capsys.readouterr().out


def test_tables_saved_at_another_commit_are_whole(world, monkeypatch):
    _, recipe, _, table = world
    folder = paths.figures(recipe.set) / "tables"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    counted = licensed.uses(
        *(
            pd.DataFrame({name: [value] for name, value in row.items()})
            for row in (
                {"clip": "c", "label": "happiness", "truth": "happiness", "kind": "micro", "scored": True},
                {"error": ""},
            )
        )
    )
    monkeypatch.setattr(runtime, "commit", lambda: "abcdef0")
    licensed.save(recipe, table, counted)
    assert "abcdef0" in (folder / "T2.md").read_text() and not cache.damage(folder) and licensed.tabled(recipe)
    for path, content in before.items():
        path.write_bytes(content)


def test_status_names_the_step_that_misses_something(world, tmp_path):
    _, recipe, _, _ = world
    assert [row[:2] for row in licensed._steps(replace(recipe, profile="nobody"))] == [
        ("data", "done"),
        ("prepared", "missing"),
    ]
    assert [row[:2] for row in licensed._steps(replace(recipe, root=tmp_path / "nowhere"))] == [("data", "missing")]


def test_one_run_at_a_time_whatever_its_folds(world):
    _, recipe, _, _ = world
    with (
        lock.held(recipe.home, "a run"),
        pytest.raises(RunError, match="another run on casme2 .* is going on .process"),
    ):
        licensed.run(replace(recipe, folds="3"))


def test_answers_that_are_not_all_there_are_refused_by_name(world):
    _, recipe, _, _ = world
    rows = runtime.read_jsonl(recipe.work / "predictions.jsonl")
    with pytest.raises(licensed.LicensedError, match="predictions.jsonl: .* answered .* of 12 clips; remove the file"):
        licensed.score(recipe, rows[1:])


def test_folds_are_refused_before_anything_is_prepared(world, monkeypatch):
    _, recipe, _, _ = world
    monkeypatch.setattr(material.prepare, "prepare", None)  # called, it would fail
    for folds in ("99", "7"):
        with pytest.raises(licensed.LicensedError, match=f"FOLDS={folds} needs at least"):
            licensed.run(replace(recipe, folds=folds), lambda line: None)
    with pytest.raises(licensed.LicensedError, match="1 subjects have .*FOLDS=loso needs"):
        licensed.run(replace(recipe, folds="loso", subjects=1), lambda line: None)


def test_the_data_report_is_saved_and_counted(world):
    _, recipe, _, _ = world
    report = pd.read_csv(recipe.work / material.REPORT)
    assert len(report) == 4 and set(report["clip"]) >= {"casme2_04_EP12_01f"}
    page = (paths.figures(recipe.set) / "tables" / "T2.md").read_text()
    assert (
        "Data report: 4 oddities, 3 repaired" in page and "EP12" not in page
    )  # the apexes: `/`, on the onset, on the offset


def test_other_pictures_in_the_same_place_are_prepared_anew(world, tmp_path):
    from deft.clips import read
    from deft.motion import prepare

    root = fixtures.write("samm", tmp_path)
    before, _ = read("samm", root)
    names = prepare.targets(before)
    assert names == prepare.targets(read("samm", root)[0]) and len(set(names.values())) == len(before)
    picture = next((root / "SAMM" / "006" / "006_8_2").iterdir())
    picture.write_bytes(grey(picture.read_bytes()))
    after = prepare.targets(read("samm", root)[0])
    assert [name for name in names if names[name] != after[name]] == ["samm_006_006_8_2"]


# ---------------------------------------------------------------- coarse classes only


def test_a_set_of_coarse_classes_trains_nothing_and_is_answered_from_elsewhere(world, monkeypatch, tmp_path):
    _, recipe, _, _ = world
    source = tune.Job("deft", 0, 0).folder(recipe.work)
    shutil.copytree(source, tune.Job("deft", 0, 0).folder(paths.work("tiny")), dirs_exist_ok=True)
    monkeypatch.setattr(tune, "tune_all", None)  # called, it would fail
    smic = replace(recipe, dataset="smic-hs", root=fixtures.write("smic-hs", tmp_path), clips_each=1)
    table = licensed.run(smic, lambda line: None)
    assert set(table["system"]) == {stages.ELSEWHERE, "bayes-experts"} and set(table["scored by"]) == {"coarse"}
    assert set(table["clips"]) == {2} and table["classes"][0] == "surprise, negative"
    assert set(table["protocol"]) == {"smic-hs, nothing trained on this set"}
    assert {r["constraint"] for r in runtime.read_jsonl(smic.work / "unimer" / "bench.jsonl")} == {
        "flow"
    }  # SMIC annotates no unit
    shutil.rmtree(paths.work("tiny") / "mllm" / "runs")


# ---------------------------------------------------------------- the notebook


def test_the_notebook_reads_no_faces_that_were_not_given_to_it(tmp_path, monkeypatch):
    """With DEFT_DATA exported, as the README asks for, notebook 12 takes its made-up set; a folder given as `root`
    is read.
    """
    theirs = fixtures.write("casme2", tmp_path / "data" / "casme2")
    (theirs / fixtures.MARK).unlink()  # to the reader these are recordings
    for variable, name in (("DEFT_DATA", "data"), ("DEFT_WORK", "work")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    cells = {
        cell["id"]: "".join(cell["source"])
        for cell in runtime.read_json(paths.NOTEBOOKS / "12_licensed_data.ipynb")["cells"]
    }
    for root, simulated in (("", True), (str(theirs), False)):
        script = tmp_path / f"cells{len(root)}.py"
        script.write_text(
            "\n".join(
                [
                    cells["setup"],
                    cells["parameters"].replace("people = 2", "people = 0"),
                    f"root = {root!r}",
                    cells["data"],
                ]
            )
        )
        recipe = runpy.run_path(str(script))["recipe"]
        assert recipe.simulated == simulated and recipe.root.is_relative_to(
            tmp_path / ("work" if simulated else "data")
        )


def test_a_made_up_set_with_a_missing_file_is_written_again(tmp_path):
    root = fixtures.keep("4dme", tmp_path / "set")
    before = times(root)
    assert times(fixtures.keep("4dme", root)) == before
    next(root.rglob("*.jpg")).unlink()
    with pytest.warns(RuntimeWarning, match="is missing; it is made again"):
        assert set(times(fixtures.keep("4dme", root))) == set(before)


# ---------------------------------------------------------------- errors


def test_what_is_missing_is_said_with_its_remedy(world, tmp_path, capsys):
    _, recipe, _, _ = world
    with pytest.raises(licensed.LicensedError, match="make reproduce PROFILE=nobody"):
        licensed.run(replace(recipe, profile="nobody"))
    with pytest.raises(licensed.LicensedError, match="does not exist: say where"):
        licensed.run(replace(recipe, root=tmp_path / "nowhere"))
    with pytest.raises(licensed.LicensedError, match="data-check DATASET=casme2"):
        licensed.run(replace(recipe, root=fixtures.write("casme2", tmp_path / "sheet", frames=False)))
    with pytest.raises(licensed.LicensedError, match="nothing is left to tell apart"):
        licensed.run(replace(recipe, dataset="samm-lv", root=fixtures.write("samm-lv", tmp_path / "lv")))
    with pytest.raises(ValueError, match="takes no further people"):
        fixtures.write("mmew", tmp_path / "mmew", people=1)
    assert command_line.main(["licensed", "casme3", "--root", str(tmp_path)]) == 2
    assert "no reader for 'casme3'" in capsys.readouterr().err


def test_samm_is_taken_like_any_other(world, tmp_path):
    _, recipe, _, _ = world
    samm = replace(recipe, dataset="samm", root=fixtures.write("samm", tmp_path, people=1), subjects=3, clips_each=2)
    clips, table = licensed.take(samm)
    assert table["subject"].nunique() == 3 and table.groupby("subject").size().max() == 2
    assert [clip.id for clip in clips] == list(table["clip"]) and "a selection of its clips" in samm.words
    assert len(UNITS) == 17 and set(table["truth"]) <= {*EMOTIONS, ""}


def test_the_profiles_recipe_is_the_notebooks(monkeypatch):
    recipe = licensed.recipe_of("casme2", paths.ROOT, "demo", "LOSO")
    assert (recipe.epochs, recipe.seeds, recipe.batch, recipe.folds) == (
        5,
        2,
        32,
        "loso",
    ) and recipe.set == "casme2-demo-loso"
    two, three = (licensed.recipe_of("casme2", paths.ROOT, "demo", folds) for folds in "23")
    assert len({recipe.set, two.set, three.set}) == 3 and recipe.prepared == two.prepared == three.prepared
    monkeypatch.delenv("DEFT_DATA", raising=False)
    with pytest.raises(ValueError, match="DEFT_DATA is not set"):
        licensed.recipe_of("casme2", None, "demo")
    assert score.PREFIX  # what is asked is the same question as in notebook 08


def test_the_profiles_own_model_is_that_of_the_folds_asked_for_last(tmp_path, monkeypatch):
    """A fold of earlier settings that still lies there takes no part, and one that is missing is named."""
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    asked = [tune.Job("deft", 0, fold) for fold in (0, 1)]
    for job in (*asked, tune.Job("deft", 0, 4)):
        (job.folder(tmp_path / "tiny")).mkdir(parents=True)
        (job.folder(tmp_path / "tiny") / "model.safetensors").touch()
    assert len(stages.elsewhere("tiny")) == 3  # no list: all that lie there
    rows = [dataclasses.asdict(job) for job in (*asked, tune.Job("deft-s", 0, 0), tune.Job("deft", 1, 0))]
    runtime.write_json(tmp_path / "tiny" / "mllm" / "runs" / "jobs.json", rows)
    assert [path.parent for path in stages.elsewhere("tiny")] == [job.folder(tmp_path / "tiny") for job in asked]
    (asked[1].folder(tmp_path / "tiny") / "model.safetensors").unlink()
    with pytest.raises(licensed.LicensedError, match="deft draw 0 fold 1 of profile tiny is not finished"):
        stages.elsewhere("tiny")
