"""Finding the row of the cube with the highest score: draws, local moves, then the gradient.

It knows rows and scores only. Rows that mean a point already tried are passed over as long as
there are others.
"""

import numpy as np
from scipy.optimize import minimize

from loopwright.tuning.surrogate.cube import Array, Cube
from loopwright.tuning.surrogate.model import Model

DRAWS = 700
CENTRES = 8
MOVES = 60
ROUNDS = 3
CLIMBERS = 4
STEPS_MAX = 25
SMOOTH_CELLS = 12
"""Whole numbers with at least so many values are climbed like continuous ones, then snapped."""
LISTED_MAX = 2048
"""A space of at most so many points is searched completely."""
FLIP_SHARE = 0.4
APART = 0.003
"""A new point is at least so far from those tried: right beside one it would teach nothing, and a
process that believes in the end of a range would go there again and again."""
EQUAL = 1e-9


def highest(cube: Cube, model: Model, tried: Array, rng: np.random.Generator) -> Array:
    """The row with the highest score, shape (d,), snapped.

    Args:
        cube: The space.
        model: Gives the scores.
        tried: Rows not to propose again while there are others, shape (n, d).
        rng: For draws and moves.
    """
    if cube.size <= LISTED_MAX:
        rows = cube.all_rows()
        return _first(rows, model.score(rows), tried, (EQUAL,))
    centres = model.tried[np.argsort(model.means, kind="stable")[:CENTRES]]
    centres = np.nan_to_num(centres, nan=0.5)
    rows = np.concatenate([cube.draw(DRAWS, rng), moved(cube, centres, MOVES, 0.2, rng)])
    scores = model.score(rows)
    for step in range(ROUNDS):
        best = _distinct(rows, scores, CLIMBERS)
        more = moved(cube, rows[best], 30, 0.1 / 3.0**step, rng)
        rows = np.concatenate([rows, more])
        scores = np.concatenate([scores, model.score(more)])
    climbed = _climbed(cube, model, rows[_distinct(rows, scores, CLIMBERS)])
    if len(climbed):
        rows = np.concatenate([rows, climbed])
        scores = np.concatenate([scores, model.score(climbed)])
    return _first(rows, scores, tried, (APART, EQUAL))


def moved(cube: Cube, centres: Array, count: int, spread: float, rng: np.random.Generator) -> Array:
    """Neighbours of rows, shape (count * len(centres), d), snapped.

    Each neighbour changes one column or more: numbers by a normal step of at most about `spread`,
    categories, in a share of the cases, to any category.
    """
    rows = np.repeat(centres, count, axis=0)
    size, width = rows.shape
    share = rng.random((size, 1))
    touched = rng.random(rows.shape) < np.maximum(share, 1.0 / width)
    touched[np.arange(size), rng.integers(0, width, size)] = True
    scale = spread * 10.0 ** -(1.5 * rng.random((size, 1)))
    numbers = rows + scale * rng.standard_normal(rows.shape)
    numbers = np.abs(numbers)
    numbers = np.clip(1.0 - np.abs(1.0 - numbers), 0.0, 1.0)
    anywhere = rng.random(rows.shape)
    flips = rng.random(rows.shape) < FLIP_SHARE
    coarse = np.array([cells < SMOOTH_CELLS for cells in cube.cells])
    values = np.where(coarse[None, :], np.where(flips, anywhere, rows), numbers)
    return cube.snap(np.where(touched, values, rows))


def _climbed(cube: Cube, model: Model, starts: Array) -> Array:
    """Rows at the top of the score's hills above `starts`, shape (s, d), snapped.

    All starts climb as one problem whose objective is the sum of their scores.
    """
    free = np.array(
        [
            not count and cells >= SMOOTH_CELLS
            for count, cells in zip(cube.categories, cube.cells, strict=True)
        ]
    )
    if not free.any() or not len(starts):
        return np.zeros((0, starts.shape[1]))

    def descent(flat: Array) -> tuple[float, Array]:
        rows = starts.copy()
        rows[:, free] = flat.reshape(len(starts), -1)
        score, slopes = model.score_slopes(rows)
        return -float(score.sum()), -slopes[:, free].ravel()

    start = starts[:, free].ravel()
    found = minimize(
        descent,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(start),
        options={"maxiter": STEPS_MAX, "ftol": 1e-6, "gtol": 1e-4},
    )
    rows = starts.copy()
    rows[:, free] = np.clip(found.x.reshape(len(starts), -1), 0.0, 1.0)
    return cube.snap(rows)


def _distinct(rows: Array, scores: Array, count: int) -> list[int]:
    """Indices of the `count` best rows that lie a little apart from each other."""
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable")[: 40 * count]:
        gaps = [float(np.abs(rows[index] - rows[other]).max()) for other in chosen]
        if all(gap > 0.02 for gap in gaps):
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen


def _first(rows: Array, scores: Array, tried: Array, gaps: tuple[float, ...]) -> Array:
    """The best row farther than a gap from every row tried; the best of all when there is none.

    The gaps are tried in order; the distance is the largest one over the columns.
    """
    order = np.argsort(-scores, kind="stable")
    for gap in gaps:
        for index in order:
            if not len(tried) or np.abs(tried - rows[index]).max(axis=1).min() > gap:
                return np.asarray(rows[index])
    return np.asarray(rows[order[0]])
