"""What the operations that put alarms refuse, and the metric that an alarm watches."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from loopwright.aws.alarm_composite import Malformed, read_rule
from loopwright.aws.alarm_state import COMPARE
from loopwright.aws.metric_math.queries import Query, Refused, read_queries
from loopwright.aws.statistics import SIMPLE, Unknown, Watched, read_statistic
from loopwright.wire.errors import ApiError
from loopwright.wire.services import operation
from loopwright.wire.validate import validate

REFUSED: Final = {
    "ThresholdMetricId": "anomaly detection is not served; give Threshold",
    "EvaluationWindow": "use Period and EvaluationPeriods",
    "EvaluationCriteria": "give MetricName, Statistic and Threshold",
    "EvaluationInterval": "an alarm is evaluated once a period, at least each minute",
    "WarmUpConfiguration": "leave it out",
    "ActionConfiguration": "all actions are carried out; leave it out",
}
NEEDED: Final = ("EvaluationPeriods", "ComparisonOperator", "Threshold", "Period")
ACTION_MEMBERS: Final = ("AlarmActions", "OKActions", "InsufficientDataActions")
ACTIONS_MAX: Final = 5
OF_A_METRIC: Final = (
    "Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit",
)  # fmt: skip
KIND_MAX: Final = 10
"""How many metrics, and how many expressions, `Metrics` may have."""


def watched(spec: Mapping[str, Any]) -> Watched | None:
    """The metric that a checked alarm watches; None: it watches an expression."""
    if "MetricName" not in spec:
        return None
    return Watched(
        spec["Namespace"], spec["MetricName"], tuple(spec.get("Dimensions", ())),
        spec.get("Statistic") or spec["ExtendedStatistic"], spec.get("Unit"),
    )  # fmt: skip


def samples_needed(spec: Mapping[str, Any]) -> float | None:
    """How many samples a checked alarm waits for; None: it is always evaluated."""
    if spec.get("EvaluateLowSampleCountPercentile") != "ignore":
        return None
    return read_statistic(spec["ExtendedStatistic"]).samples_needed


def checked(params: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The alarm's settings, with a single metric of `Metrics` written as members.

    Of an expression the `Period` of its time series is added.

    Args:
        account: The only one whose metrics there are.

    Raises:
        ApiError: `ValidationError` naming the member, the rule and the way out.
    """
    spec = {key: value for key, value in params.items() if key != "Tags"}
    for member, why in REFUSED.items():
        if spec.get(member):
            raise _bad(f"{member} is {spec[member]!r}, which Loopwright does not support: {why}.")
    needed = [*NEEDED]
    if spec.get("Metrics"):
        spec |= _of_metrics(spec, account)
    if "Metrics" not in spec or watched(spec) is not None:
        needed += ("Namespace", "MetricName")
    for member in needed:
        if spec.get(member) is None:
            raise _bad(f"{member} is missing; a metric alarm needs it.")
    _check_statistic(spec)
    if spec["ComparisonOperator"] not in COMPARE:
        raise _bad(
            f"ComparisonOperator is {spec['ComparisonOperator']!r}; without anomaly detection it "
            f"must be one of {', '.join(COMPARE)}."
        )
    _check_periods(spec)
    _check_actions(spec, ("autoscaling", "lambda", "sns"))
    return spec


def check_alarm(spec: Mapping[str, Any], account: str) -> None:
    """Refuse settings that PutMetricAlarm would refuse, for others who make alarms.

    Raises:
        ApiError: naming the member and the rule.
    """
    validate(operation("cloudwatch", "PutMetricAlarm"), dict(spec))
    checked(spec, account)


