"""Work side by side: one process per job, one thread per process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch
from transformers.utils import logging as hf_logging

from deft import runtime


def quiet_worker() -> None:
    """One thread per process: two runs side by side finish sooner than one on two cores."""
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()


def _start_worker(parent: int) -> None:
    """A worker is quiet and leaves when its parent is killed, at its start too, instead of waiting for work for
    ever; what it trains keeps a checkpoint first (`deft.restart`). parent: process id.
    """
    quiet_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)  # for a step and its checkpoint
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(function, arguments: tuple):
    """function(*arguments); what it freed goes back to the system, or the workers would grow with every run.

    An interrupt (Ctrl-C goes to the whole group of processes) ends what runs; a worker that waits leaves it to its
    parent."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.collect()
    gc.freeze()  # half a million objects of imports: to look through them once more costs each run a third of a second
    try:
        return function(*arguments)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        runtime.release_memory()


def in_parallel(
    function: Callable,
    arguments: Sequence[tuple],
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
    what: str = "runs",
) -> list:
    """function(*a) for each of `arguments` in separate processes; results in their order.

    A progress bar called `what`, or, where `log` is given, a call of it with one line of text per finished one.
    """
    workers, results = min(workers or runtime.jobs(), len(arguments)) or 1, [None] * len(arguments)
    done = (_here if workers == 1 else _in_processes)(function, arguments, workers)
    for number, (at, result) in enumerate(done if log else runtime.bar(done, len(arguments), what, "run"), 1):
        results[at] = result
        if log:
            log(f"{number}/{len(arguments)}  {arguments[at][0]}")
    return results


def _here(function: Callable, arguments: Sequence[tuple], _: int) -> Iterator[tuple[int, Any]]:
    """(position, result) one after the other, in this process."""
    threads = torch.get_num_threads()
    quiet_worker()
    try:
        for at, a in enumerate(arguments):
            yield at, function(*a)
    finally:
        torch.set_num_threads(threads)


class _Pool:
    """The worker processes of this process, kept from one call to the next: each costs seconds of imports. Another
    number of workers, environment or current folder, which children inherit when they start, makes new ones.
    """

    def __init__(self):
        self.executor, self.mark = None, None

    def of(self, workers: int) -> ProcessPoolExecutor:
        """An executor of so many workers in today's surroundings."""
        mark = workers, os.getpid(), os.getcwd(), dict(os.environ)
        if self.executor is None or mark != self.mark:
            self.close()
            self.executor, self.mark = (
                ProcessPoolExecutor(
                    workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
                ),
                mark,
            )
        return self.executor

    def close(self) -> None:
        """Let what runs end, nothing else begin, and forget the workers."""
        executor, self.executor = self.executor, None
        if executor is not None and self.mark[1] == os.getpid():  # workers of a process that forked are not the fork's
            executor.shutdown(cancel_futures=True)


_pool = _Pool()


def _submitted(function: Callable, arguments: Sequence[tuple], workers: int) -> dict[Future, int]:
    """{what will be the result: position}. Workers that were killed while they waited are replaced."""
    for attempt in range(2):
        pool = _pool.of(workers)
        try:
            return {pool.submit(_work, function, a): at for at, a in enumerate(arguments)}
        except BrokenProcessPool:
            _pool.close()
            if attempt:
                raise


def _in_processes(function: Callable, arguments: Sequence[tuple], workers: int) -> Iterator[tuple[int, Any]]:
    """(position, result) as they are finished. Workers are forgotten when one of them fails or the caller leaves."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # children read both before torch does
    os.environ.setdefault(
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"
    )  # of 1,024: code for shapes that do not come again fills memory
    waiting, finished = _submitted(function, arguments, workers), False
    try:
        for future in as_completed(waiting):
            try:
                result = future.result()
            except BrokenProcessPool as error:  # all that waited fail at once: which one it was is not known
                raise RuntimeError(
                    "a worker process was ended from outside, most likely for want of memory; finished runs are kept:"
                    " start again, with fewer workers (DEFT_JOBS=1) if it comes back"
                ) from error
            except Exception as error:  # a user's mistake stays one, which the commands say without a traceback
                kind = next((kind for kind in (ValueError, OSError) if isinstance(error, kind)), RuntimeError)
                raise kind(
                    f"{arguments[waiting[future]][0]} failed: {error}; finished runs are kept, start again to go on"
                ) from error
            yield waiting[future], result
        finished = True
    finally:
        if not finished:
            _pool.close()
