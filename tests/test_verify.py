"""`make verify` and `make check` on a made-up world: what is compared, what is noticed, and how often chance alone
is taken for a difference.
"""

import csv
import dataclasses
import gzip
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from deft import artifacts, config, paths, runtime, systems
from deft.closure import Closure
from deft.evaluation import claims, tables
from deft.evaluation.source import Answers
from deft.run import RunError, execute, stale
from deft.run.chain import Chain
from deft.verify import again as again_
from deft.verify import cells, check, integrity, judge, produce, reader, recompute, reference, spread
from tests import figure_world, power
from tests.conftest import write_notebook

PROFILE = "tiny"
MADE = ("T2", "T3", "T7", "F6")
REGISTERED = {a.id: a for a in artifacts.REGISTRY}  # the made-up world registers MADE alone


def run_of(folder, rng=None):
    """A figures folder with this world's tables; with `rng`, trained numbers moved as another draw would move them."""
    (folder / "tables").mkdir(parents=True)
    for path in (paths.figures(PROFILE) / "tables").glob("T*.csv"):
        rows, what = cells.rows(path), artifacts.get(path.stem).cells
        for row in rows:
            moved = {}
            for column, text in row.items():
                if rng is not None and text and what.kind(row, column) == artifacts.STATISTICAL:
                    stem = column.removesuffix("_low").removesuffix("_high")
                    moved.setdefault(stem, 0.01 * rng.normal())
                    row[column] = f"{float(text) + moved[stem]:.4f}"
        with open(folder / "tables" / path.name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    for name in ("claims.json", "claims.md"):
        shutil.copyfile(paths.figures(PROFILE) / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One whole run with its reference of six runs: folders work/ and figures/, a chain of one notebook."""
    place, patch = tmp_path_factory.mktemp("verify"), pytest.MonkeyPatch()
    patch.setenv("DEFT_WORK", str(place / "work"))
    patch.setenv("DEFT_FIGURES", str(place / "figures"))
    patch.setattr(artifacts, "REGISTRY", tuple(a for a in artifacts.REGISTRY if a.id in MADE))
    patch.setattr(figure_world, "SYSTEMS", (*figure_world.SYSTEMS, "deft-m", "lr-experts", "bayes-experts"))
    figure_world.make(PROFILE)
    truth, rng = Answers.of_work(PROFILE).units_true > 0, np.random.default_rng(3)
    for expert in ("texture", "motion", "rgb"):
        heard = (truth + rng.normal(0, 1, truth.shape) > 0.5).astype(np.float32)
        runtime.save_array(paths.work(PROFILE) / "features" / "bench", f"{expert}_units", heard)
    for path in (paths.figures(PROFILE) / "tables").glob("T*.csv"):
        path.unlink()
    for id in ("T2", "T3", "T7"):
        tables.save(getattr(tables, id.lower())(PROFILE), id, PROFILE)
    for number, suffix in enumerate(("png", "pdf", "txt")):
        (paths.figures(PROFILE) / f"F6.{suffix}").write_bytes(bytes([number]) * 200)
    claims.write(PROFILE)
    artifacts.write_manifest(PROFILE)
    notebooks = place / "notebooks"
    (notebooks / "params").mkdir(parents=True)
    (notebooks / "params" / f"{PROFILE}.yaml").write_text("all:\n  seed: 7\n")
    write_notebook(
        notebooks,
        "09_tables",
        ["1"],
        ["predictions.jsonl"],
        [f"figures:{name}" for a in artifacts.REGISTRY for name in a.files],
    )
    chain = Chain(PROFILE, notebooks)
    stage, hashes = chain.stages[0], stale.Hashes(chain)
    chain.write_record(
        stage,
        {
            "state": "done",
            "fingerprint": stale.fingerprint(chain, stage, hashes, Closure(chain.root)),
            "outputs": {name: hashes.entry(name) for w in stage.writes for name in hashes.files(w)},
        },
    )
    remembered, made_again = {}, again_.made_again

    def of_these_answers(answers, seed):
        """`again.made_again`, computed once for the same predictions: most tests spoil something else."""
        files = (Path(answers.where) / name for name in ("predictions.jsonl", check.ANSWERS))
        key = seed, *(runtime.sha256(path) for path in files if path.is_file())
        if key not in remembered:
            remembered[key] = made_again(answers, seed)
        return remembered[key]

    patch.setattr(again_, "made_again", of_these_answers)
    patch.setattr(config, "check_profile", lambda profile, notebooks: None)
    rng = np.random.default_rng(5)
    for number in range(6):
        reference.write_run(
            PROFILE, f"run{number}", {"draw": number}, run_of(place / f"run{number}", rng if number else None)
        )
    reference.keep(PROFILE, paths.figures(PROFILE), "run0")
    reference.write_spread(PROFILE, simulations=300)
    artifacts.write_manifest(PROFILE)
    yield place
    patch.undo()


@pytest.fixture
def world(made, tmp_path, monkeypatch):
    """A copy of the made run that a test may spoil."""
    for name in ("work", "figures", "notebooks"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "figures"))
    return tmp_path


def judged(world):
    return judge.judge(PROFILE, world / "notebooks")


def edit(path, old, new, count=1):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} does not stand in {path}"
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def move_cell(path, row, column, by):
    rows = cells.rows(path)
    rows[row][column] = f"{float(rows[row][column]) + by:.4f}"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def named(result):
    return {p["what"] for p in result["integrity"]} | {
        id for id, entry in result["tables"].items() if entry["differs"] or entry["outside"]
    }


# ---------------------------------------------------------------- a run as it should be
def test_a_whole_run_is_verified_and_the_verdicts_come_first(world, capsys):
    assert judge.verify(PROFILE, world / "notebooks") == 0
    out = capsys.readouterr().out
    assert out.startswith("6 of 6 verdicts as in the reference; ") and out.rstrip().endswith("\nverified")
    result = judged(world)
    counts = [
        sum(len(entry[name]) if isinstance(entry[name], list) else entry[name] for entry in result["tables"].values())
        for name in ("statistical", "outside", "exact", "differs")
    ]
    assert counts[0] > 100 and counts[2] > 50 and counts[1] == counts[3] == 0 and result["integrity"] == []
    json.dumps(result)


def test_another_draw_is_verified_up_to_what_was_altered_by_hand(world):
    """Another draw's tables over this run's: no number differs from the reference, but they do not follow from the
    answers.
    """
    other = run_of(world / "other", np.random.default_rng(99))
    for path in (other / "tables").glob("*.csv"):
        shutil.copyfile(path, paths.figures(PROFILE) / "tables" / path.name)
    result = judged(world)
    assert (
        not any(entry["differs"] or entry["outside"] for entry in result["tables"].values())
        and result["drift"]["inside"]
    )
    assert result["exit"] == 1 and {"tables/T2.csv", "tables/T3.csv"} <= named(result)


# ---------------------------------------------------------------- tampering
def swap_predictions(world):
    path = paths.work(PROFILE) / "predictions.jsonl"
    rows = runtime.read_jsonl(path)
    first = next(row for row in rows if row["system"] == "deft" and row["prediction"] == row["truth"])
    first["prediction"] = next(row["prediction"] for row in rows if row["prediction"] != first["truth"])
    runtime.write_jsonl(path, rows)


def flip_figure(world):
    path = paths.figures(PROFILE) / "F6.png"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def swap_figures(world):
    a, b = (paths.figures(PROFILE) / f"F6.{suffix}" for suffix in ("png", "pdf"))
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other), b.write_bytes(one)


def figure_and_manifest(world):
    flip_figure(world)
    artifacts.write_manifest(PROFILE)


def table_and_reference(world):
    for path in (paths.figures(PROFILE) / "tables" / "T2.csv", paths.figures(PROFILE) / "reference" / "T2.csv"):
        move_cell(path, 0, "uf1", 0.004)


def figures_file(name, old, new):
    return lambda world: edit(paths.figures(PROFILE) / name, old, new)


def first_number(name):
    """Changes the first decimal of a page's first table."""

    def change(world):
        path = paths.figures(PROFILE) / "tables" / name
        text = path.read_text()
        place = re.compile(r"\.\d\d\d").search(text, text.index("Draws" if "T2" in name else "Recall")).start() + 1
        path.write_text(text[:place] + str((int(text[place]) + 5) % 10) + text[place + 1 :])

    return change


def rewrite_json(path, change):
    def spoil(world):
        value = runtime.read_json(paths.figures(PROFILE) / path)
        change(value)
        runtime.write_json(paths.figures(PROFILE) / path, value)

    return spoil


def executed(world):
    chain = Chain(PROFILE, world / "notebooks")
    chain.executed.mkdir(parents=True)
    book = chain.executed / "09_tables.ipynb"
    book.write_text("{}")
    chain.write_record(chain.stages[0], {**chain.record(chain.stages[0]), "executed_sha256": runtime.sha256(book)})
    book.write_text("{} ")


def edit_run(world):
    path = paths.figures(PROFILE) / "reference" / "runs" / "run1" / reference.CELLS
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"0.", b"1.", 1), mtime=0))


