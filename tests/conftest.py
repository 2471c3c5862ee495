"""What several tests share: tiny made-up notebooks for the driver, and the products of one smoke run of the real
ones.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from threadpoolctl import threadpool_limits

from deft.run.execute import THREAD_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
ANSWERED = {"clip", "dataset", "subject", "fold", "system", "condition", "truth", "prediction", "scores", "text"}
if "PYTEST_XDIST_WORKER" in os.environ:  # files side by side: more threads than cores would wait for each other
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threadpool_limits(1)  # of what is loaded already
PARAMETERS = 'profile: str = "tiny"\nseed: int = 7'


def write_notebook(folder, name, cells, reads=(), writes=(), parameters=PARAMETERS):
    """A notebook with a parameters cell and the given code cells (ids c0, c1, ...)."""
    book = nbformat.v4.new_notebook()
    book.metadata["deft"] = {"reads": list(reads), "writes": list(writes)}
    tagged = nbformat.v4.new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]})
    book.cells = [
        nbformat.v4.new_markdown_cell("# made up", id="title"),
        tagged,
        *(nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)),
    ]
    path = Path(folder) / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An empty world for the driver: notebooks folder with a profile `tiny`, work and figures folders of its own."""
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path / "figures"))
    notebooks = tmp_path / "notebooks"
    (notebooks / "params").mkdir(parents=True)
    (notebooks / "params" / "tiny.yaml").write_text("all:\n  seed: 7\n")
    return tmp_path


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """Run every notebook once with the smoke profile from empty folders; the folder with work/, figures/ and the log.

    `DEFT_SMOKE_RUN` may name such a folder from an earlier run (for working on one test); nothing else should set it.
    """
    given = os.environ.get("DEFT_SMOKE_RUN")
    folder = Path(given) if given else tmp_path_factory.mktemp("smoke")
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    environment |= {"DEFT_WORK": str(folder / "work"), "DEFT_FIGURES": str(folder / "figures")}
    done = subprocess.run(
        [sys.executable, "-m", "deft", "run", "--profile", "smoke"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, f"the smoke run failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return folder


@pytest.fixture
def smoke(smoke_run, monkeypatch):
    """The smoke run's folder, with DEFT_WORK and DEFT_FIGURES pointing into it."""
    monkeypatch.setenv("DEFT_WORK", str(smoke_run / "work"))
    monkeypatch.setenv("DEFT_FIGURES", str(smoke_run / "figures"))
    return smoke_run
