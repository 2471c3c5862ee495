"""How much do trained numbers vary from run to run, and what may a new run be? Prediction intervals with a measured
false alarm.

A few complete runs give every statistical cell a mean and a standard deviation, the latter from a handful of numbers.
Three steps:
- *Moderation*: the variance of a cell is drawn towards what its column and its row let one expect, as strongly as the
  variances of its table follow columns and rows (empirical Bayes; Smyth, Stat. Appl. Genet. Mol. Biol. 3(1), 2004,
  there with one expectation for all). A column says how much a metric moves, a row how much a system does: F1 of a
  model at chance moves more than that of a converged reader.
- *Two critical values* for a whole run, where t = (new - mean) / (moderated sd * sqrt(1 + 1 / runs)): one for the
  largest |t| of all cells, which gives the interval of each cell, and one for the root mean square of all t (the
  *drift*), which sees many small shifts at once. Before the largest is taken, each |t| is divided by the *reach* of its
  table (what the largest |t| of that table stays below in 99 % of simulated runs): cells of one table that move very
  unlike each other would otherwise widen the intervals of every other table.
- *Measured*, not assumed: runs are simulated from the reference runs (variances drawn from their posterior, errors
  correlated as the runs' residuals are, shrunk), the whole procedure is repeated on each, and each critical value is
  the .995 quantile of its statistic. How strongly variances are drawn together at least is what makes the intervals
  narrowest at that false alarm. Then every reference run is judged by the others. If one of them lies beyond, the
  reach of its table, or the critical drift, is raised to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import digamma, polygamma

FALSE_ALARM = 0.01  # of a whole run, all its cells together
REACH = 0.99  # quantile of the largest |t| of one table by which its cells are compared with those of other tables
LEAST_PRIORS = (
    4.0,
    8.0,
    16.0,
    32.0,
    64.0,
)  # degrees of freedom that the cells of like kind may count at least; the measurement pays for what it costs
SIMULATIONS, CHUNK, SEED = 2000, 250, 7
MINIMUM_RUNS = 3
ROUNDED = 5e-5  # tables have four digits: no cell is known better
SHARE = 0.002  # of itself by which a number without a count of clips moves at least from one processor to another


@dataclass(frozen=True)
class Layout:
    """Which of M cells share a table, a column (without `_low` and `_high`), a row: matrices (M, tables), (M,
    columns), (M, rows) of 0 and 1.
    """

    tables: sparse.csr_array
    columns: sparse.csr_array
    rows: sparse.csr_array


def _membership(labels: list) -> sparse.csr_array:
    """M labels -> (M, distinct labels), 1 where the cell has that label."""
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return sparse.csr_array(
        (np.ones(len(labels)), ([*range(len(labels))], [number[label] for label in labels])),
        shape=(len(labels), len(number)),
    )


@dataclass(frozen=True)
class Spread:
    """What the reference runs say of each statistical cell (M cells): `values` (R, M).

    least: (M,) the standard deviation that each cell has at least. What no run of a few moved is not exact for that: on
    another processor an answer of a support vector machine turns over, a share at its ceiling leaves it.
    complete: how many of the R runs stand behind the mean; the others are carried over from older code for the spread
    alone."""

    keys: tuple[tuple[str, str, str], ...]
    values: np.ndarray
    complete: int
    least: np.ndarray

    @property
    def runs(self) -> int:
        """How many runs, R."""
        return len(self.values)

    @property
    def mean(self) -> np.ndarray:
        """(M,) mean of each cell over all runs."""
        return self.values.mean(axis=0)

    @property
    def sd(self) -> np.ndarray:
        """(M,) standard deviation of each cell over all runs."""
        return self.values.std(axis=0, ddof=1)

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """{table: (M,) which cells are its own}."""
        of_cell = np.array([key[0] for key in self.keys])
        return {table: of_cell == table for table in dict.fromkeys(of_cell.tolist())}

    @cached_property
    def layout(self) -> Layout:
        """Which cells share a table, a column, a row."""
        return Layout(
            *(
                _membership(labels)
                for labels in (
                    [key[0] for key in self.keys],
                    [like(key) for key in self.keys],
                    [key[:2] for key in self.keys],
                )
            )
        )

    def without(self, run: int) -> Spread:
        """The same from all runs but one of the complete ones. Carried runs are shifted to the mean of those that stay:
        where they stood, they told of the one that is left out.
        """
        if not run < self.complete:
            raise IndexError(f"run {run} is none of the {self.complete} complete ones")
        values, complete = np.delete(self.values, run, axis=0), self.complete - 1
        values[complete:] += values[:complete].mean(axis=0) - self.values[: self.complete].mean(axis=0)
        return replace(self, values=values, complete=complete)

    @property
    def factor(self) -> float:
        """Standard deviations of (new run - mean) per standard deviation of a run."""
        return float(np.sqrt(1 + 1 / self.complete))


def like(key: tuple[str, str, str]) -> tuple[str, str]:
    """What makes cells alike: their table, and their column without `_low` and `_high`."""
    table, _, column = key
    return table, column.removesuffix("_low").removesuffix("_high")


def of_runs(
    runs: list[dict[tuple[str, str, str], float]],
    carried: list[dict[tuple[str, str, str], float]] = (),
    counts: dict[tuple[str, str], float] | None = None,
) -> Spread:
    """Spread of the cells that every run has. runs, carried: {(table, row, column): number} each. counts: {(table,
    row): clips or texts whose answers the row tells}; its numbers move by one of them at least (`Spread.least`).

    Carried runs are shifted to the mean of the others, and their scatter is widened for the mean of their own that this
    costs."""
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run(s) have no spread; at least 2 are needed")
    keys = tuple(key for key in runs[0] if all(key in run for run in (*runs, *carried)))
    values = np.array([[run[key] for key in keys] for run in runs], np.float64).reshape(len(runs), len(keys))
    if len(carried) > 1:
        older = np.array([[run[key] for key in keys] for run in carried], np.float64)
        older = (older - older.mean(axis=0)) * np.sqrt(len(carried) / (len(carried) - 1))
        values = np.concatenate([values, values.mean(axis=0) + older])
    known, typical = counts or {}, np.abs(values.mean(axis=0))
    least = [1 / known[key[:2]] if known.get(key[:2]) else SHARE * size for key, size in zip(keys, typical)]
    return Spread(keys, values, len(runs), np.maximum(least, ROUNDED))


def _inverse_trigamma(y: np.ndarray) -> np.ndarray:
    """x with trigamma(x) = y > 0, by Newton's method on 1 / trigamma."""
    y, place = np.unique(y, return_inverse=True)  # cells of one table and rows of one length share their value
    x = 0.5 + 1 / y
    for _ in range(8):  # it converges quadratically from below
        value = polygamma(1, x)
        x = np.maximum(x + value * (1 - value / y) / polygamma(2, x), 1e-8)
    return x[place]