TAMPERINGS = {
    "one prediction swapped": (swap_predictions, "tables/T2.csv"),
    "a unit in one text": (
        lambda w: edit(
            paths.work(PROFILE) / "predictions.jsonl", "evidence : au", "evidence : au26 jaw drop left , au"
        ),
        "tables/T7.csv",
    ),
    "a trained cell inside its interval": (
        lambda w: move_cell(paths.figures(PROFILE) / "tables" / "T2.csv", 0, "uf1", 0.002),
        "tables/T2.csv",
    ),
    "the bound of an interval": (
        lambda w: move_cell(paths.figures(PROFILE) / "tables" / "T2.csv", 0, "uf1_low", -0.003),
        "tables/T2.csv",
    ),
    "a number of the reference": (
        lambda w: move_cell(paths.figures(PROFILE) / "reference" / "T3.csv", 0, "uf1_low", -0.003),
        "reference/T3.csv",
    ),
    "a check of the reference": (
        rewrite_json(
            "reference/claims.json", lambda c: next(v for v in c["claims"] if v["checks"])["checks"][0].update(low=0.5)
        ),
        "reference/claims.json",
    ),
    "a cell beyond its interval": (
        lambda w: move_cell(paths.figures(PROFILE) / "tables" / "T3.csv", 0, "uf1", 0.6),
        "T3",
    ),
    "a cell of the Markdown page": (first_number("T2.md"), "tables/T2.md"),
    "a cell of the LaTeX page": (first_number("T7.tex"), "tables/T7.tex"),
    "a cell of the HTML page": (first_number("T2.html"), "tables/T2.html"),
    "the caption of a page": (figures_file("tables/T2.md", "SIMULATED", "REAL"), "tables/T2.md"),
    "one byte of a figure": (flip_figure, "F6.png"),
    "two figures swapped": (swap_figures, "F6.png"),
    "a figure and its manifest": (figure_and_manifest, "09_tables"),
    "a hash in the manifest": (
        rewrite_json("manifest.json", lambda m: m["files"]["F6.png"].update(sha256="0" * 64)),
        "F6.png",
    ),
    "claims.md": (figures_file("claims.md", "fails", "holds"), "claims.md"),
    "a verdict in claims.json": (
        rewrite_json("claims.json", lambda c: c["claims"][4].update(verdict="supported")),
        "claims.json",
    ),
    "a check in claims.json": (
        rewrite_json("claims.json", lambda c: next(v for v in c["claims"] if v["checks"])["checks"][0].update(low=0.5)),
        "claims.json",
    ),
    "claims.json is no list of verdicts": (rewrite_json("claims.json", lambda c: c.pop("claims")), "claims.json"),
    "a system renamed": (figures_file("tables/T2.csv", ",rgb-only,", ",rgb-mostly,"), "tables/T2.csv"),
    "a table deleted": (lambda w: (paths.figures(PROFILE) / "tables" / "T7.csv").unlink(), "T7"),
    "a table taken out of the reference": (
        lambda w: (paths.figures(PROFILE) / "reference" / "T7.csv").unlink(),
        "reference/T7.csv",
    ),
    "table and reference edited together": (table_and_reference, "tables/T2.csv"),
    "the executed notebook": (executed, "executed/09_tables.ipynb"),
    "every interval widened": (
        rewrite_json("reference/spread.json", lambda m: m.update(critical=1e9)),
        "reference/spread.json",
    ),
    "the intervals of one table widened": (
        rewrite_json("reference/spread.json", lambda m: m["reach"].update(T2=3 * m["reach"]["T2"])),
        "reference/spread.json",
    ),
    "every interval half as wide again": (
        rewrite_json("reference/spread.json", lambda m: m.update(critical=1.5 * m["critical"])),
        "reference/spread.json",
    ),
    "spread.json is damaged": (
        rewrite_json("reference/spread.json", lambda m: m.pop("least_prior")),
        "reference/spread.json",
    ),
    "spread.json is a list": (
        lambda w: (paths.figures(PROFILE) / "reference" / "spread.json").write_text("[]"),
        "reference/spread.json",
    ),
    "a spread widened": (
        lambda w: edit(paths.figures(PROFILE) / "reference" / "spread.csv", ",statistical,0.", ",statistical,9."),
        "reference/spread.csv",
    ),
    "a product that nobody made": (lambda w: (paths.figures(PROFILE) / "F7.png").write_bytes(b"x"), "F7.png"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_noticed_and_named(world, what):
    spoil, name = TAMPERINGS[what]
    spoil(world)
    result = judged(world)
    assert result["exit"] == 1 and name in named(result), result["integrity"]


def test_rows_of_another_benchmark_are_held_against_the_reference_they_name(world):
    path = paths.figures(PROFILE) / "tables" / "T2.csv"
    assert not integrity.taken(PROFILE)
    place = next(n for n, row in enumerate(cells.rows(path)) if row["kind"] == artifacts.COMMITTED)
    move_cell(path, place, "uf1", 0.001)
    (problem,) = integrity.taken(PROFILE)
    assert problem.state == integrity.ALTERED and "uf1" in problem.words and "figures/sim2/reference" in problem.words
    edit(path, artifacts.MADE_AT, artifacts.MADE_AT + "0000000 not ", count=-1)
    assert {p.state for p in integrity.taken(PROFILE)} == {integrity.UNCHECKED}
    assert "tables/T2.csv" in named(judged(world))
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(header + "".join(row for row in rows if artifacts.COMMITTED not in row), encoding="utf-8")
    (problem,) = integrity.taken(PROFILE)  # all of them taken away is noticed as well
    assert problem.state == integrity.UNCHECKED and "holds no row of figures/sim2/reference" in problem.words


def test_an_edited_run_of_the_reference_is_refused(world):
    edit_run(world)
    result = judged(world)
    assert result["exit"] != 0 and any("run1" in p["words"] for p in result["integrity"])


def test_a_clip_shard_cut_short_is_said_and_the_rest_is_judged(world):
    place = paths.work(PROFILE) / "clips" / "bench" / "cut.npz"
    place.parent.mkdir(parents=True, exist_ok=True)
    np.savez(place, units_true=np.zeros((4, 17, 2)))
    place.write_bytes(place.read_bytes()[:-100])
    result = judged(world)
    assert result["exit"] == 1 and result["verdicts"]
    assert any("BadZipFile" in p["words"] for p in result["integrity"])


# ---------------------------------------------------------------- what cannot be checked
def test_without_runs_it_could_not_be_checked(world):
    shutil.rmtree(paths.figures(PROFILE) / "reference" / "runs")
    result = judged(world)
    assert result["exit"] == 2 and any("no spread" in p["words"] for p in result["integrity"])


def test_a_stale_stage_could_not_be_checked_and_is_named(world):
    write_notebook(
        world / "notebooks",
        "09_tables",
        ["2"],
        ["predictions.jsonl"],
        [f"figures:{name}" for a in artifacts.REGISTRY for name in a.files],
    )
    result = judged(world)
    assert result["exit"] == 2 and "09_tables" in named(result)


def test_no_reference_and_no_run_are_said(world):
    shutil.rmtree(paths.figures(PROFILE) / "tables")
    result = judged(world)
    assert result["exit"] != 0 and any("make reproduce" in p["words"] for p in result["integrity"])


# ---------------------------------------------------------------- verdicts
def test_a_verdict_may_move_to_its_neighbour_when_its_numbers_do_not(world, monkeypatch):
    where, mine = paths.figures(PROFILE) / "reference", paths.figures(PROFILE)
    runs = reference.read_runs(where)

    def states(said, seen, outside=()):
        monkeypatch.setattr(reference, "verdicts_of", lambda value: {claim: said for claim in artifacts.CLAIMS})
        told = {
            name: ({**about, "verdicts": {claim: seen[n % len(seen)] for claim in artifacts.CLAIMS}}, numbers)
            for n, (name, (about, numbers)) in enumerate(runs.items())
        }
        return judge.compare_verdicts(where, mine, told, set(outside))[4]["state"]

    assert states("supported", ["supported"]) == judge.SAME
    assert states("undecided", ["supported"]) == judge.NEAR
    assert states("undecided", ["supported"], {"C5, check 2"}) == judge.OTHER
    assert states("not supported", ["supported"]) == judge.OTHER
    assert states("not supported", ["supported", "undecided"]) == judge.NEAR
    assert states("not run", ["supported", "undecided"]) == judge.OTHER


# ---------------------------------------------------------------- intervals
def fleet(rng, runs, rows=30):
    """Runs whose 120 cells move with sd .01 to .04, a third of it in common."""
    keys = [("T2", f"r{i}", column) for i in range(rows) for column in ("uf1", "uf1_low", "uar", "nll")]
    sd = np.random.default_rng(1).uniform(0.01, 0.04, len(keys))
    common = np.random.default_rng(2).normal(size=(3, len(keys)))
    return [
        dict(zip(keys, 0.5 + sd * (0.3 * rng.normal(size=3) @ common + 0.85 * rng.normal(size=len(keys)))))
        for _ in range(runs)
    ]


def test_false_alarm_is_rare_over_references_and_a_shift_is_seen():
    rng, alarms, seen = np.random.default_rng(3), [], []
    for _ in range(6):
        reach = spread.of_runs(fleet(rng, 5))
        told = spread.measure(reach, list("abcde"), simulations=250)
        for new in fleet(rng, 50):
            t = spread.ratios(reach, np.array(list(new.values())), told["least_prior"])
            alarms.append(
                spread.largest(reach, t, told["reach"])[0] > told["critical"]
                or spread.drift(t) > told["critical_drift"]
            )
        t = spread.ratios(reach, np.array(list(new.values())) + 0.4 * (np.arange(120) < 4), told["least_prior"])
        seen.append(spread.largest(reach, t, told["reach"])[0] > told["critical"])
    assert np.mean(alarms) <= 0.02 and all(seen)


def test_an_odd_cell_widens_its_own_table_alone():
    rng = np.random.default_rng(5)
    runs = [{**one, **{("T6", *key[1:]): value for key, value in fleet(rng, 1)[0].items()}} for one in fleet(rng, 5)]
    plain = spread.measure(spread.of_runs(runs), list("abcde"), simulations=250)
    odd = next(key for key in runs[2] if key[0] == "T6")
    runs[2][odd] += 5.0  # which four runs never showed
    told = spread.measure(spread.of_runs(runs), list("abcde"), simulations=250)
    assert told["left_out"][2]["cell"] == list(odd) and told["left_out_beyond_simulated"] >= 1
    assert told["reach"]["T6"] > 3 * told["simulated"]["reach"]["T6"]
    assert told["reach"]["T2"] < 1.3 * plain["reach"]["T2"] and told["critical"] < 1.3 * plain["critical"]
    one = spread.ratios(spread.of_runs(runs).without(2), np.array(list(runs[2].values())), told["least_prior"])
    worst = spread.largest(spread.of_runs(runs), one, told["reach"])[0]
    assert worst <= told["critical"] * 1.001  # judged by what was raised, no reference run is refused


def test_moderation_draws_variances_together_as_far_as_they_agree():
    """True deviations: one for all, one for each row, one for each cell."""
    layout = spread.of_runs([{("T2", f"r{i // 4}", f"c{i % 4}"): 0.0 for i in range(400)}] * 2).layout
    alike = 0.02 * np.sqrt(np.random.default_rng(0).chisquare(4, 400) / 4)

    def moderated(sd, floor=0.5):
        expected, degrees = spread.prior(np.square(sd), 4, layout)
        return spread.drawn_together(np.square(sd), 4, expected, degrees, floor), degrees

    out, degrees = moderated(alike)
    assert degrees[0] > 30 and out.std() < 0.1 * alike.std() and abs(out.mean() - 0.02) < 0.002
    of_rows = np.exp(np.random.default_rng(1).normal(0, 1.5, 100)).repeat(4)
    out, degrees = moderated(alike * of_rows)
    off, untreated = (np.log(value / (0.02 * of_rows)).std() for value in (out, alike * of_rows))
    assert degrees[0] > 5 and off < 0.75 * untreated, "a row that moves more is expected to"
    assert moderated(alike * np.exp(np.random.default_rng(2).normal(0, 1.5, 400)))[1][0] < 3
    still = np.where(np.arange(400) % 80 == 0, 0.0, alike)
    assert (moderated(still, floor=4)[0][::80] > 0.003).all(), "a cell that never moved may move as those beside it do"


def test_what_no_run_moved_may_move_by_an_answer_or_two_and_no_further():
    """Forty rows that move, and one whose 500 answers were the same in all runs."""
    rng = np.random.default_rng(0)
    runs = [run | {("T2", "svm", c): 0.6 for c in ("uf1", "uar")} for run in fleet(rng, 5)]
    reach = spread.of_runs(runs, counts={("T2", "svm"): 500})
    assert reach.least[reach.keys.index(("T2", "svm", "uar"))] == 1 / 500
    told = spread.measure(reach, list("abcde"), simulations=250)
    for answers, seen in ((0, False), (2, False), (150, True)):
        new = np.where([key[1] == "svm" for key in reach.keys], 0.6 + answers / 500, reach.mean)
        t = spread.ratios(reach, new, told["least_prior"])
        assert (spread.largest(reach, t, told["reach"])[0] > told["critical"]) == seen, answers


def test_carried_runs_widen_nothing_but_the_spread():
    rng = np.random.default_rng(0)
    runs, older = fleet(rng, 3), [{key: value + 5 for key, value in run.items()} for run in fleet(rng, 4)]
    reach = spread.of_runs(runs, older)
    assert reach.complete == 3 and reach.runs == 7 and np.allclose(reach.mean, spread.of_runs(runs).mean)
    assert reach.sd.max() < 0.1 and reach.factor == pytest.approx(np.sqrt(4 / 3))


def test_a_run_that_is_left_out_is_judged_as_if_it_had_never_been():
    """Carried runs are centred on the complete ones: the mean that the left-out run had a part in goes with it."""
    rng = np.random.default_rng(1)
    runs, older = fleet(rng, 4), fleet(rng, 5)
    whole, never = spread.of_runs(runs, older), spread.of_runs(runs[:2] + runs[3:], older)
    left = whole.without(2)
    assert left.complete == never.complete and np.allclose(left.mean, never.mean) and np.allclose(left.sd, never.sd)
    with pytest.raises(IndexError, match="none of the 4 complete"):
        whole.without(4)


def test_two_new_runs_and_carried_ones_are_enough():
    def runs(complete, carried):
        return {f"r{n}": ({"role": "complete" if n < complete else "carried"}, {}) for n in range(complete + carried)}

    assert judge.enough(runs(3, 0)) and judge.enough(runs(2, 5)) and judge.enough(runs(2, 2))
    assert (
        not judge.enough(runs(2, 0))
        and not judge.enough(runs(2, 1))
        and not judge.enough(runs(1, 5))
        and not judge.enough(runs(0, 5))
    )


def test_a_renewed_reference_is_judged(world):
    """Older runs carried, two new ones: verify compares again."""
    where = paths.figures(PROFILE) / "reference"
    for number in range(4):
        path = where / "runs" / f"run{number}" / reference.RUN
        runtime.write_json(path, {**runtime.read_json(path), "role": "carried"})
    reference.write_spread(PROFILE, simulations=300)
    artifacts.write_manifest(PROFILE)
    result = judged(world)
    assert (
        result["reference"]["measured"]["runs"] == 6
        and result["drift"]
        and sum(e["statistical"] for e in result["tables"].values()) > 100
    )
    assert not any("no spread" in p["words"] for p in result["integrity"])


def test_a_trained_number_of_some_runs_only_may_be_absent(world):
    """Whether a rare number can be computed is chance; a number that every reference run has must be there."""
    where, mine = paths.figures(PROFILE) / "reference", paths.figures(PROFILE)
    runs = reference.read_runs(where)
    path = mine / "tables" / "T2.csv"
    rows = cells.rows(path)
    place = next(n for n, row in enumerate(rows) if row["system"] == "deft" and row["uar"])
    key = ("T2", artifacts.get("T2").cells.name(rows[place]), "uar")
    rows[place]["uar"] = ""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert judge.compare_tables(where, mine, runs)["T2"]["differs"]
    del runs["run3"][1][key]
    assert not judge.compare_tables(where, mine, runs)["T2"]["differs"]


# ---------------------------------------------------------------- kinds of cells
@pytest.mark.parametrize("artifact", [a for a in artifacts.REGISTRY if a.id.startswith("T")], ids=lambda a: a.id)
def test_every_cell_has_one_kind_and_every_row_one_name(artifact):
    rows = cells.rows(paths.ROOT / "figures" / "demo" / "reference" / f"{artifact.id}.csv")
    names = [artifact.cells.name(row) for row in rows]
    assert len(set(names)) == len(names) and all(names)
    for row in rows:
        for column, text in row.items():
            kind = artifact.cells.kind(row, column)
            assert kind in artifacts.CELL_KINDS
            if kind == artifacts.STATISTICAL and text:
                assert cells.NUMBER.match(text), f"{artifact.id}, {column}: words {text!r} cannot be statistical"


@pytest.mark.parametrize(
    "table, row, column, kind",
    [
        ("T1", {"dataset": "sim-a"}, "flow_auroc", "statistical"),
        ("T1", {"dataset": "sim-a"}, "unsupported_truth", "exact"),
        ("T2", {"kind": "simulated", "system": "lr-flow"}, "uf1", "statistical"),
        ("T2", {"kind": "simulated", "system": "lr-pixels"}, "uf1", "exact"),
        ("T2", {"kind": "simulated", "system": "lr-flow"}, "deft_minus_low", "statistical"),
        ("T2", {"kind": "simulated", "system": "deft"}, "uf1", "statistical"),
        ("T2", {"kind": "reported", "system": "HTNet"}, "uf1", "exact"),
        ("T2", {"kind": "simulated", "system": "deft"}, "clips", "exact"),
        ("T4", {"construction": "au"}, "unit_precision", "exact"),
        ("T4", {"construction": "au"}, "model_uf1", "statistical"),
        ("T4", {"construction": "au"}, "model", "exact"),
        ("T8", {"estimator": "meflow"}, "epe", "statistical"),
        ("T8", {"estimator": "dis"}, "epe", "exact"),
        ("T8", {"estimator": "meflow"}, "pairs_per_second", "machine"),
        ("T9", {}, "seconds", "machine"),
        ("T9", {}, "parameters", "exact"),
    ],
)
def test_kinds_are_those_of_what_is_trained(table, row, column, kind):
    assert REGISTERED[table].cells.kind(row, column) == kind


def test_exact_cells_are_equal_to_a_thousandth():
    cell = lambda text: cells.Cell(text, artifacts.EXACT)  # noqa: E731
    assert not cells.exact_difference(cell("0.5000"), cell("0.501")) and cells.exact_difference(
        cell("0.5"), cell("0.5011")
    )
    assert (
        cells.exact_difference(cell("12"), None)
        and cells.exact_difference(cell("a"), cell("b"))
        and not cells.exact_difference(cell("44.10"), cell("44.13"))
    )


# ---------------------------------------------------------------- check, reference
def test_check_follows_from_the_committed_answers_alone(world):
    shutil.rmtree(paths.work(PROFILE))
    assert check.found(PROFILE)["exit"] == 0
    move_cell(paths.figures(PROFILE) / "reference" / "T2.csv", 0, "uf1", 0.004)
    result = check.found(PROFILE)
    assert result["exit"] == 1 and result["tables"]["T2"]["differs"]
    answers = paths.figures(PROFILE) / "reference" / check.ANSWERS
    answers.write_bytes(answers.read_bytes()[: answers.stat().st_size // 2])
    cut = check.found(PROFILE)
    assert cut["exit"] != 0 and cut["integrity"]  # said, not a crash
    answers.unlink()
    assert check.found(PROFILE)["exit"] == 2


def test_the_tables_of_the_reference_are_those_of_the_kept_run(world):
    where = paths.figures(PROFILE) / "reference"
    runs = reference.read_runs(where)
    produce.carry(PROFILE)  # a carried run is the kept one under its new name
    assert (
        integrity.as_kept(where, reference.read_runs(where)) == []
        and reference.kept_run(where, reference.read_runs(where)) == "carried-run0"
    )
    runtime.write_json(where / reference.KEPT, {"run": "run1"})
    assert {p.state for p in integrity.as_kept(where, runs)} == {integrity.ALTERED}
    runtime.write_json(where / reference.KEPT, {"run": "lost"})
    assert [p.state for p in integrity.as_kept(where, runs)] == [integrity.UNCHECKED]
    (where / reference.KEPT).unlink()
    assert integrity.as_kept(where, runs) == [] and [p.state for p in integrity.as_kept(where, {})] == [
        integrity.UNCHECKED
    ]


def test_what_models_score_on_a_construction_follows_from_the_answers(world, monkeypatch):
    """T4's model columns, C3's deciding ones among them, both ways; one of them moved is named."""
    monkeypatch.setattr(artifacts, "REGISTRY", (*artifacts.REGISTRY, REGISTERED["T4"]))
    path, rng = paths.work(PROFILE) / "predictions.jsonl", np.random.default_rng(0)
    rows = runtime.read_jsonl(path)
    runtime.write_jsonl(
        path,
        [
            *rows,
            *(
                {**row, "system": "deft-au", "text": row["text"] if rng.random() < 0.8 else ""}
                for row in rows
                if row["system"] == "rgb-only"
            ),
        ],
    )
    answers = Answers.of_work(PROFILE)
    (world / "T4.csv").write_text(again_.made_again(answers, 7)["T4"])
    (number, words), again = (
        again_.again_from_answers(answers, world, 7)["T4"],
        recompute.of_work(paths.work(PROFILE))["T4"],
    )
    compared, others = recompute.differences(again, cells.rows(world / "T4.csv"))
    assert number > 20 and compared >= 10 and not words and not others, (words, others)
    place = next(n for n, row in enumerate(cells.rows(world / "T4.csv")) if row["construction"] == "au")
    move_cell(world / "T4.csv", place, "both_minus_model_precision", 0.02)
    assert (
        len(again_.again_from_answers(answers, world, 7)["T4"][1]) == 1
        and len(recompute.differences(again, cells.rows(world / "T4.csv"))[1]) == 1
    )


def test_runs_meet_both_limits_and_both_numbers_of_threads(monkeypatch):
    monkeypatch.setattr(config, "check_profile", lambda profile, notebooks: None)
    plan = produce.Plan(PROFILE)
    told = [plan.run(number) for number in range(4)]
    assert {(run["limits"], run["threads"]) for run in told} == {("none", 1), ("avx2", 1), ("none", 2), ("avx2", 2)}
    assert told[0]["draw"] == 0 and len({run["draw"] for run in told}) == 4 and len({run["name"] for run in told}) == 4
    assert not {run["draw"] for run in told} & {
        dataclasses.replace(plan, trial=True).run(number)["draw"] for number in range(4)
    }
    with pytest.raises(RunError, match="--limits"):
        produce.Plan(PROFILE, limits=("sse9",))


def chain_with_draw(world, monkeypatch):
    """Three notebooks: one that nothing draws for, one that draws, one that writes a table from both."""
    monkeypatch.setenv("DEFT_WORK", str(world / "w"))
    monkeypatch.setenv("DEFT_FIGURES", str(world / "f"))
    books = world / "books"
    (books / "params").mkdir(parents=True)
    (books / "params" / "tiny.yaml").write_text("all:\n  draw: 0\n")
    start = (
        "import os\nfrom pathlib import Path\nwork = Path(os.environ['DEFT_WORK']) / profile\nwork.mkdir(parents=True,"
        " exist_ok=True)\n"
    )
    write_notebook(
        books, "01_data", [start + "(work / 'data.txt').write_text('data')"], [], ["data.txt"], 'profile = "tiny"'
    )
    write_notebook(
        books,
        "02_train",
        [start + "(work / 'model.txt').write_text(str(draw))"],
        ["data.txt"],
        ["model.txt"],
        'profile = "tiny"\ndraw = 0',
    )
    write_notebook(books, "03_tables", [start + "1"], ["model.txt"], ["figures:tables/T2.csv"], 'profile = "tiny"')
    write_notebook(books, "04_show", ["1"], ["model.txt"], ["shown.txt"], 'profile = "tiny"')
    return books


def test_a_run_takes_over_what_does_not_depend_on_the_draw(tmp_path, monkeypatch):
    books = chain_with_draw(tmp_path, monkeypatch)
    chain = produce.with_draw("tiny", books, 300)
    assert [chain.parameters(stage).get("draw") for stage in chain.stages] == [None, 300, None, None]
    assert produce.drawn(chain) == {"02_train", "03_tables", "04_show"} and [
        stage.name for stage in produce.needed(chain)
    ] == ["01_data", "02_train", "03_tables"]
    source = Chain("tiny", books)
    for stage in source.stages[:2]:
        runtime.write_json(source.record_path(stage), {"state": "done"})
    (source.work / "data.txt").write_text("data")
    (source.work / "model.txt").write_text("0")
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "w2"))
    chain = produce.with_draw("tiny", books, 300)  # the source keeps its places
    assert produce.share(source, chain) == ["01_data"] and (tmp_path / "w2" / "tiny" / "data.txt").read_text() == "data"
    assert chain.record(chain.stages[0]) == {"state": "done"} and produce.share(source, chain) == []
    assert produce.share(source, chain, whole=True) == [
        "02_train"
    ]  # what the source itself has not finished is not taken over
    assert produce.code_key(chain) == produce.code_key(produce.with_draw("tiny", books, 0))


def test_runs_of_other_code_are_not_kept_in_silence(tmp_path, monkeypatch, capsys):
    books = chain_with_draw(tmp_path, monkeypatch)
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "f"))
    monkeypatch.setattr(config, "check_profile", lambda profile, notebooks: None)
    made, plan = [], produce.Plan("tiny", books, runs=2, fresh=True)
    monkeypatch.setattr(produce, "one", lambda plan, about: made.append(about["name"]))
    monkeypatch.setattr(produce, "spread_only", lambda profile: 0)
    key = produce.code_key(produce.with_draw("tiny", books, 0))
    for name, code in (("run0", key), ("run1", "older")):
        runtime.write_json(
            tmp_path / "f" / "tiny" / "reference" / "runs" / name / reference.RUN, {"name": name, "code": code}
        )
    assert produce.reference_runs(plan) == 2 and not made and "run1 under" in capsys.readouterr().out
    produce.carry("tiny")
    assert produce.reference_runs(plan) == 0 and made == ["run0", "run1"]
    with produce.alone("tiny"), pytest.raises(RunError, match="another reference of profile 'tiny' is going on"):
        with produce.alone("tiny"):
            pass


