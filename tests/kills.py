"""`python -m tests.kills`: training killed with -9 at random moments, saving included, ends in the bytes of the
uninterrupted run: so many of so many.

Small models on the made-up bench, a checkpoint after every step, so that most of the time is saving. Each trial starts
anew, is killed once at a moment drawn over the length of a whole run, and is started again."""

import argparse
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from deft import restart, runtime
from deft.mllm import command, detectors, language, tune

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fake_bench

BASE = language.LanguageSettings(hidden=32, layers=1, heads=1, intermediate=48, text_steps=6, soft_steps=6, batch=2)
SETTINGS = tune.TuneSettings(epochs=2, batch=6, rank=2)


def world(work: Path) -> Path:
    """A made-up bench with a small base from a random start."""
    tokenizer = language.build_tokenizer()
    language.build_base(tokenizer, BASE).save_pretrained(work / "mllm" / "base")
    tokenizer.save_pretrained(work / "mllm" / "base")
    return fake_bench.write(work)


def tuned(work: Path, out: Path, settings: tune.TuneSettings = SETTINGS) -> None:
    """One run of joint tuning into `out`, from the newest checkpoint there."""
    command.run(command.Request(tune.Job("deft-m", 0, 0), work, settings, out, resume=True))


def schooled(work: Path, out: Path) -> None:
    """Text pretraining into `out`, from the newest checkpoint there."""
    language.pretrain(BASE, out, detectors.path_of(work), log=lambda line: None)


def content(folder: Path) -> dict[str, bytes]:
    """{name: bytes} of the files of a finished folder."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def start(
    function: Callable, *given: object, every: float = 0.0, before: Callable[[], None] = lambda: None
) -> multiprocessing.Process:
    """A process that calls function(*given) with a checkpoint every `every` seconds, after `before()`."""

    def child():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a warning here is what is tested
        restart.EVERY = every
        tune.quiet_worker()
        before()
        function(*given)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def dying(owner: object, name: str, number: int, half: int | None = None) -> Callable[[], None]:
    """For `before`: at the `number`-th call of owner.name the process is killed. half: position of a path among the
    arguments, at which half a file is left."""

    def prepare():
        count, real = itertools.count(1), getattr(owner, name)

        def call(*given, **more):
            if next(count) == number:
                if half is not None:
                    Path(given[half]).write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **more)

        setattr(owner, name, call)

    return prepare


def trials(times: int, seed: int, folder: Path) -> int:
    """How many of `times` killed runs of each kind ended in the bytes of the uninterrupted one; prints each."""
    work, good = world(folder / "work"), 0
    for function in (tuned, schooled):
        name = function.__name__
        start(function, work, folder / name, every=1e9).join()
        whole, began = content(folder / name), time.monotonic()
        start(function, work, folder / "timed").join()
        length = time.monotonic() - began
        shutil.rmtree(folder / "timed")
        for trial in range(times):
            out, moment = folder / f"{name}-{trial}", float(runtime.rng(seed, name, trial).random() * length)
            process = start(function, work, out)
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            found = sorted(out.rglob("checkpoint-*"), key=lambda p: int(p.name[11:])) if out.is_dir() else []
            words = [p.name + (" (unfinished)" if restart.read(p)[1] else "") for p in found]
            start(function, work, out).join()
            same = content(out) == whole
            good += same
            print(f"{name} {trial + 1}, killed after {moment:.2f} of {length:.2f} s: {', '.join(words) or '-'}: {same}")
            sys.stdout.flush()
            shutil.rmtree(out)
    return good


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=20)
    asked.add_argument("--seed", type=int, default=7)
    given = asked.parse_args()
    warnings.simplefilter("ignore")
    tune.quiet_worker()
    with tempfile.TemporaryDirectory(prefix="deft-kills-") as made:
        right = trials(given.times, given.seed, Path(made))
    print(f"{right} of {2 * given.times} killed runs ended in the bytes of the uninterrupted run")
    sys.exit(right != 2 * given.times)
