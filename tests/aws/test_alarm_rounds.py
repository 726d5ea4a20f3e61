"""Alarms on percentiles and on expressions, from points to states, on both databases."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from loopwright.aws.alarm_records import ALARM_KIND
from loopwright.aws.alarm_rounds import AlarmRounds
from loopwright.aws.alarms import alarm_operations
from loopwright.aws.metrics import Metrics
from loopwright.database import Database
from loopwright.kernel.clock import VirtualClock
from loopwright.kernel.kinds import Kinds
from loopwright.kernel.store import Store
from loopwright.wire.errors import ApiError

START = 1_700_000_040.0  # The start of a minute.


class Watching:
    """Alarms whose rounds happen as a virtual clock goes on."""

    def __init__(self, database: Database) -> None:
        self.store = Store(database)
        self.store.create_tables()
        self.clock = VirtualClock(START)
        self.metrics = Metrics(database)
        self.told: list[tuple[str, float | None]] = []
        self.context: Any = SimpleNamespace(
            region="r",
            store=self.store,
            kinds=Kinds([ALARM_KIND], "123456789012"),
            clock=self.clock,
            wake=lambda: None,
        )
        self.operations = alarm_operations(database)
        self.rounds = AlarmRounds(self.store, self.metrics, self.clock, self._act)

    def _act(self, record: Any, action: str, value: float | None, at: float) -> str:
        self.told.append((record.name, value))
        return ""

    def put(self, **alarm: Any) -> None:
        settings = {
            "AlarmName": "alarm",
            "EvaluationPeriods": 1,
            "Threshold": 100.0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        self.operations["PutMetricAlarm"](self.context, {**settings, **alarm})

    def minute(self, **values: list[float]) -> str:
        """A minute in which metrics have these values; the state after it."""
        for name, given in values.items():
            item = {"MetricName": name, "Values": given}
            self.metrics.put(self.context, {"Namespace": "N", "MetricData": [item]})
        self.clock.advance(60 - self.clock.now() % 60 + 3)
        self.rounds.round()
        return str(self.shown()["StateValue"])

    def shown(self) -> dict[str, Any]:
        found = self.operations["DescribeAlarms"](self.context, {})
        return dict(found["MetricAlarms"][0])

    def for_metric(self, **asked: Any) -> list[str]:
        asked = {"Namespace": "N", "MetricName": "latency", **asked}
        found = self.operations["DescribeAlarmsForMetric"](self.context, asked)
        return [alarm["AlarmName"] for alarm in found["MetricAlarms"]]


@pytest.fixture
def watching(database: Database) -> Watching:
    return Watching(database)


LATENCY = {"Namespace": "N", "MetricName": "latency", "Period": 60}
SLOW = [10.0] * 95 + [500.0] * 5
QUICK = [10.0] * 100


def test_an_alarm_on_a_percentile(watching: Watching) -> None:
    watching.put(**LATENCY, ExtendedStatistic="p99")
    assert watching.minute() == "INSUFFICIENT_DATA"
    assert watching.minute(latency=QUICK) == "OK"
    assert watching.minute(latency=SLOW) == "ALARM"
    shown = watching.shown()
    assert shown["ExtendedStatistic"] == "p99"
    assert "Statistic" not in shown
    assert shown["StateReason"].startswith(
        "Threshold Crossed: 1 out of the last 1 datapoints [500.0"
    )
    assert orjson.loads(shown["StateReasonData"])["statistic"] == "p99"
    assert watching.minute(latency=QUICK) == "OK"
    assert watching.for_metric() == ["alarm"]
    assert watching.for_metric(ExtendedStatistic="p99") == ["alarm"]
    assert watching.for_metric(ExtendedStatistic="p90") == []
    assert watching.for_metric(Statistic="Average") == []


def test_few_samples_of_a_percentile_change_nothing(watching: Watching) -> None:
    # p90 needs 10 / (1 - 0.9) = 100 samples.
    watching.put(**LATENCY, ExtendedStatistic="p90", EvaluateLowSampleCountPercentile="ignore")
    assert watching.minute(latency=[10.0] * 101) == "OK"
    assert watching.minute(latency=[500.0] * 99) == "OK"
    assert watching.minute(latency=[500.0] * 101) == "ALARM"
    assert watching.minute(latency=[10.0]) == "ALARM"
    assert watching.shown()["EvaluateLowSampleCountPercentile"] == "ignore"
    watching.put(**LATENCY, ExtendedStatistic="p90", EvaluateLowSampleCountPercentile="evaluate")
    assert watching.minute(latency=[10.0]) == "OK"


def test_a_single_percentile_of_metrics_may_ignore_few_samples(watching: Watching) -> None:
    stat = {"Metric": {"Namespace": "N", "MetricName": "latency"}, "Period": 60, "Stat": "p90"}
    metrics = [{"Id": "m", "MetricStat": stat}]
    watching.put(Metrics=metrics, EvaluateLowSampleCountPercentile="ignore")
    assert watching.minute(latency=[500.0] * 50) == "INSUFFICIENT_DATA"
    assert watching.shown()["Metrics"] == metrics
    assert not {"MetricName", "Period", "ExtendedStatistic"} & set(watching.shown())
    assert watching.for_metric(ExtendedStatistic="p90") == ["alarm"]


def rate(expression: str = "100 * errors / calls") -> list[dict[str, Any]]:
    return [
        {"Id": "rate", "Expression": expression, "Label": "rate of errors"},
        *(
            {
                "Id": name,
                "MetricStat": {
                    "Metric": {
                        "Namespace": "N",
                        "MetricName": name,
                        "Dimensions": [],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
                "ReturnData": False,
            }
            for name in ("errors", "calls")
        ),
    ]


def test_an_alarm_on_an_expression(watching: Watching) -> None:
    watching.put(
        Metrics=rate(), Threshold=20.0, EvaluationPeriods=3, DatapointsToAlarm=2,
        TreatMissingData="notBreaching", AlarmActions=["arn:aws:sns:r:1:topic"],
    )  # fmt: skip
    assert watching.minute() == "OK"
    assert watching.minute(errors=[1.0], calls=[4.0]) == "OK"
    # No errors were put: 0 of 5; then nothing at all; then all of one.
    assert watching.minute(calls=[5.0]) == "OK"
    assert watching.minute() == "OK"
    assert watching.minute(errors=[1.0], calls=[1.0]) == "ALARM"
    shown = watching.shown()
    assert shown["Metrics"] == rate()
    assert not {"MetricName", "Namespace", "Statistic", "Period", "Dimensions"} & set(shown)
    assert shown["StateReason"].startswith(
        "Threshold Crossed: 2 out of the last 3 datapoints [100.0"
    )
    data = orjson.loads(shown["StateReasonData"])
    assert (data["recentDatapoints"], data["period"]) == ([25.0, 0.0, 100.0], 60)
    assert "statistic" not in data
    assert watching.told == [("alarm", 100.0)] * len(watching.told)
    assert watching.for_metric(MetricName="errors") == []
    assert [watching.minute(errors=[0.0], calls=[9.0]) for _ in range(2)] == ["OK", "OK"]
    history = watching.operations["DescribeAlarmHistory"](
        watching.context, {"HistoryItemType": "StateUpdate", "ScanBy": "TimestampAscending"}
    )["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in history] == [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from ALARM to OK",
    ]


def test_a_division_by_zero_is_a_missing_datapoint(watching: Watching) -> None:
    watching.put(Metrics=rate(), TreatMissingData="breaching")
    assert watching.minute(errors=[0.0], calls=[0.0]) == "ALARM"
    assert "treated as [Breaching]" in watching.shown()["StateReason"]


def test_filled_datapoints_are_as_real_ones(watching: Watching) -> None:
    watching.put(Metrics=rate("FILL(calls, 0) + 0 * errors"), Threshold=1.0,
                 ComparisonOperator="LessThanThreshold")  # fmt: skip
    assert watching.minute() == "ALARM"
    assert watching.minute(calls=[3.0]) == "OK"


def test_an_expression_that_these_datapoints_do_not_allow_has_none(watching: Watching) -> None:
    watching.put(Metrics=rate("SUM(SLICE([errors, calls], SUM(errors)))"), Threshold=1.0)
    # Sums of 0.4, 0.8 and 1.2 are no places of an array; 1 is.
    states = [watching.minute(errors=[0.4], calls=[3.0]) for _ in range(3)]
    assert states == ["INSUFFICIENT_DATA"] * 3
    assert [watching.minute() for _ in range(2)] == ["INSUFFICIENT_DATA"] * 2
    watching.minute()
    assert watching.minute(errors=[1.0], calls=[3.0]) == "ALARM"


def test_an_expression_is_refused_when_it_is_put(watching: Watching) -> None:
    with pytest.raises(ApiError, match="Error in expression 'rate': 'none' is no Id") as caught:
        watching.put(Metrics=rate("none / calls"))
    assert caught.value.code == "ValidationError"
    with pytest.raises(ApiError, match="AccountId '999999999999'"):
        watching.put(Metrics=[{**item, "AccountId": "999999999999"} for item in rate()])