def test_runs_are_carried_twice_and_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "f"))
    runs = tmp_path / "f" / "tiny" / "reference" / "runs"
    for draw in (5, 6):
        runtime.write_json(runs / "run0" / reference.RUN, {"name": "run0", "draw": draw})
        runtime.write_json(runs.parent / reference.KEPT, {"run": "run0"})
        produce.carry("tiny")
    found = {path.parent.name: runtime.read_json(path) for path in runs.glob(f"*/{reference.RUN}")}
    assert {name: about["draw"] for name, about in found.items()} == {"carried-run0": 5, "carried1-run0": 6}
    assert all(about["role"] == "carried" and about["name"] == name for name, about in found.items())
    assert runtime.read_json(runs.parent / reference.KEPT) == {"run": "carried1-run0"}


def test_a_run_is_taken_over_whole_only_under_its_own_threads_and_limits(tmp_path, monkeypatch):
    books = chain_with_draw(tmp_path, monkeypatch)
    monkeypatch.setattr(config, "check_profile", lambda profile, notebooks: None)
    for name in execute.LIMIT_VARIABLES:
        monkeypatch.setenv(name, "avx2")
    plan, chain = produce.Plan("tiny", books), Chain("tiny", books)
    free, limited = (execute.computing(produce.environment(plan, plan.run(number))) for number in (0, 1))
    assert not set(free) & set(execute.LIMIT_VARIABLES), "the caller's limits are none of the run's"
    assert {name: limited[name] for name in produce.LIMITS["avx2"]} == produce.LIMITS["avx2"] and len(limited) == len(
        free
    ) + 2
    assert all(set(limit) <= set(execute.LIMIT_VARIABLES) for limit in produce.LIMITS.values())
    for stage in chain.stages[:2]:
        chain.write_record(stage, {"state": "done", "computing": free})
    assert not produce.made_alike(chain, free), "03_tables does not say how it was made"
    chain.write_record(chain.stages[2], {"state": "done", "computing": free})
    assert produce.made_alike(chain, free) and not produce.made_alike(chain, limited)
    for name in execute.LIMIT_VARIABLES:
        monkeypatch.delenv(name)
    for name in execute.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert execute.computing({**os.environ, **execute.kernel_environment(chain)}) == free, (
        "what an ordinary run records is what run 0 asks for"
    )


