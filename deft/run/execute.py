"""Run one notebook with papermill in this interpreter, watch its memory, and report whether it finished.

papermill marks cells "completed" even when the kernel was killed under them, so success is decided here: no exception,
and every code cell was really executed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deft import runtime
from deft.run.book import Stage
from deft.run.chain import Chain

KERNEL = "deft"
THREADS = "2"  # a fixed number: sums in another order would change the last digits of every trained weight
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
FIXED = {
    "CUDA_VISIBLE_DEVICES": "",
    **dict.fromkeys(THREAD_VARIABLES, THREADS),
}  # unless the caller's environment says otherwise
LIMIT_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)  # what keeps libraries from using all instructions of the processor
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """How one execution ended; `error` is empty on success."""

    seconds: float
    peak_memory_gib: float
    error: str


def kernel_environment(chain: Chain) -> dict[str, str]:
    """Environment of the kernels: the package importable, output folders absolute, nothing fetched from the net.

    The net is closed, threads are fixed and GPUs hidden unless the caller's environment says otherwise: threads and
    GPUs change the last digits of what is trained."""
    given = os.environ
    path = os.pathsep.join(p for p in (str(chain.root), given.get("PYTHONPATH", "")) if p)
    return {
        runtime.DRIVEN: "1",
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": given.get("HF_HUB_OFFLINE", "1"),
        "DEFT_WORK": str(chain.work.parent),
        "DEFT_FIGURES": str(chain.figures.parent),
        **{name: given.get(name, value) for name, value in FIXED.items()},
    }


def computing(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that decide how numbers are added up: threads, and limits of the instruction
    set.
    """
    return {name: environment[name] for name in (*THREAD_VARIABLES, *LIMIT_VARIABLES) if environment.get(name)}


@contextmanager
def kernel(chain: Chain) -> Iterator[None]:
    """A kernel description for this very interpreter, in a temporary place: no globally registered kernel is used or
    changed.
    """
    with tempfile.TemporaryDirectory(prefix="deft-kernel-") as folder:
        spec = Path(folder) / "data" / "kernels" / KERNEL
        spec.mkdir(parents=True)
        command = [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--HistoryManager.enabled=False",
            "--log-level=CRITICAL",
        ]  # the kernel listens on this machine only; its note about unencrypted TCP helps nobody here
        (spec / "kernel.json").write_text(
            json.dumps(
                {"argv": command, "display_name": KERNEL, "language": "python", "env": kernel_environment(chain)}
            )
        )
        changes = {
            "JUPYTER_PATH": str(Path(folder) / "data"),
            "JUPYTER_RUNTIME_DIR": str(Path(folder) / "runtime"),
            "IPYTHONDIR": str(Path(folder) / "ipython"),
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        with runtime.environment(**changes):
            yield


class Memory(threading.Thread):
    """Samples the resident memory of everything this process started; `peak` in GiB. Shared pages count once per
    process.
    """

    def __init__(self, every: float = 0.25):
        super().__init__(daemon=True)
        self.every, self.peak, self._ended = every, 0.0, threading.Event()

    def run(self) -> None:
        """Sample until the block ends."""
        import psutil

        me = psutil.Process()
        while not self._ended.wait(self.every):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:
                    continue  # it ended between listing and looking
            self.peak = max(self.peak, total / 2**30)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


def _name(cell) -> str:
    """A cell's readable id; papermill gives the cell it adds a random one."""
    return "injected-parameters" if "injected-parameters" in cell.metadata.get("tags", []) else cell.get("id", "")


def _engine(progress):
    """papermill's own engine with a progress call before and after each code cell."""
    from papermill.engines import NBClientEngine

    class Reporting(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            begin, complete, started = nb_man.cell_start, nb_man.cell_complete, {}

            def cell_start(cell, cell_index=None, **rest):
                started[cell_index] = time.monotonic()
                if cell.cell_type == "code":
                    progress(cell_index + 1, len(nb_man.nb.cells), _name(cell), None)
                return begin(cell, cell_index=cell_index, **rest)

            def cell_complete(cell, cell_index=None, **rest):
                if cell.cell_type == "code":
                    progress(cell_index + 1, len(nb_man.nb.cells), _name(cell), time.monotonic() - started[cell_index])
                return complete(cell, cell_index=cell_index, **rest)

            nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    return Reporting


def _unfinished(executed) -> str:
    """The first code cell that was not really executed, in words."""
    for number, cell in enumerate(executed.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if any(output.output_type == "error" for output in cell.outputs):
            return f"cell {number} ({cell.get('id', '')}) ended in an error"
        if cell.execution_count is None:
            return f"cell {number} ({cell.get('id', '')}) was never executed"
    return ""


def _explain(error: BaseException, last: str) -> str:
    """One line on what went wrong, with the remedy where there is one."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        value = COLOUR.sub("", str(error.evalue)).strip().splitlines()
        words = f"{last}: {error.ename}: {value[0] if value else ''}"
    elif isinstance(error, DeadKernelError):
        words = f"{last}: the kernel died (killed, or out of memory); close other programs or use a smaller profile"
    else:
        words = f"{last}: {type(error).__name__}: {error}"
    if "No space left on device" in words or getattr(error, "errno", None) == 28:
        words += "; the disk is full: free some space and run the same command again"
    return words


def run(chain: Chain, stage: Stage, progress: Callable[[int, int, str, float | None], None]) -> Outcome:
    """Execute one notebook into executed/NAME.ipynb; while it runs the copy ends in .partial, after a failure in
    .failed.

    `progress(cell, cells, id, seconds)` is called when a cell starts (seconds None) and ends. KeyboardInterrupt passes
    through."""
    import papermill
    from papermill.engines import papermill_engines

    warnings.filterwarnings("ignore", message=".*does not end in one of.*")
    final = chain.executed / f"{stage.name}.ipynb"
    partial, failed = final.with_name(final.name + ".partial"), final.with_name(final.name + ".failed")
    chain.executed.mkdir(parents=True, exist_ok=True)
    place = ["before the first cell"]

    def remember(cell, cells, identity, seconds):
        place[0] = f"cell {cell} of {cells} ({identity})"
        progress(cell, cells, identity, seconds)

    papermill_engines.register("deft", _engine(remember))
    started, error = time.monotonic(), ""
    with Memory() as memory, kernel(chain):
        try:
            executed = papermill.execute_notebook(
                str(stage.path),
                str(partial),
                parameters=chain.changes[stage.name],
                engine_name="deft",
                kernel_name=KERNEL,
                language="python",
                progress_bar=False,
                cwd=str(stage.path.parent),
            )
            error = _unfinished(executed)
        except Exception as problem:
            error = _explain(problem, place[0])
        except BaseException:
            if partial.exists():
                os.replace(partial, failed)
            raise
    if partial.exists():
        os.replace(partial, failed if error else final)
    if not error:
        failed.unlink(missing_ok=True)
    return Outcome(time.monotonic() - started, memory.peak, error)
