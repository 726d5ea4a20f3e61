"""Old points are joined; statistics over whole periods stay what they were."""

import random
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from loopwright.aws import metric_retention
from loopwright.aws.metric_retention import DAY_S, HOUR_S, Retention
from loopwright.aws.metrics import Metrics
from loopwright.aws.statistics import Watched
from loopwright.aws.tables import POINTS, READ_LINES
from loopwright.database import Database
from loopwright.router import tallies as module
from loopwright.router.tallies import Tallies

NOW = 500 * DAY_S
PAIR = ({"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"})
STATISTICS = ("Sum", "SampleCount", "Minimum", "Maximum", "p50", "p99")


def _fill(database: Database, folder: Path) -> Metrics:
    """Some hours of each age, with a point each 21 s."""
    metrics = Metrics(database)
    draws = random.Random(4)
    lines = []
    for age in (460 * DAY_S, 100 * DAY_S, 30 * DAY_S, 2 * DAY_S, 0.0):
        for step in range(400):
            tallies = Tallies(folder)
            for _ in range(draws.choice([1, 3])):
                tallies.of(("r", "e", "c", "v"), 1).answered(200, draws.lognormvariate(-6, 1))
            (tally,) = tallies._tallies.values()
            at = NOW - age - 4 * HOUR_S + step * 21.0
            lines.append(orjson.dumps(["r", "e", "c", "v", 1, at, tally.points()]))
    metrics.take_invocations("file", lines, float)
    return metrics


def _seen(metrics: Metrics, period: int, window: tuple[float, float]) -> dict[str, list[float]]:
    return {
        name: [
            value
            for _, value in metrics.series(
                "r", Watched("AWS/SageMaker", "ModelLatency", PAIR, name, None), period, window
            )
        ]
        for name in STATISTICS
    }


def _ages(database: Database) -> list[float]:
    """Of the points of one metric: the distance to the one before, by time."""
    with database.read() as connection:
        first = connection.execute(sa.select(sa.func.min(POINTS.c.metric))).scalar()
        times = sa.select(POINTS.c.at).where(POINTS.c.metric == first).order_by(POINTS.c.at)
        return list(connection.execute(times).scalars())


def test_statistics_over_whole_periods_stay(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_retention, "POINTS_MAX", 40)
    metrics = _fill(database, tmp_path)
    windows = {
        3600: (NOW - 101 * DAY_S, NOW - 99 * DAY_S),
        300: (NOW - 31 * DAY_S, NOW - 29 * DAY_S),
        60: (NOW - 3 * DAY_S, NOW),
    }
    before = {period: _seen(metrics, period, window) for period, window in windows.items()}
    points = len(_ages(database))
    retention = Retention(database)
    assert retention.round(NOW) > 0.8 * points
    after = {period: _seen(metrics, period, window) for period, window in windows.items()}
    for period, found in before.items():
        for name, values in found.items():
            assert after[period][name] == pytest.approx(values, rel=0.02), (period, name)
    times = _ages(database)
    assert min(times) >= NOW - 455 * DAY_S
    for age, period in ((100, 3600.0), (30, 300.0), (2, 60.0)):
        middle = NOW - age * DAY_S - 4 * HOUR_S
        some = [at for at in times if abs(at - middle) < 5 * HOUR_S]
        assert some and all(at % period == 0 for at in some)
    # The last three hours are as they were, and to do it again changes nothing.
    recent = [at for at in times if at >= NOW - 3 * HOUR_S]
    assert len(recent) > 200
    assert retention.round(NOW) == Retention(database).round(NOW) == 0


def test_files_of_a_gateway_are_followed_and_removed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 300)
    metrics, tallies = Metrics(database), Tallies(tmp_path)
    taken: dict[str, int] = {}
    for _ in range(6):
        tallies.of(("r", "e", "c", "v"), 1).answered(200, 0.01)
        tallies.flush(at_once=True)
        taken = metrics.take_tallies(tmp_path, taken, lambda real: 30.0)
    # A control plane that was killed reads again, and counts nothing twice.
    taken = metrics.take_tallies(tmp_path, {}, lambda real: 30.0)
    metrics.take_tallies(tmp_path, taken, lambda real: 30.0)
    watched = Watched("AWS/SageMaker", "Invocations", PAIR, "Sum", None)
    assert metrics.series("r", watched, 60, (0.0, 60.0)) == [(0.0, 6.0)]
    assert len(list(tmp_path.glob("invocations-*.jsonl"))) <= 1
    with database.read() as connection:
        assert len(connection.execute(sa.select(READ_LINES)).all()) <= 1
