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
LISTED_MAX: Final = 5
"""How many points a reason names."""
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
        state: Of the alarm; None: it stays as it is, as too little is known.
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


def evaluate(spec: Mapping[str, Any], points: Sequence[Point], end: float, state: str) -> Found:
    """The state after an evaluation.

    Args:
        points: That exist in the `window`, oldest first.
        end: Of the window.
        state: Of the alarm until now.
    """
    periods = int(spec["EvaluationPeriods"])
    needed = int(spec.get("DatapointsToAlarm") or periods)
    compare, _ = COMPARE[spec["ComparisonOperator"]]
    threshold = float(spec["Threshold"])
    taken = list(points)[-periods:]
    crossed = [point for point in taken if compare(point[1], threshold)]
    counts = _Counts(
        needed,
        len(taken),
        len(crossed),
        periods - len(taken),
        (end - crossed[0][0]) / float(spec["Period"]) if crossed else 0.0,
    )
    new = _state(spec.get("TreatMissingData", "missing"), counts)
    return Found(new, _reason(spec, taken, crossed, new or state), taken)


@dataclass(frozen=True)
class _Counts:
    """Of the points of an evaluation; `age` is the oldest crossing one's, the newest being 1."""

    needed: int
    present: int
    crossing: int
    missing: int
    age: float


def _state(treatment: str, counts: _Counts) -> str | None:
    if counts.missing == 0 or counts.crossing >= counts.needed:
        return ALARM if counts.crossing >= counts.needed else OK
    if treatment == "breaching":
        return ALARM if counts.crossing + counts.missing >= counts.needed else OK
    if treatment == "notBreaching":
        return OK
    if counts.present == 0:
        return None if treatment == "ignore" else INSUFFICIENT
    if counts.crossing < counts.present:
        return OK
    # All that there is crosses the threshold. Too early to tell until the oldest is old enough:
    # "Avoiding premature transitions to alarm state".
    if counts.age < counts.needed or treatment == "ignore":
        return None
    return ALARM


def _reason(
    spec: Mapping[str, Any], taken: Sequence[Point], crossed: Sequence[Point], state: str
) -> str:
    periods = int(spec["EvaluationPeriods"])
    needed = int(spec.get("DatapointsToAlarm") or periods)
    missing = periods - len(taken)
    treatment = spec.get("TreatMissingData", "missing")
    alarm = state == ALARM
    about = crossed if alarm else [point for point in taken if point not in crossed]
    if not about:
        if treatment in ("breaching", "notBreaching"):
            kind = "Breaching" if treatment == "breaching" else "NonBreaching"
            points = _counted(missing, "missing datapoint")
            none = f"no datapoints were received for {_counted(periods, 'period')} and "
            return (
                f"Threshold Crossed: {'' if taken else none}{points} {_was(missing)} "
                f"treated as [{kind}]."
            )
        return f"Insufficient Data: {_counted(missing, 'datapoint')} {_was(missing)} unknown."
    words = COMPARE[spec["ComparisonOperator"]][1]
    head = f"Threshold Crossed: {len(about)} out of the last {len(taken)} datapoints"
    rule = f"{_was(len(about))} {'' if alarm else 'not '}{words} the threshold ({_threshold(spec)})"
    count = needed if alarm else periods - needed + 1
    turn = "OK -> ALARM" if alarm else "ALARM -> OK"
    tail = f"(minimum {_counted(count, 'datapoint')} for {turn} transition)."
    if len(about) <= LISTED_MAX:
        return f"{head} [{_listed(about)}] {rule} {tail}"
    crossing = "crossed" if alarm else "did not cross"
    recent = f"The most recent datapoints which {crossing} the threshold: ["
    return f"{head} {rule}. {recent}{_listed(about[-LISTED_MAX:])}] {tail}"


def reason_data(spec: Mapping[str, Any], found: Found, now: float) -> dict[str, Any]:
    """`StateReasonData`: what policies and other programs read of an evaluation."""
    statistic = spec.get("Statistic") or spec.get("ExtendedStatistic")
    return {
        "version": "1.0",
        "queryDate": iso(now),
        **({"startDate": iso(found.points[0][0])} if found.points else {}),
        **({"statistic": statistic} if statistic else {}),
        "period": spec["Period"],
        "recentDatapoints": [value for _, value in found.points],
        "threshold": float(spec["Threshold"]),
        "evaluatedDatapoints": [
            {"timestamp": iso(at), "value": value} for at, value in reversed(found.points)
        ],
    }


def iso(at: float) -> str:
    """A time as CloudWatch writes it."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def _threshold(spec: Mapping[str, Any]) -> str:
    return repr(float(spec["Threshold"]))


def _listed(points: Sequence[Point]) -> str:
    return ", ".join(
        f"{value!r} ({datetime.fromtimestamp(at, UTC):%d/%m/%y %H:%M:%S})"
        for at, value in reversed(points)
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
