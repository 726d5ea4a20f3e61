"""Thompson sampling: each variant as often as it may be the best. (Thompson, 1933.)

Binary rewards have Beta posteriors, others the marginal Student's t of a Normal-Gamma posterior
(Murphy, "Conjugate Bayesian analysis of the Gaussian distribution", 2007), both with weak priors.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from loopwright.hosting.traffic.arms import Arm, Settings

DRAWS: Final = 4000
PRIOR_COUNT: Final = 1.0
PRIOR_SHAPE: Final = 1.0
PRIOR_RATE: Final = 0.05


def shares(
    arms: Mapping[str, Arm], settings: Settings, draws: np.random.Generator
) -> dict[str, float]:
    """The chance of each variant to be the best, by draws from the posteriors."""
    drawn = np.stack([_draw(arm, settings.binary, draws) for arm in arms.values()])
    counts = np.bincount(drawn.argmax(axis=0), minlength=len(arms))
    return {name: float(count) / DRAWS for name, count in zip(arms, counts, strict=True)}


def _draw(
    arm: Arm, binary: bool, draws: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if binary:
        return draws.beta(1.0 + arm.total, 1.0 + max(0.0, arm.count - arm.total), DRAWS)
    count = PRIOR_COUNT + arm.count
    mean = (PRIOR_COUNT * 0.5 + arm.total) / count
    shape = PRIOR_SHAPE + arm.count / 2.0
    scatter = max(0.0, arm.squares - arm.count * arm.mean**2)
    apart = PRIOR_COUNT * arm.count * (arm.mean - 0.5) ** 2 / count
    rate = PRIOR_RATE + (scatter + apart) / 2.0
    spread = np.sqrt(rate / (shape * count))
    drawn = draws.standard_t(2.0 * shape, DRAWS)
    return np.asarray(mean + spread * drawn, dtype=np.float64)
