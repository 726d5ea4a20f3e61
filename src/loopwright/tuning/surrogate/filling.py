"""The start of a search, before there is anything to model: points that fill the space evenly."""

import numpy as np

from loopwright.runtime.search import Space
from loopwright.tuning.surrogate.cube import Array, Cube, keys

CANDIDATES = 256
START_MIN = 4
START_MAX = 12
"""Points of the start when the budget is unknown: at most so many."""


def start_count(space: Space) -> int:
    """How many of a job's first trials fill the space: max(4, min(d + 2, budget / 4))."""
    limit = START_MAX if space.budget is None else space.budget // 4
    return max(START_MIN, min(len(space.parameters) + 2, limit))


def filling(cube: Cube, tried: Array, rng: np.random.Generator) -> Array:
    """The candidate that fills the space best beside the rows tried, shape (d,).

    Of 256 draws it takes the one that keeps the wrap-around discrepancy lowest (Hickernell 1998:
    the sum over pairs of the product over columns of 3/2 - |x - y| (1 - |x - y|)); two categories
    count as half a column apart. Other than a fixed sequence this fills around any trials, those
    of a warm start too. Rows already tried are passed over while there are others.
    """
    candidates = cube.draw(CANDIDATES if len(tried) else 1, rng)
    if not len(tried):
        return np.asarray(candidates[0])
    known = np.nan_to_num(tried, nan=0.5)
    taken = set(keys(known))
    fresh = np.array([key not in taken for key in keys(candidates)])
    if fresh.any():
        candidates = candidates[fresh]
    gaps = np.abs(candidates[:, None, :] - known[None, :, :])
    categories = np.array(cube.categories) > 0
    gaps[:, :, categories] = np.where(gaps[:, :, categories] > 1e-9, 0.5, 0.0)
    discrepancy = np.prod(1.5 - gaps * (1.0 - gaps), axis=2).sum(axis=1)
    return np.asarray(candidates[int(np.argmin(discrepancy))])
