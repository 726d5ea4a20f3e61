"""Online experiments and bandits in simulated worlds: false alarms, power, regret."""

import multiprocessing
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest

from loopwright.hosting.experiments.evalues import (
    bet_on_rates,
    bet_on_values,
    empty_arm,
    empty_test,
    p_value,
    rate_interval,
    requests_needed,
    see,
    value_interval,
)
from loopwright.hosting.experiments.state import (
    empty_state,
    observe,
    report,
    reward,
    setting_of,
    tripped,
)
from loopwright.hosting.traffic.arms import POLICIES, Settings, allocation, empty, learn

ALPHA = 0.05
RUNS = 2000
# Of a rate of at most alpha: the upper 99 % bound of its estimate from RUNS runs.
ALARMS_MOST = ALPHA + 2.33 * (ALPHA * (1 - ALPHA) / RUNS) ** 0.5


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        yield pool


def _chance(kind: str, step: int, control: dict, treatment: dict) -> float:  # type: ignore[type-arg]
    """Of the treatment, by how traffic is split at a step."""
    if kind == "canary":
        return 0.05
    if kind == "ramp":
        return (0.1, 0.3, 0.5)[min(2, step // 150)]
    if kind == "bandit":
        # Greedy, with a floor: what it does depends on all that was seen.
        better = treatment["sum"] * control["n"] > control["sum"] * treatment["n"]
        return 0.9 if better else 0.1
    return 0.5


def _rates(
    seed: int, kind: str, first: float, second: float, steps: int, one_sided: bool = False
) -> tuple[bool, int, bool]:
    """Whether and when a difference was declared, and whether an interval ever missed its rate."""
    draws = random.Random(f"{seed} {kind} {first} {second}")
    control, treatment, test = empty_arm(), empty_arm(), empty_test()
    stopped, missed = steps, False
    for step in range(steps):
        chance = _chance(kind, step, control, treatment)
        treated = draws.random() < chance
        value = draws.random() < (second if treated else first)
        bet_on_rates(test, control, treatment, treated, value, chance, one_sided)
        see(treatment if treated else control, float(value), ALPHA)
        if stopped == steps and p_value(test) <= ALPHA:
            stopped = step
        if step % 100 == 99 and not missed:
            low, high = rate_interval(control, ALPHA)
            missed = not low <= first <= high
    return p_value(test) <= ALPHA, stopped, missed


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("even", 0.1), ("canary", 0.1), ("canary", 0.005), ("ramp", 0.1), ("bandit", 0.3)],
)
def test_false_alarms_under_continuous_peeking(
    kind: str, rate: float, workers: ProcessPoolExecutor
) -> None:
    run = partial(_rates, kind=kind, first=rate, second=rate, steps=500)
    found = list(workers.map(run, range(RUNS), chunksize=50))
    assert sum(declared for declared, _, _ in found) / RUNS <= ALARMS_MOST
    assert sum(missed for _, _, missed in found) / RUNS <= ALARMS_MOST


