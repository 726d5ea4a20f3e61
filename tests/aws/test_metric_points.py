"""Points with their distribution on both databases, GetMetricData's pages, and homes of before."""

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import sqlalchemy as sa

from loopwright.aws.metrics import Metrics, cloudwatch_operations
from loopwright.aws.statistics import Watched
from loopwright.aws.tables import GAINED, METADATA, METRICS, POINTS
from loopwright.database import Database
from loopwright.router.tallies import Tallies
from loopwright.wire.errors import ApiError

CONTEXT: Any = SimpleNamespace(
    region="r",
    clock=SimpleNamespace(now=lambda: 600.0),
    kinds=SimpleNamespace(account="123456789012"),
)
PAIR = ({"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"})


def told(folder: Path, latencies: list[float], overheads: list[float]) -> list[bytes]:
    """What a gateway that counted these seconds writes."""
    tallies = Tallies(folder)
    for latency, overhead in zip(latencies, overheads, strict=True):
        tallies.of(("r", "e", "c", "v"), 1).answered(200, latency, overhead)
        if random.random() < 0.01:
            tallies.flush(at_once=True)
    tallies.flush(at_once=True)
    (file,) = folder.glob("invocations-*.jsonl")
    return file.read_bytes().split(b"\n")[:-1]


def test_a_gateway_s_latencies_become_percentiles(database: Database, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    latencies = draw.lognormal(-6, 1, 3000).tolist()
    overheads = draw.exponential(8e-5, 3000).tolist()
    overheads[7] = 0.0
    metrics = Metrics(database)
    lines = told(tmp_path, latencies, overheads)
    assert len(lines) > 5
    # Of two workers; what was taken is not taken again.
    for _ in range(2):
        for worker in range(2):
            metrics.take_invocations(f"worker-{worker}", lines[worker::2], lambda real: 30.0)
    for name, seconds in (("ModelLatency", latencies), ("OverheadLatency", overheads)):
        for percent in (0, 1, 50, 90, 99, 99.95, 100):
            watched = Watched("AWS/SageMaker", name, PAIR, f"p{percent}", "Microseconds")
            ((at, value),) = metrics.series("r", watched, 60, (0.0, 60.0))
            exact = np.percentile(seconds, percent, method="inverted_cdf") * 1e6
            assert (at, value) == (0.0, pytest.approx(exact, rel=0.01))
    # Equal values need no distribution: they are known.
    watched = Watched("AWS/SageMaker", "Invocations", PAIR, "p99", None)
    assert metrics.series("r", watched, 60, (0.0, 60.0)) == [(0.0, 1.0)]


def test_lines_of_a_gateway_of_before_have_no_distribution(database: Database) -> None:
    points = {"ModelLatency": [2.0, 300.0, 100.0, 200.0], "Invocations": [2.0, 2.0, 1.0, 1.0]}
    line = orjson.dumps(["r", "e", "c", "v", 1, 5.0, points])
    metrics = Metrics(database)
    metrics.take_invocations("file", [line], float)
    for statistic, wanted in (("Average", [(0.0, 150.0)]), ("p50", [])):
        watched = Watched("AWS/SageMaker", "ModelLatency", PAIR, statistic, None)
        assert metrics.series("r", watched, 60, (0.0, 60.0)) == wanted


def test_a_home_of_before_gains_the_column_and_keeps_its_points(empty: Database) -> None:
    before = sa.MetaData()
    columns = [column._copy() for column in POINTS.columns if column.name != "spread"]
    table = sa.Table("metric_points", before, *columns)
    before.create_all(empty.engine)
    METADATA.create_all(empty.engine)
    point = {"metric": 1, "at": 5.0, "count": 1.0, "sum": 2.0, "minimum": 2.0, "maximum": 2.0}
    metric = {"region": "r", "namespace": "N", "name": "m", "dimensions": "[]", "unit": "None"}

    def put(connection: sa.Connection) -> None:
        connection.execute(sa.insert(METRICS).values(**metric))
        connection.execute(sa.insert(table).values(**point))

    empty.write(put)
    for _ in range(2):
        for table in GAINED:
            empty.add_columns(table)
    metrics = Metrics(empty)
    put_data(metrics, Values=[4.0, 6.0], Counts=[1.0, 2.0])
    for statistic, value in (("p100", 6.0), ("p25", 2.0), ("p50", 4.0), ("SampleCount", 4.0)):
        watched = Watched("N", "m", (), statistic, None)
        assert metrics.series("r", watched, 60, (0.0, 60.0)) == [(0.0, value)]


def put_data(metrics: Metrics, name: str = "m", at: float = 10.0, **data: Any) -> None:
    item = {"MetricName": name, "Timestamp": at, **data}
    metrics.put(CONTEXT, {"Namespace": "N", "MetricData": [item]})


def test_get_metric_statistics_with_extended_ones(database: Database) -> None:
    metrics = Metrics(database)
    put_data(metrics, Values=[float(n) for n in range(1, 101)])
    put_data(metrics, at=70.0, StatisticValues={
        "SampleCount": 3.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 3.0,
    })  # fmt: skip
    asked = {
        "Namespace": "N", "MetricName": "m", "Period": 60, "StartTime": 0.0, "EndTime": 120.0,
    }  # fmt: skip
    found = metrics.statistics(CONTEXT, {**asked, "ExtendedStatistics": ["p90", "tm90"]})
    assert found["Datapoints"] == [
        {"Timestamp": 0.0, "Unit": "None", "ExtendedStatistics": {"p90": 90.0, "tm90": 45.5}}
    ]
    assert len(metrics.statistics(CONTEXT, {**asked, "Statistics": ["Sum"]})["Datapoints"]) == 2
    for more, code in (
        ({}, "MissingParameter"),
        ({"Statistics": ["Sum"], "ExtendedStatistics": ["p1"]}, "InvalidParameterCombination"),
        ({"ExtendedStatistics": ["p101"]}, "InvalidParameterValue"),
    ):
        with pytest.raises(ApiError) as caught:
            metrics.statistics(CONTEXT, {**asked, **more})
        assert caught.value.code == code


QUERIES = [
    {"Id": "rate", "Expression": "100 * errors / calls", "Label": "rate ${LAST} ${LAST_TIME}"},
    {
        "Id": "errors",
        "ReturnData": False,
        "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "errors"}, "Period": 60,
                       "Stat": "Sum"},
    },
    {
        "Id": "calls",
        "Label": "${PROP('Stat')} of ${LABEL}",
        "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "calls"}, "Period": 60,
                       "Stat": "Sum"},
    },
    {"Id": "all", "Expression": "METRICS() * 0", "Label": "none of"},
]  # fmt: skip