def test_what_is_sabotaged_stands_in_the_code(tmp_path):
    for name, sabotage in power.SABOTAGES.items():
        for file, (old, new) in sabotage.edits.items():
            text = (paths.ROOT / file).read_text(encoding="utf-8")
            assert old in text, f"tests/power.py, {name}: {file} changed"
            if file.endswith(".py"):
                compile(text.replace(old, new, 1), file, "exec")


def test_swapped_labels_are_caught_by_the_numbers_alone(world):
    """The cheapest sabotage of tests/power.py, on the made-up world: a fifth of the labels of the clips."""
    power.swap_labels(paths.work(PROFILE), 0.2)
    for id in ("T2", "T3", "T7"):
        tables.save(getattr(tables, id.lower())(PROFILE), id, PROFILE)
    claims.write(PROFILE)
    result = power.judged(PROFILE, paths.figures(PROFILE))
    assert result["caught"] and result["exact"] > 10, (
        "readers without a network are exact: they notice what happens to the data"
    )


# ---------------------------------------------------------------- the path of its own
def test_the_own_path_shares_no_code_with_the_tables():
    for name in ("recompute", "reader"):
        reached = Closure(paths.ROOT).files([], [f"deft.verify.{name}"])
        assert {file for file in reached if not file.startswith("deft/verify/")} <= {"deft/__init__.py"}, name