def prior(variance: np.ndarray, degrees: float, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Variances (..., M) of M cells, each from `degrees` -> (prior variance (..., M), prior degrees of freedom (...,
    M)).

    log variance = effect of the column + effect of the row + what is the cell's own. Moments of log variances under a
    scaled F distribution give, table by table, how large the latter two are; a row's effect is shrunk by how little its
    cells tell of it, and what stays unknown of it counts as the cell's own. Cells that never moved say nothing of how
    much such a cell moves, so they are left out; where nothing of a column moved, its prior variance is 0."""
    variance = np.asarray(variance, np.float64)
    moved = (variance > 0).astype(float)
    noise = float(polygamma(1, degrees / 2))  # variance of the logarithm of a variance that is known from `degrees`
    e = np.where(
        moved > 0, np.log(np.where(moved > 0, variance, 1.0)) - digamma(degrees / 2) + np.log(degrees / 2), 0.0
    )

    def mean(value: np.ndarray, among: sparse.csr_array) -> np.ndarray:
        """Mean over the moved cells that share a column or row, given back to each cell."""
        return (((value * moved) @ among) / np.maximum(moved @ among, 1)) @ among.T

    def table_sum(value: np.ndarray) -> np.ndarray:
        return (value @ layout.tables) @ layout.tables.T

    in_column, in_row = (
        (moved @ among) @ among.T for among in (layout.columns, layout.rows)
    )  # moved cells beside each cell
    each = np.maximum(in_row, 1)
    column = mean(e, layout.columns)
    row = mean(e - column, layout.rows)
    left = moved * (e - column - row)
    within = table_sum(left**2) / np.maximum(table_sum(moved * (1 - 1 / each - 1 / np.maximum(in_column, 1))), 1)
    within = np.maximum(within, noise)
    of_rows = np.maximum(table_sum(moved * (row**2 - within / each)) / np.maximum(table_sum(moved), 1), 0.0)
    known = of_rows / (of_rows + within / each)
    extra = within - noise + of_rows * (1 - known)
    d0 = np.minimum(2 * _inverse_trigamma(np.maximum(extra, 2e-3)), 1e3)
    s0 = np.exp(column + known * row + digamma(d0 / 2) - np.log(d0 / 2))
    return np.where(in_column > 0, s0, 0.0), d0


def drawn_together(
    variance: np.ndarray,
    degrees: float,
    prior_variance: np.ndarray,
    prior_degrees: np.ndarray,
    floor: float,
    least: np.ndarray | float = ROUNDED,
) -> np.ndarray:
    """Moderated standard deviation of each cell, all (..., M); the prior counts `floor` degrees at least. least: as in
    `Spread`.
    """
    weight = np.maximum(prior_degrees, floor)
    return np.maximum(np.sqrt((degrees * variance + weight * prior_variance) / (degrees + weight)), least)


def scale(spread: Spread, floor: float) -> np.ndarray:
    """(M,) what one unit of t is worth for each cell."""
    variance, degrees = np.square(np.maximum(spread.sd, spread.least)), spread.runs - 1
    told = prior(variance, degrees, spread.layout)
    return drawn_together(variance, degrees, *told, floor, spread.least) * spread.factor


def ratios(spread: Spread, new: np.ndarray, floor: float) -> np.ndarray:
    """(M,) new numbers -> t of each."""
    return (new - spread.mean) / scale(spread, floor)


def largest(spread: Spread, t: np.ndarray, reach: dict[str, float]) -> tuple[float, int]:
    """The largest |t| / reach of its table, and the number of that cell. t: (M,), NaN where the run has no number."""
    relative = np.abs(t) / per_cell(spread, reach)
    worst = int(np.nanargmax(relative))
    return float(relative[worst]), worst


def per_cell(spread: Spread, reach: dict[str, float]) -> np.ndarray:
    """(M,) the reach of each cell's table."""
    return np.array([reach[key[0]] for key in spread.keys])


def drift(t: np.ndarray) -> np.ndarray:
    """(..., M) -> (...) root mean square, each |t| counted as 4 at most, so that it is not the largest one again."""
    return np.sqrt(np.square(np.minimum(np.abs(t), 4.0)).mean(axis=-1))


def shrinkage(residual: np.ndarray) -> float:
    """How much of the residuals' correlation is taken for real, 0 .. 1 (Schaefer and Strimmer, 2005). residual: (R, M)
    around the mean.

    With a handful of runs most of a sample correlation is chance; the more it is shrunk, the larger the largest |t|
    becomes."""
    n = len(residual)
    z = residual / np.maximum(residual.std(axis=0, ddof=1), 1e-12)
    z = z[:, residual.std(axis=0) > 0][:, :: max(1, residual.shape[1] // 250)]
    if z.shape[1] < 2 or n < 3:
        return 0.0
    product = z[:, :, None] * z[:, None, :]
    mean = product.mean(axis=0)
    variance = n / (n - 1) ** 3 * ((product - mean) ** 2).sum(axis=0)
    correlation = n / (n - 1) * mean
    off = ~np.eye(z.shape[1], dtype=bool)
    return float(np.clip(1 - variance[off].sum() / np.square(correlation[off]).sum(), 0.0, 1.0))


def simulate(
    spread: Spread,
    kept: float,
    simulations: int = SIMULATIONS,
    seed: int = SEED,
    floors: tuple[float, ...] = LEAST_PRIORS,
) -> dict[float, np.ndarray]:
    """New runs that differ from the reference runs by chance alone -> {floor: (simulations, T + 2)}.

    kept: share of the residuals' correlation that the simulated errors have. The columns: the largest |t| of each of
    the T tables, the drift, and the geometric mean of what one unit of t is worth."""
    rng, degrees, runs = np.random.default_rng(seed), spread.runs - 1, spread.runs
    residual = spread.values - spread.mean
    common = (
        residual / np.maximum(spread.sd, 1e-12) / np.sqrt(degrees)
    )  # (R, M): rows combine to errors of the runs' own correlation
    common = np.where(spread.sd > 0, common, 0.0)
    expected, weight = prior(np.square(np.maximum(spread.sd, spread.least)), degrees, spread.layout)
    weight = np.maximum(weight, 0.5)
    typical = drawn_together(np.square(spread.sd), degrees, expected, weight, 0.0, spread.least)
    own = np.where(spread.sd > 0, np.sqrt(1 - kept), 1.0).astype(np.float32)
    apart = np.flatnonzero(own)  # cells with errors of their own; most have none when all correlation is kept
    common = (np.sqrt(kept) * common).astype(np.float32)
    found: dict[float, list[np.ndarray]] = {floor: [] for floor in floors}
    for start in range(0, simulations, CHUNK):
        number = min(CHUNK, simulations - start)
        true = typical * np.sqrt(
            (degrees + weight) / rng.chisquare(np.broadcast_to(degrees + weight, (number, len(spread.keys))))
        )
        drawn = rng.standard_normal((number * (runs + 1), runs), np.float32)
        value = drawn @ common  # one product: a stack of small ones takes 20 times as long
        value = value.reshape(number, runs + 1, -1)
        noise = own[apart] * rng.standard_normal((number, runs + 1, len(apart)), np.float32)
        if len(apart) == len(own):
            value += noise
        else:
            value[..., apart] += noise
        value *= true[:, None].astype(np.float32)
        mean, variance = value[:, : spread.complete].mean(axis=1), value[:, :-1].var(axis=1, ddof=1)
        variance = np.maximum(variance, np.square(spread.least))
        told = prior(variance, degrees, spread.layout)
        for floor in floors:
            unit = drawn_together(variance, degrees, *told, floor, spread.least) * spread.factor
            t = (value[:, -1] - mean) / unit
            found[floor].append(
                np.stack(
                    [
                        *(np.abs(t[:, own]).max(axis=1) for own in spread.tables.values()),
                        drift(t),
                        np.exp(np.log(unit).mean(axis=1)),
                    ],
                    axis=1,
                )
            )
    return {floor: np.concatenate(parts) for floor, parts in found.items()}


def measure(
    spread: Spread,
    names: list[str],
    simulations: int = SIMULATIONS,
    seed: int = SEED,
    floors: tuple[float, ...] = LEAST_PRIORS,
) -> dict:
    """The critical values and what was measured of them, ready for JSON. names: of the runs.

    Errors that go together make the largest |t| smaller and the drift more uncertain, and a few runs hardly tell how
    far they do. So each statistic is measured under the shrunk correlation and under all of it, and takes the larger
    value."""
    kept = shrinkage(spread.values - spread.mean)
    loose, tight = (
        simulate(spread, kept, simulations, seed, floors),
        simulate(spread, 1.0, simulations, seed + 1, floors),
    )
    names_of, cells = tuple(spread.tables), np.array([own.sum() for own in spread.tables.values()])
    reaches = {
        floor: np.maximum(*(np.quantile(part[floor][:, :-2], REACH, axis=0) for part in (loose, tight)))
        for floor in loose
    }
    together = {
        floor: [
            np.stack([(part[floor][:, :-2] / reaches[floor]).max(axis=1), part[floor][:, -2]], axis=1)
            for part in (loose, tight)
        ]
        for floor in loose
    }
    quantile = {
        floor: np.maximum(*(np.quantile(part, 1 - FALSE_ALARM / 2, axis=0) for part in together[floor]))
        for floor in loose
    }
    floor = min(
        loose,
        key=lambda f: (
            quantile[f][0] * np.exp((np.log(reaches[f]) * cells).sum() / cells.sum()) * np.median(loose[f][:, -1])
        ),
    )
    simulated, left_out = quantile[floor], []
    reach = {name: round(float(value), 3) for name, value in zip(names_of, reaches[floor])}
    raised = dict(reach)
    if spread.complete > MINIMUM_RUNS:
        for run, name in enumerate(names[: spread.complete]):
            t = ratios(spread.without(run), spread.values[run], floor)
            worst, cell = largest(spread, t, reach)
            left_out.append(
                {
                    "run": name,
                    "largest": round(worst, 3),
                    "cell": list(spread.keys[cell]),
                    "t": round(float(t[cell]), 2),
                    "drift": round(float(drift(t)), 3),
                }
            )
            for table, own in spread.tables.items():  # the others keep theirs: one odd table must not blind them
                raised[table] = max(raised[table], round(float(np.abs(t[own]).max() / simulated[0]), 3))
    critical = [float(simulated[0]), max([float(simulated[1]), *(entry["drift"] for entry in left_out)])]
    wider = np.array([reach[name] / raised[name] for name in names_of])
    alarm = [
        float(
            (
                ((part[floor][:, :-2] / reaches[floor] * wider).max(axis=1) > critical[0])
                | (part[floor][:, -2] > critical[1])
            ).mean()
        )
        for part in (loose, tight)
    ]
    return {
        "cells": len(spread.keys),
        "runs": spread.runs,
        "critical": round(critical[0], 3),
        "reach": raised,
        "critical_drift": round(critical[1], 3),
        "simulated": {
            "critical": round(float(simulated[0]), 3),
            "critical_drift": round(float(simulated[1]), 3),
            "reach": reach,
            "simulations": simulations,
            "seed": seed,
            "false_alarm": round(max(alarm), 4),
            "largest_median": round(float(np.median(together[floor][0][:, 0])), 3),
            "drift_median": round(float(np.median(loose[floor][:, -2])), 3),
        },
        "least_prior": floor,
        "correlation_kept": round(kept, 3),
        "false_alarm_wanted": FALSE_ALARM,
        "left_out": left_out,
        "left_out_beyond_simulated": sum(
            bool(entry["largest"] > simulated[0] or entry["drift"] > simulated[1]) for entry in left_out
        ),
    }