def checked_composite(params: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The settings of a composite alarm.

    Args:
        known: Names of the alarms that there are.

    Raises:
        ApiError: `ValidationError` naming the member, the rule and the way out.
    """
    spec = {key: value for key, value in params.items() if key != "Tags"}
    if spec.get("ActionConfiguration"):
        why = REFUSED["ActionConfiguration"]
        raise _bad(f"ActionConfiguration is given, which Loopwright does not support: {why}.")
    for member in ("ActionsSuppressor", "ActionsSuppressorWaitPeriod",
                   "ActionsSuppressorExtensionPeriod"):  # fmt: skip
        if spec.get(member) is not None:
            raise _bad(
                f"{member} is {spec[member]!r}, which Loopwright does not support: actions are "
                "not suppressed. Leave it out, or put the other alarm into AlarmRule with NOT."
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
    _check_actions(spec, ("lambda", "sns"))
    return spec


def _check_periods(spec: Mapping[str, Any]) -> None:
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


def _check_statistic(spec: Mapping[str, Any]) -> None:
    """Exactly one statistic of a metric, and low samples only of a percentile."""
    simple, extended = spec.get("Statistic"), spec.get("ExtendedStatistic")
    if "MetricName" in spec and bool(simple) == bool(extended):
        told = "not both" if simple else "a metric alarm needs one of them"
        raise _bad(f"Give Statistic or ExtendedStatistic; {told}.")
    if simple and simple not in SIMPLE:
        raise _bad(f"Statistic is {simple!r}; it must be one of {', '.join(SIMPLE)}.")
    needed = None
    if extended:
        try:
            statistic = read_statistic(extended)
        except Unknown as error:
            raise _bad(f"ExtendedStatistic: {error}") from None
        if not statistic.needs_spread:
            raise _bad(f"ExtendedStatistic is {extended!r}; give it as Statistic.")
        needed = statistic.samples_needed
    low = spec.get("EvaluateLowSampleCountPercentile")
    if low not in (None, "evaluate", "ignore"):
        raise _bad(f"EvaluateLowSampleCountPercentile is {low!r}; it must be evaluate or ignore.")
    if low == "ignore" and needed is None:
        raise _bad(
            "EvaluateLowSampleCountPercentile is 'ignore'; that is for alarms on a percentile, "
            "such as p99. Leave it out."
        )


def queries_of(spec: Mapping[str, Any], account: str) -> list[Query]:
    """What `Metrics` of an alarm ask for, in the order in which it is evaluated.

    Raises:
        Refused: they break a rule.
    """
    return read_queries(spec["Metrics"], account)


def _of_metrics(spec: Mapping[str, Any], account: str) -> dict[str, Any]:
    """What `Metrics` say, as members: all of a single metric, the period of an expression."""
    items = spec["Metrics"]
    both = [member for member in OF_A_METRIC if spec.get(member)]
    if both:
        raise _bad(f"Give Metrics or {both[0]}, not both.")
    try:
        queries = queries_of(spec, account)
    except Refused as error:
        raise _bad(f"Metrics: {error}") from None
    metrics = [query for query in queries if query.metric is not None]
    if len(metrics) > KIND_MAX or len(queries) - len(metrics) > KIND_MAX:
        raise _bad(
            f"Metrics has {len(metrics)} metrics and {len(queries) - len(metrics)} expressions; "
            f"the most is {KIND_MAX} of each."
        )
    if not metrics:
        raise _bad("Metrics has no MetricStat; an alarm watches at least one metric.")
    returned = [query for query in queries if query.returned]
    if len(returned) != 1:
        raise _bad(
            f"{len(returned)} of Metrics have ReturnData true, which it is unless given; exactly "
            "one, which the alarm watches, must have it."
        )
    if returned[0].is_array:
        raise _bad(
            f"Expression {returned[0].name!r} returns an array of time series; an alarm watches "
            "a single one: use SUM, MAX, FIRST or the like."
        )
    return _single(items[0]) if len(items) == 1 else {"Period": returned[0].period_s}


def _single(query: Mapping[str, Any]) -> dict[str, Any]:
    stat = query["MetricStat"]
    kind = "Statistic" if stat["Stat"] in SIMPLE else "ExtendedStatistic"
    return {
        "Namespace": stat["Metric"]["Namespace"],
        "MetricName": stat["Metric"]["MetricName"],
        "Dimensions": stat["Metric"].get("Dimensions", []),
        kind: stat["Stat"],
        "Period": stat["Period"],
        **({"Unit": stat["Unit"]} if stat.get("Unit") else {}),
    }


def _check_actions(spec: Mapping[str, Any], services: tuple[str, ...]) -> None:
    """Scaling policies are carried out, functions invoked; topics are kept and shown; all else
    would be ignored."""
    allowed = {
        "lambda": "of a function (invoked when the state changes)",
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
            wrong = (parts[2] == "autoscaling" and not policy) if known else True
            if wrong or (parts[2] == "lambda" and parts[5] != "function"):
                raise _bad(
                    f"{member} has {action!r}; it must be the ARN "
                    f"{' or '.join(allowed[name] for name in services)}."
                )


def _bad(text: str) -> ApiError:
    return ApiError("ValidationError", text)
