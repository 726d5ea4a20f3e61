"""Epsilon-greedy: the best variant so far, and now and then any. (Sutton and Barto, chapter 2.)"""

from collections.abc import Mapping

import numpy as np

from loopwright.hosting.traffic.arms import Arm, Settings


def shares(
    arms: Mapping[str, Arm], settings: Settings, draws: np.random.Generator
) -> dict[str, float]:
    """Epsilon is spread over all variants, the rest goes to the best; ties share it."""
    best = max(arm.mean for arm in arms.values())
    leaders = [name for name, arm in arms.items() if arm.mean == best]
    found = dict.fromkeys(arms, settings.epsilon / len(arms))
    for name in leaders:
        found[name] += (1.0 - settings.epsilon) / len(leaders)
    return found
