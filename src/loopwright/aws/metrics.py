"""CloudWatch metrics: points in the database, statistics by period.

Points of units come from the files that their shims write; how many lines were taken is kept in
the same transaction as the points, so a line counts once however often it is read.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.tables import METRICS, POINTS, READ_LINES
from loopwright.database import Database
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError

PAGE_MAX: Final = 500
POINTS_MAX: Final = 1440
Dimensions = Sequence[dict[str, str]]


def cloudwatch_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""
    metrics = Metrics(database)
    return {
        "PutMetricData": metrics.put,
        "GetMetricStatistics": metrics.statistics,
        "ListMetrics": metrics.names,
        "GetMetricData": metrics.query,
    }


@dataclass(frozen=True)
class Watched:
    """A metric and the statistic of it that someone watches."""

    namespace: str
    name: str
    dimensions: tuple[dict[str, str], ...]
    statistic: str
    unit: str | None


class Metrics:
    """Metric points in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("EntityMetricData"):
            raise ApiError(
                "InvalidParameterValue", "EntityMetricData is not served; use MetricData."
            )
        now = context.clock.now()

        def work(connection: sa.Connection) -> None:
            for item in params.get("MetricData", ()):
                metric = _metric_id(
                    connection, context.region, params["Namespace"], item["MetricName"],
                    item.get("Dimensions", ()), item.get("Unit", "None"),
                )  # fmt: skip
                at = _seconds(item.get("Timestamp")) or now
                for point in _given(item):
                    connection.execute(sa.insert(POINTS).values(metric=metric, at=at, **point))

        self._database.write(work)
        return {}

    def statistics(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("Statistics") or []
        percentiles = params.get("ExtendedStatistics") or []
        if percentiles:
            raise ApiError(
                "InvalidParameterValue",
                f"ExtendedStatistics {percentiles} are not served; use Statistics.",
            )
        if not wanted:
            raise ApiError("MissingParameter", "Give at least one of Statistics.")
        start, end = _seconds(params["StartTime"]), _seconds(params["EndTime"])
        assert start is not None and end is not None
        if start >= end:
            raise ApiError("InvalidParameterValue", "StartTime must be before EndTime.")
        rows = self._rows(
            context.region, params["Namespace"], params["MetricName"],
            params.get("Dimensions", ()), params.get("Unit"), (start, end),
        )  # fmt: skip
        period_s = params["Period"]
        found = []
        for at, unit, total in _by_period(rows, period_s):
            point: dict[str, Any] = {"Timestamp": at, "Unit": unit}
            point |= {name: _statistic(total, name) for name in wanted}
            found.append(point)
        if len(found) > POINTS_MAX:
            raise ApiError(
                "InvalidParameterCombination",
                f"{len(found)} datapoints are asked for; the most is {POINTS_MAX}: raise Period.",
            )
        return {"Label": params["MetricName"], "Datapoints": found}

    def names(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        statement = sa.select(METRICS).where(METRICS.c.region == context.region)
        if params.get("Namespace"):
            statement = statement.where(METRICS.c.namespace == params["Namespace"])
        if params.get("MetricName"):
            statement = statement.where(METRICS.c.name == params["MetricName"])
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(METRICS.c.id)).all()
        found = []
        for row in rows:
            dimensions = orjson.loads(row.dimensions)
            held = {item["Name"]: item["Value"] for item in dimensions}
            if all(
                item["Name"] in held and item.get("Value", held[item["Name"]]) == held[item["Name"]]
                for item in params.get("Dimensions", ())
            ):
                found.append(
                    {
                        "Namespace": row.namespace,
                        "MetricName": row.name,
                        "Dimensions": dimensions,
                    }
                )
        start = int(params.get("NextToken") or 0)
        end = start + PAGE_MAX
        return {"Metrics": found[start:end], "NextToken": str(end) if end < len(found) else None}

    def query(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        start, end = _seconds(params["StartTime"]), _seconds(params["EndTime"])
        assert start is not None and end is not None
        results = []
        for item in params["MetricDataQueries"]:
            stat = item.get("MetricStat")
            if stat is None:
                raise ApiError(
                    "InvalidParameterValue",
                    f"MetricDataQueries {item['Id']} is an expression; only MetricStat is served.",
                )
            metric = stat["Metric"]
            rows = self._rows(
                context.region, metric["Namespace"], metric["MetricName"],
                metric.get("Dimensions", ()), stat.get("Unit"), (start, end),
            )  # fmt: skip
            points = [
                (at, _statistic(total, stat["Stat"]))
                for at, _, total in _by_period(rows, stat["Period"])
            ]
            if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
                points.reverse()
            if item.get("ReturnData", True):
                results.append(
                    {
                        "Id": item["Id"],
                        "Label": item.get("Label", metric["MetricName"]),
                        "Timestamps": [at for at, _ in points],
                        "Values": [value for _, value in points],
                        "StatusCode": "Complete",
                    }
                )
        return {"MetricDataResults": results}

    def series(
        self, region: str, metric: "Watched", period_s: int, window: tuple[float, float]
    ) -> list[tuple[float, float]]:
        """(start of the period, value) of the periods that have points, by time."""
        rows = self._rows(
            region, metric.namespace, metric.name, metric.dimensions, metric.unit, window
        )
        points = _by_period(rows, period_s)
        return [(at, _statistic(total, metric.statistic)) for at, _, total in points]

    def _rows(
        self,
        region: str,
        namespace: str,
        name: str,
        dimensions: Dimensions,
        unit: str | None,
        window: tuple[float, float],
    ) -> list[Any]:
        statement = (
            sa.select(POINTS, METRICS.c.unit)
            .join(METRICS, METRICS.c.id == POINTS.c.metric)
            .where(
                METRICS.c.region == region,
                METRICS.c.namespace == namespace,
                METRICS.c.name == name,
                METRICS.c.dimensions == _canonical(dimensions),
                # Points are kept by the second; a job's own end must not cut off its last one.
                POINTS.c.at >= math.floor(window[0]),
                POINTS.c.at < math.floor(window[1]) + 1,
            )
            .order_by(POINTS.c.at)
        )
        if unit is not None:
            statement = statement.where(METRICS.c.unit == unit)
        with self._database.read() as connection:
            return list(connection.execute(statement))

    def take_unit_points(
        self,
        unit_id: str,
        namespace: str,
        region: str,
        dimensions: Dimensions,
        read: Callable[[int], Iterable[tuple[str, float | None, float]]],
    ) -> None:
        """Take the points of a unit's file that were not taken yet.

        Args:
            unit_id: Of the unit, or anything else that names the file.
            read: (name, value, seconds) of every whole line after the given number of lines.
        """
        statement = sa.select(READ_LINES.c.lines).where(READ_LINES.c.unit == unit_id)
        with self._database.read() as connection:
            start = connection.execute(statement).scalar() or 0
        points = list(read(start))
        if not points:
            return

        def work(connection: sa.Connection) -> None:
            if (connection.execute(statement).scalar() or 0) != start:
                return
            connection.execute(sa.delete(READ_LINES).where(READ_LINES.c.unit == unit_id))
            taken = start + len(points)
            connection.execute(sa.insert(READ_LINES).values(unit=unit_id, lines=taken))
            for name, value, at in points:
                if value is None:
                    continue  # CloudWatch has no place for NaN.
                metric = _metric_id(connection, region, namespace, name, dimensions, _unit_of(name))
                point = {"count": 1.0, "sum": value, "minimum": value, "maximum": value}
                connection.execute(sa.insert(POINTS).values(metric=metric, at=at, **point))

        self._database.write(work)

    def take_invocations(
        self, file: str, lines: list[bytes], platform: Callable[[float], float]
    ) -> None:
        """Take lines of a gateway's tallies that were not taken yet (`router.tallies`).

        Args:
            file: Its name; each gateway process has its own.
            lines: All whole lines of the file.
            platform: The platform's time at a real one.
        """
        statement = sa.select(READ_LINES.c.lines).where(READ_LINES.c.unit == file)

        def work(connection: sa.Connection) -> None:
            start = connection.execute(statement).scalar() or 0
            if start >= len(lines):
                return
            connection.execute(sa.delete(READ_LINES).where(READ_LINES.c.unit == file))
            connection.execute(sa.insert(READ_LINES).values(unit=file, lines=len(lines)))
            for line in lines[start:]:
                _take_tally(connection, orjson.loads(line), platform)

        self._database.write(work)


def _take_tally(
    connection: sa.Connection, told: list[Any], platform: Callable[[float], float]
) -> None:
    """One line: points under both sets of dimensions that the service has."""
    region, endpoint, config, variant, _, real, points = told
    at = platform(real)
    pair = [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": variant},
    ]
    for dimensions in (pair, [*pair, {"Name": "EndpointConfigName", "Value": config}]):
        for name, (count, total, least, most) in points.items():
            unit = "Microseconds" if name.endswith("Latency") else "None"
            metric = _metric_id(connection, region, "AWS/SageMaker", name, dimensions, unit)
            values = {"count": count, "sum": total, "minimum": least, "maximum": most}
            connection.execute(sa.insert(POINTS).values(metric=metric, at=at, **values))


def _unit_of(name: str) -> str:
    """The unit that CloudWatch shows of what a unit used, and of what its script reported."""
    if name.endswith("Utilization"):
        return "Percent"
    return "Bytes/Second" if name in ("NetworkIn", "NetworkOut") else "None"


def _given(item: dict[str, Any]) -> Iterable[dict[str, float]]:
    if "StatisticValues" in item:
        values = item["StatisticValues"]
        yield {
            "count": values["SampleCount"],
            "sum": values["Sum"],
            "minimum": values["Minimum"],
            "maximum": values["Maximum"],
        }
    elif "Values" in item:
        counts = item.get("Counts") or [1.0] * len(item["Values"])
        if len(counts) != len(item["Values"]):
            raise ApiError("InvalidParameterValue", "Counts must be as long as Values.")
        for value, count in zip(item["Values"], counts, strict=True):
            yield {"count": count, "sum": value * count, "minimum": value, "maximum": value}
    elif "Value" in item:
        value = item["Value"]
        yield {"count": 1.0, "sum": value, "minimum": value, "maximum": value}
    else:
        raise ApiError("MissingParameter", f"{item['MetricName']} has no value.")


def _metric_id(
    connection: sa.Connection,
    region: str,
    namespace: str,
    name: str,
    dimensions: Dimensions,
    unit: str,
) -> int:
    key = {
        "region": region,
        "namespace": namespace,
        "name": name,
        "dimensions": _canonical(dimensions),
        "unit": unit,
    }
    statement = sa.select(METRICS.c.id).where(*(METRICS.c[k] == v for k, v in key.items()))
    known = connection.execute(statement).scalar()
    if known is not None:
        return int(known)
    added = sa.insert(METRICS).values(**key).returning(METRICS.c.id)
    return int(connection.execute(added).scalar_one())


def _canonical(dimensions: Dimensions) -> str:
    ordered = sorted(dimensions, key=lambda item: item["Name"])
    return orjson.dumps([{"Name": d["Name"], "Value": d["Value"]} for d in ordered]).decode()


Total = list[float]


def _by_period(rows: list[Any], period_s: int) -> list[tuple[float, str, Total]]:
    """(start of the period, unit, [count, sum, minimum, maximum]), by time."""
    found: dict[tuple[float, str], Total] = {}
    for row in rows:
        start = math.floor(row.at / period_s) * float(period_s)
        total = found.get((start, row.unit))
        if total is None:
            found[start, row.unit] = [row.count, row.sum, row.minimum, row.maximum]
        else:
            total[0] += row.count
            total[1] += row.sum
            total[2] = min(total[2], row.minimum)
            total[3] = max(total[3], row.maximum)
    return [(at, unit, total) for (at, unit), total in sorted(found.items())]


def _statistic(total: Total, name: str) -> float:
    count, value_sum, minimum, maximum = total
    known = {"SampleCount": count, "Sum": value_sum, "Minimum": minimum, "Maximum": maximum}
    if name == "Average":
        return value_sum / count
    if name not in known:
        raise ApiError("InvalidParameterValue", f"The statistic {name!r} is not served.")
    return known[name]


def _seconds(moment: datetime | float | None) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else moment
