"""Seeds, whole-or-nothing files, provenance, the environment check, and the register of artifacts."""

import subprocess

import numpy as np
import pandas as pd
import pytest

from deft import artifacts, paths, runtime
from deft.evaluation import tables
from deft.run import clean, environment, lock


def test_seeds_depend_on_every_part_and_on_nothing_else():
    assert runtime.seed_of(7, "flow", 3) == runtime.seed_of(7, "flow", 3) < 2**63
    assert len({runtime.seed_of(s, w, i) for s in (7, 8) for w in ("flow", "text") for i in range(50)}) == 200
    assert runtime.seed_of(7, "a", 0) == 5407280161341069699  # another value would silently change every result
    assert (runtime.rng(7, "a").random(4) == runtime.rng(7, "a").random(4)).all()


def test_what_makes_no_number_does_not_mark_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    names = ("figures/demo/bench.csv", "figures/demo/reference/runs/run0/run.json", "deft/x.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=n", "-c", "user.email=e@e", "commit", "-qm", "m"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    commit = runtime.commit.__wrapped__  # the cached one tells of this process's repository
    clean = commit()
    for name, marked in zip(names, (False, False, True)):
        (tmp_path / name).write_text("2\n")
        assert commit() == clean + "+" * marked, name


def test_atomic_leaves_nothing_half_written(tmp_path):
    path = tmp_path / "a" / "x.json"
    runtime.write_json(path, {"v": 1})
    with pytest.raises(RuntimeError), runtime.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert runtime.read_json(path) == {"v": 1} and list(path.parent.iterdir()) == [path]


def test_atomic_replaces_a_folder(tmp_path):
    for value in ("one", "two"):
        with runtime.atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / value).write_text(value)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["two"]


def test_json_has_no_nan_and_takes_numpy(tmp_path):
    runtime.write_jsonl(tmp_path / "x.jsonl", [{"a": np.float32(0.5), "b": float("nan"), "c": np.arange(2)}])
    assert runtime.read_jsonl(tmp_path / "x.jsonl") == [{"a": 0.5, "b": None, "c": [0, 1]}]


def test_broken_files_are_named_with_the_line(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ValueError, match="x.jsonl, line 2"):
        runtime.read_jsonl(tmp_path / "x.jsonl")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="x.json"):
        runtime.read_json(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match="make status"):
        runtime.load_array(tmp_path, "absent")


def test_arrays_round_trip_memory_mapped(tmp_path):
    runtime.save_array(tmp_path, "x", np.arange(6, dtype=np.float16).reshape(2, 3))
    loaded = runtime.load_array(tmp_path, "x")
    assert isinstance(loaded, np.memmap) and loaded.dtype == np.float16 and loaded.shape == (2, 3)
    assert not loaded.flags.writeable


def test_jobs_can_be_set_and_nonsense_is_refused(monkeypatch):
    monkeypatch.setenv("DEFT_JOBS", "3")
    assert runtime.jobs() == 3
    monkeypatch.setenv("DEFT_JOBS", "many")
    with pytest.raises(ValueError, match="DEFT_JOBS"):
        runtime.jobs()


def test_folders_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    monkeypatch.delenv("DEFT_FIGURES", raising=False)
    assert paths.work("demo") == tmp_path / "demo" and paths.figures("demo") == paths.ROOT / "figures" / "demo"


def test_the_environment_check_says_what_differs(tmp_path):
    lock = tmp_path / "constraints.txt"
    lock.write_text("# note\nnumpy==0.1\nno-such-package==1.0\n")
    words = environment.problems(lock)
    assert words[0].startswith("numpy is ") and words[1] == "no-such-package 1.0 is not installed"
    assert environment.pins("torch==2.13.0 ; python_version > '3'\n") == {"torch": "2.13.0"}


def test_clean_keeps_what_is_committed(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "w"))
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "f"))
    for path in (
        tmp_path / "w/demo/a",
        tmp_path / "f/demo/F1.png",
        tmp_path / "f/demo/reference/T2.csv",
        tmp_path / "f/demo/bench.csv",
        tmp_path / "w/smoke/a",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    clean.clean("demo")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "f/demo/bench.csv",
        "f/demo/reference/T2.csv",
        "w/smoke/a",
    ]
    for wrong in ("../demo", "", ".", "demmo"):
        assert clean.main([wrong]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err


def test_clean_refuses_while_a_run_of_a_reference_is_made(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    below = tmp_path / "demo-reference" / "run1" / "demo"
    with lock.held(below, "a run"):
        assert clean.main(["demo-reference"]) == 2 and below.is_dir()
    assert "is going on" in capsys.readouterr().err


def test_clean_refuses_during_a_run_and_follows_a_link(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "w"))
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "f"))
    (tmp_path / "disk/demo").mkdir(parents=True)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/demo").symlink_to(tmp_path / "disk/demo")
    with lock.held(paths.work("demo"), "a run"):
        assert (
            clean.main(["demo"]) == 2
            and "is going on" in capsys.readouterr().err
            and (tmp_path / "disk/demo/.lock").exists()
        )
    assert (
        clean.main(["demo"]) == 0 and not (tmp_path / "disk/demo").exists() and not (tmp_path / "w/demo").is_symlink()
    )
    assert (
        clean.main(["demo"]) == 0 and "nothing of demo" in capsys.readouterr().out
    )  # a profile by name, though nothing is there


