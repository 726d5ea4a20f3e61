"""Hyperband: asynchronous successive halving, with new trials chosen by a Gaussian process.

Trials are compared at rungs (`Resources.rungs`), and a third of each rung goes on (ASHA: Li et al.
2020, arXiv 1810.05934). Where trials resume from checkpoints they pause at every rung and the best
are promoted; a new trial starts when nothing can be promoted. Where they do not, new trials run on
and `stop` ends those that are not among the best third at a rung. New points come from one process
over the parameters and the logarithm of the step, so that cheap values teach about expensive ones
(MOBSTER: Klein et al. 2020, arXiv 2003.10865).
"""

import math
from collections.abc import Sequence

import numpy as np

from loopwright.runtime.search import ETA, History, Proposal, Resources, Space, Trial
from loopwright.tuning.surrogate.climb import highest
from loopwright.tuning.surrogate.cube import Array, Cube
from loopwright.tuning.surrogate.evidence import (
    Seen,
    gather,
    inside,
    parents_best,
    pending_rows,
    untried,
)
from loopwright.tuning.surrogate.filling import filling, start_count
from loopwright.tuning.surrogate.model import Model
from loopwright.tuning.surrogate.threads import one_thread

LEVEL_VALUES_MIN = 3
"""The highest rung with so many values is the one that new trials are chosen for."""
POINTS_MAX = 300


def suggest(space: Space, history: History, rng: np.random.Generator) -> Proposal | None:
    """Promote the best paused trial, else start a new one; None when neither is possible.

    When the budget of trials is spent, nothing runs and nothing can be promoted by the rule, the
    best trial of the highest rung goes on alone, unless some trial has reached the top.

    Raises:
        ValueError: the space has no resources.
    """
    resources = _resources(space)
    own = [trial for trial in history if trial.task == 0]
    if resources.resumable:
        promoted = promotion(resources.rungs, own)
        if promoted is not None:
            return promoted
    if space.budget is not None and len(own) >= space.budget:
        return _last(resources, own)
    row = _next_row(space, history, own, rng)
    first = resources.rungs[0] if resources.resumable and len(resources.rungs) > 1 else None
    return Proposal(Cube(space).point(row), target=first)


