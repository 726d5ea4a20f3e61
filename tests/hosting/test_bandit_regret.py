"""The regret of the bandits against river's, a kept library, on the same streams of rewards."""

import random
from itertools import accumulate
from typing import Any

import pytest
from river import bandit, proba

from loopwright.hosting.traffic.arms import POLICIES, Settings, allocation, empty, learn

STEPS = 2000
RUNS = 10
LATE = 20
"""Rewards come so many requests after theirs."""
EVERY = 10
"""Weights are published after so many requests; river chooses for each one."""
WORLDS = {"far": (0.1, 0.2, 0.5), "near": (0.45, 0.5, 0.55), "rare": (0.05, 0.07)}


def _library(policy: str, seed: int) -> Any:
    if policy == "ThompsonSampling":
        return bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=seed)
    if policy == "UCB1":
        return bandit.UCB(delta=1, seed=seed)
    return bandit.EpsilonGreedy(epsilon=0.1, seed=seed)


class Theirs:
    def __init__(self, policy: str, names: list[str], seed: int) -> None:
        self._names = names
        self._policy = _library(policy, seed)

    def choose(self, step: int, at: float) -> str:
        return str(self._policy.pull(self._names))

    def learn(self, name: str, value: float) -> None:
        self._policy.update(name, value)


class Ours:
    def __init__(self, policy: str, names: list[str], seed: int) -> None:
        self._settings = Settings(policy)
        self._state = empty(tuple(names))
        self._seed = seed
        self._shares: dict[str, float] = {}

    def choose(self, step: int, at: float) -> str:
        if step % EVERY == 0:
            self._shares = allocation(self._state, self._settings, self._seed)
        bounds = accumulate(self._shares.values())
        return next((n for n, end in zip(self._shares, bounds, strict=True) if at < end), "A")

    def learn(self, name: str, value: float) -> None:
        learn(self._state, self._settings, name, value)


def _regret(who: Ours | Theirs, means: dict[str, float], seed: int) -> float:
    """In rewards, against the oracle; every variant's reward of every request is drawn alike."""
    draws = random.Random(seed)
    late: list[tuple[str, float]] = []
    regret = 0.0
    for step in range(STEPS):
        rewards = {name: float(draws.random() < mean) for name, mean in means.items()}
        name = who.choose(step, draws.random())
        regret += max(means.values()) - means[name]
        late.append((name, rewards[name]))
        if len(late) > LATE:
            who.learn(*late.pop(0))
    return regret


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("world", WORLDS)
def test_regret_is_no_more_than_a_kept_library_s(policy: str, world: str) -> None:
    means = dict(zip("ABC", WORLDS[world], strict=False))
    names = list(means)
    runs = range(RUNS)
    ours = sum(_regret(Ours(policy, names, seed), means, seed) for seed in runs) / RUNS
    theirs = sum(_regret(Theirs(policy, names, seed), means, seed) for seed in runs) / RUNS
    # UCB1 pays for weights that stand for ten requests; nothing else is dearer.
    assert 0 < ours <= (1.15 if policy == "UCB1" else 1.0) * theirs, (ours, theirs)