def test_a_guard_does_not_go_off_for_a_better_treatment(workers: ProcessPoolExecutor) -> None:
    run = partial(_rates, kind="even", first=0.2, second=0.15, steps=1200, one_sided=True)
    found = list(workers.map(run, range(RUNS // 4), chunksize=25))
    assert sum(declared for declared, _, _ in found) / len(found) <= ALPHA


@pytest.mark.parametrize(
    ("kind", "first", "second", "steps", "median"),
    # The medians that a reference simulation gave.
    [("even", 0.10, 0.12, 20_000, 8540), ("canary", 0.005, 0.03, 20_000, 2797),
     ("canary", 0.005, 0.10, 4_000, 415)],
)  # fmt: skip
def test_power(
    kind: str, first: float, second: float, steps: int, median: int, workers: ProcessPoolExecutor
) -> None:
    runs = 80
    run = partial(_rates, kind=kind, first=first, second=second, steps=steps)
    found = list(workers.map(run, range(runs), chunksize=5))
    assert sum(declared for declared, _, _ in found) >= runs * 0.7
    assert sorted(stopped for _, stopped, _ in found)[runs // 2] <= 1.5 * median
    chance = 0.5 if kind == "even" else 0.05
    assert 0.3 < requests_needed(first, second, chance, ALPHA) / median < 3


def _values(seed: int, shift: float, steps: int, chance: float) -> tuple[bool, bool]:
    """Whether a difference of means was declared, and whether an interval missed its mean."""
    draws = np.random.default_rng([seed, int(shift * 1000)])
    control, treatment, test = empty_arm(), empty_arm(), empty_test()
    missed = False
    for step in range(steps):
        treated = bool(draws.random() < chance)
        value = float(draws.beta(2, 3)) + (shift if treated else 0.0)
        seen = control["n"] + treatment["n"]
        middle = (control["sum"] + treatment["sum"] + 0.5) / (seen + 1)
        bet_on_values(test, treated, min(1.0, value), middle, chance)
        see(treatment if treated else control, min(1.0, value), ALPHA)
        if step % 50 == 49 and not missed:
            low, high = value_interval(control, ALPHA)
            missed = not low <= 0.4 <= high
    return p_value(test) <= ALPHA, missed


@pytest.mark.parametrize("chance", [0.5, 0.1])
def test_false_alarms_of_numeric_outcomes(chance: float, workers: ProcessPoolExecutor) -> None:
    run = partial(_values, shift=0.0, steps=300, chance=chance)
    found = list(workers.map(run, range(RUNS), chunksize=50))
    assert sum(declared for declared, _ in found) / RUNS <= ALARMS_MOST
    assert sum(missed for _, missed in found) / RUNS <= ALARMS_MOST


def test_power_of_numeric_outcomes(workers: ProcessPoolExecutor) -> None:
    run = partial(_values, shift=0.1, steps=1500, chance=0.5)
    found = list(workers.map(run, range(60), chunksize=5))
    assert sum(declared for declared, _ in found) > 50


SPEC = {"ControlVariantName": "A", "TreatmentVariantNames": ["B"]}


def test_an_experiment_tells_effects_and_guards() -> None:
    draws = random.Random(3)
    setting = setting_of(SPEC)
    state = empty_state(setting)
    even = {"A": 0.5, "B": 0.5}
    for _ in range(3000):
        name = "B" if draws.random() < 0.5 else "A"
        failed = draws.random() < (0.2 if name == "B" else 0.01)
        micros = draws.lognormvariate(7, 0.3) * (1.5 if name == "B" else 1.0)
        observe(setting, state, name, even, 500 if failed else 200, micros)
        reward(setting, state, name, even, float(draws.random() < (0.5 if name == "B" else 0.4)))
    control, treatment = report(setting, state)
    assert control["VariantName"] == "A" and "Effect" not in control
    assert treatment["Significant"] and treatment["PValue"] < 0.05
    assert treatment["EffectLow"] < 0.1 < treatment["EffectHigh"]
    assert treatment["EffectLow"] > -0.02
    assert set(tripped(setting, state)) == {("B", "errors"), ("B", "latency")}
    assert 10 < len(state["history"]) <= 400


def test_requests_that_were_not_chosen_by_chance_do_not_count() -> None:
    setting = setting_of(SPEC)
    state = empty_state(setting)
    for _ in range(100):
        observe(setting, state, "B", None, 500, 1000.0)
        reward(setting, state, "B", None, 1.0)
        reward(setting, state, "A", {"A": 1.0, "B": 0.0}, 0.0)
    assert state["tests"]["outcome"]["B"]["n"] == 0
    assert state["requests"]["B"] == 100 and tripped(setting, state) == []


def _bandit(
    seed: int, policy: str, means: tuple[float, ...], steps: int, **more: float
) -> tuple[float, float]:
    """The regret of a bandit and of an even split, in rewards, with rewards that come 20 late."""
    draws = random.Random(seed)
    names = tuple("ABCD"[: len(means)])
    rates = dict(zip(names, means, strict=True))
    best = max(means)
    settings = Settings(policy, **more)  # type: ignore[arg-type]
    state = empty(names)
    shares = allocation(state, settings, seed)
    late: list[tuple[str, float]] = []
    regret = 0.0
    for step in range(steps):
        if step % 10 == 0:
            shares = allocation(state, settings, seed)
        name = draws.choices(names, [shares[n] for n in names])[0]
        regret += best - rates[name]
        late.append((name, float(draws.random() < rates[name])))
        if len(late) > 20:
            learn(state, settings, *late.pop(0))
    return regret, steps * (best - sum(means) / len(means))


@pytest.mark.parametrize("policy", POLICIES)
def test_regret_against_an_even_split(policy: str, workers: ProcessPoolExecutor) -> None:
    run = partial(_bandit, policy=policy, means=(0.1, 0.2, 0.5), steps=2000)
    found = list(workers.map(run, range(10)))
    regret = sum(mine for mine, _ in found) / len(found)
    even = found[0][1]
    assert regret < {"ThompsonSampling": 0.12, "EpsilonGreedy": 0.25, "UCB1": 0.45}[policy] * even


def test_a_floor_keeps_every_variant_seen() -> None:
    state = empty(("A", "B", "C"))
    settings = Settings("ThompsonSampling", floor=0.1)
    for _ in range(500):
        learn(state, settings, "A", 1.0)
        learn(state, settings, "B", 0.0)
        learn(state, settings, "C", 0.0)
    shares = allocation(state, settings, 1)
    assert shares["B"] == pytest.approx(0.1, abs=0.01)
    assert sum(shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("policy", ["ThompsonSampling", "EpsilonGreedy"])
def test_discounting_follows_a_world_that_changes(policy: str) -> None:
    draws = random.Random(1)

    def share_of_new_best(discount: float) -> float:
        settings = Settings(policy, floor=0.05, discount=discount)
        state = empty(("A", "B"))
        shares = allocation(state, settings, 1)
        for step in range(4000):
            if step % 20 == 0:
                shares = allocation(state, settings, 1)
            name = draws.choices(["A", "B"], [shares["A"], shares["B"]])[0]
            good = "A" if step < 3000 else "B"
            learn(state, settings, name, float(draws.random() < (0.8 if name == good else 0.2)))
        return allocation(state, settings, 1)["B"]

    assert share_of_new_best(0.99) > 0.8 > 0.5 > share_of_new_best(1.0)


def test_numeric_rewards_are_scaled_and_held() -> None:
    settings = Settings("ThompsonSampling", binary=False, low=0.0, high=10.0)
    state = empty(("A", "B"))
    draws = random.Random(2)
    for _ in range(200):
        learn(state, settings, "A", draws.gauss(4.0, 1.0))
        learn(state, settings, "B", draws.gauss(6.0, 1.0))
        learn(state, settings, "gone", 9.0)
    assert allocation(state, settings, 3)["B"] > 0.99
    assert allocation(state, settings, 3) == allocation(state, settings, 3)
