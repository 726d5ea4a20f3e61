"""Minutes without a request: where they count as zero, what is written, and what is never told."""

from typing import Any

import pytest
import sqlalchemy as sa

from loopwright.aws.metrics import Metrics, announce_variant
from loopwright.aws.quiet import ZEROED, Serving, empty_slots
from loopwright.aws.statistics import Watched
from loopwright.aws.tables import POINTS, SERVED
from loopwright.database import Database
from tests.aws.test_metric_points import CONTEXT

DAY_S = 86_400.0
PAIR = ({"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"})
WHOLE = (*PAIR, {"Name": "EndpointConfigName", "Value": "c"})


def route(**more: Any) -> dict[str, Any]:
    entry = {"name": "v", "config": "c", "instances": [{}], **more}
    return {"region": "r", "endpoint": "e", "variants": [entry], "shadows": []}


def _note(serving: Serving, routes: list[dict[str, Any]], now: float) -> None:
    serving.show(routes)
    serving.note(now)


@pytest.mark.parametrize(
    ("served", "held", "period", "now", "slots"),
    [
        # Only whole minutes, without those that have a point.
        ([(30.0, 290.0)], [130.0], 60.0, None, [60.0, 180.0]),
        ([(0.0, 59.0)], [], 60.0, None, []),
        ([(0.0, 60.0)], [], 300.0, None, [0.0]),
        # Two configurations that overlap count once.
        ([(0.0, 120.0), (60.0, 180.0)], [], 60.0, None, [0.0, 60.0, 120.0]),
        # Below a minute, as finely as is asked.
        ([(0.0, 60.0)], [25.0], 20.0, None, [0.0, 40.0]),
        # A point that stands for an hour leaves no empty minute in it.
        ([(0.0, 7200.0)], [0.0], 3600.0, 64 * DAY_S, [3600.0 + 60 * i for i in range(60)]),
        # After three hours points of seconds stand for a minute.
        ([(0.0, 120.0)], [10.0], 20.0, 4 * 3600.0, [60.0, 80.0, 100.0]),
    ],
)
def test_empty_slots(
    served: list[tuple[float, float]],
    held: list[float],
    period: float,
    now: float | None,
    slots: list[float],
) -> None:
    assert empty_slots(served, held, period, now) == slots


def _zeros(database: Database, name: str, dimensions: Any = PAIR) -> list[tuple[float, float]]:
    watched = Watched("AWS/SageMaker", name, dimensions, "Sum", None)
    return Metrics(database).series("r", watched, 60, (0.0, 600.0))


def test_what_a_variant_without_traffic_tells(database: Database) -> None:
    serving = Serving(database, announce_variant)
    _note(serving, [route()], 0.0)
    for now in (61.0, 62.0, 125.0):
        _note(serving, [route()], now)
    for name in ZEROED:
        assert _zeros(database, name) == [(0.0, 0.0), (60.0, 0.0)]
        assert _zeros(database, name, WHOLE) == [(0.0, 0.0), (60.0, 0.0)]
    # There are no latencies without requests, and nothing of others.
    for name in ("ModelLatency", "OverheadLatency"):
        assert _zeros(database, name) == []
    assert _zeros(database, "Invocations", PAIR[:1]) == []
    assert Metrics(database).names(CONTEXT, {"MetricName": "Invocations"})["Metrics"]
    with database.read() as connection:
        count = sa.select(sa.func.count())
        assert connection.execute(count.select_from(POINTS)).scalar() == 0
        assert connection.execute(count.select_from(SERVED)).scalar() == 1
    # One that has no instance, or whose process went away, tells nothing.
    _note(serving, [route(instances=[])], 180.0)
    _note(serving, [route(instances=[])], 300.0)
    assert [at for at, _ in _zeros(database, "Invocations")] == [0.0, 60.0, 120.0]
    later = Serving(database, announce_variant)
    _note(later, [route()], 360.0)
    _note(later, [route()], 420.0)
    assert [at for at, _ in _zeros(database, "Invocations")] == [0.0, 60.0, 120.0, 360.0]


def test_a_request_takes_the_place_of_the_zero(database: Database) -> None:
    serving = Serving(database, announce_variant)
    _note(serving, [route()], 0.0)
    _note(serving, [route()], 180.0)
    data = {"MetricName": "Invocations", "Dimensions": PAIR, "Value": 7.0}
    context = CONTEXT
    Metrics(database).put(context, {"Namespace": "AWS/SageMaker", "MetricData": [data]})
    # The test's clock stands at 600 s.
    _note(serving, [route()], 660.0)
    watched = Watched("AWS/SageMaker", "Invocations", PAIR, "Sum", None)
    assert Metrics(database).series("r", watched, 300, (0.0, 900.0)) == [
        (0.0, 0.0), (300.0, 0.0), (600.0, 7.0),
    ]  # fmt: skip
    watched = Watched("AWS/SageMaker", "Invocations", PAIR, "SampleCount", None)
    assert Metrics(database).series("r", watched, 60, (600.0, 660.0)) == [(600.0, 1.0)]
