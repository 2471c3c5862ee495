"""Protocols on licensed data, on made-up sets: any class list is trained and scored, who is tested never trained, and
every row says how much of the published protocol it stands on."""

import json
from dataclasses import replace

import made_sets  # noqa: F401 (sets in every layout)
import numpy as np
import pandas as pd
import pytest
import torch
from made_profile import write_profile

from deft import __main__ as command_line
from deft import licensed, paths, runtime
from deft.clips.facs import EMOTIONS
from deft.clips.readers import fixtures
from deft.clips.store import ClipStore, write_shard
from deft.evaluation import printed, protocols
from deft.evaluation.protocols import units
from deft.evaluation.protocols.members import ProtocolError
from deft.licensed import agreed, material, stages
from deft.mllm import classes, examples, language, prompt, score, tune
from deft.unimer.facts import Facts, UnitFact

FIVE = ("happiness", "disgust", "repression", "surprise", "others")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder of the data sets, recipe of casme2-5 run on a made-up set, its table, its lines)."""
    base = tmp_path_factory.mktemp("agreed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_WORK", str(base / "work"))
        patch.setenv("DEFT_FIGURES", str(base / "figures"))
        write_profile(paths.work("tiny"))
        for name in ("casme2", "samm"):
            fixtures.write(name, base / "data" / name, size=96, people=1)
        recipe = licensed.Recipe(
            "casme2",
            base / "data" / "casme2",
            "tiny",
            "2",
            ("deft",),
            epochs=1,
            batch=8,
            workers=1,
            protocol="casme2-5",
        )
        lines = []
        yield base, recipe, licensed.run(recipe, lines.append), lines


@pytest.fixture
def world(made, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(made[0] / "work"))
    monkeypatch.setenv("DEFT_FIGURES", str(made[0] / "figures"))
    return made


# ---------------------------------------------------------------- classes


def test_others_and_repression_are_trained_and_answered(world):
    _, recipe, _, _ = world
    folder = tune.Job("deft", 0, 0).folder(recipe.work)
    tokenizer, model = score.load(folder)
    assert model.config.classes == list(FIVE) and model.emotion_head.out_features == 5
    assert not any(tokenizer.unk_token_id in prompt.ids_of(tokenizer, classes.word(name)) for name in FIVE)
    rows = [r for r in runtime.read_jsonl(recipe.work / "predictions.jsonl") if r["system"] == "deft"]
    assert {row["truth"] for row in rows} == set(FIVE) and all(set(row["scores"]) == set(FIVE) for row in rows)
    index = ClipStore(recipe.work / "clips" / "bench").index
    assert len(rows) == len(index) == 9 and set(index["emotion"]) == set(FIVE)
    assert {row["label"]: row["truth"] for row in rows}["repression"] == "repression"


def test_a_class_that_was_mended_in_the_sheet_is_tuned_anew(world):
    """Classes beyond the five emotions stand beside the clips alone, not in the records that are trained on."""
    _, recipe, _, _ = world
    jobs, settings = stages.runs_of(recipe)
    before = tune.state_of(jobs[0], recipe.work, settings)
    shard = sorted((recipe.work / "clips" / "bench").glob("*.npz"))[0]
    kept = shard.read_bytes()
    with np.load(shard) as arrays:
        header, others = json.loads(str(arrays["_header"])), {n: arrays[n] for n in arrays.files if n[0] != "_"}
    assert before and set(FIVE) & {row["emotion"] for row in header["rows"]}
    try:
        mended = [{**row, "emotion": "others"} for row in header["rows"]]
        write_shard(shard, mended, header["plan"], **others)
        assert not tune.state_of(jobs[0], recipe.work, settings)
    finally:
        shard.write_bytes(kept)
    assert tune.state_of(jobs[0], recipe.work, settings)


def test_nobody_is_tested_where_they_train(world):
    _, recipe, _, _ = world
    told = pd.read_csv(recipe.work / "clips" / "folds.csv", dtype={"subject": str}).set_index("subject")["fold"]
    rows = pd.DataFrame(runtime.read_jsonl(recipe.work / "predictions.jsonl"))
    mine = rows[rows["system"] == "deft"]
    assert (mine["fold"] == mine["subject"].map(told)).all() and not mine["clip"].duplicated().any()
    assert set(told.index) == set(mine["subject"]) and all(name.startswith("casme2/") for name in told.index)


def test_every_row_says_its_protocol_and_made_up_numbers_are_simulated(world):
    base, recipe, table, lines = world
    ours = table[table["kind"] != "reported"]
    assert set(ours["kind"]) == {"simulated"} and set(ours["system"]) >= {"deft", "majority", "bayes-experts"}
    assert (ours["clips"] == 9).all() and ours["of"].str.contains("9 simulated clips").all()
    assert (ours["classes"] == ", ".join(FIVE)).all() and ours["protocol"].str.contains("2 subject-disjoint").all()
    folder = paths.figures(recipe.set) / "tables"
    page = (folder / "T2.md").read_text()
    assert "SIMULATED" in page and "repression" in page and "Confusions of DEFT" in page and "EP9" not in page
    assert {path.name for path in folder.glob("*.*")} >= {"T2.csv", "T2.tex", "T2.html", "confusions.csv", "counts.csv"}
    matrix = pd.read_csv(folder / "confusions.csv")
    mine = matrix[(matrix["system"] == "deft") & (matrix["part"] == "full")].set_index("truth")
    assert mine[list(FIVE)].to_numpy().sum() == 9
    assert any("this will take" in line and "runs to tune" in line for line in lines)


def test_an_apex_on_the_edge_is_estimated_used_and_reported(world):
    _, recipe, _, _ = world
    report = pd.read_csv(recipe.work / material.REPORT, keep_default_na=False)
    told = report[report["what"].str.contains("estimated as the frame that moves most")]
    assert set(told["clip"]) == {"casme2_04_EP93_06f", "casme2_05_EP09_05f"}
    assert {"casme2_04_EP93_06f", "casme2_05_EP09_05f"} <= set(ClipStore(recipe.work / "clips" / "bench").index["clip"])


def test_a_second_call_does_nothing_and_the_contact_sheet_is_there(world, monkeypatch):
    base, recipe, _, _ = world
    sheet = recipe.work / "contact.png"
    before = {p: p.stat().st_mtime_ns for p in base.rglob("*") if p.is_file() and p.name != ".lock"}
    assert sheet in before
    monkeypatch.setattr(tune, "tune_all", None)  # called, it would fail
    licensed.run(recipe, lambda line: None)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_two_sets_train_and_a_third_part_is_tested(world):
    """cross:casme2>samm: one fold; who trains is never answered; coarse words; subjects of two sets are two people."""
    base, recipe, _, _ = world
    cross = replace(recipe, dataset="casme2+samm", root=base / "data", protocol="cross:casme2>samm", folds="")
    table = licensed.run(cross, lambda line: None)
    rows = pd.DataFrame(runtime.read_jsonl(cross.work / "predictions.jsonl"))
    assert set(rows["dataset"]) == {"samm"} and set(rows[rows["system"] == "deft"]["fold"]) == {0}
    assert set(table["system"]) >= {"deft", "deft-sim", "majority", "lr-flow"} - {"deft-sim"}
    index = ClipStore(cross.work / "clips" / "bench").index
    assert set(index["dataset"]) == {"casme2", "samm"} and set(index["emotion"]) == {"negative", "positive", "surprise"}
    model = score.load(tune.Job("deft", 0, 0).folder(cross.work))[1]
    assert model.config.classes == ["negative", "positive", "surprise"]
    assert not (cross.home / "prepared").exists()  # both sets' clips were prepared once, each in its own place
    assert (paths.figures(cross.set) / "tables" / "T2.csv").exists()


def test_units_are_scored_by_the_unit_head(world, monkeypatch):
    base, recipe, _, _ = world
    monkeypatch.setattr(units, "OFTEN", 2)
    table = licensed.run(replace(recipe, protocol="units:casme2"), lambda line: None)
    mine = table[table["system"].isin(["deft", agreed.ALWAYS, agreed.EXPERT])]
    assert set(mine["system"]) == {"deft", agreed.ALWAYS, agreed.EXPERT} and mine["f1_over_units"].between(0, 1).all()
    rows = runtime.read_jsonl(replace(recipe, protocol="units:casme2").work / "predictions.jsonl")
    (smile,) = (r for r in rows if r["clip"] == "casme2_01_EP92_01f" and r["system"] == "deft")
    assert smile["units_annotated"] == [12] and smile["label"] == "happiness"


# ---------------------------------------------------------------- bad input


def test_what_a_protocol_cannot_use_is_refused_before_anything_is_prepared(world, tmp_path, monkeypatch, capsys):
    base, recipe, _, _ = world
    monkeypatch.setattr(material.prepare, "prepare", None)  # called, it would fail
    smic = fixtures.write("smic-hs", tmp_path / "smic-hs")
    with pytest.raises(ProtocolError, match="units cannot use smic-hs.*no action units"):
        licensed.run(replace(recipe, dataset="smic-hs", root=smic, protocol="units", folds=""))
    part_c = fixtures.write("casme-cube-c", tmp_path / "c")
    with pytest.raises(ProtocolError, match="cube-3 cannot use casme-cube-c.*part A"):
        licensed.run(replace(recipe, dataset="casme-cube-c", root=part_c, protocol="cube-3", folds=""))
    with pytest.raises(ProtocolError, match="a number of folds .FOLDS. has no meaning"):
        licensed.run(replace(recipe, dataset="casme2+samm", root=base / "data", protocol="cross:casme2>samm"))
    assert command_line.main(["licensed", "casme2", "--protocol", "casme-5", "--profile", "demo"]) == 2
    assert "no protocol 'casme-5'" in capsys.readouterr().err
    assert command_line.main(["licensed", "--profile", "demo"]) == 2
    assert "say which data set: DATASET=casme2, or a protocol" in capsys.readouterr().err
    with pytest.raises(licensed.LicensedError, match="several data sets are run under a protocol"):
        replace(recipe, dataset="casme2+samm", protocol="", folds="3")


def test_a_label_outside_the_list_is_named(world, tmp_path, monkeypatch):
    import openpyxl

    _, recipe, _, _ = world
    root = fixtures.write("casme2", tmp_path / "odd")
    path = next(root.glob("*.xlsx"))
    book = openpyxl.load_workbook(path)
    book.worksheets[0].cell(3, 9, "boredom")
    book.save(path)
    with pytest.raises(ProtocolError, match="row 3 .*boredom.* is no label of casme2"):
        licensed.run(replace(recipe, root=root), lambda line: None)


def test_a_reported_number_without_a_source_is_refused(world, tmp_path, monkeypatch):
    from deft.evaluation import reported

    _, recipe, _, _ = world
    table = tmp_path / "reported.csv"
    table.write_text(",".join(reported.COLUMNS) + '\n"CASME II, 5 classes",X,.9,.9,unknown,,\n')
    monkeypatch.setattr(reported.load, "__defaults__", (table,))
    monkeypatch.setattr(material.prepare, "prepare", None)
    with pytest.raises(ValueError, match="row 2: 'X' has no source"):
        licensed.run(recipe, lambda line: None)


def test_folds_that_break_a_rule_are_named(world):
    base, recipe, _, _ = world
    clips, _, _ = material.look_at(recipe)
    plan = agreed.plan_of(recipe, clips)
    (train, validation, test), *others = sorted(plan.splits, key=lambda parts: "casme2_01_EP92_01f" not in parts[2])
    moved = "casme2_01_EP92_01f"  # subject 01 has another clip, which stays among the tested ones
    with pytest.raises(ProtocolError, match="fold 0 has subject casme2/01 in its"):
        plan.check([([*train, moved], validation, [name for name in test if name != moved]), *others])
    with pytest.raises(ProtocolError, match="is tested 2 times"):
        plan.check([(train, validation, test), *others, (train, validation, test)])


def test_by_default_the_sets_of_a_protocol_are_all_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    recipe = licensed.recipe_of("", None, "demo", protocol="megc2019")
    assert recipe.dataset == "casme2+samm+smic-hs" and recipe.protocol == "composite" and recipe.folds == ""
    assert recipe.set == "composite-casme2+samm+smic-hs-demo" and recipe.root == tmp_path
    cross = licensed.recipe_of("", None, "demo", protocol="cross:casme2+samm>smic-hs", errata=True)
    assert cross.set == "cross-casme2+samm-to-smic-hs-casme2+samm+smic-hs-demo-errata"
    with pytest.raises(licensed.LicensedError, match="casme2 does not exist.*which sets you have"):
        material.look_at(recipe)


# ---------------------------------------------------------------- words for classes


def test_rehearsal_speaks_under_the_list():
    smile = Facts("happiness", "positive", (UnitFact(12, "B"),))
    assert classes.of_list(smile, ("negative", "positive", "surprise")).emotion == "positive"
    assert classes.of_list(smile, FIVE) == smile and classes.of_list(smile, ("I", "II")).emotion == ""
    assert classes.of_list(Facts("anger", "negative"), FIVE).emotion == ""
    known = [classes.labelled(Facts(units=(UnitFact(14, "R"),)), "repression")]
    drawn = [classes.rehearsed(np.random.default_rng(i), FIVE, known) for i in range(60)]
    assert {one.emotion for one in drawn} >= {"happiness", "repression", ""} and any(one is known[0] for one in drawn)
    plain = [classes.rehearsed(np.random.default_rng(i), EMOTIONS, ()) for i in range(5)]
    assert plain == [examples.classes.text_facts(np.random.default_rng(i)) for i in range(5)]


def test_the_five_emotions_answer_another_list_by_their_sums():
    scores = dict(zip(EMOTIONS, (0.4, 0.25, 0.05, 0.2, 0.1)))
    coarse = classes.of_emotions(scores, ("negative", "positive", "surprise", "others"))
    assert coarse == {"negative": 0.55, "positive": 0.4, "surprise": 0.05, "others": 0.0}
    fine = classes.of_emotions(scores, FIVE)
    assert (
        fine["repression"] == 0
        and sum(fine.values()) == pytest.approx(1, abs=1e-4)
        and max(fine, key=fine.get) == "happiness"
    )
    assert not agreed.nameable(("I", "II", "III"))


def test_new_words_get_rows_of_their_own_and_the_five_change_nothing():
    tokenizer = language.build_tokenizer()
    base = language.build_base(tokenizer, language.LanguageSettings(hidden=32, layers=1, heads=1, intermediate=48))
    before, size = base.get_input_embeddings().weight.detach().clone(), len(tokenizer)
    assert classes.taught_words(tokenizer, base, EMOTIONS, 7) == 0 and len(tokenizer) == size
    assert classes.taught_words(tokenizer, base, ("negative", "others", "fear", "I"), 7) == 3
    after = base.get_input_embeddings().weight.detach()
    assert len(after) == size + 3 and torch.equal(after[:size], before)
    (others,), (fear,) = prompt.ids_of(tokenizer, "others"), prompt.ids_of(tokenizer, "fear")
    assert prompt.ids_of(tokenizer, "class : fear .")[2] == fear and others != fear
    assert not torch.equal(after[others], after[fear]) and torch.equal(base.get_output_embeddings().weight, after)
    assert classes.read("class : others . evidence : none .", FIVE) == "others" and classes.read("", FIVE) == ""


def test_a_partial_copy_is_never_called_a_reproduction():
    plan = protocols.get("samm-5").plan(_clips("samm", 40))
    kind, of = plan.standing()
    assert kind == "partial" and of == "40 of 136 published clips"
    rows = [{"clip": c, "system": "deft", "prediction": t} for c, t in zip(plan.members["clip"], plan.members["truth"])]
    table = printed.t2(plan, rows)
    assert set(table["kind"]) == {"partial"} and (table["uf1"] == 1).all()
    assert "no reproduction" in "".join(part.finding for part in printed.shown(table))


def _clips(dataset, count):
    from types import SimpleNamespace

    names = ("happiness", "anger", "contempt", "surprise", "other")
    return [
        SimpleNamespace(
            id=f"{dataset}_{i}", dataset=dataset, subject=f"{i % 8:03d}", emotion=names[i // 8 % 5], kind="micro",
            action_units=(), filename=f"f{i}",
        )
        for i in range(count)
    ]  # fmt: skip
