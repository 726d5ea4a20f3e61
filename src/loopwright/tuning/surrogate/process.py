"""A Gaussian process with an anisotropic Matern-5/2 kernel, learned by maximum a posteriori.

It knows feature columns and standardised values, nothing of parameters, trials or strategies.
Formulas: Rasmussen and Williams 2006, equations 4.17 (kernel), 2.25 and 2.26 (prediction), 5.9
(gradient of the likelihood).
"""

import math
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from loopwright.tuning.surrogate.cube import Array
from loopwright.tuning.surrogate.warping import kumaraswamy, kumaraswamy_slope

JITTER = 1e-8
"""Added to the diagonal, relative to the signal, so that equal points stay invertible."""
DIFFERENCE = 1e-3
STEPS_FIRST = 6
STEPS_MAX = 40
ROOT5 = math.sqrt(5.0)
NOISE_PRIOR = (math.log(3e-3), 1.5)
SIGNAL_PRIOR = (0.0, 0.7)
WARP_SD = 0.4
LENGTH_SD = 0.8
LOG_MAX = 7.0
"""Hyperparameters stay between exp(-7) and exp(7); the noise has its own floor."""
NOISY_START_LOG = math.log(0.3)
"""Values may be read as a rough function or as a smooth one with noise: both are tried."""
NOISE_LOG_MIN = math.log(1e-7)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the feature columns mean.

    Attributes:
        groups: For each column the group whose length-scale it has, shape (c,).
        lengths: Prior mean of each group's logarithmic length-scale, shape (g,).
        warped: Columns whose inputs are warped, shape (w,), each within 0 … 1.
        offset: Prior variance of a constant of their own for points that differ in `tasks`.
    """

    groups: NDArray[np.intp]
    lengths: Array
    warped: NDArray[np.intp]
    offset: float = 0.0

    @property
    def prior(self) -> tuple[Array, Array]:
        """Mean and standard deviation of the logarithmic hyperparameters, each shape (h,)."""
        warps = 2 * len(self.warped)
        mean = np.concatenate([self.lengths, [SIGNAL_PRIOR[0], NOISE_PRIOR[0]], np.zeros(warps)])
        sd = np.concatenate(
            [
                np.full(len(self.lengths), LENGTH_SD),
                [SIGNAL_PRIOR[1], NOISE_PRIOR[1]],
                np.full(warps, WARP_SD),
            ]
        )
        return mean, sd


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel with its hyperparameters; `theta` has shape (h,), ordered as `Layout.prior`."""

    layout: Layout
    theta: Array

    @property
    def lengths(self) -> Array:
        """The length-scale of each column, shape (c,)."""
        scales: Array = np.exp(self.theta[: len(self.layout.lengths)])[self.layout.groups]
        return scales

    @property
    def signal(self) -> float:
        """Variance of the function."""
        return math.exp(self.theta[len(self.layout.lengths)])

    @property
    def noise(self) -> float:
        """Variance of the noise on a value."""
        return math.exp(self.theta[len(self.layout.lengths) + 1])

    @property
    def warp(self) -> tuple[Array, Array]:
        """The warp's a and b for each warped column, each shape (w,)."""
        start, count = len(self.layout.lengths) + 2, len(self.layout.warped)
        return np.exp(self.theta[start : start + count]), np.exp(self.theta[start + count :])

    def scaled(self, features: Array) -> Array:
        """Features warped and divided by their length-scales, shape (n, c)."""
        columns = self.layout.warped
        if len(columns):
            features = features.copy()
            features[:, columns] = kumaraswamy(features[:, columns], *self.warp)[0]
        return features / self.lengths

    def between(self, left: Array, right: Array, same: NDArray[np.bool_] | None = None) -> Array:
        """Covariances of scaled features, shapes (n, c) and (m, c): shape (n, m).

        `same`, shape (n, m), says which pairs share a constant of their own.
        """
        values = self.signal * matern(squared(left, right))[0]
        return values + self.layout.offset * same if same is not None else values

    def slopes(self, features: Array) -> Array:
        """Derivative of each scaled column by its feature, shape (n, c)."""
        slopes = np.broadcast_to(1.0 / self.lengths, features.shape)
        columns = self.layout.warped
        if len(columns):
            slopes = slopes.copy()
            slopes[:, columns] *= kumaraswamy_slope(features[:, columns], *self.warp)
        return slopes


@dataclass(frozen=True, slots=True)
class Data:
    """What hyperparameters are learned from.

    Attributes:
        features: Shape (n, c), n >= 1.
        values: Shape (n,), about standard normal.
        layout: What the columns mean.
        tasks: Shape (n,); points of one task share a constant. None: there is one task.
    """

    features: Array
    values: Array
    layout: Layout
    tasks: NDArray[np.intp] | None = None

    @property
    def same(self) -> NDArray[np.bool_] | None:
        """Which pairs of points share a constant, shape (n, n); None: there are no constants."""
        if self.tasks is None or not self.layout.offset:
            return None
        shared: NDArray[np.bool_] = self.tasks[:, None] == self.tasks[None, :]
        return shared

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """The least and the greatest of each logarithmic hyperparameter."""
        bounds = [(-LOG_MAX, LOG_MAX)] * len(self.layout.prior[0])
        bounds[len(self.layout.lengths) + 1] = (NOISE_LOG_MIN, LOG_MAX)
        return bounds


