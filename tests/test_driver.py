"""The driver on made-up notebooks: strict parameters, failures, kills, staleness by content, one run at a time."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, write_notebook

from deft.__main__ import main
from deft.config import ConfigError
from deft.run import RunError, driver, execute, stale
from deft.run.chain import Chain

WRITE = (
    "from deft import paths\npaths.work(profile).mkdir(parents=True, exist_ok=True)\n(paths.work(profile) /"
    " '{0}').write_text('{0}' + str(seed))"
)
COPY = (
    "from deft import paths\ntext = (paths.work(profile) / '{0}').read_text()\n(paths.work(profile) /"
    " '{1}').write_text(text + '+')"
)


def chain(world):
    return Chain("tiny", world / "notebooks")


def two_stages(world):
    write_notebook(world / "notebooks", "00_make", ["x = 1", WRITE.format("a.txt")], writes=["a.txt"])
    write_notebook(world / "notebooks", "01_copy", [COPY.format("a.txt", "b.txt")], reads=["a.txt"], writes=["b.txt"])


def states(world):
    return {row["stage"]: (row["state"], row["reason"]) for row in stale.states(chain(world))}


def edit(path, change):
    book = nbformat.read(path, as_version=4)
    change(book)
    nbformat.write(book, path)


def command(world, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "deft", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, **options
    )


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "text, words",
    [
        ("all:\n  sede: 7\n", "did you mean 'seed'"),
        ("00_mke:\n  seed: 7\n", "did you mean '00_make'"),
        ("all:\n  seed: seven\n", "must be int"),
        ("all:\n  seed: true\n", "must be int"),
        ("all:\n  seed: 1.5\n", "must be int"),
        ("all:\n  profile: other\n", "set by the driver"),
        ("all:\n  seed: 7\n  seed: 8\n", "given twice"),
        ("- a list\n", "expected a mapping"),
        ("all: [\n", "not readable as YAML"),
    ],
)
def test_a_wrong_profile_stops_before_anything_runs(world, text, words):
    two_stages(world)
    (world / "notebooks" / "params" / "tiny.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        chain(world)
    assert not (world / "work").exists()


def test_unknown_profile_names_the_nearest(world):
    two_stages(world)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        Chain("tyni", world / "notebooks")
    done = command(world, "run", "--profile", "dmeo")
    assert done.returncode == 2 and "did you mean 'demo'" in done.stderr and "Traceback" not in done.stderr


def test_text_for_a_number_explains_yaml_exponents(world):
    write_notebook(world / "notebooks", "00_make", ["1"], parameters="rate: float = 0.1")
    (world / "notebooks" / "params" / "tiny.yaml").write_text("00_make:\n  rate: 1e-4\n")
    with pytest.raises(ConfigError, match="write 1.0e-4"):
        chain(world)


def test_derived_parameters_are_refused(world):
    write_notebook(world / "notebooks", "00_make", ["1"], parameters="a = 1\nb = a + 1")
    with pytest.raises(ConfigError, match="not a plain literal"):
        chain(world)


def test_a_whole_number_may_stand_for_a_float_and_a_section_beats_all(world):
    write_notebook(world / "notebooks", "00_make", ["1"], parameters="rate: float = 0.1\nseed = 7")
    (world / "notebooks" / "params" / "tiny.yaml").write_text("all:\n  seed: 8\n00_make:\n  rate: 2\n  seed: 9\n")
    found = chain(world)
    assert found.parameters(found.stages[0]) == {"rate": 2.0, "seed": 9}


# ---------------------------------------------------------------- promises


def test_two_writers_are_an_error(world):
    write_notebook(world / "notebooks", "00_make", ["1"], writes=["data"])
    write_notebook(world / "notebooks", "01_copy", ["1"], writes=["data/b.txt"])
    with pytest.raises(RunError, match="00_make and 01_copy both write data/b.txt"):
        chain(world)


def test_reading_ahead_is_an_error(world):
    write_notebook(world / "notebooks", "00_make", ["1"], reads=["b.txt"])
    write_notebook(world / "notebooks", "01_copy", ["1"], writes=["b.txt"])
    with pytest.raises(RunError, match="only the later 01_copy writes"):
        chain(world)


def test_a_broken_promise_fails_the_stage(world, capsys):
    write_notebook(world / "notebooks", "00_make", ["x = 1"], writes=["a.txt"])
    assert driver.run(chain(world)) == 1
    assert "promised to write a.txt but did not" in capsys.readouterr().out
    assert states(world)["00_make"][0] == stale.FAILED


def test_a_missing_input_names_who_writes_it(world):
    two_stages(world)
    with pytest.raises(RunError, match="run 00_make first"):
        driver.run(chain(world), only="01")


def test_unknown_stage_names_the_nearest(world):
    two_stages(world)
    with pytest.raises(RunError, match="did you mean '01_copy'"):
        driver.run(chain(world), only="01_cpoy")


# ---------------------------------------------------------------- failures


def test_a_failing_notebook_keeps_what_was_finished(world, capsys):
    two_stages(world)
    write_notebook(world / "notebooks", "02_fail", ["y = 2", "raise ValueError('too few clips')"])
    assert driver.run(chain(world)) == 1
    out = capsys.readouterr().out
    assert "(c1): ValueError: too few clips" in out and "finished stages are intact" in out
    executed = world / "work" / "tiny" / "executed"
    assert sorted(p.name for p in executed.iterdir()) == ["00_make.ipynb", "01_copy.ipynb", "02_fail.ipynb.failed"]
    now = states(world)
    assert now["00_make"][0] == now["01_copy"][0] == stale.DONE and now["02_fail"][0] == stale.FAILED
    write_notebook(world / "notebooks", "02_fail", ["y = 2"])
    assert driver.run(chain(world)) == 0
    assert "02_fail.ipynb.failed" not in {p.name for p in executed.iterdir()}


@pytest.mark.parametrize(
    "cells",
    [
        ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"],
        ["x = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "y = 1"],
    ],
)
def test_a_killed_kernel_fails_the_stage(world, cells):
    write_notebook(world / "notebooks", "00_make", cells)
    assert driver.run(chain(world)) == 1
    state, reason = states(world)["00_make"]
    assert state == stale.FAILED and "kernel died" in reason
    assert (world / "work" / "tiny" / "executed" / "00_make.ipynb.failed").exists()


def test_a_killed_driver_leaves_an_interrupted_stage_and_no_lasting_lock(world):
    write_notebook(world / "notebooks", "00_make", ["import time\ntime.sleep(60)"])
    process = subprocess.Popen(
        [sys.executable, "-m", "deft", "run", "--profile", "tiny", "--notebooks", str(world / "notebooks")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    record, deadline = world / "work" / "tiny" / "status" / "00_make.json", time.monotonic() + 30
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert states(world)["00_make"][0] == stale.RUNNING
    process.kill()
    process.wait()
    assert states(world)["00_make"][0] == stale.INTERRUPTED
    write_notebook(world / "notebooks", "00_make", ["x = 1"])
    assert driver.run(chain(world)) == 0


def test_an_unwritable_work_folder_is_named(world, monkeypatch):
    two_stages(world)
    (world / "file").write_text("in the way")
    monkeypatch.setenv("DEFT_WORK", str(world / "file" / "work"))
    with pytest.raises(RunError, match="set DEFT_WORK to a folder you may write"):
        driver.run(chain(world))


def test_a_full_disk_is_said_before_the_run(world, monkeypatch):
    two_stages(world)
    monkeypatch.setattr("deft.run.chain.SPACE_NEEDED", 2**60)
    with pytest.raises(RunError, match="disk nearly full"):
        driver.run(chain(world))


def test_a_disk_that_fills_up_during_a_run_is_said(world, capsys):
    write_notebook(world / "notebooks", "00_make", ["raise OSError(28, 'No space left on device')"])
    assert driver.run(chain(world)) == 1
    assert "the disk is full: free some space" in capsys.readouterr().out


# ---------------------------------------------------------------- staleness


def test_staleness_is_decided_by_content(world, capsys):
    two_stages(world)
    first, second = world / "notebooks" / "00_make.ipynb", world / "notebooks" / "01_copy.ipynb"
    assert driver.run(chain(world)) == 0
    assert {s for s, _ in states(world).values()} == {stale.DONE}

    os.utime(first)
    os.utime(world / "work" / "tiny" / "a.txt")
    edit(first, lambda book: book.cells[0].update(source="# other words"))
    assert {s for s, _ in states(world).values()} == {stale.DONE}

    edit(second, lambda book: book.cells[-1].update(source=book.cells[-1].source + "\nz = 3"))
    assert states(world)["00_make"][0] == stale.DONE
    assert states(world)["01_copy"] == (stale.STALE, "code cell in 01_copy changed (c0)")
    capsys.readouterr()
    assert driver.run(chain(world)) == 0
    assert "1 run, 1 unchanged" in capsys.readouterr().out

    edit(first, lambda book: book.cells[2].update(source="x = 2"))
    assert states(world)["01_copy"] == (stale.STALE, "reads a.txt, and 00_make will run before it")
    assert driver.run(chain(world)) == 0
    assert "1 run, 1 unchanged" in capsys.readouterr().out  # the same bytes came out, so 01_copy had nothing to do

    (world / "notebooks" / "params" / "tiny.yaml").write_text("all:\n  seed: 8\n")
    assert states(world)["00_make"] == (stale.STALE, "parameter seed changed 7 -> 8")


def test_outputs_missing_or_altered_are_noticed(world):
    two_stages(world)
    assert driver.run(chain(world)) == 0
    made = world / "work" / "tiny" / "b.txt"
    made.write_text("half")
    assert states(world)["01_copy"] == (stale.STALE, "output b.txt altered since it was written")
    made.unlink()
    assert states(world)["01_copy"] == (stale.STALE, "output b.txt missing")
    (world / "work" / "tiny" / "a.txt").write_text("other")
    assert states(world)["00_make"] == (stale.STALE, "output a.txt altered since it was written")
    assert driver.run(chain(world)) == 0
    assert {s for s, _ in states(world).values()} == {stale.DONE} and made.read_text() == "a.txt7+"


def test_a_stage_refuses_inputs_that_are_not_as_they_were_written(world):
    two_stages(world)
    assert driver.run(chain(world)) == 0
    (world / "work" / "tiny" / "a.txt").write_text("a.txt8")
    with pytest.raises(RunError, match="output a.txt altered since it was written; run 00_make first"):
        driver.run(chain(world), only="01")
    assert driver.run(chain(world)) == 0 and (world / "work" / "tiny" / "a.txt").read_text() == "a.txt7"


def test_a_change_under_the_same_size_and_time_is_seen_by_a_deep_status(world, capsys):
    two_stages(world)
    assert driver.run(chain(world)) == 0
    made = world / "work" / "tiny" / "b.txt"
    before = made.stat()
    made.write_text("x" * before.st_size)
    os.utime(made, ns=(before.st_atime_ns, before.st_mtime_ns))
    capsys.readouterr()
    arguments = ["status", "--profile", "tiny", "--json", "--notebooks", str(world / "notebooks")]
    assert main(arguments) == 0 and "altered" not in capsys.readouterr().out
    assert main([*arguments, "--deep"]) == 0 and "output b.txt altered since it was written" in capsys.readouterr().out


def test_a_module_change_reruns_only_who_imports_it_also_inside_functions(world):
    package = world / "deft"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "deep": "X = 1\n",
        "near": "def f():\n    from deft import deep\n    return deep.X\n",
        "other": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    write_notebook(world / "notebooks", "00_near", ["import deft.near"])
    write_notebook(world / "notebooks", "01_other", ["from deft import other"])
    here = lambda: Chain("tiny", world / "notebooks", root=world)
    assert driver.run(here()) == 0
    (package / "deep.py").write_text('"""What it is for."""\n\nX = 1  # said\n')
    edit(
        world / "notebooks" / "00_near.ipynb",
        lambda book: book.cells[-1].update(source="# said\nimport deft.near  # twice"),
    )
    assert {row["state"] for row in stale.states(here())} == {stale.DONE}
    (package / "deep.py").write_text("X = 2\n")
    now = {row["stage"]: row["reason"] for row in stale.states(here())}
    assert now == {"00_near": "module deft/deep.py changed", "01_other": "nothing changed"}


@pytest.mark.parametrize("value, counts", [("meflow", True), ("dis-finest", False)])
def test_what_a_parameters_value_reads_from_outside_the_chain_counts(world, monkeypatch, value, counts):
    monkeypatch.delenv("DEFT_MEFLOW", raising=False)
    path = write_notebook(
        world / "notebooks", "00_make", ["x = 1"], parameters=f'profile = "tiny"\nseed = 7\nmethod = "{value}"'
    )
    edit(path, lambda book: book.metadata["deft"].update(outside={"method": {"meflow": "deft.motion.meflow.digest"}}))
    weights = world / "work" / "tiny" / "meflow"
    weights.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (weights / name).write_text("made up")
    assert driver.run(chain(world)) == 0 and states(world)["00_make"][0] == stale.DONE
    (weights / "model.safetensors").write_text("another")
    assert states(world)["00_make"] == (
        (stale.STALE, "input of method = 'meflow' changed") if counts else (stale.DONE, "nothing changed")
    )
    (weights / "config.json").unlink()
    assert states(world)["00_make"] == (
        (stale.STALE, "input of method = 'meflow' missing") if counts else (stale.DONE, "nothing changed")
    )
    monkeypatch.setenv("DEFT_MEFLOW", str(world / "nowhere"))
    assert states(world)["00_make"][0] == (stale.STALE if counts else stale.DONE)


def test_what_stands_outside_is_named_by_a_parameter_and_a_function(world):
    path = write_notebook(world / "notebooks", "00_make", ["x = 1"])
    edit(path, lambda book: book.metadata["deft"].update(outside={"sede": {}}))
    with pytest.raises(RunError, match="deft.outside names sede; did you mean 'seed'"):
        chain(world)
    edit(path, lambda book: book.metadata["deft"].update(outside={"seed": {"7": "deft.motion.meflow.digset"}}))
    with pytest.raises(RunError, match="names 'deft.motion.meflow.digset', which is no function"):
        driver.run(chain(world))


def test_the_lock_file_counts(world):
    (world / "constraints.txt").write_text("numpy==1\n")
    write_notebook(world / "notebooks", "00_make", ["x = 1"])
    here = lambda: Chain("tiny", world / "notebooks", root=world)
    assert driver.run(here()) == 0
    (world / "constraints.txt").write_text("numpy==2\n")
    assert "constraints.txt" in stale.states(here())[0]["reason"]


def test_an_unreadable_record_is_a_reason_to_run(world):
    two_stages(world)
    assert driver.run(chain(world)) == 0
    (world / "work" / "tiny" / "status" / "00_make.json").write_text('{"state": "do')
    assert "cannot be read" in states(world)["00_make"][1]


# ---------------------------------------------------------------- one run at a time, speed, record


def test_two_runs_at_once_are_refused_and_a_stale_lock_is_harmless(world):
    two_stages(world)
    here = chain(world)
    here.prepare()
    (here.work / ".lock").write_text("process 1 on somewhere since long ago")
    with open(here.work / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another run of profile 'tiny' is going on"):
            driver.run(here)
    assert driver.run(here) == 0


def test_status_is_fast_because_it_imports_nothing_heavy(world):
    two_stages(world)
    code = (
        "import sys\nfrom deft.__main__ import main\n"
        f"code = main(['status', '--profile', 'tiny', '--json', '--notebooks', {str(world / 'notebooks')!r}])\n"
        "heavy = {'numpy', 'pandas', 'torch', 'papermill', 'nbformat', 'matplotlib', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [r["stage"] for r in rows] == ["00_make", "01_copy"] and set(rows[0]) == {"stage", "state", "reason"}


def test_the_record_says_what_was_run_where(world):
    two_stages(world)
    assert driver.run(chain(world)) == 0
    record = json.loads((world / "work" / "tiny" / "status" / "01_copy.json").read_text())
    assert record["seed"] == 7 and record["parameters"] == {"profile": "tiny", "seed": 7}
    assert (
        record["seconds"] > 0
        and record["peak_memory_gib"] > 0
        and record["commit"]
        and record["hardware"]["cores"] >= 1
    )
    assert list(record["outputs"]) == ["b.txt"] and len(record["outputs"]["b.txt"][2]) == 64


def test_kernels_run_in_this_interpreter_with_fixed_threads(world):
    write_notebook(
        world / "notebooks",
        "00_make",
        [
            "import os, sys\nfrom deft import paths\n"
            "(paths.work(profile) / 'k.txt').write_text(sys.executable + ' ' + os.environ['OMP_NUM_THREADS'])"
        ],
        writes=["k.txt"],
    )
    assert driver.run(chain(world)) == 0
    executable, threads = (world / "work" / "tiny" / "k.txt").read_text().rsplit(" ", 1)
    assert Path(executable).samefile(sys.executable) and int(threads) >= 1


def test_unknown_command_names_the_nearest(world):
    done = command(world, "statsu")
    assert done.returncode == 2 and "did you mean 'status'" in done.stderr


def test_a_cell_that_was_not_executed_is_no_success():
    """papermill calls a cell completed even when the kernel died under it: only an execution count says that it ran."""
    import nbformat.v4 as nb

    ran, failed, skipped = (
        nb.new_code_cell("1", id=name, execution_count=count)
        for name, count in (("ran", 1), ("failed", 2), ("skipped", None))
    )
    failed.outputs = [nb.new_output("error", ename="ValueError", evalue="", traceback=[])]
    empty = nb.new_code_cell(" ", id="empty")
    words = [
        execute._unfinished(nb.new_notebook(cells=[nb.new_markdown_cell("a"), *cells]))
        for cells in ((ran, empty), (ran, failed), (ran, skipped))
    ]
    assert (
        words[0] == ""
        and "(failed) ended in an error" in words[1]
        and "cell 3 (skipped) was never executed" in words[2]
    )