# ---------------------------------------------------------------- artifacts


def test_tables_and_figures_are_stamped_and_listed(monkeypatch, tmp_path):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path))
    rows = [{"kind": "simulated", "what": "stage", "name": "05_a&b", "seconds": 0.5, "peak_memory_gib": 1.0}]
    tables.save(pd.DataFrame(rows), "T9", "tiny", seed=9)
    artifacts.save_figure(Figure(), "A falls.", "F1", "tiny", seed=9)
    first = (tmp_path / "tiny" / "F1.png").read_bytes()
    artifacts.save_figure(Figure(), "A falls.", "F1", "tiny", seed=9)
    assert (tmp_path / "tiny" / "F1.png").read_bytes() == first
    artifacts.write_manifest("tiny", seed=9)
    manifest = runtime.read_json(paths.figures("tiny") / "manifest.json")
    assert set(manifest["files"]) == {*artifacts.get("T9").files, *artifacts.get("F1").files}
    assert manifest["seed"] == 9 and "F2.png" in manifest["missing"] and manifest["commit"]
    text = {suffix: (tmp_path / f"tiny/tables/T9.{suffix}").read_text() for suffix in ("csv", "md", "tex", "html")}
    assert text["csv"] == "kind,what,name,seconds,peak_memory_gib\nsimulated,stage,05_a&b,0.5,1.0\n"
    assert all("SIMULATED · tiny · seed 9" in text[suffix] for suffix in ("md", "tex", "html"))
    assert "05 a&b" in text["md"] and r"05 a\&b" in text["tex"] and "05 a&amp;b" in text["html"]
    caption = (tmp_path / "tiny/F1.txt").read_text()
    assert "A falls." in caption and artifacts.get("F1").key in caption and "SIMULATED" in caption


def test_the_register_is_consistent():
    assert len({a.id for a in artifacts.REGISTRY}) == len(artifacts.REGISTRY)
    assert all(set(a.claim) <= set(artifacts.CLAIMS) for a in artifacts.REGISTRY)
    with pytest.raises(KeyError, match="T2"):
        artifacts.get("T99")


def test_every_registered_function_exists():
    import importlib

    for artifact in artifacts.REGISTRY:
        module, name = artifact.function.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name)), artifact.function


# ---------------------------------------------------------------- dependencies

NOT_IMPORTED_BY_NAME = {
    "accelerate",
    "tabulate",
    "ipykernel",
    "jupyterlab",
    "ipywidgets",
    "ruff",
    "pytest-xdist",
}  # used through transformers, pandas, papermill, make, tqdm, as a command and through pytest


OPTIONAL = {"trl", "datasets", "skimage"}  # imported where a reader installed them: an arm of a benchmark, a photograph


def _direct():
    import re
    import tomllib

    listed = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return {re.match(r"[A-Za-z0-9._-]+", entry)[0].lower().replace("_", "-") for entry in listed}


def _imported():
    """Distributions imported by the package, the tests and the notebooks' code cells."""
    import ast
    import json
    import sys
    from importlib import metadata

    from deft import closure
    from deft.run import book

    sources = [p.read_text() for folder in ("deft", "tests") for p in (paths.ROOT / folder).rglob("*.py")]
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        sources += [
            closure.without_magics(book.source_of(c))
            for c in json.loads(path.read_text())["cells"]
            if c["cell_type"] == "code"
        ]
    names = set()
    for node in (n for source in sources for n in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    mine = {"deft", "tests"} | {p.stem for p in (paths.ROOT / "tests").glob("*.py")}
    owners = metadata.packages_distributions()
    return {owners.get(n, [n])[0].lower().replace("_", "-") for n in names - set(sys.stdlib_module_names) - mine}


def test_direct_dependencies_are_what_is_imported():
    assert _direct() == (_imported() - OPTIONAL) | NOT_IMPORTED_BY_NAME


def test_the_lock_pins_every_direct_dependency_and_nothing_of_ours():
    pinned = {name.lower().replace("_", "-") for name in environment.pins((paths.ROOT / "constraints.txt").read_text())}
    assert _direct() <= pinned and "deft" not in pinned
