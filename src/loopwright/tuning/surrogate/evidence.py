"""What the trials say, as arrays for a Gaussian process: rows, context columns, warped values.

Beside the parameters a row has context: one column with the logarithm of the step, for strategies
that compare trials before their end, and one column for each parent of a warm start, which is 1
for that parent's trials and 0 elsewhere. The length-scale of these columns is learned, so the
process finds out how much a parent's values mean here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopwright.runtime.search import History, Trial
from loopwright.tuning.surrogate.cube import Array, Cube, keys
from loopwright.tuning.surrogate.process import Layout
from loopwright.tuning.surrogate.warping import half_rank

POINTS_MAX = 1000
SAME_LENGTH_LOG = math.log(10.0)
"""A parent with the same data starts almost at distance 0 of this job."""
OTHER_LENGTH_LOG = 0.0
OTHER_OFFSET = 1.0
"""Prior variance of the constant by which a parent with other data differs."""
NEIGHBOURS = 3
SCALE_TRUST = 4.0
"""Own values that weigh as much as the parents in the scale of own values."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One value of one trial.

    Attributes:
        row: Of the cube, shape (d,).
        level: Where in 0 … 1 of the logarithmic step range the value was reported.
        value: Lower is better; None: the trial failed.
        task: As in `Trial`.
        same: As in `Trial`.
        trial: Number of the trial within its task.
    """

    row: Array
    level: float
    value: float | None
    task: int = 0
    same: bool = True
    trial: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a process learns from.

    Attributes:
        rows: Shape (n, d), snapped.
        context: Shape (n, k), k >= 0.
        values: Shape (n,), warped to about a standard normal, lower is better.
        groups: Shape (n,): points of one group share a constant; 0 is this job's.
        here: Context of a point of this job at the compared level, shape (k,).
        lengths: Prior mean of the logarithmic length-scales of the context, shape (k,).
        own: Which points are this job's own, shape (n,).
        offset: Prior variance of the groups' constants.
    """

    rows: Array
    context: Array
    values: Array
    groups: NDArray[np.intp]
    here: Array
    lengths: Array
    own: NDArray[np.bool_]
    offset: float

    def layout(self, cube: Cube) -> Layout:
        """The process's columns: the cube's features, then the context.

        The length-scales start around 0.35 sqrt(d) + 0.25, so that the process stays about as
        smooth along a diagonal with more parameters (Hvarfner, Hellsten, Nardi 2024,
        arXiv 2402.02229, argue for the square root).
        """
        count = len(cube.parameters)
        free = max(1, sum(cells > 1 for cells in cube.cells))
        length = math.log(0.35 * math.sqrt(free) + 0.25)
        groups = np.concatenate([cube.groups, count + np.arange(len(self.here))])
        numbers = [
            column
            for column, group in enumerate(cube.groups)
            if not cube.categories[group] and cube.cells[group] > 2
        ]
        return Layout(
            groups.astype(np.intp),
            np.concatenate([np.full(count, length), self.lengths]),
            np.array(numbers, dtype=np.intp),
            self.offset,
        )

    def features(self, cube: Cube) -> Array:
        """Columns for the process, shape (n, c)."""
        return np.concatenate([cube.features(self.rows), self.context], axis=1)


def final_values(cube: Cube, history: History) -> list[Seen]:
    """The last value of every trial that has one, and every failed trial.

    Parents' trials outside the space are left out.
    """
    ended = [t for t in history if t.state == "failed" or t.value is not None]
    rows = cube.rows([trial.point for trial in ended])
    return [
        Seen(row, 1.0, trial.value, trial.task, trial.same, trial.number)
        for trial, row in zip(ended, rows, strict=True)
        if inside(row)
    ]


def inside(row: Array) -> bool:
    """Whether a row is within the cube where it says anything."""
    return bool(np.all(np.isnan(row) | ((row >= 0.0) & (row <= 1.0))))


