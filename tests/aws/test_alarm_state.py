"""The state of alarms, by the tables of CloudWatch's guide and by hand-worked examples."""

from typing import Any

import pytest

from loopwright.aws.alarm_rules import checked
from loopwright.aws.alarm_state import evaluate, window
from loopwright.wire.errors import ApiError

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
        found = evaluate(spec, points, "OK")
        assert (found.state or RETAIN) == wanted, treatment


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
    found = evaluate(spec, [(0.0, value)], "OK")
    assert found.state == state
    assert found.reason.startswith("Threshold Crossed: 1 out of the last 1 datapoints [")


def test_the_reason_reads_as_the_service_s() -> None:
    found = evaluate(settings(EvaluationPeriods=2), [(0.0, 4.0), (60.0, 5.0)], "OK")
    assert found.reason == (
        "Threshold Crossed: 2 out of the last 2 datapoints [5.0 (01/01/70 00:01:00), "
        "4.0 (01/01/70 00:00:00)] were greater than the threshold (1.0)."
    )


def test_only_whole_periods_are_looked_at() -> None:
    assert window(settings(), 419.9) == (60.0, 360.0)
    assert window(settings(Period=10, EvaluationPeriods=1), 39.9) == (0.0, 30.0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Period": 45}, "10, 20, 30 or a multiple"),
        ({"DatapointsToAlarm": 4}, "from 1 to EvaluationPeriods"),
        ({"ExtendedStatistic": "p99"}, "ExtendedStatistic is 'p99'"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "anomaly"),
        ({"AlarmActions": ["arn:aws:lambda:x:y:z"]}, "AlarmActions has"),
        ({"Statistic": None}, "Statistic is missing"),
        ({"TreatMissingData": "zero"}, "TreatMissingData is 'zero'"),
        ({"Period": 3600, "EvaluationPeriods": 200}, "the most is 604800"),
    ],
)
def test_settings_that_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        checked(settings(**more))


def test_a_single_metric_of_a_query_is_an_alarm_s_metric() -> None:
    stat = {
        "Metric": {"Namespace": "N", "MetricName": "M"},
        "Period": 60,
        "Stat": "Average",
    }
    spec = settings(Metrics=[{"Id": "m", "MetricStat": stat}])
    for member in ("Namespace", "MetricName", "Statistic", "Period"):
        del spec[member]
    assert checked(spec)["Statistic"] == "Average"
    with pytest.raises(ApiError, match="expressions"):
        checked({**spec, "Metrics": [{"Id": "m", "Expression": "m1 / m2"}]})
