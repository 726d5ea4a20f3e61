"""CloudWatch metrics: points in the database, statistics by period.

Points of units come from the files that their shims write; how many lines were taken is kept in
the same transaction as the points, so a line counts once however often it is read.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.metric_data import get_metric_data
from loopwright.aws.quiet import NAMESPACE, ZERO, ZEROED, Variant, empty_slots, spans
from loopwright.aws.statistics import Total, Unknown, Watched, read_statistic, whole_periods
from loopwright.aws.tables import METRICS, POINTS, READ_LINES
from loopwright.database import Database
from loopwright.kernel.verbs import Context, Operation, offset_of
from loopwright.wire.errors import ApiError

PAGE_MAX: Final = 500
POINTS_MAX: Final = 1440
VALUE_MAX: Final = 2.0**360
COUNT_MAX: Final = 2.0**53
TOLD: Final = ("count", "sum", "minimum", "maximum")
# Built once: building a statement costs more than running it.
METRIC_OF: Final = sa.select(METRICS.c.id).where(
    *(
        METRICS.c[name] == sa.bindparam(name)
        for name in ("region", "namespace", "name", "dimensions", "unit")
    )
)
ADD_POINTS: Final = sa.insert(POINTS)
Dimensions = Sequence[dict[str, str]]


def cloudwatch_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""
    metrics = Metrics(database)
    return {
        "PutMetricData": metrics.put,
        "GetMetricStatistics": metrics.statistics,
        "ListMetrics": metrics.names,
        "GetMetricData": metrics.data,
    }


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
                points = map(_checked, _given(item))
                _add(connection, [{"metric": metric, "at": at, **point} for point in points])

        self._database.write(work)
        return {}

    def statistics(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        simple = params.get("Statistics") or []
        extended = params.get("ExtendedStatistics") or []
        if bool(simple) == bool(extended):
            code = "InvalidParameterCombination" if simple else "MissingParameter"
            raise ApiError(code, "Give Statistics or ExtendedStatistics, one of the two.")
        try:
            wanted = [read_statistic(name) for name in (*simple, *extended)]
        except Unknown as error:
            raise ApiError("InvalidParameterValue", str(error)) from None
        start, end = _seconds(params["StartTime"]), _seconds(params["EndTime"])
        assert start is not None and end is not None
        if start >= end:
            raise ApiError("InvalidParameterValue", "StartTime must be before EndTime.")
        window = whole_periods((start, end), params["Period"], context.clock.now())
        metric = Watched(
            params["Namespace"], params["MetricName"], tuple(params.get("Dimensions", ())),
            "", params.get("Unit"),
        )  # fmt: skip
        found = []
        for at, unit, total in self._totals(
            context.region, metric, params["Period"], window, bool(extended), context.clock.now()
        ):
            values = {item.name: total.value(item) for item in wanted}
            told = {name: value for name, value in values.items() if value is not None}
            if told:
                shown = {"ExtendedStatistics": told} if extended else told
                found.append({"Timestamp": at, "Unit": unit, **shown})
        if len(found) > POINTS_MAX:
            raise ApiError(
                "InvalidParameterCombination",
                f"{len(found)} datapoints are asked for; the most is {POINTS_MAX}: raise Period.",
            )
        return {"Label": params["MetricName"], "Datapoints": found}

    def data(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        return get_metric_data(partial(self.series, now=context.clock.now()), context, params)

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
        start = offset_of(params.get("NextToken"), "InvalidParameterValue")
        end = start + PAGE_MAX
        return {"Metrics": found[start:end], "NextToken": str(end) if end < len(found) else None}

    def series(
        self,
        region: str,
        metric: Watched,
        period_s: int,
        window: tuple[float, float],
        now: float | None = None,
    ) -> list[tuple[float, float]]:
        """(start of the period, value) of the periods that have a value, by time.

        Args:
            now: Where the window may go back so far that points have been joined.

        Raises:
            Unknown: there is no such statistic.
        """
        statistic = read_statistic(metric.statistic)
        totals = self._totals(region, metric, period_s, window, statistic.needs_spread, now)
        valued = ((at, total.value(statistic)) for at, _, total in totals)
        return [(at, value) for at, value in valued if value is not None]

    def _totals(
        self,
        region: str,
        metric: Watched,
        period_s: int,
        window: tuple[float, float],
        spread: bool,
        now: float | None,
    ) -> list[tuple[float, str, Total]]:
        """(start of the period, unit, total), by time; distributions are read only if wanted.

        Minutes without a request count as zero, see `quiet`."""
        columns = [*(POINTS.c[name] for name in ("at", *TOLD)), METRICS.c.unit]
        statement = (
            sa.select(*columns, *([POINTS.c.spread] if spread else []))
            .join(METRICS, METRICS.c.id == POINTS.c.metric)
            .where(
                METRICS.c.region == region,
                METRICS.c.namespace == metric.namespace,
                METRICS.c.name == metric.name,
                METRICS.c.dimensions == _canonical(metric.dimensions),
                POINTS.c.at >= window[0],
                POINTS.c.at < window[1],
            )
            .order_by(POINTS.c.at)
        )
        if metric.unit is not None:
            statement = statement.where(METRICS.c.unit == metric.unit)
        found: dict[tuple[float, str], Total] = {}
        held: list[float] = []

        def add(at: float, unit: str, told: Sequence[float], flat: Sequence[int] | None) -> None:
            start = math.floor(at / period_s) * float(period_s)
            total = found.get((start, unit))
            if total is None:
                found[start, unit] = Total(told, flat, spread)
            else:
                total.add(told, flat)

        with self._database.read() as connection:
            for at, *told, unit, packed in (
                (*row, None) if not spread else row for row in connection.execute(statement)
            ):
                held.append(at)
                add(at, unit, told, None if packed is None else orjson.loads(packed))
            served = spans(connection, region, metric, window)
        for at in empty_slots(served, held, period_s, now):
            add(at, "None", ZERO, None)
        return [(*key, found[key]) for key in sorted(found)]

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
            ids: dict[str, int] = {}
            found = []
            for name, value, at in points:
                if value is None:
                    continue  # CloudWatch has no place for NaN.
                if name not in ids:
                    unit = _unit_of(name)
                    ids[name] = _metric_id(connection, region, namespace, name, dimensions, unit)
                point = {"count": 1.0, "sum": value, "minimum": value, "maximum": value}
                found.append({"metric": ids[name], "at": at, **point})
            _add(connection, found)

        self._database.write(work)

    def take_tallies(
        self, folder: Path, before: Mapping[str, int], platform: Callable[[float], float]
    ) -> dict[str, int]:
        """Take what gateways counted; a file that is taken whole and complete is removed.

        Args:
            folder: Of the gateways' files (`router.tallies`).
            before: What the last call returned.
            platform: The platform's time at a real one.

        Returns:
            The bytes of each file that are taken.
        """
        taken = {}
        paths = sorted(folder.glob("invocations-*.jsonl"))
        for path, following in zip_longest(paths, paths[1:]):
            content = path.read_bytes()
            if before.get(path.name) != len(content):
                taken[path.name] = len(content)
                self.take_invocations(path.name, content.split(b"\n")[:-1], platform)
                continue
            pid = path.stem.split("-")[1]
            followed = following is not None and following.stem.split("-")[1] == pid
            if not followed and Path(f"/proc/{pid}").exists():
                taken[path.name] = len(content)
                continue
            path.unlink()
            # Only now: the lines of a file that is there must not count again.
            self._database.write(partial(_forget_lines, file=path.name))
        return taken

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
            points = _Tallied(connection, platform)
            for line in lines[start:]:
                points.take(*orjson.loads(line))
            _add(connection, points.found)

        self._database.write(work)


def announce_variant(connection: sa.Connection, variant: Variant) -> None:
    """Have ListMetrics tell of what a variant emits without traffic."""
    points = _Tallied(connection, float)
    for name in ZEROED:
        points.metrics_of(*variant, name)


def _forget_lines(connection: sa.Connection, file: str) -> None:
    connection.execute(sa.delete(READ_LINES).where(READ_LINES.c.unit == file))


class _Tallied:
    """The points of lines of tallies, under both sets of dimensions that the service has."""

    def __init__(self, connection: sa.Connection, platform: Callable[[float], float]) -> None:
        self._connection = connection
        self._platform = platform
        self._ids: dict[tuple[str, ...], tuple[int, int]] = {}
        self.found: list[dict[str, Any]] = []

    def take(
        self, region: str, endpoint: str, config: str, variant: str, _: int, real: float,
        points: dict[str, list[Any]],
    ) -> None:  # fmt: skip
        """One line."""
        at = self._platform(real)
        for name, (*values, packed) in _with_spread(points):
            point = dict(zip(TOLD, values, strict=True)) | {"at": at, "spread": packed}
            for metric in self.metrics_of(region, endpoint, config, variant, name):
                self.found.append({"metric": metric, **point})

    def metrics_of(
        self, region: str, endpoint: str, config: str, variant: str, name: str
    ) -> tuple[int, int]:
        """The ids of a metric without and with the configuration among its dimensions."""
        key = (region, endpoint, config, variant, name)
        known = self._ids.get(key)
        if known is not None:
            return known
        unit = "Microseconds" if name.endswith("Latency") else "None"
        pair = [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ]
        whole = [*pair, {"Name": "EndpointConfigName", "Value": config}]
        one, other = (
            _metric_id(self._connection, region, NAMESPACE, name, dimensions, unit)
            for dimensions in (pair, whole)
        )
        self._ids[key] = one, other
        return one, other


def _add(connection: sa.Connection, points: list[dict[str, Any]]) -> None:
    """Add points, all of which have the same members."""
    if points:
        connection.execute(ADD_POINTS, points)


def _with_spread(points: dict[str, list[Any]]) -> Iterable[tuple[str, list[Any]]]:
    """Points with their distribution as text; a gateway of an earlier version told of none."""
    for name, values in points.items():
        packed = values[4] if len(values) > 4 and values[2] != values[3] else None
        yield name, [*values[:4], None if packed is None else orjson.dumps(packed).decode()]


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


def _checked(point: dict[str, float]) -> dict[str, float]:
    """Refuse what the API refuses of values; then no sum of them overflows."""
    for name in ("minimum", "maximum", "sum"):
        most = VALUE_MAX * max(1.0, point["count"]) if name == "sum" else VALUE_MAX
        if not -most <= point[name] <= most:
            raise ApiError(
                "InvalidParameterValue",
                f"A value is {point[name]}; values must be from -2^360 to 2^360.",
            )
    if not 0 <= point["count"] <= COUNT_MAX:
        raise ApiError(
            "InvalidParameterValue",
            f"A count is {point['count']}; counts must be from 0 to 2^53.",
        )
    return point


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
    known = connection.execute(METRIC_OF, key).scalar()
    if known is not None:
        return int(known)
    added = sa.insert(METRICS).values(**key).returning(METRICS.c.id)
    return int(connection.execute(added).scalar_one())


def _canonical(dimensions: Dimensions) -> str:
    ordered = sorted(dimensions, key=lambda item: item["Name"])
    return orjson.dumps([{"Name": d["Name"], "Value": d["Value"]} for d in ordered]).decode()


def _seconds(moment: datetime | float | None) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else moment
