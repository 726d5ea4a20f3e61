"""What the operations that put alarms refuse, and the metric that an alarm watches."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from loopwright.aws.alarm_composite import Malformed, read_rule
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
ACTION_MEMBERS: Final = ("AlarmActions", "OKActions", "InsufficientDataActions")
ACTIONS_MAX: Final = 5
OF_A_METRIC: Final = ("Namespace", "MetricName", "Statistic", "Dimensions", "Period", "Unit")
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
    most = 604_800 if period >= 3600 else 86_400
    if period * periods > most:
        raise _bad(
            f"Period x EvaluationPeriods is {period * periods} s; the most is {most} s for a "
            f"Period of {period} s."
        )
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
    _check_actions(spec, ("autoscaling", "sns"))
    return spec


def checked_composite(params: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The settings of a composite alarm.

    Args:
        known: Names of the alarms that there are.

    Raises:
        ApiError: `ValidationError` naming the member, the rule and the way out.
    """
    spec = {key: value for key, value in params.items() if key != "Tags"}
    for member in ("ActionsSuppressor", "ActionsSuppressorWaitPeriod",
                   "ActionsSuppressorExtensionPeriod"):  # fmt: skip
        if spec.get(member) is not None:
            raise _bad(
                f"{member} is {spec[member]!r}, which Loopwright does not support: composite "
                "alarms have no actions here but topics, which nobody is told of. Leave it out."
            )
    try:
        rule = read_rule(spec["AlarmRule"])
    except Malformed as error:
        raise _bad(
            f"AlarmRule cannot be read: {error}. It combines ALARM(name), OK(name), "
            "INSUFFICIENT_DATA(name), TRUE and FALSE by AND, OR, NOT and parentheses."
        ) from None
    missing = [name for name in rule.names if name not in known and name != spec["AlarmName"]]
    if missing:
        raise _bad(
            f"Could not save the composite alarm as alarms {missing} in the alarm rule do not "
            "exist; put them first."
        )
    if spec["AlarmName"] in rule.names:
        raise _bad(f"AlarmRule is about {spec['AlarmName']} itself; name other alarms.")
    _check_actions(spec, ("sns",))
    return spec


def _single(spec: Mapping[str, Any]) -> dict[str, Any]:
    queries = spec["Metrics"]
    both = [member for member in OF_A_METRIC if spec.get(member)]
    if both:
        raise _bad(f"Give Metrics or {both[0]}, not both.")
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


def _check_actions(spec: Mapping[str, Any], services: tuple[str, ...]) -> None:
    """Scaling policies are carried out; topics are kept and shown; all else would be ignored."""
    allowed = {
        "autoscaling": "of a scaling policy of an endpoint's variant (carried out)",
        "sns": "of an SNS topic (kept and shown, nobody is told)",
    }
    for member in ACTION_MEMBERS:
        if len(spec.get(member, ())) > ACTIONS_MAX:
            raise _bad(f"{member} has {len(spec[member])} actions; the most is {ACTIONS_MAX}.")
        for action in spec.get(member, ()):
            parts = action.split(":")
            known = len(parts) >= 6 and parts[0] == "arn" and parts[2] in services
            policy = ":resource/sagemaker/endpoint/" in action and ":policyName/" in action
            if not known or (parts[2] == "autoscaling" and not policy):
                raise _bad(
                    f"{member} has {action!r}; it must be the ARN "
                    f"{' or '.join(allowed[name] for name in services)}."
                )


def _bad(text: str) -> ApiError:
    return ApiError("ValidationError", text)