def test_the_own_reader_understands_texts_as_the_tables_reader_does():
    """Every sentence of the grammar, and sentences with words lost, doubled and exchanged."""
    from deft.unimer.check import parse
    from deft.unimer.facts import text_facts
    from deft.unimer.kinds import KINDS

    rng, sides = np.random.default_rng(4), {"L": (0,), "R": (1,), "B": (0, 1), "A": ()}
    texts = [
        KINDS[kind].answer(facts, rng)
        for _ in range(150)
        for facts in [text_facts(rng)]
        for kind in ("reasoning", "motion", "units")
    ]
    words = " ".join(texts).split()
    for text in texts[:300]:
        broken = text.split()
        for _ in range(3):
            place = rng.integers(len(broken))
            broken[place : place + 1] = [[words[rng.integers(len(words))]], [], [broken[place]] * 2][rng.integers(3)]
            broken = broken or ["."]
        texts.append(" ".join(broken))
    for text in texts:
        facts = parse(text)
        assert reader.statements(text) == (
            {(u.code, sides[u.side]) for u in facts.units},
            {(m.region, sides[m.side], m.direction) for m in facts.motions},
        ), text


def test_recomputed_numbers_are_many_and_right(world):
    again = recompute.of_work(paths.work(PROFILE))
    for id, least in (("T2", 60), ("T3", 15), ("T7", 30)):
        compared, words = recompute.differences(again[id], cells.rows(paths.figures(PROFILE) / "tables" / f"{id}.csv"))
        assert compared >= least and not words, (id, compared, words)
    by_condition = [numbers["unit_auroc"] for where, numbers in again["T3"] if where["system"] == "deft-m"]
    assert len(set(by_condition)) == 2, "each condition has an AUROC of its own clips"


