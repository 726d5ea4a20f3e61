"""The state of alarms, by the tables of CloudWatch's guide and by hand-worked examples."""

from typing import Any

import pytest

from loopwright.aws.alarm_rules import checked, watched
from loopwright.aws.alarm_state import evaluate, reason_data, window
from loopwright.wire.errors import ApiError

ACCOUNT = "123456789012"
RETAIN = "retain"
THREE = [
    ("0-X-X", "OK", "OK", "OK", "OK"),
    ("----0", "OK", "OK", "OK", "OK"),
    ("-----", "INSUFFICIENT_DATA", RETAIN, "ALARM", "OK"),
    ("0XX-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", "ALARM", RETAIN, "ALARM", "OK"),
]
TWO_OF_THREE = [
    ("0-X-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", "OK", "OK", "ALARM", "OK"),
    ("----0", "OK", "OK", "ALARM", "OK"),
    ("---X-", "ALARM", RETAIN, "ALARM", "OK"),
]
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def settings(**more: Any) -> dict[str, Any]:
    return {
        "AlarmName": "a",
        "Namespace": "N",
        "MetricName": "M",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }


@pytest.mark.parametrize(
    ("needed", "row"), [(3, row) for row in THREE] + [(2, row) for row in TWO_OF_THREE]
)
def test_missing_data_as_in_the_guide(needed: int, row: tuple[str, ...]) -> None:
    points = [
        (index * 60.0, {"X": 2.0, "0": 0.0}[sign])
        for index, sign in enumerate(row[0])
        if sign != "-"
    ]
    for treatment, wanted in zip(TREATMENTS, row[1:], strict=True):
        spec = settings(DatapointsToAlarm=needed, TreatMissingData=treatment)
        found = evaluate(spec, points, 300.0, "OK")
        assert (found.state or RETAIN) == wanted, treatment


@pytest.mark.parametrize(
    ("signs", "periods", "needed", "wanted"),
    [
        # "the alarm does not go immediately into ALARM state when the data is either"
        ("----X", 3, 3, RETAIN),
        ("---X-", 3, 3, RETAIN),
        ("--X--", 3, 3, "ALARM"),
        ("---X0", 3, 3, "OK"),
        ("--X-0", 3, 3, "OK"),
        ("---XX", 3, 3, RETAIN),
        ("--XXX", 3, 3, "ALARM"),
        ("----X", 3, 2, RETAIN),
        # One quiet minute is none of fifteen, whatever came before.
        ("-" * 16 + "X", 15, 15, RETAIN),
        ("-" * 3 + "X" * 14, 15, 15, RETAIN),
        ("-" * 2 + "X" * 15, 15, 15, "ALARM"),
        ("X" * 16 + "0", 15, 15, "OK"),
    ],
)
def test_too_early_is_no_alarm(signs: str, periods: int, needed: int, wanted: str) -> None:
    points = [
        (index * 60.0, {"X": 2.0, "0": 0.0}[sign])
        for index, sign in enumerate(signs)
        if sign != "-"
    ]
    spec = settings(EvaluationPeriods=periods, DatapointsToAlarm=needed)
    for state in ("OK", "INSUFFICIENT_DATA"):
        found = evaluate(spec, points, len(signs) * 60.0, state)
        assert (found.state or RETAIN) == wanted


@pytest.mark.parametrize(
    ("operator", "value", "state"),
    [
        ("GreaterThanThreshold", 1.0, "OK"),
        ("GreaterThanOrEqualToThreshold", 1.0, "ALARM"),
        ("LessThanThreshold", 1.0, "OK"),
        ("LessThanOrEqualToThreshold", 1.0, "ALARM"),
        ("LessThanThreshold", 0.5, "ALARM"),
    ],
)
def test_operators(operator: str, value: float, state: str) -> None:
    spec = settings(ComparisonOperator=operator, EvaluationPeriods=1)
    found = evaluate(spec, [(0.0, value)], 60.0, "OK")
    assert found.state == state
    assert found.reason.startswith("Threshold Crossed: 1 out of the last 1 datapoints [")


@pytest.mark.parametrize(
    ("more", "values", "reason"),
    [
        (
            {"EvaluationPeriods": 2},
            [4.0, 5.0],
            "Threshold Crossed: 2 out of the last 2 datapoints [5.0 (01/01/70 00:01:00), "
            "4.0 (01/01/70 00:00:00)] were greater than the threshold (1.0) (minimum 2 datapoints "
            "for OK -> ALARM transition).",
        ),
        (
            {"EvaluationPeriods": 1},
            [0.5],
            "Threshold Crossed: 1 out of the last 1 datapoints [0.5 (01/01/70 00:00:00)] was not "
            "greater than the threshold (1.0) (minimum 1 datapoint for ALARM -> OK transition).",
        ),
        (
            {"EvaluationPeriods": 6},
            [2.0] * 6,
            "Threshold Crossed: 6 out of the last 6 datapoints were greater than the threshold "
            "(1.0). The most recent datapoints which crossed the threshold: [2.0 (01/01/70 "
            "00:05:00), 2.0 (01/01/70 00:04:00), 2.0 (01/01/70 00:03:00), 2.0 (01/01/70 00:02:00), "
            "2.0 (01/01/70 00:01:00)] (minimum 6 datapoints for OK -> ALARM transition).",
        ),
        ({}, [], "Insufficient Data: 3 datapoints were unknown."),
        (
            {"TreatMissingData": "notBreaching"},
            [],
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing "
            "datapoints were treated as [NonBreaching].",
        ),
        (
            {"TreatMissingData": "notBreaching"},
            [2.0],
            "Threshold Crossed: 2 missing datapoints were treated as [NonBreaching].",
        ),
    ],
)
def test_the_reason_reads_as_the_service_s(
    more: dict[str, Any], values: list[float], reason: str
) -> None:
    points = [(index * 60.0, value) for index, value in enumerate(values)]
    assert evaluate(settings(**more), points, len(values) * 60.0, "OK").reason == reason


