"""What one smoke run of all notebooks leaves behind, and what the notebooks show that are opened by hand after it.

A file of its own: side by side (`make test`) a file stays with one worker, so that the run is made once."""

import nbformat
import pandas as pd
import pytest
from conftest import ANSWERED

from deft import artifacts, paths, runtime
from deft.run import hand
from deft.run.execute import THREAD_VARIABLES


@pytest.mark.smoke_run
def test_the_smoke_run_made_every_artifact(smoke):
    folder = paths.figures("smoke")
    for artifact in artifacts.REGISTRY:
        for name in artifact.files:
            assert (folder / name).stat().st_size > 100, name
    for artifact in artifacts.REGISTRY:
        if artifact.kind == "table":
            assert len(pd.read_csv(folder / artifact.files[0])) > 0
    manifest = runtime.read_json(folder / "manifest.json")
    assert manifest["profile"] == "smoke" and not manifest["missing"]
    assert all(runtime.sha256(folder / name) == entry["sha256"] for name, entry in manifest["files"].items())


@pytest.mark.smoke_run
def test_a_second_smoke_run_runs_nothing(smoke, capsys):
    from deft.run import driver, stale
    from deft.run.chain import Chain

    chain = Chain("smoke")
    assert {row["state"] for row in stale.states(chain)} == {stale.DONE}
    assert driver.run(chain) == 0
    assert f"0 run, {len(chain.stages)} unchanged" in capsys.readouterr().out


@pytest.mark.smoke_run
def test_predictions_have_the_promised_fields(smoke):
    rows = runtime.read_jsonl(paths.work("smoke") / "predictions.jsonl")
    assert ANSWERED <= set(rows[0])
    assert {"deft", "rgb-only", "majority"} <= {row["system"] for row in rows}
    assert {row["condition"] for row in rows} == {"kept", "broken"}


@pytest.mark.smoke_run
def test_no_sentence_of_the_smoke_run_fails(smoke, capsys):
    """What `smoke` is too small to show is said so; a sentence that fails there is about the code."""
    from deft.run import see

    failed = see.see("smoke")
    assert not failed, capsys.readouterr().out


@pytest.mark.smoke_run
def test_executed_notebooks_hold_no_error_stream(smoke):
    """No bar, no warning, no installation path on a page that is read afterwards."""
    found = [
        (path.stem, cell["id"], "".join(output["text"])[:300])
        for path in sorted((paths.work("smoke") / "executed").glob("*.ipynb"))
        for cell in runtime.read_json(path)["cells"]
        for output in cell.get("outputs", ())
        if output.get("name") == "stderr"
    ]
    assert not found


# ---------------------------------------------------------------- opened by hand
def state_of_files(*folders):
    """{path: (size, time, inode)} of every file, hidden ones too; a lock says who holds it."""
    return {
        path: (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and (stat := path.stat())
    }


def said(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.smoke_run
def test_opened_by_hand_every_notebook_shows_the_run_and_changes_no_byte(smoke, monkeypatch):
    """As JupyterLab opens them: no driver, the kernel in notebooks/; one kernel for all, so that imports are paid
    once.
    """
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync
    from nbclient import NotebookClient

    for name in (runtime.DRIVEN, hand.PROFILE, runtime.BY_HAND, *THREAD_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    before = state_of_files(smoke / "work", smoke / "figures")
    kernel = AsyncKernelManager(kernel_name="python3")
    run_sync(kernel.start_kernel)(
        cwd=str(paths.NOTEBOOKS), extra_arguments=["--HistoryManager.enabled=False", "--log-level=CRITICAL"]
    )
    try:
        for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
            book = nbformat.read(path, as_version=4)
            book.cells.append(nbformat.v4.new_code_cell("import matplotlib.pyplot as plt\nplt.close('all')\n%reset -f"))
            NotebookClient(book, km=kernel, timeout=120).execute()
            (line,) = [
                words for cell in book.cells if cell.get("id") == "setup" for words in said(cell).splitlines()[:1]
            ]
            assert line.startswith("profile smoke, made ") and "STALE" not in line, path.stem
            differing = [
                words
                for cell in book.cells
                if cell.cell_type == "code"
                for words in said(cell).splitlines()
                if "this cell computed differs" in words
            ]
            assert not differing, path.stem
            assert state_of_files(smoke / "work", smoke / "figures") == before, path.stem
    finally:
        run_sync(kernel.shutdown_kernel)(now=True)
