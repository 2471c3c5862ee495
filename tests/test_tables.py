"""Tables and claims on a made-up world: six subjects, two systems that write text, answers whose worth is known."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from deft import artifacts, cache, paths, runtime
from deft.clips import benchmark, store
from deft.clips.facs import COARSE, EMOTIONS, REGION_INDEX, UNIT_INDEX, UNITS
from deft.clips.labels import COARSE_CLASSES
from deft.evaluation import claims, constructions, grounding, metrics, tables
from deft.evaluation.source import Answers
from deft.evaluation.tables import present
from deft.motion import evidence
from deft.systems import LISTED, NOT_BUILT, SYSTEMS, spoken
from deft.unimer.facts import Facts, MotionFact, UnitFact
from deft.unimer.kinds import KINDS

PROFILE = "made-up"
SMILE = Facts("happiness", "positive", (UnitFact(12, "B"),), (MotionFact("lip corner", "B", "up"),))
FROWN = Facts("anger", "negative", (UnitFact(4, "B"),), (MotionFact("inner brow", "B", "down"),))
SKILL = {
    "deft": 0.9,
    "rgb-only": 0.3,
    "lr-flow": 0.6,
    "lr-experts": 0.6,
    "bayes-experts": 0.6,
    "lr-pixels": 0.25,
    "majority": 0.2,
    "template": 0.6,
    "deft-flat": 0.8,
    **{name: 0.6 for name in ("deft-s", "deft-t", "deft-m", "deft-st", "deft-sm", "deft-tm")},
    "lbptop": 0.88,  # last, so that the draws of the others stay
    "ststnet": 0.4,
    "deft-words": 0.6,
    "deft-tokens": 0.6,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Every clip smiles (unit 12 on both sides, lip corners up and out); half of the sheets also say unit 4."""
    folder = tmp_path_factory.mktemp("world")
    patch = pytest.MonkeyPatch()
    patch.setenv("DEFT_WORK", str(folder / "work"))
    patch.setenv("DEFT_FIGURES", str(folder / "figures"))
    generator, work, frames = np.random.default_rng(0), paths.work(PROFILE), []
    for part, letter in (("bench", "s"), ("heldback", "h")):
        for subject in range(6):
            rows = [
                {
                    "clip": f"{letter}{subject}_{condition}_{clip}",
                    "dataset": f"sim-{'abc'[subject % 3]}",
                    "subject": f"{letter}{subject}",
                    "condition": condition,
                    "look": subject % 2,
                    "emotion": EMOTIONS[(subject + clip) % 5],
                    "coarse": "",
                    "fps": 200.0,
                    "onset": 0,
                    "apex": 3,
                    "offset": 8,
                    "units": "4+12" if clip % 2 else "12",
                    "distractor": "",
                    "split": "",
                }
                for condition in ("kept", "broken")
                for clip in range(10)
            ]
            truth = np.zeros((20, 17, 2), np.float32)
            truth[:, UNIT_INDEX[12]] = 0.2
            store.write_shard(work / "clips" / part / f"{letter}{subject}.npz", rows, "plan", units_true=truth)
            frames += [{**row, "set": part, "fold": subject % 3 if part == "bench" else -1} for row in rows]
    region = np.zeros((120, 36, 2), np.float32)
    for side, sign in (("L", 1), ("R", -1)):
        region[:, REGION_INDEX[("lip_corner", side)]] = sign * 0.4, -0.3
    courses = np.zeros((120, 8, 36, 5), np.float32)
    courses[:, 2:4, :, :2] = region[:, None]
    probability = np.full((120, 17, 2), 0.001, np.float32) + generator.uniform(0, 0.005, (120, 17, 2)).astype(
        np.float32
    )
    probability[:, UNIT_INDEX[12]] = 0.9
    for name, array in (("courses", courses), ("region_true", region), ("noise", np.full(120, 0.05, np.float32))):
        runtime.save_array(work / "motion" / "bench", name, array)
    runtime.save_array(work / "evidence" / "bench", "probability", probability)
    evidence.Calibration((1.0,) * 17, (0.0,) * 17, (0.0,) * 17).save(work / "evidence" / "calibration.json")
    for name in ("texture", "motion"):
        runtime.save_array(work / "features" / "bench", f"{name}_units", probability)
    runtime.write_json(
        work / "experts" / "probes.json",
        [{"expert": "motion", "factor": "identity", "score": 0.2, "chance": 0.1, "measure": "accuracy"}],
    )
    runtime.write_jsonl(
        work / "unimer" / "bench.jsonl",
        [
            {
                "clip": row["clip"],
                "dataset": row["dataset"],
                "kind": kind,
                "facts": SMILE.to_json(),
                "answer": KINDS["reasoning"].answer(SMILE),
            }
            for row in frames
            if row["set"] == "bench"
            for kind in ("reasoning", "fine")
        ],
    )
    answers = []
    for system, skill in SKILL.items():
        for seed in (7, 8) if system in ("deft", "rgb-only", "ststnet") else (7,):
            for row in frames:
                if row["set"] == "heldback" and system in LISTED["T3"] and system != "deft":
                    continue
                lucky = skill + (0.4 if system == "lr-pixels" and row["condition"] == "kept" else 0)
                said = (
                    row["emotion"] if generator.random() < lucky else EMOTIONS[(EMOTIONS.index(row["emotion"]) + 1) % 5]
                )
                facts = FROWN if system == "rgb-only" else SMILE
                answers.append(
                    {key: row[key] for key in ("clip", "dataset", "subject", "fold", "condition", "set")}
                    | {
                        "benchmark": "sim-v1",
                        "system": system,
                        "truth": row["emotion"],
                        "prediction": said,
                        "scores": {e: 0.6 if e == said else 0.1 for e in EMOTIONS},
                        "seed": seed,
                        "parameters": 2485 if system == "ststnet" else None,
                        "text_class": row["emotion"],
                        "text": (
                            KINDS["reasoning"].answer(facts)
                            if system in ("deft", "rgb-only", "deft-m", "template")
                            else ""
                        ),
                    }
                )
    runtime.write_jsonl(work / "predictions.jsonl", answers)
    for stage, seconds in (("01_clips", 60.0), ("06_experts", 240.0)):
        runtime.write_json(
            work / "status" / f"{stage}.json",
            {"stage": stage, "state": "done", "seconds": seconds, "peak_memory_gib": 1.5},
        )
    _safetensors(work / "experts" / "motion" / "model.safetensors", {"a": [3, 4], "b": [5]})
    yield folder
    patch.undo()


