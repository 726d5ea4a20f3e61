"""The state of a metric alarm, from the points of its metric: a pure function.

Rules and words: CloudWatch's user guide, "Configuring how CloudWatch alarms treat missing data".
More points than are evaluated are looked at, so that some may be missing.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

MORE_POINTS: Final = 2
"""How many periods further back real points are looked for."""
OK: Final = "OK"
ALARM: Final = "ALARM"
INSUFFICIENT: Final = "INSUFFICIENT_DATA"
COMPARE: Final[Mapping[str, tuple[Callable[[float, float], bool], str]]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
Point = tuple[float, float]
"""(start of its period in platform seconds, value)."""


@dataclass(frozen=True)
class Found:
    """What an evaluation found.

    Attributes:
        state: Of the alarm; None: it stays as it is.
        reason: In CloudWatch's words.
        points: Those that were evaluated, oldest first.
    """

    state: str | None
    reason: str
    points: Sequence[Point]


def window(spec: Mapping[str, Any], now: float) -> tuple[float, float]:
    """The time, from and to, whose points an evaluation at `now` looks at: whole periods."""
    period = float(spec["Period"])
    end = now // period * period
    return end - period * (int(spec["EvaluationPeriods"]) + MORE_POINTS), end


def evaluate(spec: Mapping[str, Any], points: Sequence[Point], state: str) -> Found:
    """The state after an evaluation.

    Args:
        points: That exist in the `window`, oldest first.
        state: Of the alarm until now.
    """
    periods = int(spec["EvaluationPeriods"])
    needed = int(spec.get("DatapointsToAlarm") or periods)
    compare, _ = COMPARE[spec["ComparisonOperator"]]
    threshold = float(spec["Threshold"])
    taken = list(points)[-periods:]
    breaching = sum(compare(value, threshold) for _, value in taken)
    missing = periods - len(taken)
    new = _state(spec.get("TreatMissingData", "missing"), needed, len(taken), breaching, missing)
    return Found(new, _reason(spec, taken, breaching, missing, new or state), taken)


def _state(treatment: str, needed: int, present: int, breaching: int, missing: int) -> str | None:
    if missing == 0 or breaching >= needed:
        return ALARM if breaching >= needed else OK
    if treatment == "breaching":
        return ALARM if breaching + missing >= needed else OK
    if treatment == "notBreaching":
        return OK
    if present == 0:
        return None if treatment == "ignore" else INSUFFICIENT
    if breaching < present:
        return OK
    return None if treatment == "ignore" else ALARM


def _reason(
    spec: Mapping[str, Any], taken: Sequence[Point], breaching: int, missing: int, state: str
) -> str:
    threshold = float(spec["Threshold"])
    words = COMPARE[spec["ComparisonOperator"]][1]
    if not taken:
        treatment = spec.get("TreatMissingData", "missing")
        if treatment in ("breaching", "notBreaching"):
            kind = "breaching" if treatment == "breaching" else "non-breaching"
            return f"Threshold Crossed: no datapoints were received for {missing} periods and " + (
                f"{missing} missing datapoints were treated as [{kind.replace('-', '')}]."
            )
        return f"Insufficient Data: {missing} datapoints were unknown."
    listed = ", ".join(
        f"{value!r} ({datetime.fromtimestamp(at, UTC):%d/%m/%y %H:%M:%S})"
        for at, value in reversed(taken)
    )
    count = breaching if state == ALARM else len(taken) - breaching
    was = "was" if count == 1 else "were"
    no = "" if state == ALARM else "not "
    return (
        f"Threshold Crossed: {count} out of the last {len(taken)} datapoints [{listed}] {was} "
        f"{no}{words} the threshold ({threshold!r})."
    )