def squared(left: Array, right: Array) -> Array:
    """Squared distances between rows, shapes (n, c) and (m, c): shape (n, m), >= 0."""
    inner = left @ right.T
    inner *= -2.0
    inner += np.einsum("ij,ij->i", left, left)[:, None]
    inner += np.einsum("ij,ij->i", right, right)[None, :]
    return np.maximum(inner, 0.0, out=inner)


def matern(distances: Array) -> tuple[Array, Array]:
    """Matern-5/2 correlation and its derivative by the squared distance, for squared distances."""
    root = np.sqrt(5.0 * distances)
    slope = np.exp(-root)
    root += 1.0
    decay = slope * distances
    decay *= 5.0 / 3.0
    slope *= root
    decay += slope
    slope *= -5.0 / 6.0
    return decay, slope


def likelihood(theta: Array, data: Data) -> tuple[float, Array]:
    """Negative logarithmic posterior of the hyperparameters and its gradient, shape (h,).

    Infinite, with a gradient of zeros, where the covariance is not positive definite.
    """
    features, values, layout, same = data.features, data.values, data.layout, data.same
    kernel = Kernel(layout, theta)
    count, groups = len(values), len(layout.lengths)
    columns = layout.warped
    warped = features
    if len(columns):
        warped = features.copy()
        warped[:, columns], by_a, by_b = kumaraswamy(features[:, columns], *kernel.warp)
    scaled = warped / kernel.lengths
    correlation, slope = matern(squared(scaled, scaled))
    covariance = kernel.signal * correlation
    if same is not None:
        covariance = covariance + layout.offset * same
    covariance.flat[:: count + 1] += kernel.noise + JITTER * kernel.signal
    factor, failed = lapack.dpotrf(covariance, lower=1)
    if failed:
        return math.inf, np.zeros_like(theta)
    half = lapack.dpotri(factor, lower=1)[0]  # The lower half; the upper one is zero.
    inverse = half + half.T
    inverse.flat[:: count + 1] *= 0.5
    alpha = inverse @ values
    weights = inverse - np.outer(alpha, alpha)
    mean, sd = layout.prior
    deviation = (theta - mean) / sd
    total = 0.5 * float(values @ alpha) + float(np.log(np.diagonal(factor)).sum())
    total += 0.5 * float(deviation @ deviation)
    gradient = deviation / sd
    # Derivative by a scaled coordinate, through the squared distances.
    pull = weights * slope
    pull *= kernel.signal
    force = 2.0 * (pull.sum(axis=1)[:, None] * scaled - pull @ scaled)
    by_length = -np.einsum("ij,ij->j", force, scaled)
    gradient[:groups] += np.bincount(layout.groups, by_length, groups)
    gradient[groups] += 0.5 * kernel.signal * float(np.einsum("ij,ij->", weights, correlation))
    gradient[groups] += 0.5 * JITTER * kernel.signal * float(np.trace(weights))
    gradient[groups + 1] += 0.5 * kernel.noise * float(np.trace(weights))
    if len(columns):
        inner = force[:, columns] / kernel.lengths[columns]
        start = groups + 2
        gradient[start : start + len(columns)] += np.einsum("ij,ij->j", inner, by_a)
        gradient[start + len(columns) :] += np.einsum("ij,ij->j", inner, by_b)
    return total, gradient


def learn(data: Data) -> Kernel:
    """The kernel whose hyperparameters are most probable given the values."""
    quiet, _ = data.layout.prior
    noisy = quiet.copy()
    noisy[len(data.layout.lengths) + 1] = NOISY_START_LOG

    def descend(start: Array, steps: int) -> tuple[float, Array]:
        found = minimize(
            likelihood,
            start,
            args=(data,),
            jac=True,
            method="L-BFGS-B",
            bounds=data.bounds,
            options={"maxiter": steps, "ftol": 1e-5, "gtol": 1e-3},
        )
        return float(found.fun), np.asarray(found.x)

    _, better = min((descend(start, STEPS_FIRST) for start in (quiet, noisy)), key=itemgetter(0))
    return Kernel(data.layout, descend(better, STEPS_MAX)[1])


