"""Does the suite notice when the science is broken? One-line mutations of the method, and the tests that must fail.

`python -m tests.mutations [--only NAME ...] [--jobs 2] [--limit 600]` copies the repository to a temporary folder,
breaks one line at a time there and runs the named test files. It prints which mutations survive and ends with
"n of m caught"; exit code 1 when fewer than nine in ten are caught, 2 when the list itself is wrong. It takes about a
quarter of an hour on two cores and is run by hand; `tests/test_mutations.py` only holds that every line is still there.

A mutation counts as caught when a test fails that passes without it. `first` selects tests that are tried before the
whole files, to save time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = 0.9  # share that must be caught
FAILED = re.compile(r"^FAILED (\S+::.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Mutation:
    """`old` -> `new` in one line of `file`; `tests`: files that should see it; `first`: a pytest -k expression."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    first: str = ""


def _m(name: str, file: str, old: str, new: str, tests: str, first: str = "") -> Mutation:
    return Mutation(name, f"deft/{file}.py", old, new, tuple(f"tests/test_{part}.py" for part in tests.split()), first)


MUTATIONS = (
    # ---------------------------------------------------------------- the benchmark
    _m("looks-changed", "clips/specs", 'Look("bald", 0.84, 40.0,', 'Look("bald", 0.50, 0.0,', "benchmark", "frozen"),
    _m(
        "landmark-jitter-off",
        "clips/benchmark",
        "normal(0, plan.landmark_jitter, (68, 2))",
        "normal(0, 0.0, (68, 2))",
        "benchmark",
        "frozen_record",
    ),
    _m(
        "lens-blurred",
        "clips/simulator/appearance",
        "LENS_SIGMA = 0.42",
        "LENS_SIGMA = 0.60",
        "benchmark",
        "frozen_record",
    ),
    _m(
        "raters-never-invent",
        "clips/benchmark",
        "if rng.random() < spec.rater_invents:",
        "if rng.random() < 0.0 * spec.rater_invents:",
        "benchmark",
        "annotations or frozen",
    ),
    _m(
        "validation-is-training",
        "clips/splits",
        '"validation" if row.validation_of == fold else "train"',
        '"train" if row.validation_of == fold else "train"',
        "benchmark",
        "folds",
    ),
    # ---------------------------------------------------------------- motion
    _m(
        "rigid-fit-not-robust",
        "motion/rigid",
        "robust = self.weight * np.square(np.clip(1 - (error / scale) ** 2, 0, None))",
        "robust = self.weight",
        "motion",
        "hair or similarity or face_stays",
    ),
    _m(
        "no-second-registration",
        "motion/courses",
        "difference = difference - gx * (yy * bx - xy * by) / area - gy * (xx * by - xy * bx) / area",
        "difference = difference + 0 * area",
        "motion experts",
        "residual",
    ),
    _m(
        "residual-ignores-the-head",
        "motion/courses",
        "residual(gray, field + head, ",
        "residual(gray, field, ",
        "motion experts",
    ),
    _m(
        "peak-one-frame-early",
        "motion/courses",
        '"peak": peak_map(envelope.at_peak(field)[0]),',
        '"peak": peak_map(envelope.at_peak(np.roll(field, 1, 0))[0]),',
        "motion experts",
    ),
    _m(
        "noise-floor-is-the-prior",
        "motion/courses",
        "weight = len(rigid.STABLE_ROWS) * min(len(courses), 4)",
        "weight = 0.0",
        "motion evidence",
    ),
    _m("warp-not-inverted", "motion/flow", "    for _ in range(4):", "    for _ in range(0):", "motion", "warping"),
    _m("strain-sees-rotation", "motion/flow", "0.5 * (uy + vx) ** 2)", "0.5 * (uy - vx) ** 2)", "motion", "strain"),
    # ---------------------------------------------------------------- evidence
    _m(
        "no-explaining-away",
        "motion/evidence",
        "match[:, unit] - EXPLAIN * (amount @ shared[:, unit])",
        "match[:, unit] - 0 * (amount @ shared[:, unit])",
        "evidence",
    ),
    _m(
        "course-not-asked",
        "motion/evidence",
        "trust = np.exp(-0.5 * np.square(np.clip(-missing - 1, 0, None)))",
        "trust = np.ones_like(missing)",
        "evidence",
    ),
    _m(
        "coder-not-heard",
        "motion/evidence",
        "logit(np.where(annotated, reliability, missed))",
        "logit(np.where(annotated, rate, rate))",
        "evidence",
        "posterior",
    ),
    _m(
        "confirmed-without-pixels",
        "motion/evidence",
        "return posterior(probability, annotated, rate) >= RELIABILITY - 1e-9",
        "return posterior(probability, annotated, rate) >= 0.5",
        "evidence",
    ),
    _m(
        "never-contradicted",
        "motion/evidence",
        "opposition(courses, noise, unit, side) <= against:",
        "opposition(courses, noise, unit, side) <= 9 * against:",
        "evidence unimer",
    ),
    _m(
        "right-side-not-mirrored",
        "motion/evidence",
        'sign = -1.0 if side == "R" else 1.0',
        'sign = 1.0 if side == "R" else 1.0',
        "evidence",
    ),
    # ---------------------------------------------------------------- Uni-MER
    _m(
        "outward-not-mirrored",
        "unimer/facts",
        'outward = np.array([1.0 if s == "L" else -1.0 for s in sides_of(side)])',
        "outward = np.array([1.0 for s in sides_of(side)])",
        "unimer",
    ),
    _m(
        "one-side-is-enough",
        "unimer/facts",
        "return bool(np.all(component(region_vectors,",
        "return bool(np.any(component(region_vectors,",
        "unimer",
    ),
    _m(
        "annotation-is-confirmation",
        "unimer/build",
        'if constraint == "flow" else clip.confirmed(annotated)',
        'if constraint == "flow" else annotated',
        "unimer",
    ),
    _m(
        "true-things-denied",
        "unimer/facts",
        "close = [fact for fact in dict.fromkeys(close) if not possible(fact)]",
        "close = list(dict.fromkeys(close))",
        "unimer",
    ),
    _m(
        "any-frame-is-right", "unimer/timing", "(first <= fact.first <= fact.last <= last)", "(first <= last)", "unimer"
    ),
    _m(
        "first-without-a-lead",
        "unimer/timing",
        "if second - first >= max(LEAD,",
        "if second - first >= min(0,",
        "unimer",
    ),
    _m(
        "flat-text-tells-emotion",
        "unimer/facts",
        "source = EMOTIONS[rng.integers(len(EMOTIONS))] if flat else emotion",
        "source = emotion",
        "mllm unimer",
        "flat",
    ),
    # ---------------------------------------------------------------- experts
    _m(
        "texture-direction-adversary-off",
        "experts/texture",
        "+ 0.1 * identity + 0.1 * look + direction",
        "+ 0.1 * identity + 0.1 * look",
        "experts",
        "adversary or taught",
    ),
    _m(
        "phrase-alignment-off",
        "experts/motion",
        "+ 0.1 * phrase + 0.1 * identity",
        "+ 0.1 * identity",
        "experts",
        "taught or phrases",
    ),
    _m(
        "phrases-pushed-away",
        "experts/motion",
        "scores = self.speech(tokens) @ self.phrases(ids).T",
        "scores = -self.speech(tokens) @ self.phrases(ids).T",
        "experts",
        "phrases",
    ),
    _m(
        "adversary-helps",
        "experts/disentangle",
        "return -ctx.strength * gradient, None",
        "return ctx.strength * gradient, None",
        "experts",
        "reversal or adversary",
    ),
    _m(
        "texture-without-its-components",
        "experts/texture",
        "tokens = tokens + self.components(seen) if self.components else tokens",
        "tokens = tokens + 0",
        "experts",
        "texture",
    ),
    _m(
        "mirror-keeps-left-and-right",
        "experts/pretrain",
        "logits.append((model.units(seen) + other.flip(-1)) / 2)",
        "logits.append((model.units(seen) + other) / 2)",
        "experts",
    ),
    _m(
        "worst-epoch-kept",
        "experts/pretrain",
        'report["score"] > max(row["score"] for row in history)',
        'report["score"] < min(row["score"] for row in history)',
        "experts",
    ),
    _m(
        "calibrated-on-itself",
        "experts/calibrate",
        "parameters(np.flatnonzero(~inside)) if (~inside).any() else whole",
        "whole",
        "experts",
        "calibration",
    ),
    # ---------------------------------------------------------------- language model
    _m(
        "alignment-inverted",
        "mllm/model",
        "near = (F.normalize(projected, dim=-1) @ words.T)",
        "near = -(F.normalize(projected, dim=-1) @ words.T)",
        "mllm",
        "alignment",
    ),
    _m(
        "disentangling-off",
        "mllm/model",
        '"disentangle": self.config.disentangle_weight,',
        '"disentangle": 0.0,',
        "mllm",
        "training_loss",
    ),
    _m(
        "penalty-sees-no-copy",
        "mllm/model",
        "pairs = [(a.T @ b / len(a)).square().mean()",
        "pairs = [(a.T @ b / len(a)).mean().square()",
        "mllm",
        "disentangling",
    ),
    _m("unit-loss-off", "mllm/model", '"units": self.config.unit_weight,', '"units": 0.0,', "mllm", "training_loss"),
    _m(
        "soft-words-swap-sides",
        "mllm/prompt",
        "lean.clamp(min=0) * left + (-lean).clamp(min=0) * right",
        "lean.clamp(min=0) * right + (-lean).clamp(min=0) * left",
        "mllm",
        "soft_words",
    ),
    _m(
        "masked-positions-count",
        "mllm/base",
        "positions = (attention_mask.cumsum(-1) - 1)",
        "positions = (torch.ones_like(attention_mask).cumsum(-1) - 1)",
        "mllm",
        "dropping or closed_up",
    ),
    _m(
        "family-scale-lost",
        "mllm/base",
        "logits = logits / divisor",
        "logits = logits / 1",
        "bases",
        "own_class and granite",
    ),
    _m(
        "base-of-another-hash",
        "mllm/hub",
        "if model.reference.sha256 != reference.sha256:",
        "if False:",
        "bases",
        "very_base",
    ),
    _m(
        "coarse-base-merged",
        "mllm/model",
        "layers = []  # a coarser base would round the adapters away",
        "pass",
        "bases",
        "coarse",
    ),
    _m(
        "experts-odds-lost",
        "mllm/model",
        "return (weight[..., None, None] * odds).sum(1) + correction",
        "return correction",
        "mllm",
        "unit_head",
    ),
    _m(
        "structure-never-swapped",
        "mllm/examples",
        "partner = int(rng.choice(rows)) if rng.random() < settings.swap else row",
        "partner = row",
        "mllm",
        "draws",
    ),
    _m(
        "trained-on-test-subjects",
        "mllm/tune",
        'bench.rows(job.fold, "train", "kept") if',
        'bench.rows(job.fold, "test", "kept") if',
        "mllm",
        "training_subjects",
    ),
    _m(
        "one-base-for-all-draws",
        "mllm/tune",
        "tokenizer, model = build(work, job.system, settings, seed, job.seed, base)",
        "tokenizer, model = build(work, job.system, settings, seed, 0, base)",
        "mllm",
        "another_draw",
    ),
    _m(
        "silence-taught-as-absence",
        "mllm/examples",
        'ends = complete or kind != "reasoning"',
        "ends = True",
        "mllm",
        "unconfirmed",
    ),
    # ---------------------------------------------------------------- evaluation
    _m(
        "recall-for-f1",
        "evaluation/metrics",
        "f1 = _ratio(2 * hit, true_n + said_n)",
        "f1 = _ratio(2 * hit, 2 * true_n)",
        "metrics",
    ),
    _m(
        "class-vanishes",
        "evaluation/metrics",
        "recall = _ratio(hit, true_n)",
        "recall = _ratio(hit, said_n)",
        "metrics",
    ),
    _m(
        "statements-counted-twice",
        "evaluation/grounding",
        "units, motions = dict.fromkeys(facts.units), dict.fromkeys(facts.motions)",
        "units, motions = facts.units, facts.motions",
        "tables metrics",
    ),
    _m(
        "unsupported-by-truth-alone",
        "evaluation/grounding",
        "bad_u = sum(not (borne or measured.bears_out(fact)) for fact, borne in zip(units, by_truth_u))",
        "bad_u = sum(not borne for fact, borne in zip(units, by_truth_u))",
        "tables metrics",
    ),
    _m(
        "annotation-mismatch-inverted",
        "evaluation/tables/t1_data",
        '("unsupported", written & ~there, written),',
        '("unsupported", written & there, written),',
        "tables",
    ),
    _m(
        "auroc-inverted",
        "evaluation/metrics",
        "((mine > negative) + 0.5 * (mine == negative)).sum(0)",
        "((mine < negative) + 0.5 * (mine == negative)).sum(0)",
        "metrics tables",
        "auroc",
    ),
    _m(
        "looks-not-stratified",
        "evaluation/metrics",
        "members.setdefault(label, []).append(place)",
        'members.setdefault("", []).append(place)',
        "metrics",
    ),
    _m(
        "draws-not-resampled",
        "evaluation/metrics",
        ".multinomial(draws - 1, np.full(draws, 1 / draws), size=B) / (",
        ".normal(size=(B, 1)) * 0 + np.full((B, draws), (draws - 1) / draws) / (",
        "metrics tables",
    ),
    _m(
        "confidence-rewarded",
        "evaluation/tables/common",
        "lost = -np.log(np.maximum(given, FLOOR))",
        "lost = np.log(np.maximum(given, FLOOR))",
        "tables",
    ),
    _m(
        "silence-not-counted",
        "evaluation/tables/t7_texts",
        'speaks = (frame["text"] != "").groupby([frame["system"], frame["condition"]]).transform("any")',
        'speaks = frame["text"] != ""',
        "tables",
        "silent or nothing",
    ),
    _m(
        "blind-reader-forgotten",
        "evaluation/tables/t2_main",
        "lambda a, b, c, d: (a - b) - (c - d), seed=seed",
        "lambda a, b, c, d: (a - b) - 0 * (c - d), seed=seed",
        "tables",
    ),
    _m(
        "across-the-bar-holds",
        "evaluation/rules",
        "return HOLDS if right else FAILS if wrong else UNDECIDED",
        "return FAILS if wrong else HOLDS",
        "claims",
    ),
    _m(
        "undecided-is-supported",
        "evaluation/claims",
        "if UNDECIDED in outcomes",
        "if UNDECIDED in ()",
        "claims",
    ),
    _m(
        "unit-reader-fitted-on-those-it-answers-for",
        "evaluation/unique",
        "model.fit(x[train].reshape(-1, x.shape[2]), y[train].ravel())",
        "model.fit(x[test].reshape(-1, x.shape[2]), y[test].ravel())",
        "unique",
    ),
    _m(
        "chosen-on-test-subjects",
        "evaluation/peers/linear",
        'usable & (role == "validation")',
        'usable & (role == "test")',
        "peers",
    ),
    _m(
        "base-rate-not-divided-out",
        "evaluation/peers/bayes",
        "ratio = p / (1 - p) * (1 - b) / b",
        "ratio = p / (1 - p)",
        "peers",
    ),
    # ---------------------------------------------------------------- verify
    _m(
        "recomputed-and-not-compared",
        "verify/recompute",
        "if abs(float(row[column]) - number) > TOLERANCE + 5e-5:",
        "if abs(float(row[column]) - number) > 1.0:",
        "verify",
    ),
    _m(
        "hash-not-looked-at",
        "verify/integrity",
        "if name in wanted and runtime.sha256(p) != wanted[name]",
        "if name in wanted and not wanted[name]",
        "verify",
    ),
    _m(
        "exact-is-loose",
        "verify/cells",
        "if abs(new - old) <= allowed + 1e-9",
        "if abs(new - old) <= 100 * allowed",
        "verify",
    ),
    _m(
        "reference-mean-is-exact",
        "verify/spread",
        "return float(np.sqrt(1 + 1 / self.complete))",
        "return 1.0",
        "verify",
    ),
    _m(
        "every-verdict-is-near",
        "verify/judge",
        "state = SAME if said in shares else NEAR if neighbour else OTHER",
        "state = SAME if said in shares else NEAR",
        "verify",
    ),
    _m(
        "no-number-is-outside",
        "verify/judge",
        "wrong = abs(value - mean) > width",
        "wrong = abs(value - mean) > 99 * width",
        "verify",
    ),
    # ---------------------------------------------------------------- the driver
    _m("stale-does-not-spread", "run/stale", "if state != DONE:", "if state == RUNNING:", "driver"),
    _m(
        "skipped-cell-is-success",
        "run/execute",
        "if cell.execution_count is None:",
        "if cell.execution_count == -1:",
        "driver",
    ),
    _m(
        "two-runs-at-once",
        "run/lock",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "driver",
    ),
    _m(
        "altered-file-is-whole",
        "cache",
        "if runtime.sha256(folder / name) != known:",
        "if not runtime.sha256(folder / name):",
        "cache",
    ),
    _m(
        "changed-code-unseen",
        "cache",
        'changes(before["modules"], after["modules"])',
        'changes(before["modules"], before["modules"])',
        "cache driver",
    ),
    _m(
        "half-written-is-whole",
        "runtime",
        "        os.replace(temporary, path)",
        "        shutil.copyfile(temporary, path)",
        "runtime",
    ),
)


