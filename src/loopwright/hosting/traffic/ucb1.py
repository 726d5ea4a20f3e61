"""UCB1: the variant that could be best. (Auer, Cesa-Bianchi, Fischer, 2002.)"""

import math
from collections.abc import Mapping

import numpy as np

from loopwright.hosting.traffic.arms import Arm, Settings


def shares(
    arms: Mapping[str, Arm], settings: Settings, draws: np.random.Generator
) -> dict[str, float]:
    """All to the highest upper bound; variants without rewards share the traffic first."""
    unknown = [name for name, arm in arms.items() if arm.count < 1.0]
    if unknown:
        return {name: (1.0 / len(unknown) if name in unknown else 0.0) for name in arms}
    total = sum(arm.count for arm in arms.values())
    bounds = {
        name: arm.mean + math.sqrt(2.0 * math.log(total) / arm.count) for name, arm in arms.items()
    }
    best = max(bounds, key=lambda name: bounds[name])
    return {name: float(name == best) for name in arms}
