"""Bayesian optimisation: a Gaussian process models the trials, expected improvement picks the next.

Running trials count with what the process expects of them, failed ones with the worst value seen.
A warm start's parents are in the same process: the first trial repeats their best point, then the
search goes on from what they know.
"""

import numpy as np

from loopwright.runtime.search import History, Proposal, Space
from loopwright.tuning.surrogate.climb import highest
from loopwright.tuning.surrogate.cube import Array, Cube
from loopwright.tuning.surrogate.evidence import (
    final_values,
    gather,
    parents_best,
    pending_rows,
    untried,
)
from loopwright.tuning.surrogate.filling import filling, start_count
from loopwright.tuning.surrogate.model import Model
from loopwright.tuning.surrogate.threads import one_thread

MODELLED_MIN = 3
"""Values that a model needs at least, parents' included."""


def suggest(space: Space, history: History, rng: np.random.Generator) -> Proposal:
    """The next point; the same for the same space, history and generator."""
    cube = Cube(space)
    own = cube.rows([trial.point for trial in history if trial.task == 0])
    return Proposal(cube.point(_next_row(space, cube, history, own, rng)))


def _next_row(
    space: Space, cube: Cube, history: History, own: Array, rng: np.random.Generator
) -> Array:
    if cube.size == 1 or not space.parameters:
        return np.full(len(space.parameters), 0.5)
    seen = final_values(cube, history)
    seeds = parents_best(cube, history)
    if len(own) < len(seeds):
        for row in untried(seeds, own):
            return row
    evidence = gather(seen)
    warm = sum(one.task > 0 for one in seen)
    blind = len(own) + warm < start_count(space)
    if blind or evidence is None or len(evidence.values) < MODELLED_MIN:
        return filling(cube, own, rng)
    with one_thread():
        model = Model(cube, evidence, pending_rows(cube, history))
        return highest(cube, model, own, rng)