def place(mutation: Mutation, root: Path = ROOT) -> str:
    """The mutated text of the file; raises LookupError when the line is not there exactly once."""
    path = root / mutation.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if "\n" in mutation.old + mutation.new or text.count(mutation.old) != 1:
        raise LookupError(
            f"mutation {mutation.name}: {mutation.file} holds its line {text.count(mutation.old)} times, "
            f"not once: {mutation.old!r}; choose the line that does this now"
        )
    return text.replace(mutation.old, mutation.new)


def copy(folder: Path) -> Path:
    """The files of the repository that git knows or would take, as they lie there now."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def warm() -> None:
    """Import what all tests import but the project itself: a forked child starts with it, which saves most of the
    time.
    """
    for name in (
        "cv2",
        "hypothesis",
        "joblib",
        "numpy",
        "pandas",
        "peft",
        "pytest",
        "scipy.ndimage",
        "sklearn.linear_model",
        "torch",
        "transformers",
    ):
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def start(root: Path, log: Path, selections: list[list[str]], stop: bool = True) -> int:
    """Fork a child that runs pytest in `root` on one selection after the other, until one does not pass -> its id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        os.chdir(root)
        others = [p for p in sys.path if p and Path(p).resolve() not in (ROOT, ROOT / "tests")]
        sys.path[:] = [str(root), str(root / "tests"), *others]
        os.environ["PYTHONPATH"] = str(root)
        import pytest

        for selection in selections:
            code = int(pytest.main(["-q", "-rf", "--tb=no", "-m", "not smoke_run", *["-x"] * stop, *selection]))
            if code:
                break
    finally:
        sys.stdout.flush()
        os._exit(code)