def ask(database: Database, **more: Any) -> dict[str, Any]:
    asked = {"MetricDataQueries": QUERIES, "StartTime": 0.0, "EndTime": 240.0, **more}
    return cloudwatch_operations(database)["GetMetricData"](CONTEXT, asked)


@pytest.fixture
def counted(database: Database) -> Database:
    """Calls in four minutes, of which one has no errors and one none at all."""
    metrics = Metrics(database)
    for minute, (errors, calls) in enumerate([(1.0, 4.0), (None, 2.0), (3.0, 0.0), (3.0, 3.0)]):
        put_data(metrics, "calls", 60.0 * minute + 1, Value=calls)
        if errors is not None:
            put_data(metrics, "errors", 60.0 * minute + 1, Value=errors)
    return database


def test_get_metric_data_with_an_expression(counted: Database) -> None:
    found = ask(counted, ScanBy="TimestampAscending", LabelOptions={"Timezone": "+0130"})
    rate, calls, *both = found["MetricDataResults"]
    assert (rate["Timestamps"], rate["Values"]) == ([0.0, 60.0, 180.0], [25.0, 0.0, 100.0])
    assert rate["Label"] == "rate 100 1970-01-01 01:33:00 UTC+01:30"
    assert rate["Messages"][0]["Code"] == "ArithmeticError"
    assert (rate["StatusCode"], found["NextToken"], found["Messages"]) == ("Complete", None, [])
    assert (calls["Values"], calls["Messages"]) == ([4.0, 2.0, 0.0, 3.0], [])
    assert calls["Label"] == "Sum of calls"
    assert [item["Label"] for item in both] == ["none of errors", "none of Sum of calls"]
    newest = ask(counted)["MetricDataResults"][0]
    assert newest["Timestamps"] == [180.0, 60.0, 0.0]


@pytest.mark.parametrize("order", ["TimestampAscending", "TimestampDescending"])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 13, 14, 15])
def test_pages_give_every_datapoint_once(counted: Database, order: str, most: int) -> None:
    whole = ask(counted, ScanBy=order)["MetricDataResults"]
    pages: list[Any] = []
    token = None
    while token or not pages:
        page = ask(counted, ScanBy=order, MaxDatapoints=most, NextToken=token)
        pages.append(page["MetricDataResults"])
        token = page["NextToken"]
        assert sum(len(item["Values"]) for item in pages[-1]) <= most
    assert len(pages) == -(-14 // most)
    for number, wanted in enumerate(whole):
        parts = [page[number] for page in pages]
        assert [at for part in parts for at in part["Timestamps"]] == wanted["Timestamps"]
        assert [value for part in parts for value in part["Values"]] == wanted["Values"]
        assert parts[-1]["StatusCode"] == "Complete"
        assert parts[0]["StatusCode"] == ("PartialData" if len(parts[0]["Values"]) <
                                          len(wanted["Values"]) else "Complete")  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"NextToken": "none of ours"}, "InvalidNextToken"),
        ({"MaxDatapoints": 0}, "ValidationError"),
        ({"LabelOptions": {"Timezone": "CET"}}, "ValidationError"),
        ({"StartTime": 240.0}, "ValidationError"),
        ({"MetricDataQueries": QUERIES[:1]}, "ValidationError"),
        ({"MetricDataQueries": [{**QUERIES[1], "Id": f"q{n}"} for n in range(501)]},
         "ValidationError"),
        ({"MetricDataQueries": [{**QUERIES[1], "Label": "${LABEL} ${LABEL}"}]}, "ValidationError"),
        ({"MetricDataQueries": [{**QUERIES[1], "Label": "${MAX}" * 6}]}, "ValidationError"),
    ],
)  # fmt: skip
def test_get_metric_data_refuses(counted: Database, more: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiError) as caught:
        ask(counted, **more)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("plain", "plain"),
        ("${AVG} ${SUM} ${MIN} ${MAX} ${DATAPOINT_COUNT}", "2.25 9 0 4 4"),
        ("${FIRST} ${LAST} ${FIRST_LAST_RANGE} ${MIN_MAX_RANGE}", "4 3 -1 4"),
        ("${MIN_TIME} ${MIN_TIME_RELATIVE}", "1970-01-01 00:02:00 UTC 8m"),
        ("${FIRST_LAST_TIME_RANGE} ${MIN_MAX_TIME_RANGE}", "3m 2m"),
        ("${PROP('Namespace')} ${PROP('Period')} ${PROP('Region')}", "N 60 r"),
        ("${PROP('Nothing')} ${NOTHING} $LAST", "${PROP('Nothing')} ${NOTHING} $LAST"),
    ],
)
def test_labels_with_values(counted: Database, label: str, wanted: str) -> None:
    (found,) = ask(counted, MetricDataQueries=[{**QUERIES[2], "Label": label}])["MetricDataResults"]
    assert found["Label"] == wanted


