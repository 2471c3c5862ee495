"""F7: UF1 against nuisances of the recording, calibration of the class probability, and abstention (no retraining)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deft import drawing as draw
from deft.evaluation import metrics, tables
from deft.evaluation.figures import data
from deft.evaluation.tables.t5b_exchange import SYSTEMS_SHOWN
from deft.evaluation.versions import AS_FILMED, LEVELS, UNITS
from deft.experts.calibrate import expected_calibration_error, reliability
from deft.systems import DEFT, spoken

COLOURS = dict(zip(SYSTEMS_SHOWN, (draw.BLUE, draw.RED, draw.GREEN, draw.ORANGE)))
MARKS = dict(zip(SYSTEMS_SHOWN, "osD^"))
FEWEST = 20  # answers in a bin of the reliability curve


def scores(profile: str, seed: int = 7) -> pd.DataFrame:
    """UF1 of every system under every nuisance and level: system, nuisance, level (NaN: as filmed), clips, draws, uf1,
    uf1_low, uf1_high, and lost (as filmed less it, paired) with its interval.
    """
    rows, out = tables.answered(profile), []
    for system in SYSTEMS_SHOWN:
        mine = rows[(rows["system"] == system) & (rows["streams"] == "")]
        if not len(mine):
            continue
        whole = tables.sample(mine[mine["nuisance"] == AS_FILMED])
        for nuisance, levels in LEVELS.items():
            for level in levels:
                part = mine[(mine["nuisance"] == nuisance) & (mine["level"] == level)]
                one = whole if level is None else tables.sample(part)
                out.append(
                    {
                        "system": system,
                        "nuisance": nuisance,
                        "level": np.nan if level is None else level,
                        "clips": mine["clip"].nunique(),
                        "draws": len(one.draws or (0,)),
                        **metrics.interval(one, metrics.uf1, seed=seed).columns("uf1"),
                        **metrics.difference(whole, one, metrics.uf1, seed=seed).columns("lost"),
                    }
                )
    return pd.DataFrame(out).round(4)


def sureness(answers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Probability given to the answer (N,) and whether it is right (N,) bool."""
    given = np.array([max(scores.values()) for scores in answers["scores"]])
    return given, (answers["prediction"] == answers["truth"]).to_numpy()


def abstention(given: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coverage, accuracy), (N,) each: of the surest 1, 2, ... N answers; equally sure ones in their order."""
    order = np.argsort(-np.asarray(given), kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.asarray(right)[order].cumsum() / count


def f7(profile: str) -> tuple[Figure, str]:
    """One panel per nuisance, one for calibration, one for abstention; and what is found."""
    found, answers = scores(profile), data.predictions(profile)
    answers = answers[answers["condition"] == "broken"]
    with draw.style():
        fig = draw.canvas(6.3)
        axes = fig.subplots(
            3, 3, gridspec_kw=dict(left=0.07, right=0.985, top=0.905, bottom=0.085, wspace=0.24, hspace=0.55)
        ).ravel()
        for ax, nuisance in zip(axes, LEVELS):
            _nuisance(ax, found[found.nuisance == nuisance], nuisance)
        words = _calibration(axes[7], axes[8], answers)
        for ax in axes[:7:3]:
            ax.set_ylabel("UF1")
        keys = axes[0].get_legend_handles_labels()
        fig.legend(*keys, loc="upper center", ncols=len(keys[1]), bbox_to_anchor=(0.5, 0.995))
    return fig, f"{_hurt(found)} {words}"


def _nuisance(ax: Axes, part: pd.DataFrame, nuisance: str) -> None:
    levels = LEVELS[nuisance]
    for place, (system, mine) in enumerate(part.groupby("system", sort=False)):
        x = np.arange(len(mine)) + 0.09 * (place - 1.5)
        ax.plot(x, mine.uf1, MARKS[system], ls="-", lw=1, ms=3.2, color=COLOURS[system], label=spoken(system))
        ax.vlines(x, mine.uf1_low, mine.uf1_high, color=COLOURS[system], lw=0.9)
    ax.axvline(levels.index(None), color=draw.GREY, lw=0.7, ls=":", zorder=0)
    ax.set(xticks=range(len(levels)), ylim=(0, 1), xlabel=UNITS[nuisance])
    ax.set_title(nuisance, pad=4)
    ax.set_xticklabels([AS_FILMED if level is None else f"{level:g}" for level in levels])
    ax.tick_params(length=2)
    ax.grid(axis="y", color="#E4E4E4", lw=0.6)


def _calibration(left: Axes, right: Axes, answers: pd.DataFrame) -> str:
    errors, surest = [], []
    left.plot([0, 1], [0, 1], color=draw.GREY, lw=0.7, ls=":")
    for system in SYSTEMS_SHOWN:
        if not len(mine := answers[answers["system"] == system]):
            continue
        given, good = sureness(mine)
        points = reliability(given, good)
        points = points[points[:, 2] >= FEWEST]
        left.plot(points[:, 0], points[:, 1], MARKS[system], ls="-", lw=1, ms=3.2, color=COLOURS[system])
        covered, accuracy = abstention(given, good)
        shown = covered >= 0.05
        right.plot(covered[shown], accuracy[shown], lw=1.2, color=COLOURS[system])
        errors.append(f"{spoken(system)} {expected_calibration_error(given, good):.2f}")
        half = accuracy[np.searchsorted(covered, 0.5)]
        surest.append(f"{spoken(system)} {half:.0%} instead of {accuracy[-1]:.0%}")
    left.set(
        xlim=(0.15, 1.02), ylim=(0, 1.02), title="calibration", xlabel="probability of the answer", ylabel="share right"
    )
    right.set(
        xlim=(0, 1.02), ylim=(0.2, 1.02), title="abstention", xlabel="coverage: share answered", ylabel="share right"
    )
    for ax in (left, right):
        ax.set_title(ax.get_title(), pad=4)
        ax.tick_params(length=2)
        ax.grid(color="#E4E4E4", lw=0.6)
    return f"Calibration error: {', '.join(errors)}. Answering the surer half only is right in: {', '.join(surest)}."


def _hurt(found: pd.DataFrame) -> str:
    """Which nuisance at its hardest level costs DEFT most, and by how much all systems lose there."""
    mine = found[found.system == DEFT]
    if not len(mine):
        return ""
    last = mine.groupby("nuisance", sort=False).tail(1).set_index("nuisance")
    worst, mildest = last.lost.idxmax(), last.lost.idxmin()
    sure = [name for name in last.index if last.lost_low[name] > 0]
    rivals = found[(found.nuisance == worst) & (found.level == last.level[worst])]
    told = ", ".join(f"{spoken(row.system)} {row.lost:.2f}" for row in rivals.itertuples())
    return (
        f"At the hardest level shown, {len(sure)} of {len(last)} nuisances cost DEFT UF1 by more than the interval"
        f" ({', '.join(sure) or 'none'}). {worst[0].upper() + worst[1:]} costs most, {mildest} least"
        f" ({last.lost[mildest]:.2f}); under {worst} the losses are: {told}."
    )