def _safetensors(path, shapes):
    header = json.dumps(
        {
            "__metadata__": {"x": "y"},
            **{k: {"dtype": "F32", "shape": s, "data_offsets": [0, 0]} for k, s in shapes.items()},
        }
    ).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


# ---------------------------------------------------------------- tables
def test_t1_counts_what_was_annotated_and_what_moved(world):
    table = tables.t1(PROFILE).set_index("dataset")
    whole = table.loc["all"]
    assert (whole["subjects"], whole["clips"], whole["units"], whole["unimer_records"]) == (6, 120, 1, 240)
    assert whole["annotated_units"] == 120 * 2 + 60 * 2  # 12 always, 4 in every other clip, two sides each
    assert whole["unsupported_truth"] == pytest.approx(1 / 3, abs=1e-4) and whole["unannotated_truth"] == 0
    assert whole["unsupported_flow"] == pytest.approx(1 / 3, abs=1e-4) and whole["flow_auroc"] == 1.0
    assert whole["unsupported_truth_low"] <= whole["unsupported_truth"] <= whole["unsupported_truth_high"]
    assert whole["unimer_units_true"] == 1 and whole["unimer_motions_true"] == 1
    assert table.loc["sim-a", "clips"] == 40 and table.loc["sim-a", "unimer_records"] == 80


