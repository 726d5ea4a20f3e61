"""The learned model of one moment: what it expects anywhere in the cube, given the evidence."""

import numpy as np

from loopwright.tuning.surrogate.acquisition import (
    log_expected_improvement,
    log_expected_improvement_slopes,
)
from loopwright.tuning.surrogate.cube import Array, Cube
from loopwright.tuning.surrogate.evidence import Evidence
from loopwright.tuning.surrogate.process import Posterior, learn

LEARNED_BEST = 50
LEARNED_MAX = 100
"""Hyperparameters are learned on the best 50 points and a regular choice of the others."""


class Model:
    """Scores rows of a cube by how much better than the best so far they promise to be.

    Args:
        cube: The space.
        evidence: At least one point.
        pending: Rows of trials that run, shape (p, d).
    """

    def __init__(self, cube: Cube, evidence: Evidence, pending: Array) -> None:
        self.cube = cube
        self._here = evidence.here
        features, groups = evidence.features(cube), evidence.groups
        chosen = _learned(evidence.values)
        tasks = groups if evidence.offset else None
        kernel = learn(
            features[chosen],
            evidence.values[chosen],
            evidence.layout(cube),
            groups[chosen] if evidence.offset else None,
        )
        observed = Posterior(kernel, features, evidence.values, tasks)
        self.posterior = observed.believing(self.features(pending))
        self.tried = np.concatenate([evidence.rows[evidence.own], pending])
        if not len(self.tried):
            self.tried = evidence.rows
        self.means = observed.mean(self.features(self.tried))
        self.best = float(self.means.min())

    def features(self, rows: Array) -> Array:
        """Columns for the process of rows of this job at the compared level, shape (m, c)."""
        context = np.broadcast_to(self._here, (len(rows), len(self._here)))
        return np.concatenate([self.cube.features(rows), context], axis=1)

    def score(self, rows: Array) -> Array:
        """Logarithm of the expected improvement, shape (m,), for rows of shape (m, d).

        The improvement is one of the lowest posterior mean among tried points, which noise in
        single values moves less than the lowest value.
        """
        return log_expected_improvement(*self.posterior.predict(self.features(rows)), self.best)

    def score_slopes(self, rows: Array) -> tuple[Array, Array]:
        """`score` and its derivative by the rows, shape (m, d), 0 for categories."""
        mean, deviation, by_mean, by_deviation = self.posterior.predict_slopes(self.features(rows))
        score, of_mean, of_deviation = log_expected_improvement_slopes(mean, deviation, self.best)
        slopes = of_mean[:, None] * by_mean + of_deviation[:, None] * by_deviation
        numbers = np.array(self.cube.categories) == 0
        columns = np.flatnonzero(numbers[self.cube.groups])
        result = np.zeros_like(rows)
        result[:, numbers] = slopes[:, columns]
        return score, result


def _learned(values: Array) -> Array:
    """Indices of the points that hyperparameters are learned on."""
    order = np.argsort(values, kind="stable")
    if len(order) <= LEARNED_MAX:
        return np.sort(order)
    rest = order[LEARNED_BEST:]
    stride = np.linspace(0, len(rest) - 1, LEARNED_MAX - LEARNED_BEST).round().astype(int)
    return np.sort(np.concatenate([order[:LEARNED_BEST], rest[stride]]))