def gather(
    seen: Sequence[Seen], level: float | None = None, points_max: int = POINTS_MAX
) -> Evidence | None:
    """Evidence of values; None when no value but failures was seen.

    Args:
        seen: Oldest first.
        level: At which predictions are wanted; None: the step is no input.
        points_max: At most so many points: the best third, then the newest.
    """
    if all(one.value is None for one in seen):
        return None
    rows = np.stack([one.row for one in seen])
    tasks = np.array([one.task for one in seen])
    shared = np.array([one.task == 0 or one.same for one in seen])
    groups = np.where(shared, 0, tasks).astype(np.intp)
    raw = np.array([math.nan if one.value is None else one.value for one in seen])
    known = np.array([bool(np.isfinite(raw[groups == g]).any()) for g in groups])
    rows, tasks, groups, raw = rows[known], tasks[known], groups[known], raw[known]
    levels = np.array([one.level for one in seen])[known]
    values = _warped(rows, raw, groups)
    kept = _kept(values, tasks, points_max)
    parents = np.unique(tasks[tasks > 0])
    same = np.array([bool(np.all(groups[tasks == parent] == 0)) for parent in parents], dtype=bool)
    columns = (tasks[:, None] == parents[None, :]).astype(np.float64)
    lengths = np.where(same, SAME_LENGTH_LOG, OTHER_LENGTH_LOG)
    here = np.zeros(len(parents))
    if level is not None:
        columns = np.concatenate([columns, levels[:, None]], axis=1)
        lengths, here = np.append(lengths, 0.0), np.append(here, level)
    return Evidence(
        rows[kept],
        columns[kept],
        values[kept],
        groups[kept],
        here,
        lengths,
        (tasks == 0)[kept],
        0.0 if bool(np.all(groups == 0)) else OTHER_OFFSET,
    )


def pending_rows(cube: Cube, history: History) -> Array:
    """Rows of this job's trials that run without having ended, shape (p, d)."""
    running = [t for t in history if t.task == 0 and t.value is None and t.state != "failed"]
    return cube.rows([trial.point for trial in running])


def parents_best(cube: Cube, history: History) -> list[Array]:
    """The best row of each group of parents, those with the same data first, each shape (d,).

    Parents with the same data are one group, because their values can be compared.
    """
    groups: dict[tuple[bool, int], list[Trial]] = {}
    for trial in history:
        if trial.task and trial.value is not None:
            key = (False, 0) if trial.same else (True, trial.task)
            groups.setdefault(key, []).append(trial)
    found = []
    for key in sorted(groups):
        seen = [one for one in final_values(cube, groups[key]) if one.value is not None]
        if seen:
            found.append(min(seen, key=lambda one: one.value or 0.0).row)
    return [cube.snap(np.where(np.isnan(row), 0.5, row)[None, :])[0] for row in found]


def untried(rows: Sequence[Array], tried: Array) -> list[Array]:
    """Those of the rows that are not among the rows tried, shape (n, d)."""
    taken = set(keys(tried))
    return [row for row in rows if keys(row[None, :])[0] not in taken]


def _warped(rows: Array, raw: Array, groups: NDArray[np.intp]) -> Array:
    """Each group's values warped on their own, failures at the worst of them."""
    values = np.zeros_like(raw)
    for group in np.unique(groups):
        mask = groups == group
        values[mask] = half_rank(np.where(np.isnan(raw[mask]), np.nanmax(raw[mask]), raw[mask]))
    own = groups == 0
    if own.any() and not own.all():
        values[own] = _aligned(values[own], rows[own], values[~own], rows[~own])
    return values


def _aligned(values: Array, rows: Array, others: Array, other_rows: Array) -> Array:
    """Own values moved to where parents with other data have theirs at the same places.

    A few values of this job, all near the parents' best, are not spread like a whole search; so
    their mean becomes that of the parents' nearest values, and so does, at first, their spread.
    """
    own, other = np.nan_to_num(rows, nan=0.5), np.nan_to_num(other_rows, nan=0.5)
    distances = np.abs(own[:, None, :] - other[None, :, :]).sum(axis=2)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    expected = others[nearest].mean(axis=1)
    trust = len(values) / (len(values) + SCALE_TRUST)
    scale = trust + (1.0 - trust) * float(expected.std())
    moved: Array = expected.mean() + scale * (values - values.mean())
    return moved


def _kept(values: Array, tasks: NDArray[np.intp], points_max: int) -> NDArray[np.intp]:
    """Which points to keep, ascending: the best third of `points_max`, then the newest."""
    count = len(values)
    if count <= points_max:
        return np.arange(count)
    best = np.argsort(values, kind="stable")[: points_max // 3]
    age = np.lexsort((np.arange(count), tasks == 0))[::-1]
    rest = age[~np.isin(age, best)][: points_max - len(best)]
    return np.sort(np.concatenate([best, rest]))
