"""Warping: of the objective's values, so that bad outliers do not hide what is good, and of the
inputs, so that a parameter may matter more at one end of its range than at the other.
"""

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from loopwright.tuning.surrogate.cube import Array

EDGE = 1e-6
"""How far inputs stay from 0 and 1, where the warp's slope may be infinite."""


def half_rank(values: Array) -> Array:
    """Keep the better half of the values; put normal quantiles in place of the worse half.

    Lower is better. A value above the median becomes median + scale * z, with z the normal
    quantile of its rank and scale the deviation that the better half shows below the median
    (Song et al. 2024, arXiv 2408.11527, section on output warping). Equal values stay equal.

    Args:
        values: Shape (n,), finite.
    Returns:
        Shape (n,), mean 0 and standard deviation 1; all zeros when all values are equal.
    """
    if len(values) == 0 or values.min() == values.max():
        return np.zeros_like(values)
    # Differences of values near the largest float would overflow.
    values = values / np.max(np.abs(values))
    median = float(np.median(values))
    better = values[values <= median]
    scale = float(np.sqrt(np.mean((better - median) ** 2)))
    if scale == 0.0:
        # Half of the values or more are the best one: keep their order only.
        scale = 1.0
    quantiles = ndtri(np.clip((rankdata(values) - 0.5) / len(values), 0.5, None))
    warped = np.where(values > median, scale * quantiles, values - median)
    return standard(warped)


def standard(values: Array) -> Array:
    """Values, shape (n,), shifted and scaled to mean 0 and standard deviation 1."""
    centred = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0.0 else np.zeros_like(values)


def kumaraswamy(units: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """The Kumaraswamy distribution function 1 - (1 - x^a)^b and two of its logarithmic slopes.

    Used as a learned monotonous warp of [0, 1] onto itself (Snoek et al. 2014, arXiv 1402.0929).

    Args:
        units: Shape (n, k); clipped to a little inside 0 … 1.
        a, b: Shape (k,), > 0; 1 and 1 leave the inputs as they are.
    Returns:
        The warped inputs and their derivatives by log a and by log b, each of shape (n, k).
    """
    x = np.clip(units, EDGE, 1.0 - EDGE)
    power = x**a
    rest = 1.0 - power
    tail = rest**b
    by_a = b * (tail / rest) * power * np.log(x) * a
    by_b = -tail * np.log(rest) * b
    return 1.0 - tail, by_a, by_b


def kumaraswamy_slope(units: Array, a: Array, b: Array) -> Array:
    """Derivative of the warp by its input, shape (n, k), for the arguments of `kumaraswamy`."""
    x = np.clip(units, EDGE, 1.0 - EDGE)
    slope: Array = a * b * x ** (a - 1.0) * (1.0 - x**a) ** (b - 1.0)
    return slope