def plausible(kernel: Kernel, data: Data, count: int) -> list[Kernel]:
    """Kernels drawn from Laplace's approximation around the most probable one.

    The curvature comes from differences of the gradient and is at least that of a prior as wide as
    the widest one (MacKay 1992 for the approximation). The draws are always the same for the same
    kernel and data.

    Args:
        kernel: From `learn` with the same data.
        data: As for `learn`.
        count: How many to draw.
    """
    centre, size = kernel.theta, len(kernel.theta)
    slope = likelihood(centre, data)[1]
    shifted = centre + DIFFERENCE * np.eye(size)
    curvature = np.stack([likelihood(row, data)[1] - slope for row in shifted]) / DIFFERENCE
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    floor = 1.0 / float(np.max(data.layout.prior[1])) ** 2
    spread = vectors / np.sqrt(np.maximum(values, floor))
    draws = np.random.default_rng(len(data.values)).standard_normal((count, size))
    low, high = np.array(data.bounds).T
    return [Kernel(data.layout, np.clip(centre + spread @ z, low, high)) for z in draws]


class Posterior:
    """A Gaussian process that has seen values.

    Args:
        kernel: With its hyperparameters.
        features: Shape (n, c), n >= 1.
        values: Shape (n,).
        tasks: Shape (n,), or None for one task; see `learn`. Predictions are for task 0.
    """

    def __init__(
        self,
        kernel: Kernel,
        features: Array,
        values: Array,
        tasks: NDArray[np.intp] | None = None,
    ) -> None:
        self.kernel, self.features, self.values, self.tasks = kernel, features, values, tasks
        self._scaled = kernel.scaled(features)
        shared = self._shared(tasks)
        covariance = kernel.between(self._scaled, self._scaled, shared)
        covariance.flat[:: len(values) + 1] += kernel.noise + JITTER * kernel.signal
        self._factor = _factor(covariance, kernel.signal)
        self._alpha = cho_solve((self._factor, True), values, check_finite=False)
        self._own = (tasks == 0)[None, :] if shared is not None and tasks is not None else None

    def _shared(self, tasks: NDArray[np.intp] | None) -> NDArray[np.bool_] | None:
        if tasks is None or not self.kernel.layout.offset:
            return None
        shared: NDArray[np.bool_] = tasks[:, None] == tasks[None, :]
        return shared

    @property
    def variance(self) -> float:
        """Variance of a prediction far from all points."""
        return self.kernel.signal + (self.kernel.layout.offset if self._own is not None else 0.0)

    def mean(self, features: Array) -> Array:
        """Posterior mean at features of shape (m, c): shape (m,)."""
        covariance = self.kernel.between(self.kernel.scaled(features), self._scaled, self._own)
        mean: Array = covariance @ self._alpha
        return mean

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Posterior mean and standard deviation of the function, without noise.

        Args:
            features: Shape (m, c).
        Returns:
            Two arrays of shape (m,); the deviation is > 0.
        """
        covariance = self.kernel.between(self.kernel.scaled(features), self._scaled, self._own)
        half = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = self.variance - np.einsum("ij,ij->j", half, half)
        return covariance @ self._alpha, np.sqrt(np.maximum(variance, 1e-12 * self.variance))

    def predict_slopes(self, features: Array) -> tuple[Array, Array, Array, Array]:
        """`predict` and the derivatives of both by the features, each of shape (m, c)."""
        scaled = self.kernel.scaled(features)
        correlation, slope = matern(squared(scaled, self._scaled))
        covariance = self.kernel.signal * correlation
        if self._own is not None:
            covariance = covariance + self.kernel.layout.offset * self._own
        solved = cho_solve((self._factor, True), covariance.T, check_finite=False).T
        variance = self.variance - np.einsum("ij,ij->i", covariance, solved)
        deviation = np.sqrt(np.maximum(variance, 1e-12 * self.variance))
        slopes = self.kernel.slopes(features)
        slope *= 2.0 * self.kernel.signal
        by_mean = slope * self._alpha
        by_variance = slope * solved
        mean_slope = (by_mean.sum(axis=1)[:, None] * scaled - by_mean @ self._scaled) * slopes
        inner = by_variance.sum(axis=1)[:, None] * scaled - by_variance @ self._scaled
        deviation_slope = -inner * slopes / deviation[:, None]
        return covariance @ self._alpha, deviation, mean_slope, deviation_slope

    def believing(self, features: Array) -> "Posterior":
        """This posterior after values at `features`, shape (p, c), that were just its own means.

        Kriging believer (Ginsbourger, Le Riche, Carraro 2010): the mean stays, the uncertainty
        near trials that still run goes, so that the next trial is put elsewhere.
        """
        if not len(features):
            return self
        tasks = self.tasks
        if tasks is not None:
            tasks = np.concatenate([tasks, np.zeros(len(features), dtype=tasks.dtype)])
        return Posterior(
            self.kernel,
            np.concatenate([self.features, features]),
            np.concatenate([self.values, self.mean(features)]),
            tasks,
        )


def _factor(covariance: Array, signal: float) -> Array:
    """Lower Cholesky factor; the diagonal grows until there is one."""
    extra = JITTER * signal
    for _ in range(12):
        factor, failed = lapack.dpotrf(covariance, lower=1)
        if not failed:
            return np.asarray(factor)
        covariance.flat[:: len(covariance) + 1] += extra
        extra *= 10.0
    raise ArithmeticError("the covariance is not finite")