def test_auroc_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    truth, score = generator.random(200) < 0.3, generator.integers(0, 10, 200) / 10
    assert metrics.auroc(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert np.isnan(metrics.auroc(np.ones(3, bool), np.zeros(3)))


def test_t2_pools_folds_averages_seeds_and_keeps_kinds_apart(world):
    table = artifacts.own(tables.t2(PROFILE))
    frame = tables.predictions(PROFILE)
    deft = table[(table["system"] == "deft") & (table["condition"] == "broken") & (table["set"] == "bench")].iloc[0]
    rows = frame[(frame["system"] == "deft") & (frame["condition"] == "broken") & (frame["set"] == "bench")]
    each = [
        metrics.recognition_scores(part["truth"], part["prediction"], EMOTIONS)["uf1"]
        for _, part in rows.groupby("seed")
    ]
    assert deft["uf1"] == pytest.approx(np.mean(each), abs=1e-4) and deft["uf1_draw_sd"] == pytest.approx(
        np.std(each, ddof=1), abs=1e-4
    )
    assert deft["draws"] == 2 and deft["clips"] == 60 and deft["uf1_low"] < deft["uf1"] < deft["uf1_high"]
    rgb = table[(table["system"] == "rgb-only") & (table["condition"] == "broken") & (table["set"] == "bench")].iloc[0]
    assert (rgb["interval"], rgb["draws"]) == ("subjects, draws", 2)
    assert rgb["deft_minus"] == pytest.approx(deft["uf1"] - rgb["uf1"], abs=2e-4) and rgb["deft_minus_low"] > 0
    assert set(table["kind"]) == {"simulated", "reported", "not built"} and "deft-m" not in set(table["system"])
    assert table[table["kind"] == "reported"]["deft_minus"].isna().all()
    assert (table["set"] == "heldback").sum() == 2 * len(set(SKILL) & set(LISTED["T2"]))
    pixels = table[(table["system"] == "lr-pixels") & (table["set"] == "bench")]
    assert (pixels["kept_minus_broken_low"] > 0).all()


def test_t2_holds_deft_against_the_systems_of_other_papers(world):
    table = artifacts.own(tables.t2(PROFILE))
    here = table[(table["condition"] == "broken") & (table["set"] == "bench")].set_index("system")
    net, hand = here.loc["ststnet"], here.loc["lbptop"]
    assert (net["family"], net["benchmark"], net["parameters"], net["draws"]) == ("another paper", "sim-v1", 2485, 2)
    assert net["deft_minus_low"] > 0 and net["p_holm"] < 0.05 and hand["p_holm"] > 0.05
    assert hand["interval"] == "subjects; constant over draws" and np.isnan(here.loc["deft", "p_holm"])
    assert here["p_holm"].notna().sum() == len(here) - 1
    unbuilt = table[table["kind"] == "not built"].set_index("system")["note"]
    assert unbuilt.to_dict() == NOT_BUILT
    page = present.pages("T2", table.to_csv(index=False), "a stamp")["md"]
    assert "STSTNet" in page and "TSAN" in page.upper() and "Trained numbers" in page


def test_t6_has_a_row_per_system_and_pair_of_sets(world):
    generator, rows = np.random.default_rng(1), []
    frame = pd.DataFrame(runtime.read_jsonl(paths.work(PROFILE) / "predictions.jsonl"))
    clips = frame[(frame["system"] == "lbptop") & (frame["set"] == "bench")]
    for system, skill in (("deft", 0.9), ("ststnet", 0.4)):
        for train in ("sim-a", "sim-b"):
            for clip in clips.itertuples():
                truth = COARSE[clip.truth]
                away = [name for name in COARSE_CLASSES if name != truth]
                said = truth if generator.random() < skill else away[generator.integers(2)]
                about = {name: getattr(clip, name) for name in ("clip", "dataset", "subject", "condition")}
                scores = {name: 0.8 if name == said else 0.1 for name in COARSE_CLASSES}
                rows.append({**about, "system": system, "train": train, "truth": truth, "prediction": said, "look": 0,
                             "scores": scores, "seed": 0, "parameters": 9})  # fmt: skip
    runtime.write_jsonl(paths.work(PROFILE) / "cross.jsonl", rows)
    benchmark.name_in(paths.work(PROFILE), benchmark.spec("sim-v2"))
    table = tables.t6(PROFILE)
    assert len(table) == 2 * 2 * 3 * 2 and set(zip(table["train"], table["test"])) == {
        (a, b) for a in ("sim-a", "sim-b") for b in ("sim-a", "sim-b", "sim-c")
    }
    net = table[table["system"] == "ststnet"]
    assert set(table["benchmark"]) == {"sim-v2"}
    assert (net["deft_minus"] > 0).all() and net["p_holm"].between(0, 1).all()  # of two people each: not small
    assert net["uf1"].mean() == pytest.approx(0.4, abs=0.12)
    page = present.pages("T6", table.to_csv(index=False), "a stamp")["md"]
    assert "rained on sim-b" in page and "UF1 on sim-c" in page


def test_t3_has_all_subsets(world):
    table = tables.t3(PROFILE)
    assert len(table) == 18 and set(table["experts"]) == {SYSTEMS[name].parts for name in LISTED["T3"]}
    motion = table[table["experts"] == "motion"].iloc[0]
    assert "unit_auroc" not in table and motion["probe_identity"] == 0.2 and motion["all_minus_low"] > 0


def test_t4_holds_constructions_against_the_truth(world):
    table = constructions.t4(PROFILE).set_index(["annotation_noise", "construction"])
    assert len(table) == 12 and list(table["kind"].unique()) == ["simulated"]
    own = table.loc["own"]
    assert (
        own.loc["au", "unit_precision"] == pytest.approx(2 / 3, abs=1e-4) and own.loc["au", "unit_recall"] == 1
    )  # every other sheet invents unit 4
    assert (
        own.loc["both", "unit_precision"] == 1 == own.loc["both", "unit_recall"]
        and own.loc["both", "motion_precision"] == 1
    )
    assert (
        own.loc["au", "both_minus_unit_precision"] == pytest.approx(1 / 3, abs=1e-4)
        and own.loc["au", "both_minus_unit_precision_low"] > 0
    )
    assert (
        own.loc["au", "annotation_wrong"] == pytest.approx(1 / 3, abs=1e-4) and own.loc["au", "annotation_missing"] == 0
    )
    assert table.loc[("none", "au"), ["unit_precision", "annotation_wrong"]].tolist() == [1, 0]
    assert table.loc[("double", "au"), "annotation_wrong"] == pytest.approx(
        1 / 2, abs=0.1
    )  # one invented unit per clip, beside the true one
    assert table.loc[("double", "flow"), "unit_precision"] == own.loc["flow", "unit_precision"] == 1
    assert own["model"].to_dict() == {"none": "not run", "au": "not run", "flow": "not run", "both": "deft"}
    assert (
        own.loc["both", "model_unit_f1"] == 1
        and own.loc["both", "model_unsupported"] == 0
        and own["model_uf1"].notna().sum() == 1
    )
    assert table.loc["double", "model"].isna().all()


def test_t4_joins_a_model_that_was_tuned_on_a_construction(world, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(paths.work(PROFILE), tmp_path / PROFILE)
    rows = runtime.read_jsonl(paths.work(PROFILE) / "predictions.jsonl")
    theirs = [{**row, "system": "deft-au"} for row in rows if row["system"] == "rgb-only"]
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    runtime.write_jsonl(tmp_path / PROFILE / "predictions.jsonl", rows + theirs)
    row = constructions.t4(PROFILE).set_index(["annotation_noise", "construction"]).loc[("own", "au")]
    assert (
        row["model"] == "deft-au"
        and row["model_unsupported"] == 1 == row["both_minus_model_precision"]
        and row["model_precision"] == 0 == row["model_unit_f1"]
    )
    assert row["both_minus_model_uf1_low"] > 0 and row["both_minus_model_unit_f1"] == 1 and row["model_draws"] == 2


def test_sheets_are_redrawn_at_the_stated_rates():
    rng, count = np.random.default_rng(0), 3000
    truth = np.zeros((count, 17, 2), bool)
    truth[np.arange(count), rng.integers(0, 17, count)] = True
    truth[np.arange(count), rng.integers(0, 17, count), 0] = True
    written = [
        [code for code, row in zip(UNITS, truth[i]) if row.any() and rng.random() > 0.1]
        + ([24] if rng.random() < 0.2 else [])
        for i in range(count)
    ]
    index = pd.DataFrame(
        {"clip": [f"c{i}" for i in range(count)], "emotion": "anger", "units": ["+".join(map(str, w)) for w in written]}
    )
    own = constructions.sheets(index, truth, "own")
    double = constructions.sheets(index, truth, "double")
    assert np.array_equal(constructions.sheets(index, truth, "none"), truth) and np.array_equal(
        double, constructions.sheets(index, truth, "double")
    )
    for one, two in zip(constructions.error_rates(own, truth), constructions.error_rates(double, truth)):
        assert two == pytest.approx(2 * one, rel=0.1)
    assert (
        double[:, UNIT_INDEX[4]].sum() > 2 * double[:, UNIT_INDEX[20]].sum()
    )  # anger lets one expect unit 4, nothing lets one expect 20
    with pytest.raises(ValueError, match="unknown level"):
        constructions.sheets(index, truth, "some")


def test_c3_is_not_won_by_silence(world):
    table = constructions.t4(PROFILE)
    own = table[table["annotation_noise"] == "own"].set_index("construction")
    assert own.loc["au", "both_over_unit_recall"] == 1 == own.loc["au", "both_over_unit_recall_low"]
    none = own.loc["none"]  # writers who know the class alone name few units that moved
    assert none["unit_recall"] < 0.5 and none["both_over_unit_recall"] == pytest.approx(
        1 / none["unit_recall"], rel=2e-3
    )
    found = {v.claim: v for v in claims.judge({"T4": table})}["C3"]
    assert (
        len(found.checks) == 7
        and "no model was trained under no constraint, annotation alone, flow alone" in found.note
    )
    table.loc[
        (table["construction"] == "au") & (table["annotation_noise"] == "own"),
        ["both_over_unit_recall", "both_over_unit_recall_low", "both_over_unit_recall_high"],
    ] = 0.2, 0.1, 0.3
    assert {v.claim: v for v in claims.judge({"T4": table})}["C3"].checks[-1].outcome == claims.FAILS


def test_t7_separates_the_system_that_says_what_moved(world):
    table = tables.t7(PROFILE).set_index(["system", "condition"])
    deft, rgb = table.loc[("deft", "broken")], table.loc[("rgb-only", "broken")]
    assert deft["unit_f1"] == 1 and deft["unsupported"] == 0 and deft["precision"] == 1 and deft["recall"] == 1
    assert deft["bleu"] == pytest.approx(1) and deft["rouge1"] == pytest.approx(1) and deft["statements_per_text"] == 2
    assert deft["text_uf1"] == 1 and "head_uf1" not in table
    assert rgb["unit_f1"] == 0 and rgb["unsupported"] == 1 and rgb["recall"] == 0 and rgb["bleu"] < 0.8
    assert deft["rgb_minus"] == 1 and deft["rgb_minus_low"] == 1
    assert 0 < deft["motion_f1"] < 1  # up is named, outward is not
    template = table.loc[("template", "broken")]
    assert (
        template["unit_f1"] == 1
        and template["deft_minus_unit_f1"] == 0 == template["deft_minus_recall"]
        and template["interval"] == "subjects; one draw of the experts"
    )
    assert rgb["deft_minus_unit_f1"] == 1 == rgb["deft_minus_recall"] and rgb["deft_minus_unsupported_units"] == -1


def _edited(change):
    """The world's answers with the texts that `change` (frame -> frame) makes of them."""
    answers = Answers.of_work(PROFILE)
    return Answers(lambda: change(answers.predictions.copy()), answers._arrays, "made-up")


def test_t7_counts_silent_answers_as_misses(world):
    def blank(share):
        def change(frame):
            frame.loc[(frame["system"] == "deft") & (np.arange(len(frame)) % 3 < 3 * share), "text"] = ""
            return frame

        return _edited(change)

    columns = ["texts", "unit_f1", "recall", "motion_f1", "unsupported", "rgb_minus"]
    table = {
        share: tables.t7(blank(share)).set_index(["system", "condition"]).loc[("deft", "broken"), columns]
        for share in (0, 1 / 3)
    }
    silent, before = table[1 / 3], table[0]
    assert silent["texts"] == before["texts"] == 120 and silent["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert silent["unit_f1"] == pytest.approx(0.8, abs=1e-4)  # precision 1, recall 2/3
    assert silent["motion_f1"] < before["motion_f1"] and silent["unsupported"] == before["unsupported"] == 0


def test_t7_allows_a_subject_that_says_nothing_in_a_draw(world):
    def change(frame):
        frame.loc[(frame["system"] == "deft") & (frame["seed"] == 8) & (frame["subject"] == "s0"), "text"] = None
        return frame

    row = tables.t7(_edited(change)).set_index(["system", "condition"]).loc[("deft", "broken")]
    assert (
        row["texts"] == 120 and row["recall"] == pytest.approx(11 / 12, abs=1e-4) and row["recall_low"] < row["recall"]
    )


def test_t7_leaves_out_systems_that_write_no_text(world):
    assert set(tables.t7(PROFILE)["system"]) == {"deft", "rgb-only", "deft-m", "template"}


def test_t9_tells_what_a_system_of_another_paper_costs(world):
    folder = paths.work(PROFILE) / "peers" / "runs" / "ststnet" / "draw0-fold0"
    state = cache.fresh(folder)
    runtime.write_json(folder / "history.json", {"parameters": 2485})
    state.seal(seconds=12.5)
    row = tables.t9(PROFILE).set_index("name").loc["ststnet"]
    assert (row["what"], row["parameters"], row["seconds"]) == ("peer", 2485, 12.5)


def test_t9_reads_headers_and_records(world):
    table = tables.t9(PROFILE).set_index("name")
    assert table.loc["experts/motion/model.safetensors", "parameters"] == 17
    assert table.loc["all stages above", "seconds"] == 300 and table.loc["06_experts", "peak_memory_gib"] == 1.5


def test_tables_are_saved_and_bear_verdicts(world):
    assert {v.verdict for v in claims.judge(PROFILE)} == {claims.NOT_RUN}
    for name in ("t1", "t2", "t3", "t7", "t9"):  # not T4, T5: a claim whose table is missing is not run
        tables.save(getattr(tables, name)(PROFILE), name.upper(), PROFILE)
    found = {v.claim: v for v in claims.write(PROFILE)}
    assert {c: v.verdict for c, v in found.items()} == {
        "C1": "supported",
        "C2": "not supported",
        "C3": "not run",
        "C4": "not run",
        "C5": "supported",
        "C6": "supported",
    }
    assert [c.outcome for c in found["C2"].checks] == [
        "holds",
        "fails",
        "holds",
    ]  # nothing here moved without being annotated
    written = runtime.read_json(paths.figures(PROFILE) / "claims.json")
    assert written["claims"][0]["checks"][0]["low"] > 0 and written["kind"] == "simulated"
    text = (paths.figures(PROFILE) / "claims.md").read_text()
    assert "## C2: not supported" in text and "- fails:" in text
    aside = claims.by_benchmark(PROFILE)  # these answers are of sim-v1, and take the place of the reference's
    assert aside["sim-v1"].to_dict() == {c: v.verdict for c, v in found.items()}
    mine, beside = artifacts.read_table("T2", PROFILE), tables.by_benchmark(PROFILE)
    row = _cells(mine, system="deft", condition="broken", set="bench")
    assert beside.loc["DEFT", ("sim-v1", "UF1, tie broken")] == tables.quote(row, "uf1")
    committed = pd.read_csv(paths.ROOT / "figures" / "sim2" / "reference" / "T2.csv")
    row = _cells(committed, system="lr-flow", condition="broken", set="bench")
    assert beside.loc["LR on region flow", ("sim-v2", "DEFT less it, broken")] == tables.quote(row, "deft_minus")


def test_t2_holds_the_other_benchmark_too_and_says_whose_numbers_they_are(world):
    table = tables.t2(PROFILE)
    taken = table[table.kind == artifacts.COMMITTED]
    assert set(taken.benchmark) == {"sim-v2"} and taken.source.str.startswith("figures/sim2/reference/T2.csv").all()
    committed = artifacts.own(pd.read_csv(paths.ROOT / "figures" / "sim2" / "reference" / "T2.csv"))
    assert len(taken) == (committed.kind == "simulated").sum()
    mine = taken[(taken.system == "deft") & (taken["set"] == "bench")].set_index("condition").uf1
    theirs = committed[(committed.system == "deft") & (committed["set"] == "bench")].set_index("condition").uf1
    assert mine.to_dict() == theirs.to_dict()
    tables.save(table, "T2", PROFILE)
    assert artifacts.COMMITTED not in set(artifacts.read_table("T2", PROFILE).kind)  # nobody else meets them
    assert artifacts.COMMITTED not in set(claims.read({"T2": table}, "T2").kind)


def _cells(table, **where):
    table = artifacts.own(table)
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_nll_is_the_mean_of_minus_the_log_of_what_the_true_class_got(world):
    frame, table = tables.predictions(PROFILE), tables.t2(PROFILE)
    for system in ("deft", "lr-flow"):
        rows = frame[(frame["system"] == system) & (frame["condition"] == "broken") & (frame["set"] == "bench")]
        right = (rows["prediction"] == rows["truth"]).mean()  # right answers give the truth .6, wrong ones .1
        row = _cells(table, system=system, condition="broken", set="bench")
        assert row["nll"] == pytest.approx(-right * np.log(0.6) - (1 - right) * np.log(0.1), abs=1e-4)
        assert row["nll_low"] < row["nll"] < row["nll_high"]
    assert row["deft_minus_nll_high"] < 0 < row["deft_minus_low"]  # DEFT is the better of the two: less NLL, more UF1
    sample = frame.head(2).assign(
        scores=[{"happiness": 1.0}] * 2, truth=["happiness", "anger"], system="lr-flow", seed=7
    )
    sample = sample.assign(subject=["s0", "s1"], look=[0, 1])
    assert tables.nll_sample(sample).counts[:, 0, 0].tolist() == [0, pytest.approx(-np.log(tables.FLOOR))]
    assert tables.nll_sample(sample.assign(scores=[{}] * 2)) is None
    t3 = tables.t3(PROFILE)
    assert _cells(t3, system="deft-m", condition="broken")["all_minus_nll_high"] < 0


def test_what_looks_give_is_read_against_a_reader_that_cannot_see_them(world):
    table = tables.t2(PROFILE)
    at = {
        name: _cells(table, system=name, set="bench", condition="broken")
        for name in ("lr-pixels", "deft", "bayes-experts")
    }
    fall = {name: row["kept_minus_broken"] for name, row in at.items()}
    assert at["lr-pixels"]["kept_minus_broken_over_blind"] == pytest.approx(
        fall["lr-pixels"] - fall["bayes-experts"], abs=2e-4
    )
    assert at["lr-pixels"]["kept_minus_broken_over_deft"] == pytest.approx(fall["lr-pixels"] - fall["deft"], abs=2e-4)
    assert at["deft"]["kept_minus_broken_over_blind"] == pytest.approx(fall["deft"] - fall["bayes-experts"], abs=2e-4)
    assert (
        np.isnan(at["bayes-experts"]["kept_minus_broken_over_blind"])
        and at["lr-pixels"]["kept_minus_broken_over_deft_low"] > 0
    )
    assert at["deft"]["over_majority"] == pytest.approx(
        _cells(table, system="majority", set="bench", condition="broken")["deft_minus"], abs=1e-4
    )
    assert at["deft"]["over_majority_low"] > 0


def test_rows_are_compared_on_the_draws_that_both_have(world, tmp_path, monkeypatch):
    rows = runtime.read_jsonl(paths.work(PROFILE) / "predictions.jsonl")
    other = [{**row, "seed": 99} if row["system"] == "rgb-only" else row for row in rows if row["set"] == "bench"]
    look = {clip: n % 2 for n, clip in enumerate(sorted({row["subject"] for row in rows}))}
    other = [
        {**row, "look": look[row["subject"]]}
        for row in other
        if not (row["system"] == "rgb-only" and row["seed"] != 99)
    ]
    other = list({(r["system"], r["condition"], r["seed"], r["clip"]): r for r in other}.values())
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    runtime.write_jsonl(tmp_path / PROFILE / "predictions.jsonl", other)
    table = tables.t2(PROFILE)
    rgb = _cells(table, system="rgb-only", set="bench", condition="broken")
    assert np.isnan(rgb["deft_minus"]) and "deft_minus: no draw is shared" in rgb["note"]
    flow = _cells(table, system="lr-flow", set="bench", condition="broken")
    assert flow["interval"] == "subjects; constant over draws" and flow["deft_minus"] > 0 and "draw" not in flow["note"]
    flat = _cells(table, system="deft-flat", set="bench", condition="broken")
    assert "deft_minus: on draw 7" in flat["note"] and flat["interval"] == "subjects"


def test_work_and_exported_files_give_the_same_tables(world, tmp_path):
    answers = Answers.of_work(PROFILE)
    answers.export(tmp_path)
    again = Answers.of_reference(tmp_path)
    for make in (tables.t2, tables.t3, tables.t7):
        pd.testing.assert_frame_equal(make(answers), make(again))
    assert constructions.model_scores(answers)["both"] == constructions.model_scores(again)["both"]
    again.export(tmp_path / "twice")
    for name in ("predictions.jsonl.gz", "answers.npz"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    (tmp_path / "answers.npz").write_bytes((tmp_path / "answers.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match="answers.npz is damaged"):
        _ = Answers.of_reference(tmp_path).units_true
    (tmp_path / "predictions.jsonl.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="predictions.jsonl.gz is damaged"):
        _ = Answers.of_reference(tmp_path).predictions


REFERENCE = paths.ROOT / "figures" / "demo" / "reference"
TABLES = [a.id for a in artifacts.REGISTRY if a.kind == "table"]
PLAIN = ("frames",)  # names of systems that are words of ours too
PRINTED = re.compile(r"−?(?:\d+\.\d+|\.\d+|\b\d{2,}\b)")


def _printed(table):
    """Every number of a table as a page may print it."""
    values = table.select_dtypes("number").to_numpy(float).ravel()
    return {present.figure(value, digits) for value in values[~np.isnan(values)] for digits in range(5)}


@pytest.mark.parametrize("id", TABLES)
def test_a_page_shows_its_table_in_plain_words(id):
    table = pd.read_csv(REFERENCE / f"{id}.csv")
    shown, known = present.parts(present.page_of(id), table), _printed(table)
    keys = {name for name in table.columns if "_" in name} | {
        name for name in SYSTEMS if spoken(name) != name and name not in PLAIN
    }
    assert shown and len({part.start for part in shown}) == len(shown)
    for part in shown:
        assert len(part.heads) == len(set(part.heads)) <= present.MOST
        cells = [cell for row in part.rows for cell in row]
        for words in (part.start, part.finding, *part.heads, *(cell.text for cell in cells)):
            assert not keys & {words, *words.split()} and (
                part.start.find("reported") > 0 or not re.search(r"\w_\w", words)
            ), words
        numbers = [
            number
            for cell in cells
            if cell.number == cell.number
            for number in PRINTED.findall(f"{cell.text} {cell.interval}")
        ]
        built = "not built" not in part.start
        assert (len(numbers) >= len(part.rows) / 2 or not built) and set(numbers) <= known
        said = PRINTED.findall(part.finding)
        levels = {str(tables.t2_main.ALPHA)} if "after Holm" in part.finding else set()
        assert (said or not built) and set(said) <= known | levels | {
            word for word in PRINTED.findall(" ".join(part.heads) + " ".join(row[0].text for row in part.rows))
        }, part.finding
        for kind in {"simulated", "reproduced", "reported"} - set(table.get("kind", ["simulated"])):
            assert kind not in part.start


@pytest.mark.parametrize("id", TABLES)
def test_a_finding_follows_the_numbers(id):
    """Other numbers, another sentence: the columns of every part turned round, so that the best becomes the worst."""
    table = pd.read_csv(REFERENCE / f"{id}.csv")
    other = table.copy()
    for name in table.select_dtypes("number"):
        other[name] = table[name].max() + table[name].min() - table[name]
    for part, turned in zip(present.parts(present.page_of(id), table), present.parts(present.page_of(id), other)):
        assert part.heads == turned.heads
        assert part.finding != turned.finding or "not built" in part.start  # there no number stands


@pytest.mark.parametrize("id", TABLES)
def test_all_pages_of_a_table_show_the_same(id):
    text = (REFERENCE / f"{id}.csv").read_text()
    pages, shown = (
        present.pages(id, text, "STAMP"),
        present.parts(present.page_of(id), pd.read_csv(REFERENCE / f"{id}.csv")),
    )
    for suffix, page in pages.items():
        plain = (
            html.unescape(re.sub(r"</?(?:b|small)>", "", page)).replace("$-$", "−").replace("**", "")
            if suffix != "tex"
            else re.sub(r"\\textbf\{([^}]*)\}", r"\1", page)
            .replace(r"{\scriptsize ", "")
            .replace("]}", "]")
            .replace("$-$", "−")
        )
        assert not re.search(r"\bnan\b", plain) and page.count("STAMP") >= 1
        for part in shown:
            for cell in (cell for row in part.rows for cell in row if cell.number == cell.number):
                assert f"{cell.text} {cell.interval}".strip() in plain, (suffix, cell)
    assert pages["tex"].count(r"\toprule") == len(shown) == pages["html"].count("<table") and pages["md"].count(
        "\n| ---"
    ) == len(shown)
    needed = re.search(r"usepackage\{([^}]*)\}", pages["tex"])[1].split(",")
    for package, command in (
        ("longtable", r"\begin{longtable}"),
        ("array", r"\arraybackslash"),
        ("booktabs", r"\toprule"),
    ):
        assert command not in pages["tex"] or package in needed


def test_kinds_of_number_never_share_a_part():
    table = pd.read_csv(REFERENCE / "T3.csv")
    table.loc[0, "kind"] = "reproduced"
    with pytest.raises(ValueError, match="reproduced, simulated numbers in one part"):
        present.parts(present.page_of("T3"), table)
    with pytest.raises(ValueError, match="2 rows of the CSV for one cell"):
        present.parts(present.page_of("T3"), pd.concat([table.iloc[1:3], table.iloc[1:3]]))


def test_a_number_is_printed_as_journals_do():
    assert [present.figure(*given) for given in ((0.7942,), (-0.0002, 2), (1.0702,), (504, 0), (0.0,))] == [
        ".794",
        "−.00",
        "1.070",
        "504",
        ".000",
    ]
    row = pd.Series({"uf1": 0.7942, "uf1_low": 0.7367, "uf1_high": 0.8368})
    assert present.quote(row, "uf1") == ".794 [.74, .84]" and present.quote(row, "uar") == ""
    assert present.listed(["a"]) == "a" and present.listed(["a", "b", "c"]) == "a, b and c"


# ---------------------------------------------------------------- grounding
def test_statements_worked_by_hand():
    units, region = np.zeros((17, 2)), np.zeros((36, 2))
    units[UNIT_INDEX[12], 0] = 0.2  # the person's left only
    region[REGION_INDEX[("lip_corner", "L")]] = 0.5, -0.2
    probability, flow = np.zeros((17, 2)), np.zeros((36, 2))
    probability[UNIT_INDEX[4]] = 0.8  # measured, not true
    facts = Facts(
        units=(UnitFact(12, "L"), UnitFact(12, "B"), UnitFact(4, "B"), UnitFact(12, "L")),
        motions=(
            MotionFact("lip corner", "L", "outward"),
            MotionFact("lip corner", "L", "down"),
            MotionFact("lip corner", "R", "up"),
        ),
    )
    found = grounding.judge_text(facts, units, region, probability, flow, 0.0)
    assert list(found["unsupported_units"]) == [1, 3]  # "12 both": the right side did not move; said twice counts once
    assert list(found["unsupported_motions"]) == [2, 3]
    assert (
        list(found["unsupported"]) == [3, 6] and list(found["precision"]) == [2, 6] and list(found["recall"]) == [1, 1]
    )
    assert list(found["unit"][UNITS.index(12)]) == [1, 0, 0] and list(found["unit"][UNITS.index(4)]) == [0, 1, 0]
    # outward named; up (.2) is real but under half of .5, so it need not be
    assert list(found["motion"]) == [1, 3, 1, 1]
    assert grounding.motion_f1(found["motion"]) == pytest.approx(2 * (1 / 3) / (4 / 3))
    # nine small motions named, the one that is large missed: nothing of what ought to be said is said
    assert grounding.motion_f1(np.array([9, 9, 0, 1])) == 0
    flow[REGION_INDEX[("lip_corner", "R")]] = 0, -0.3
    assert list(grounding.judge_text(facts, units, region, probability, flow, 0.0)["unsupported_motions"]) == [1, 3]
    assert list(grounding.judge_text(facts, units, region, probability, flow, 0.4)["unsupported_motions"]) == [
        2,
        3,
    ]  # below the noise


def test_pooled_bleu_is_corpus_bleu_and_rouge_is_shared_words():
    from sacrebleu.metrics import BLEU

    pairs = [
        ("the lip corners move up .", "the lip corners move up and out ."),
        ("Au4 both , the brows move down slowly", "au4 both , the brows sink down slowly ."),
    ]
    pooled = np.sum([grounding.bleu_counts(*pair) for pair in pairs], axis=0)
    corpus = BLEU(lowercase=True, smooth_method="none").corpus_score([a for a, _ in pairs], [[b for _, b in pairs]])
    assert grounding.bleu(pooled) == pytest.approx(corpus.score / 100)
    assert grounding.bleu(np.zeros(10)) == 0
    assert grounding.rouge1("a b", "b c") == pytest.approx(0.5)


# ---------------------------------------------------------------- bad input
def test_broken_predictions_are_named(world, tmp_path, monkeypatch):
    rows = runtime.read_jsonl(paths.work(PROFILE) / "predictions.jsonl")[:3]
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run 08_answers"):
        tables.predictions(PROFILE)
    runtime.write_jsonl(tmp_path / PROFILE / "predictions.jsonl", [*rows, rows[0]])
    with pytest.raises(ValueError, match="answers clip .* twice"):
        tables.predictions(PROFILE)
    runtime.write_jsonl(tmp_path / PROFILE / "predictions.jsonl", [{"clip": "x"}])
    with pytest.raises(ValueError, match="lacks benchmark, condition"):
        tables.predictions(PROFILE)
    with pytest.raises(ValueError, match="nothing to cost"):
        tables.t9(PROFILE)
    bad = tmp_path / "cut.safetensors"
    bad.write_bytes((10**9).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="header of 1000000000 bytes"):
        tables.parameters(bad)