@pytest.mark.parametrize(
    ("days", "step"), [(1, 60.0), (14.9, 60.0), (15.1, 300.0), (62.9, 300.0), (63.1, 3600.0)]
)
def test_a_request_s_times_are_rounded_as_documented(
    database: Database, days: float, step: float
) -> None:
    now = 1_700_000_000.0
    context: Any = SimpleNamespace(**{**vars(CONTEXT), "clock": SimpleNamespace(now=lambda: now)})
    operations = cloudwatch_operations(database)
    hour = math.floor((now - days * 86_400) / 3600) * 3600.0
    # A point each ten seconds of an hour and a minute.
    given = [{"MetricName": "m", "Value": 1.0, "Timestamp": hour + 10 * n} for n in range(366)]
    operations["PutMetricData"](context, {"Namespace": "N", "MetricData": given})
    asked = hour + 32 * 60 + 34
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    found = operations["GetMetricData"](
        context,
        {
            "MetricDataQueries": [{"Id": "a", "MetricStat": stat}],
            "StartTime": asked, "EndTime": hour + 3600, "ScanBy": "TimestampAscending",
        },
    )["MetricDataResults"][0]  # fmt: skip
    first = math.floor(asked / step) * step
    assert found["Timestamps"] == [first + 60 * n for n in range(int((hour + 3600 - first) / 60))]
    # No period is parted, neither the first nor the last, which is not the one that begins then.
    assert set(found["Values"]) == {6.0}
    told = operations["GetMetricStatistics"](
        context,
        {
            "Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"],
            "StartTime": asked, "EndTime": hour + 3570,
        },
    )["Datapoints"]  # fmt: skip
    assert [item["Timestamp"] for item in told] == found["Timestamps"]
    assert {item["Sum"] for item in told} == {6.0}
    finer = {**stat, "Period": 10}
    found = operations["GetMetricData"](
        context,
        {
            "MetricDataQueries": [{"Id": "a", "MetricStat": finer}],
            "StartTime": hour + 23, "EndTime": hour + 33, "ScanBy": "TimestampAscending",
        },
    )["MetricDataResults"][0]  # fmt: skip
    assert found["Timestamps"] == [hour + 20, hour + 30]


@pytest.mark.parametrize(
    "item",
    [
        {"Value": 1e308},
        {"Values": [-3e108]},
        {"Values": [1.0], "Counts": [-1.0]},
        {"Values": [1.0], "Counts": [1e308]},
        {"StatisticValues": {"SampleCount": 2.0, "Sum": 1e109, "Minimum": 0.0, "Maximum": 1.0}},
        {"StatisticValues": {"SampleCount": -2.0, "Sum": 1.0, "Minimum": 0.0, "Maximum": 1.0}},
    ],
)
def test_values_that_the_service_refuses(database: Database, item: dict[str, Any]) -> None:
    put = cloudwatch_operations(database)["PutMetricData"]
    with pytest.raises(ApiError, match="must be from") as caught:
        put(CONTEXT, {"Namespace": "N", "MetricData": [{"MetricName": "m", **item}]})
    assert caught.value.code == "InvalidParameterValue"


def test_sums_beyond_all_numbers_are_no_datapoints(database: Database) -> None:
    metrics = Metrics(database)
    printed = [("loss", 1e308, 10.0), ("loss", 1e308, 20.0), ("loss", 5.0, 70.0)]
    metrics.take_unit_points("unit", "N", "r", (), lambda start: printed[start:])
    for statistic in ("Sum", "Average", "IQM"):
        watched = Watched("N", "loss", (), statistic, None)
        assert metrics.series("r", watched, 60, (0.0, 120.0)) == [(60.0, 5.0)]
