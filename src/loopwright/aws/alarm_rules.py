"""What PutMetricAlarm refuses, and the metric that an alarm watches."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.aws.alarm_state import COMPARE
from loopwright.aws.metrics import Watched
from loopwright.wire.errors import ApiError

REFUSED: Final = {
    "ExtendedStatistic": "points are kept by period, without their distribution; use Statistic",
    "ThresholdMetricId": "anomaly detection is not served; give Threshold",
    "EvaluationWindow": "use Period and EvaluationPeriods",
    "EvaluationCriteria": "give MetricName, Statistic and Threshold",
    "EvaluationInterval": "an alarm is evaluated once a period, at least each minute",
    "WarmUpConfiguration": "leave it out",
}
NEEDED: Final = ("EvaluationPeriods", "ComparisonOperator", "Threshold", "Period")
STATISTICS: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


def watched(spec: Mapping[str, Any]) -> Watched:
    """The metric that a checked alarm watches."""
    return Watched(
        spec["Namespace"], spec["MetricName"], tuple(spec.get("Dimensions", ())),
        spec["Statistic"], spec.get("Unit"),
    )  # fmt: skip


def checked(params: Mapping[str, Any]) -> dict[str, Any]:
    """The alarm's settings, with a single metric of `Metrics` written as members.

    Raises:
        ApiError: `ValidationError` naming the member, the rule and the way out.
    """
    spec = {key: value for key, value in params.items() if key != "Tags"}
    for member, why in REFUSED.items():
        if spec.get(member):
            raise _bad(f"{member} is {spec[member]!r}, which Loopwright does not support: {why}.")
    if spec.get("Metrics"):
        spec |= _single(spec)
    for member in ("Namespace", "MetricName", "Statistic", *NEEDED):
        if spec.get(member) is None:
            raise _bad(f"{member} is missing; a metric alarm needs it.")
    if spec["Statistic"] not in STATISTICS:
        raise _bad(
            f"Statistic is {spec['Statistic']!r}; it must be one of {', '.join(STATISTICS)}."
        )
    if spec["ComparisonOperator"] not in COMPARE:
        raise _bad(
            f"ComparisonOperator is {spec['ComparisonOperator']!r}; without anomaly detection it "
            f"must be one of {', '.join(COMPARE)}."
        )
    period, periods = spec["Period"], spec["EvaluationPeriods"]
    if period not in (10, 20, 30) and period % 60:
        raise _bad(f"Period is {period} s; it must be 10, 20, 30 or a multiple of 60 s.")
    if period * periods > 604_800:
        raise _bad(f"Period x EvaluationPeriods is {period * periods} s; the most is 604800 s.")
    if not 1 <= spec.get("DatapointsToAlarm", 1) <= periods:
        raise _bad(
            f"DatapointsToAlarm is {spec['DatapointsToAlarm']}; it must be from 1 to "
            f"EvaluationPeriods, {periods}."
        )
    treatment = spec.get("TreatMissingData", "missing")
    if treatment not in ("missing", "ignore", "breaching", "notBreaching"):
        raise _bad(
            f"TreatMissingData is {treatment!r}; it must be missing, ignore, breaching or "
            "notBreaching."
        )
    for member in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        for action in spec.get(member, ()):
            _check_action(member, action)
    return spec


def _single(spec: Mapping[str, Any]) -> dict[str, Any]:
    queries = spec["Metrics"]
    if len(queries) != 1 or not queries[0].get("MetricStat"):
        raise _bad("Metrics with expressions are not supported: give one MetricStat.")
    stat = queries[0]["MetricStat"]
    return {
        "Namespace": stat["Metric"]["Namespace"],
        "MetricName": stat["Metric"]["MetricName"],
        "Dimensions": stat["Metric"].get("Dimensions", []),
        "Statistic": stat["Stat"],
        "Period": stat["Period"],
        **({"Unit": stat["Unit"]} if stat.get("Unit") else {}),
    }


def _check_action(member: str, action: str) -> None:
    """Scaling policies are carried out; topics are kept and shown; all else would be ignored."""
    parts = action.split(":")
    if len(parts) < 6 or parts[0] != "arn" or parts[2] not in ("autoscaling", "sns"):
        raise _bad(
            f"{member} has {action!r}; it must be the ARN of a scaling policy (carried out) or of "
            "an SNS topic (kept and shown, nobody is told)."
        )


def _bad(text: str) -> ApiError:
    return ApiError("ValidationError", text)
