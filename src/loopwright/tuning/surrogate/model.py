"""The learned model of one moment: what it expects anywhere in the cube, given the evidence."""

import math

import numpy as np

from loopwright.tuning.surrogate.acquisition import (
    log_expected_improvement,
    log_expected_improvement_slopes,
)
from loopwright.tuning.surrogate.cube import Array, Cube
from loopwright.tuning.surrogate.evidence import Evidence
from loopwright.tuning.surrogate.process import Data, Posterior, learn, plausible

LEARNED_BEST = 50
LEARNED_MAX = 100
"""Hyperparameters are learned on the best 50 points and a regular choice of the others."""
AVERAGED_MAX = 60
"""With more points the hyperparameters are known well enough to take the most probable ones."""
DRAWS = 2


class Model:
    """Scores rows of a cube by how much better than the best so far they promise to be.

    The score is averaged over a few plausible sets of hyperparameters, because a handful of values
    does not tell a rough function from a noisy one (Snoek, Larochelle, Adams 2012,
    arXiv 1206.2944, section 3.2, integrate over them too).

    Args:
        cube: The space.
        evidence: At least one point.
        pending: Rows of trials that run, shape (p, d).
    """

    def __init__(self, cube: Cube, evidence: Evidence, pending: Array) -> None:
        self.cube = cube
        self._here = evidence.here
        features, values = evidence.features(cube), evidence.values
        tasks = evidence.groups if evidence.offset else None
        chosen = _learned(values)
        data = Data(
            features[chosen],
            values[chosen],
            evidence.layout(cube),
            tasks[chosen] if tasks is not None else None,
        )
        kernels = [learn(data)]
        if len(values) <= AVERAGED_MAX:
            kernels += plausible(kernels[0], data, DRAWS)
        self.tried = np.concatenate([evidence.rows[evidence.own], pending])
        if not len(self.tried):
            self.tried = evidence.rows
        observed = [Posterior(kernel, features, values, tasks) for kernel in kernels]
        means = [posterior.mean(self.features(self.tried)) for posterior in observed]
        self.means: Array = np.mean(means, axis=0)
        self.bests = [float(mean.min()) for mean in means]
        self.posteriors = [one.believing(self.features(pending)) for one in observed]

    def features(self, rows: Array) -> Array:
        """Columns for the process of rows of this job at the compared level, shape (m, c)."""
        context = np.broadcast_to(self._here, (len(rows), len(self._here)))
        return np.concatenate([self.cube.features(rows), context], axis=1)

    def score(self, rows: Array) -> Array:
        """Logarithm of the expected improvement, shape (m,), for rows of shape (m, d).

        The improvement is one of the lowest posterior mean among tried points, which noise in
        single values moves less than the lowest value.
        """
        features = self.features(rows)
        scores = [
            log_expected_improvement(*posterior.predict(features), best)
            for posterior, best in zip(self.posteriors, self.bests, strict=True)
        ]
        total: Array = np.logaddexp.reduce(scores, axis=0) - math.log(len(scores))
        return total

    def score_slopes(self, rows: Array) -> tuple[Array, Array]:
        """`score` and its derivative by the rows, shape (m, d), 0 for categories."""
        features = self.features(rows)
        scores, slopes = [], []
        for posterior, best in zip(self.posteriors, self.bests, strict=True):
            mean, deviation, by_mean, by_deviation = posterior.predict_slopes(features)
            score, of_mean, of_deviation = log_expected_improvement_slopes(mean, deviation, best)
            scores.append(score)
            slopes.append(of_mean[:, None] * by_mean + of_deviation[:, None] * by_deviation)
        total = np.logaddexp.reduce(scores, axis=0)
        slope = np.einsum("km,kmc->mc", np.exp(np.array(scores) - total), np.array(slopes))
        numbers = np.array(self.cube.categories) == 0
        result = np.zeros_like(rows)
        result[:, numbers] = slope[:, np.flatnonzero(numbers[self.cube.groups])]
        return total - math.log(len(scores)), result


def _learned(values: Array) -> Array:
    """Indices of the points that hyperparameters are learned on."""
    order = np.argsort(values, kind="stable")
    if len(order) <= LEARNED_MAX:
        return np.sort(order)
    rest = order[LEARNED_BEST:]
    stride = np.linspace(0, len(rest) - 1, LEARNED_MAX - LEARNED_BEST).round().astype(int)
    return np.sort(np.concatenate([order[:LEARNED_BEST], rest[stride]]))