def test_what_programs_read_of_an_evaluation() -> None:
    spec = settings(EvaluationPeriods=2)
    found = evaluate(spec, [(0.0, 4.0), (60.0, 5.0)], 120.0, "OK")
    data = reason_data(spec, found, 125.5)
    assert data["queryDate"] == "1970-01-01T00:02:05.500+0000"
    assert data["startDate"] == "1970-01-01T00:00:00.000+0000"
    assert (data["recentDatapoints"], data["threshold"]) == ([4.0, 5.0], 1.0)
    assert (data["statistic"], data["period"]) == ("Sum", 60)


def test_only_whole_periods_are_looked_at() -> None:
    assert window(settings(), 419.9) == (60.0, 360.0)
    assert window(settings(Period=10, EvaluationPeriods=1), 39.9) == (0.0, 30.0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Period": 45}, "10, 20, 30 or a multiple"),
        ({"DatapointsToAlarm": 4}, "from 1 to EvaluationPeriods"),
        ({"ExtendedStatistic": "p99"}, "Statistic or ExtendedStatistic; not both"),
        ({"Statistic": None, "ExtendedStatistic": "p101"}, "'p101' is no statistic"),
        ({"Statistic": None, "ExtendedStatistic": "Sum"}, "give it as Statistic"),
        ({"EvaluateLowSampleCountPercentile": "ignore"}, "alarms on a percentile"),
        ({"EvaluateLowSampleCountPercentile": "never"}, "must be evaluate or ignore"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "anomaly"),
        ({"AlarmActions": ["arn:aws:lambda:x:y:z"]}, "AlarmActions has"),
        ({"OKActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "OKActions has"),
        (
            {
                "AlarmActions": [
                    "arn:aws:autoscaling:r:1:scalingPolicy:x:resource/ecs/s:policyName/p"
                ]
            },
            "AlarmActions has",
        ),
        ({"AlarmActions": ["arn:aws:sns:r:1:t"] * 6}, "the most is 5"),
        ({"Statistic": None}, "Statistic or ExtendedStatistic"),
        ({"Namespace": None}, "Namespace is missing"),
        ({"TreatMissingData": "zero"}, "TreatMissingData is 'zero'"),
        ({"Period": 3600, "EvaluationPeriods": 200}, "the most is 604800"),
        ({"Period": 60, "EvaluationPeriods": 1441}, "the most is 86400"),
    ],
)
def test_settings_that_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        checked(settings(**more), ACCOUNT)


def test_a_single_metric_of_a_query_is_an_alarm_s_metric() -> None:
    stat = {
        "Metric": {"Namespace": "N", "MetricName": "M"},
        "Period": 60,
        "Stat": "Average",
    }
    spec = settings(Metrics=[{"Id": "m", "MetricStat": stat}])
    for member in ("Namespace", "MetricName", "Statistic", "Period"):
        del spec[member]
    assert checked(spec, ACCOUNT)["Statistic"] == "Average"
    stat["Stat"] = "p99"
    assert checked(spec, ACCOUNT)["ExtendedStatistic"] == "p99"


def rate(**more: Any) -> dict[str, Any]:
    """An alarm on a rate of errors."""
    metrics = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "N", "MetricName": name},
                "Period": 60,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        for name in ("errors", "calls")
    ]
    spec = settings(Metrics=[{"Id": "rate", "Expression": "errors / calls"}, *metrics], **more)
    for member in ("Namespace", "MetricName", "Statistic", "Period"):
        spec.pop(member)
    return spec


def test_an_alarm_on_an_expression_keeps_its_metrics_as_given() -> None:
    spec = rate()
    found = checked(spec, ACCOUNT)
    assert found == {**spec, "Period": 60}
    assert watched(found) is None
    assert "statistic" not in reason_data(found, evaluate(found, [(0.0, 4.0)], 60.0, "OK"), 60.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda items: items.append({"Id": "x", "Expression": "rate"}), "2 of Metrics have Return"),
        (lambda items: items[0].update(ReturnData=False), "0 of Metrics have ReturnData"),
        (lambda items: items[0].update(Expression="METRICS() * 2"), "returns an array"),
        (lambda items: items[0].update(Expression="AVG(calls)"), "its result is a number"),
        (lambda items: items[0].update(Expression="none / calls"), "'none' is no Id"),
        (lambda items: items[0].update(Expression="SEARCH('x')"), "SEARCH is not supported"),
        (lambda items: items[0].update(Id="Rate"), "start with a small letter"),
        (lambda items: items[1]["MetricStat"].update(Period=300), "several periods"),
        (lambda items: items[1]["MetricStat"].update(Stat="p200"), "'p200' is no statistic"),
        (
            lambda items: items.extend(
                {**items[1], "Id": f"m{number}", "ReturnData": False} for number in range(9)
            ),
            "11 metrics and 1 expressions",
        ),
    ],
)
def test_metrics_of_alarms_that_are_refused(change: Any, words: str) -> None:
    spec = rate()
    change(spec["Metrics"])
    with pytest.raises(ApiError, match=words) as caught:
        checked(spec, ACCOUNT)
    assert caught.value.code == "ValidationError"
    with pytest.raises(ApiError, match="Metrics or Namespace, not both"):
        checked(rate(Unit="Count") | {"Namespace": "N"}, ACCOUNT)