class Runs:
    """Test runs in forked children, a few at a time; `wait` hands back the next one that ended or ran out of time."""

    def __init__(self, limit: float):
        self.limit, self.going = limit, {}

    def add(self, what, root: Path, log: Path, selections: list[list[str]], stop: bool = True) -> None:
        self.going[start(root, log, selections, stop)] = (what, log, time.monotonic())

    def wait(self) -> tuple[object, int | None, str, float]:
        """(what, exit code or None when time ran out, output, seconds)"""
        while True:
            for child, (what, log, began) in list(self.going.items()):
                done, status = os.waitpid(child, os.WNOHANG)
                late = time.monotonic() - began > self.limit
                if not done and late:
                    os.killpg(child, signal.SIGKILL)  # the group that this child leads, nothing else
                    os.waitpid(child, 0)
                if done or late:
                    del self.going[child]
                    code = os.waitstatus_to_exitcode(status) if done else None
                    return what, code, log.read_text(errors="replace"), time.monotonic() - began
            time.sleep(0.1)


def tail(output: str) -> str:
    """The last words of a test run."""
    return " ".join(output.split()[-30:])


def attempt_all(chosen: list[Mutation], folder: Path, jobs: int, limit: float) -> dict[str, tuple[str, str]]:
    """name -> (caught | survived | undecided, the test that failed or why it is undecided)."""
    clean, free = copy(folder / "clean"), [copy(folder / str(number)) for number in range(jobs)]
    runs, results, waiting = Runs(limit), {}, list(chosen)

    def report(mutation: Mutation, result: str, why: str, seconds: float) -> None:
        results[mutation.name] = (result, why)
        print(f"{result:<9} {mutation.name:<34} {seconds:5.0f} s  {why}", flush=True)

    while waiting or runs.going:
        while waiting and free:
            mutation, root = waiting.pop(0), free.pop()
            (root / mutation.file).write_text(place(mutation, root), encoding="utf-8")
            tries = [[*mutation.tests, "-k", mutation.first]] * bool(mutation.first) + [list(mutation.tests)]
            runs.add((mutation, root), root, folder / f"{mutation.name}.log", tries)
        (mutation, root), code, output, seconds = runs.wait()
        shutil.copyfile(clean / mutation.file, root / mutation.file)
        free.append(root)
        if code == 1 and (found := FAILED.search(output)):
            report(mutation, "caught", found.group(1), seconds)
        elif code == 0:
            report(mutation, "survived", "", seconds)
        else:
            words = f"not finished after {limit:.0f} s" if code is None else f"pytest ended with {code}: {tail(output)}"
            report(mutation, "undecided", words, seconds)
    guards = sorted({why for result, why in results.values() if result == "caught"})
    if guards:  # a test that fails anyway has caught nothing
        runs.add(None, clean, folder / "clean.log", [guards], stop=False)
        _, code, output, _ = runs.wait()
        broken = set(FAILED.findall(output))
        if code not in (0, 1) or (code == 1 and not broken):
            raise RuntimeError(f"the tests that caught mutations could not be run without them: {tail(output)}")
        results |= {
            name: ("undecided", f"{why} fails without the mutation, too")
            for name, (result, why) in results.items()
            if why in broken
        }
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="mutations at a time")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one test run")
    args = parser.parse_args()
    unknown = set(args.only or ()) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        known = ", ".join(mutation.name for mutation in MUTATIONS)
        parser.error(f"no mutation {sorted(unknown)[0]!r}; there are {known}")
    chosen = [mutation for mutation in MUTATIONS if not args.only or mutation.name in args.only]
    try:
        for mutation in chosen:
            place(mutation)
    except LookupError as error:
        print(error)
        return 2
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")  # no byte code of a mutated file may outlive it
    sys.dont_write_bytecode = True
    warm()
    with tempfile.TemporaryDirectory(prefix="mutations-") as temporary:
        results = attempt_all(chosen, Path(temporary), args.jobs, args.limit)
    caught = sum(result == "caught" for result, _ in results.values())
    for word in ("survived", "undecided"):
        for mutation in chosen:
            result, why = results[mutation.name]
            if result == word:
                print(f"{word}: {mutation.name} ({mutation.file}: {mutation.old} -> {mutation.new}) {why}")
    print(f"{caught} of {len(results)} caught")
    return 0 if caught >= WANTED * len(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
