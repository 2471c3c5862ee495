"""How long a run will take, said before it: from measured rates, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deft import paths, runtime
from deft.clips.readers import RecordedClip
from deft.evaluation.protocols import NEVER
from deft.licensed.material import trial
from deft.licensed.recipe import Recipe
from deft.mllm.runs import Job
from deft.systems import DEFT

TRIAL = 2  # clips by which preparing is timed; they are kept


def seconds_per_example(profile: str) -> float | None:
    """Seconds of tuning per clip and epoch, as the profile's own run of DEFT took them; None without one."""
    folder = Job(DEFT, 0, 0).folder(paths.work(profile))
    if not all((folder / name).is_file() for name in (".made.json", "history.json")):
        return None
    made, history = (runtime.read_json(folder / name) for name in (".made.json", "history.json"))
    seconds, epochs = made["about"].get("seconds"), made["parts"]["settings"].get("epochs")
    return seconds / (history["clips"] * epochs) if seconds and epochs and history["clips"] else None


def forecast(recipe: Recipe, clips: Sequence[RecordedClip], folds: pd.DataFrame, table: pd.DataFrame) -> str:
    """One sentence. The first `TRIAL` clips that are missing are prepared, to time them; folds: as folds.csv; table: as
    `material.look_at` gives it.

    Counted are clips without a prepared file, and every run of tuning; what was finished before takes less."""
    left, total = trial(recipe, clips, TRIAL)
    cores, parts = recipe.workers or runtime.jobs(), []
    if left:
        rate = f" at {total / left:.1f} s each, as the first {TRIAL} took" if total else ""
        parts.append(f"{left} clips to prepare{rate}")
    numbers = sorted(set(folds["fold"]) - {NEVER})
    runs = len(numbers) * len(recipe.systems) * recipe.seeds if (table["emotion"] != "").any() else 0
    rate = seconds_per_example(recipe.profile)
    if runs and rate is None:
        parts.append(f"{runs} runs to tune, whose rate is not known: profile {recipe.profile} has no run of its own")
    elif runs:
        of = folds.drop_duplicates("subject").set_index("subject")["fold"]
        tested = table["subject"].map(of)
        examples = sum(int((tested != number).sum()) for number in numbers) * recipe.epochs
        each = rate * examples / len(numbers)
        total += each * runs / min(cores, runs)
        parts.append(f"{runs} runs to tune at about {each:.0f} s each, as {recipe.profile}'s own took them")
    size = f"about {total / 3600:.1f} hours" if total >= 1800 else f"about {max(total / 60, 1):.0f} minutes"
    return f"this will take {size} on {cores} cores, the answers not counted: {'; '.join(parts)}"