def test_numbers_that_rest_on_several_draws_of_the_experts_are_right(world):
    """Readers of the experts answer once per draw of them: another number of draws than DEFT has, and both paths
    agree.
    """
    path = paths.work(PROFILE) / "predictions.jsonl"
    rows, rng = runtime.read_jsonl(path), np.random.default_rng(1)
    classes = sorted({row["truth"] for row in rows})
    mine = [row for row in rows if row["system"] == "lr-experts"]
    one = min(row["seed"] for row in mine)
    more = [
        {**row, "seed": row["seed"] + shift, "prediction": str(rng.choice(classes))}
        for row in mine
        if row["seed"] == one
        for shift in (1, 5)
    ]
    runtime.write_jsonl(path, [*(row for row in rows if row["system"] != "lr-experts" or row["seed"] == one), *more])
    table = tables.t2(PROFILE).to_csv(index=False)
    (world / "T2.csv").write_text(table)
    found = cells.rows(world / "T2.csv")
    mine = [
        (row["draws"], row["deft_minus"])
        for row in found
        if row["system"] == "lr-experts" and row["kind"] != artifacts.COMMITTED
    ]
    assert mine and all(float(draws) == 3 and number for draws, number in mine), mine
    assert any(row["kept_minus_broken_over_blind"] for row in found) and any(
        row["kept_minus_broken_over_deft"] for row in found
    )
    again = recompute.of_work(paths.work(PROFILE))["T2"]
    compared, words = recompute.differences(again, found)
    assert compared > 60 and not words, words
    assert {column for _, numbers in again for column in numbers} >= set(recompute.FALLS)


