"""What an online experiment knows: outcomes, errors and latencies of two or more variants.

One control is compared with each treatment by its outcome (two-sided), and guarded by errors and
slow answers (one-sided: that the treatment is not worse). An answer is slow when it takes longer
than 95 of 100 of the control's did, as known before it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.hosting.comparison import BUCKETS, quantile
from loopwright.hosting.experiments.evalues import (
    State,
    bet_on_rates,
    bet_on_values,
    empty_arm,
    empty_test,
    p_value,
    rate_interval,
    see,
    value_interval,
)

OUTCOME: Final = "outcome"
ERRORS: Final = "errors"
LATENCY: Final = "latency"
GUARDS: Final = (ERRORS, LATENCY)
SLOW_SHARE: Final = 0.95
SLOW_AFTER: Final = 100
"""Answers of the control before it is known what is slow."""
HISTORY_MAX: Final = 400


@dataclass(frozen=True)
class Setting:
    """What an experiment is about.

    Attributes:
        low, high: Between which outcomes lie; 0 and 1 for binary ones.
        alpha: The chance of a false alarm over the whole experiment, for each treatment's outcome,
            and again for each guard.
    """

    control: str
    treatments: tuple[str, ...]
    binary: bool
    low: float
    high: float
    alpha: float


def setting_of(spec: Mapping[str, Any]) -> Setting:
    """From the request that created the experiment."""
    outcome = spec.get("Outcome", {})
    binary = outcome.get("Type", "Binary") == "Binary"
    return Setting(
        spec["ControlVariantName"],
        tuple(spec["TreatmentVariantNames"]),
        binary,
        0.0 if binary else float(outcome["Minimum"]),
        1.0 if binary else float(outcome["Maximum"]),
        float(spec.get("Alpha", 0.05)),
    )


def empty_state(setting: Setting) -> State:
    """Nothing seen."""
    names = (setting.control, *setting.treatments)
    return {
        "arms": {kind: {name: empty_arm() for name in names} for kind in (OUTCOME, *GUARDS)},
        "tests": {
            kind: {name: empty_test() for name in setting.treatments} for kind in (OUTCOME, *GUARDS)
        },
        "latency": {name: [0] * BUCKETS for name in names},
        "requests": dict.fromkeys(names, 0),
        "history": [],
    }


def observe(
    setting: Setting,
    state: State,
    variant: str,
    chances: Mapping[str, float] | None,
    status: int,
    micros: float,
) -> None:
    """One request was answered, or was not (status 0)."""
    if variant not in state["requests"]:
        return
    state["requests"][variant] += 1
    _add(setting, state, ERRORS, variant, chances, float(status == 0 or status >= 400))
    control = state["latency"][setting.control]
    if sum(control) >= SLOW_AFTER:
        slow = micros > quantile(control, SLOW_SHARE)
        _add(setting, state, LATENCY, variant, chances, float(slow))
    state["latency"][variant][min(int(micros).bit_length(), BUCKETS - 1)] += 1


def reward(
    setting: Setting,
    state: State,
    variant: str,
    chances: Mapping[str, float] | None,
    value: float,
) -> None:
    """The outcome of a request; outside of the bounds it counts as the bound."""
    if variant not in state["requests"]:
        return
    scaled = (value - setting.low) / (setting.high - setting.low)
    _add(setting, state, OUTCOME, variant, chances, min(1.0, max(0.0, scaled)))
    _remember(setting, state)


def _add(
    setting: Setting,
    state: State,
    kind: str,
    variant: str,
    chances: Mapping[str, float] | None,
    value: float,
) -> None:
    """Bet, then see."""
    arms = state["arms"][kind]
    named = setting.treatments if variant == setting.control else (variant,)
    for name in named:
        chance = _chance(setting, name, chances)
        if chance is None:
            continue
        test, control, treatment = state["tests"][kind][name], arms[setting.control], arms[name]
        treated = variant == name
        if kind != OUTCOME or setting.binary:
            bet_on_rates(test, control, treatment, treated, value >= 0.5, chance, kind != OUTCOME)
        else:
            seen = control["n"] + treatment["n"]
            middle = (control["sum"] + treatment["sum"] + 0.5) / (seen + 1)
            bet_on_values(test, treated, value, middle, chance)
    if chances is not None:
        see(arms[variant], value, setting.alpha / 2)


def _chance(setting: Setting, treatment: str, chances: Mapping[str, float] | None) -> float | None:
    """That the treatment is chosen, given that it is this or the control; None: not by chance."""
    if chances is None:
        return None
    ours, theirs = chances.get(setting.control, 0.0), chances.get(treatment, 0.0)
    return theirs / (ours + theirs) if ours > 0 and theirs > 0 else None


def _remember(setting: Setting, state: State) -> None:
    """A point of each treatment's effect for the picture, ever further apart."""
    history: list[list[float]] = state["history"]
    count = sum(arm["n"] for arm in state["arms"][OUTCOME].values())
    last = history[-1][0] if history else 0
    if count < last + max(10, last // 20):
        return
    for index, name in enumerate(setting.treatments):
        effect = effect_of(setting, state, OUTCOME, name)
        history.append([count, index, effect["Effect"], effect["Low"], effect["High"]])
    del history[:-HISTORY_MAX]


def effect_of(setting: Setting, state: Mapping[str, Any], kind: str, name: str) -> dict[str, float]:
    """The treatment's mean less the control's, with its confidence sequence."""
    arms = state["arms"][kind]
    scale = setting.high - setting.low if kind == OUTCOME else 1.0
    rates = kind != OUTCOME or setting.binary
    interval = rate_interval if rates else value_interval
    low, high = interval(arms[setting.control], setting.alpha / 2)
    their_low, their_high = interval(arms[name], setting.alpha / 2)
    mean, their_mean = (
        arm["sum"] / arm["n"] if arm["n"] else math.nan
        for arm in (arms[setting.control], arms[name])
    )
    effect = their_mean - mean
    return {
        "Effect": 0.0 if math.isnan(effect) else effect * scale,
        "Low": (their_low - high) * scale,
        "High": (their_high - low) * scale,
    }


def report(setting: Setting, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each variant with its figures and, for treatments, how it differs from the control."""
    return [_variant(setting, state, name) for name in (setting.control, *setting.treatments)]


def _variant(setting: Setting, state: Mapping[str, Any], name: str) -> dict[str, Any]:
    outcome, errors = state["arms"][OUTCOME][name], state["arms"][ERRORS][name]
    scale = setting.high - setting.low
    found: dict[str, Any] = {
        "VariantName": name,
        "Requests": state["requests"][name],
        "Outcomes": outcome["n"],
        "ErrorRate": errors["sum"] / errors["n"] if errors["n"] else 0.0,
        "P95Latency": quantile(state["latency"][name], 0.95) / 1000.0,
    }
    if outcome["n"]:
        found["Mean"] = setting.low + scale * outcome["sum"] / outcome["n"]
    if name == setting.control:
        return found
    effect = effect_of(setting, state, OUTCOME, name)
    p = p_value(state["tests"][OUTCOME][name])
    found |= {
        "Effect": effect["Effect"],
        "EffectLow": effect["Low"],
        "EffectHigh": effect["High"],
        "PValue": p,
        "Significant": p <= setting.alpha,
    }
    for guard in GUARDS:
        found[f"Guard{guard.capitalize()}PValue"] = p_value(state["tests"][guard][name])
    return found


def tripped(setting: Setting, state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(treatment, guard) of all guards that say the treatment is worse."""
    return [
        (name, guard)
        for name in setting.treatments
        for guard in GUARDS
        if p_value(state["tests"][guard][name]) <= setting.alpha
    ]


def decided(setting: Setting, state: Mapping[str, Any]) -> Sequence[str]:
    """The treatments whose outcome differs from the control's."""
    return [
        name
        for name in setting.treatments
        if p_value(state["tests"][OUTCOME][name]) <= setting.alpha
    ]
