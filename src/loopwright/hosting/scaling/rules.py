"""How many instances a policy asks for: pure functions.

Rules: the user guide of Application Auto Scaling, on target tracking, on step scaling, and on
cooldown periods.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

COOLDOWN_S: Final = 300.0
CAPACITY_MAX: Final = 2.0**31
"""More than any target allows: what is beyond all numbers asks for this."""
LOW: Final = 0.9
"""Below this part of the target the low alarm goes off."""


@dataclass(frozen=True)
class Past:
    """The last change of the capacity.

    Attributes:
        at: Platform seconds.
        before, after: The capacities.
    """

    at: float
    before: int
    after: int


@dataclass(frozen=True)
class Limits:
    """What a scalable target allows."""

    least: int
    most: int
    no_in: bool = False
    no_out: bool = False


def tracked(config: Mapping[str, Any], current: int, value: float, low: bool) -> int | None:
    """What target tracking asks for when one of its alarms is in ALARM; None: nothing.

    Out in one step, in proportion; in by a tenth of the capacity at a time, at least by one.
    """
    target = float(config["TargetValue"])
    wanted = math.ceil(min(max(current * value / target, 0.0), CAPACITY_MAX) - 1e-9)
    if not low:
        return wanted if wanted > current else None
    if config.get("DisableScaleIn") or wanted >= current:
        return None
    return max(wanted, current - max(1, current // 10))


def stepped(config: Mapping[str, Any], current: int, value: float, threshold: float) -> int | None:
    """What step scaling asks for at a metric's value; None when no step holds it."""
    adjustment = step_of(config["StepAdjustments"], value - threshold)
    if adjustment is None:
        return None
    kind = config["AdjustmentType"]
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return current + adjustment
    change = current * adjustment / 100.0
    # Away from nothing up to one, else towards zero.
    rounded = math.trunc(change) if abs(change) >= 1 else int(math.copysign(1, change))
    if change == 0:
        rounded = 0
    least = int(config.get("MinAdjustmentMagnitude") or 0)
    if rounded and abs(rounded) < least:
        rounded = int(math.copysign(least, rounded))
    return current + rounded


def step_of(steps: Sequence[Mapping[str, Any]], excess: float) -> int | None:
    """The adjustment for a value so far above the threshold, or below it when negative.

    Above it a step holds its lower bound and not its upper one; below it the other way round.
    """
    for step in steps:
        low = step.get("MetricIntervalLowerBound")
        high = step.get("MetricIntervalUpperBound")
        low = -math.inf if low is None else float(low)
        high = math.inf if high is None else float(high)
        holds = low <= excess < high if excess >= 0 else low < excess <= high
        if excess < 0 and low == -math.inf:
            holds = excess <= high
        if holds:
            return int(step["ScalingAdjustment"])
    return None


@dataclass(frozen=True)
class Proposal:
    """What one policy asks for.

    Attributes:
        wanted: From the present capacity.
        wanted_before: From the capacity before the last scaling out, which counts while its
            cooldown lasts: what was just added is part of what is asked for.
        out_s, in_s: The policy's cooldowns.
        tracking: Whether it is a policy of target tracking.
        state: Of the alarm.
    """

    policy: str
    alarm: str
    wanted: int
    wanted_before: int | None
    out_s: float
    in_s: float
    tracking: bool = True
    state: str = "ALARM"


@dataclass(frozen=True)
class Decision:
    """What to do: a new capacity, or why there is none.

    Attributes:
        base: The capacity that the next wish within the cooldown counts from.
    """

    count: int | None
    proposal: Proposal | None = None
    reason: str = ""
    base: int | None = None


def decide(
    proposals: Sequence[Proposal],
    staying: int,
    current: int,
    limits: Limits,
    last: Past | None,
    now: float,
) -> Decision:
    """The capacity that follows from what all policies ask for.

    Args:
        staying: Policies of target tracking that do not agree to scale in.
    """
    outs = [item for item in proposals if item.wanted > current]
    if outs:
        return _out(outs, current, limits, last, now)
    ins = [item for item in proposals if item.wanted < current]
    if not ins:
        return Decision(None)
    if staying:
        # Target tracking scales in only if all of it agrees; steps are not held up by it.
        ins = [item for item in ins if not item.tracking]
        if not ins:
            return Decision(None)
    chosen = max(ins, key=lambda item: item.wanted)
    if limits.no_in:
        return Decision(None, chosen, "DynamicScalingInSuspended")
    if last is not None:
        wait_s = chosen.in_s if last.after < last.before else chosen.out_s
        if now < last.at + wait_s:
            return Decision(None, chosen, "CooldownPeriod")
    count = max(limits.least, min(limits.most, chosen.wanted))
    if count >= current:
        return Decision(None, chosen, "AlreadyAtMinCapacity")
    return Decision(count, chosen, base=current)


def _out(
    outs: Sequence[Proposal], current: int, limits: Limits, last: Past | None, now: float
) -> Decision:
    """The largest wish; while a scaling out cools down, only what goes beyond it."""
    cooled = []
    for item in outs:
        if last is not None and last.after > last.before and now < last.at + item.out_s:
            wanted, base = item.wanted_before, last.before
        else:
            wanted, base = item.wanted, current
        if wanted is not None:
            cooled.append((wanted, item, base))
    wanted, chosen, base = max(cooled, key=lambda found: found[0], default=(0, outs[0], current))
    if limits.no_out:
        return Decision(None, chosen, "DynamicScalingOutSuspended")
    if wanted <= current:
        return Decision(None, chosen, "CooldownPeriod")
    count = max(limits.least, min(limits.most, wanted))
    if count <= current:
        return Decision(None, chosen, "AlreadyAtMaxCapacity")
    return Decision(count, chosen, base=base)
