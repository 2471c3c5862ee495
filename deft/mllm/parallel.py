"""Work side by side: one process per job, one thread per process."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
from transformers.utils import logging as hf_logging

from deft import runtime


def quiet_worker() -> None:
    """One thread per process: two runs side by side finish sooner than one on two cores."""
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()


def _start_worker(parent: int) -> None:
    """A worker is quiet and leaves when its parent is killed, at its start too, instead of waiting for work for ever. parent: process id."""
    quiet_worker()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(function, arguments: tuple):
    """function(*arguments); what it freed goes back to the system, or the workers would grow with every run."""
    try:
        return function(*arguments)
    finally:
        runtime.release_memory()


def in_parallel(function, arguments: Sequence[tuple], workers: int | None = None, log=print) -> list:
    """function(*a) for each of `arguments` in separate processes; results in order, a line per finished one."""
    workers = min(workers or runtime.jobs(), len(arguments)) or 1
    if workers == 1:
        threads = torch.get_num_threads()
        quiet_worker()
        try:
            results = []
            for number, a in enumerate(arguments, 1):
                results.append(function(*a))
                log(f"{number}/{len(arguments)}  {a[0]}")
            return results
        finally:
            torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", "1")                           # children read both before torch does
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")          # of 1,024: code for shapes that do not come again fills memory
    results = [None] * len(arguments)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        waiting = {pool.submit(_work, function, a): i for i, a in enumerate(arguments)}
        for number, future in enumerate(as_completed(waiting), 1):
            i = waiting[future]
            try:
                results[i] = future.result()
            except Exception as error:
                pool.shutdown(cancel_futures=True)
                raise RuntimeError(f"{arguments[i][0]} failed: {error}; finished runs are kept, start again to go on") from error
            log(f"{number}/{len(arguments)}  {arguments[i][0]}")
    return results
