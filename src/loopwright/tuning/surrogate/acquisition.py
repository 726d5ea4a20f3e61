"""Expected improvement in logarithms, which stays informative where the improvement underflows."""

import numpy as np
from scipy.special import erfcx, log_ndtr

from loopwright.tuning.surrogate.cube import Array

LOG_ROOT_2PI = 0.5 * np.log(2.0 * np.pi)
FAR = -1e6
"""Below this, log1p of the exact formula loses all digits and the asymptote takes over."""


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the expected improvement below `best` (lower is better).

    log EI = log s + log h(u) with u = (best - mean) / s and h(u) = phi(u) + u Phi(u), in the
    numerically stable form of Ament et al. 2023 (arXiv 2310.20708), equation 9.

    Args:
        mean: Posterior mean, shape (n,), in the objective's (standardised) units.
        deviation: Posterior standard deviation, shape (n,), > 0.
        best: Lowest value to improve on.
    Returns:
        Shape (n,), finite.
    Raises:
        ValueError: shapes differ, or any deviation is not positive.
    """
    if mean.shape != deviation.shape or not np.all(deviation > 0.0):
        raise ValueError("mean and deviation must have one shape, and deviations be positive")
    score: Array = np.log(deviation) + _log_h((best - mean) / deviation)
    return score


def log_expected_improvement_slopes(
    mean: Array, deviation: Array, best: float
) -> tuple[Array, Array, Array]:
    """`log_expected_improvement` and its derivatives by mean and deviation, each shape (n,)."""
    u = (best - mean) / deviation
    log_h = _log_h(u)
    by_mean = -np.exp(log_ndtr(u) - log_h) / deviation
    by_deviation = np.exp(-0.5 * u * u - LOG_ROOT_2PI - log_h) / deviation
    return np.log(deviation) + log_h, by_mean, by_deviation


def _log_h(u: Array) -> Array:
    """log(phi(u) + u Phi(u)), shape (n,)."""
    low = np.minimum(u, -1.0)
    density = -0.5 * low * low - LOG_ROOT_2PI
    ratio = np.sqrt(0.5 * np.pi) * erfcx(-low / np.sqrt(2.0))
    near = density + np.log1p(np.maximum(low * ratio, -1.0 + 1e-16))
    far = density - 2.0 * np.log(-low)
    high = np.maximum(u, -1.0)
    above = np.log(np.exp(-0.5 * high * high - LOG_ROOT_2PI) + high * np.exp(log_ndtr(high)))
    value: Array = np.where(u > -1.0, above, np.where(u > FAR, near, far))
    return value
