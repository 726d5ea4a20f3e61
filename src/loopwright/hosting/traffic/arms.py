"""What a bandit knows of its variants, and the policy that its settings name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

POLICIES: Final = {
    "EpsilonGreedy": "epsilon_greedy",
    "UCB1": "ucb1",
    "ThompsonSampling": "thompson_sampling",
}
State = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """A variant's rewards, from 0 to 1; counts shrink where the world is thought to change."""

    count: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Of the rewards; one half where there is none."""
        return self.total / self.count if self.count > 0 else 0.5


@dataclass(frozen=True)
class Settings:
    """Of a bandit.

    Attributes:
        policy: A name of `POLICIES`.
        binary: Whether rewards are 0 or 1.
        low, high: Between which rewards lie.
        floor: The least share of the traffic that a variant gets.
        discount: What a reward's weight is multiplied by with each later one; 1: nothing fades.
        epsilon: The share that EpsilonGreedy explores with.
    """

    policy: str
    binary: bool = True
    low: float = 0.0
    high: float = 1.0
    floor: float = 0.0
    discount: float = 1.0
    epsilon: float = 0.1


def empty(names: tuple[str, ...]) -> State:
    """Nothing known."""
    return {"arms": {name: [0.0, 0.0, 0.0] for name in names}, "rewards": 0}


def learn(state: State, settings: Settings, name: str, value: float) -> None:
    """Add a reward; outside of the bounds it counts as the bound."""
    arms = state["arms"]
    if name not in arms:
        return
    scaled = (value - settings.low) / (settings.high - settings.low)
    scaled = min(1.0, max(0.0, scaled))
    if settings.discount < 1.0:
        for arm in arms.values():
            arm[:] = [part * settings.discount for part in arm]
    arm = arms[name]
    arm[0] += 1.0
    arm[1] += scaled
    arm[2] += scaled * scaled
    state["rewards"] += 1


def allocation(state: Mapping[str, Any], settings: Settings, seed: int) -> dict[str, float]:
    """The share of each variant, which sum to 1, each at least the floor.

    The same state and seed give the same shares.
    """
    arms = {name: Arm(*parts) for name, parts in state["arms"].items()}
    draws = np.random.default_rng([seed, int(state["rewards"])])
    module = importlib.import_module(f"loopwright.hosting.traffic.{POLICIES[settings.policy]}")
    wanted: Mapping[str, float] = module.shares(arms, settings, draws)
    floor = min(settings.floor, 1.0 / len(arms))
    rest = 1.0 - floor * len(arms)
    return {name: floor + rest * wanted[name] for name in arms}