def test_silence_is_counted(world):
    """A system that leaves texts empty states less and finds less: nothing of it is left out. One that never speaks
    has no row.
    """
    path = paths.work(PROFILE) / "predictions.jsonl"
    rows, rng = runtime.read_jsonl(path), np.random.default_rng(0)

    def t7():
        return {
            (where["system"], where["condition"]): numbers
            for where, numbers in recompute.of_work(paths.work(PROFILE))["T7"]
        }

    before = t7()[("deft", "broken")]
    runtime.write_jsonl(
        path, [{**row, "text": "" if row["system"] == "deft" and rng.random() < 0.3 else row["text"]} for row in rows]
    )
    after = t7()
    assert after["deft", "broken"]["texts"] == before["texts"] and ("majority", "broken") not in after
    for column in ("recall", "statements_per_text"):
        assert after["deft", "broken"][column] < 0.85 * before[column], column


def test_lists_of_systems_agree():
    """The own path imports nothing that a table is made with, so it names them again."""
    assert set(recompute.CONSTANT) == set(systems.CONSTANT) and recompute.TAUGHT == systems.TAUGHT
    assert recompute.ALONE == {
        name: systems.SYSTEMS[name].parts for name in systems.LISTED["T3"] if len(systems.SYSTEMS[name].streams) == 1
    }