def promotion(rungs: Sequence[int], own: Sequence[Trial]) -> Proposal | None:
    """Of the highest rung that has one: its best paused trial among the rung's best third."""
    for index in reversed(range(len(rungs) - 1)):
        reached = _ranked(own, rungs[index])
        for trial in reached[: len(reached) // ETA]:
            if trial.state == "paused" and _paused_at(trial, rungs) == index:
                return _resume(trial, rungs, index)
    return None


def stop(trial: Trial, history: History, space: Space) -> str | None:
    """Why a running trial ends at a rung, or None when it goes on.

    It ends when its value at the highest rung that it has reached is not among the best third of
    this job's trials that have reached it. A rung with fewer than three values ends nobody.
    Always None where trials are paused instead (`Resources.resumable`), and below `minimum` steps.

    Raises:
        ValueError: the space has no resources.
    """
    resources = _resources(space)
    steps = trial.curve[-1][0] if trial.curve else 0
    passed = [rung for rung in resources.rungs[:-1] if resources.minimum <= rung <= steps]
    if resources.resumable or not passed:
        return None
    rung = passed[-1]
    own = [t for t in history if t.task == 0 and t.number != trial.number]
    values = [value for t in own if (value := t.at(rung)) is not None]
    mine = trial.at(rung)
    if mine is None or len(values) + 1 < ETA:
        return None
    better = sum(value < mine for value in values)
    places = (len(values) + 1) // ETA
    if better < places:
        return None
    return (
        f"at step {rung} its value {mine:.6g} is number {better + 1} of {len(values) + 1} trials; "
        f"the best {places} go on"
    )


def _resources(space: Space) -> Resources:
    if space.resources is None:
        raise ValueError("Hyperband needs the least and the most steps of a trial")
    return space.resources


def _ranked(own: Sequence[Trial], rung: int) -> list[Trial]:
    """Trials that reached a rung, best first, the older first among equals."""
    found = [(value, t.number, t) for t in own if (value := t.at(rung)) is not None]
    return [trial for _, _, trial in sorted(found, key=lambda entry: entry[:2])]


def _paused_at(trial: Trial, rungs: Sequence[int]) -> int:
    """Index of the highest rung that a trial has reached; -1 below the first."""
    steps = trial.curve[-1][0] if trial.curve else 0
    return sum(rung <= steps for rung in rungs) - 1


def _resume(trial: Trial, rungs: Sequence[int], index: int) -> Proposal:
    """Go on from rung `index` to the next; the top has no target, it is the trial's end."""
    following = rungs[index + 1] if index + 2 < len(rungs) else None
    return Proposal(trial.point, target=following, resumes=trial.number)


def _last(resources: Resources, own: Sequence[Trial]) -> Proposal | None:
    """The best paused trial of the highest rung, when no trial runs or has reached the top."""
    rungs = resources.rungs
    if not resources.resumable or any(t.state in ("running", "completed") for t in own):
        return None
    for index in reversed(range(len(rungs) - 1)):
        for trial in _ranked(own, rungs[index]):
            if trial.state == "paused" and _paused_at(trial, rungs) == index:
                return _resume(trial, rungs, index)
    return None


def _next_row(
    space: Space, history: History, own: Sequence[Trial], rng: np.random.Generator
) -> Array:
    """The row of a new trial."""
    cube = Cube(space)
    if cube.size == 1 or not space.parameters:
        return np.full(len(space.parameters), 0.5)
    tried = cube.rows([trial.point for trial in own])
    seeds = parents_best(cube, history)
    if len(own) < len(seeds):
        for row in untried(seeds, tried):
            return row
    rungs = _resources(space).rungs
    seen = rung_values(cube, history, rungs)
    known = [one for one in seen if one.value is not None]
    if len({(one.task, one.trial) for one in known}) < start_count(space) or not known:
        return filling(cube, tried, rng)
    levels = [_level(rung, rungs) for rung in rungs]
    counts = [sum(one.level == level and one.task == 0 for one in known) for level in levels]
    full = [lv for lv, count in zip(levels, counts, strict=True) if count >= LEVEL_VALUES_MIN]
    evidence = gather(seen, full[-1] if full else levels[-1], POINTS_MAX)
    if evidence is None:
        return filling(cube, tried, rng)
    with one_thread():
        return highest(cube, Model(cube, evidence, pending_rows(cube, history)), tried, rng)


def rung_values(cube: Cube, history: History, rungs: Sequence[int]) -> list[Seen]:
    """Every trial's value at every rung it reached; a failed trial's next rung without a value.

    A parent's trial without a curve has its final value at the top.
    """
    rows = cube.rows([trial.point for trial in history])
    seen = []
    for trial, row in zip(history, rows, strict=True):
        if not inside(row):
            continue
        found = [(rung, value) for rung in rungs if (value := trial.at(rung)) is not None]
        entries: list[tuple[int, float | None]] = list(found)
        if not found and trial.task and trial.value is not None:
            entries = [(rungs[-1], trial.value)]
        if trial.state == "failed":
            entries.append((rungs[min(len(found), len(rungs) - 1)], None))
        seen += [
            Seen(row, _level(rung, rungs), value, trial.task, trial.same, trial.number)
            for rung, value in entries
        ]
    return seen


def _level(rung: int, rungs: Sequence[int]) -> float:
    """Where a rung lies between the first (0) and the top (1) by the logarithm of its steps."""
    if len(rungs) == 1:
        return 1.0
    return math.log(rung / rungs[0]) / math.log(rungs[-1] / rungs[0])