def test_shares_of_annotations_are_those_of_the_tables_reader(world):
    from deft.unimer.build import annotated_array

    cells_of_coders = ["4", "L12", "4+R12", "1+2+L4", "4/5", "12?", "?", "", "R14+15"]
    assert all((recompute.written_units(cell) == annotated_array([cell])[0]).all() for cell in cells_of_coders), (
        cells_of_coders
    )
    clips, units = recompute.benchmark(paths.work(PROFILE))
    told = dict((where["dataset"], numbers) for where, numbers in recompute.t1(clips, units, units))["all"]
    written = annotated_array(clips["units"])
    assert told["annotated_units"] == written.sum() and told["unsupported_truth"] == pytest.approx(
        (written & ~(units > 0)).sum() / written.sum()
    )


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import f1_score, recall_score

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, 200), rng.integers(0, 6, 200)  # class 4 never occurs, 5 is outside the vocabulary
    told = recompute.scores(truth, said, 5)
    assert told["uf1"] == pytest.approx(f1_score(truth, said, labels=range(5), average="macro", zero_division=0))
    assert told["uar"] == pytest.approx(recall_score(truth, said, labels=range(5), average="macro", zero_division=0))


@pytest.mark.parametrize("suffix", ("md", "tex", "html"))
def test_a_page_with_one_other_digit_is_named(world, suffix):
    """Cells, captions and notes, without the help of hashes. Only the commit of the stamp cannot be made again."""
    assert integrity.pages(PROFILE) == []
    path, rng = paths.figures(PROFILE) / "tables" / f"T3.{suffix}", np.random.default_rng(2)
    text = path.read_text(encoding="utf-8")
    ends = {end for match in re.finditer(r"seed \d+ · \w+", text) for end in range(*match.span())}
    digits = [match.start() for match in re.finditer(r"\d", text) if match.start() not in ends]
    assert len(digits) > 80
    for place in rng.choice(digits, 12, replace=False):
        path.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}", encoding="utf-8")
        assert [p.what for p in integrity.pages(PROFILE)] == [f"tables/T3.{suffix}"], text[place - 30 : place + 10]
    path.write_text(text.replace("Highest", "Lowest", 1), encoding="utf-8")
    assert [p.what for p in integrity.pages(PROFILE)] == [f"tables/T3.{suffix}"]
