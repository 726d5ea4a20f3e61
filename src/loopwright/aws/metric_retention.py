"""How long points are kept, and how finely: CloudWatch's own retention.

"Amazon CloudWatch concepts", section Metrics retention: points of less than a minute are available
for three hours, of a minute for 15 days, of five minutes for 63 days, of an hour for 455 days.
Older points are joined to the next period, and statistics over whole such periods stay what they
were: counts, sums, extremes and distributions are added.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.tables import POINTS
from loopwright.contract.buckets import bucket_of, packed, unpacked
from loopwright.database import Database

HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
LEVELS: Final = ((3 * HOUR_S, 60.0), (15 * DAY_S, 300.0), (63 * DAY_S, HOUR_S))
"""(age, period) in seconds: points that are older are joined to that period."""
GONE_S: Final = 455 * DAY_S
POINTS_MAX: Final = 5000
"""What one transaction joins, so that nobody waits long for it."""
Row = Mapping[str, Any]


class Retention:
    """Joins and removes old points. One per control plane, called by one thread.

    A transaction joins some periods of one metric whole: it removes their points and puts one for
    each, so a crash leaves either. What was joined is joined again to itself.
    """

    def __init__(self, database: Database, stopping: Callable[[], bool] = lambda: False) -> None:
        """`stopping`: whether to leave off between two transactions."""
        self._database = database
        self._stopping = stopping
        self._done: dict[tuple[int, float], float] = {}

    def round(self, now: float) -> int:
        """Join what became old. `now` is the platform's time; how many points are fewer."""
        bounds = sa.select(POINTS.c.metric, sa.func.min(POINTS.c.at), sa.func.max(POINTS.c.at))
        with self._database.read() as connection:
            rows = connection.execute(bounds.group_by(POINTS.c.metric)).all()
        fewer = 0
        for metric, first, last in rows:
            for age, period in reversed(LEVELS):
                end = math.floor((now - age) / period) * period
                if first < end and last >= self._done.get((metric, period), -math.inf):
                    fewer += self._join(metric, period, end)
        gone = sa.delete(POINTS).where(POINTS.c.at < now - GONE_S)
        return fewer + self._database.write(lambda connection: connection.execute(gone).rowcount)

    def _join(self, metric: int, period: float, end: float) -> int:
        """Join the points of a metric before `end`, from where the last call came to."""
        fewer = 0
        while not self._stopping():
            start = self._done.get((metric, period), -math.inf)
            rows = self._old(metric, start, end)
            if not rows:
                self._done[metric, period] = end
                return fewer
            until = end
            if len(rows) == POINTS_MAX:
                # The last period may go on behind what was read.
                until = math.floor(rows[-1]["at"] / period) * period
                rows = [row for row in rows if row["at"] < until]
                if not rows:
                    until += period
                    rows = self._old(metric, start, until, most=None)
            joined = joined_points(rows, period)
            if len(joined) < len(rows):
                self._replace(metric, start, until, joined)
                fewer += len(rows) - len(joined)
            self._done[metric, period] = until
        return fewer

    def _old(
        self, metric: int, start: float, end: float, most: int | None = POINTS_MAX
    ) -> list[Row]:
        statement = (
            sa.select(*(column for column in POINTS.c if column.name != "id"))
            .where(POINTS.c.metric == metric, POINTS.c.at < end)
            .order_by(POINTS.c.at)
            .limit(most)
        )
        if start > -math.inf:
            statement = statement.where(POINTS.c.at >= start)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _replace(self, metric: int, start: float, end: float, points: list[dict[str, Any]]) -> None:
        where = [POINTS.c.metric == metric, POINTS.c.at < end]
        if start > -math.inf:
            where.append(POINTS.c.at >= start)

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(POINTS).where(*where))
            connection.execute(sa.insert(POINTS), points)

        self._database.write(work)


def joined_points(rows: Iterable[Row], period: float) -> list[dict[str, Any]]:
    """One point for each period: at its start, counts and distributions added.

    Where a distribution is not known, neither is that of the whole, as CloudWatch has it.
    """
    found: dict[float, list[Row]] = {}
    for row in rows:
        found.setdefault(math.floor(row["at"] / period) * period, []).append(row)
    return [_joined(at, some) for at, some in found.items()]


def _joined(at: float, rows: list[Row]) -> dict[str, Any]:
    least = min(row["minimum"] for row in rows)
    most = max(row["maximum"] for row in rows)
    return {
        "metric": rows[0]["metric"],
        "at": at,
        "count": sum(row["count"] for row in rows),
        "sum": sum(row["sum"] for row in rows),
        "minimum": least,
        "maximum": most,
        "spread": None if least == most else _spread(rows),
    }


def _spread(rows: list[Row]) -> str | None:
    counts: dict[int, float] = {}
    for row in rows:
        if row["spread"] is not None:
            told: Iterable[tuple[int, float]] = unpacked(orjson.loads(row["spread"]))
        elif row["minimum"] == row["maximum"] >= 0:
            told = [(bucket_of(row["minimum"]), row["count"])]
        else:
            return None
        for bucket, count in told:
            counts[bucket] = counts.get(bucket, 0) + count
    whole = {bucket: int(count) for bucket, count in counts.items() if count == int(count)}
    return orjson.dumps(packed(whole)).decode() if len(whole) == len(counts) else None
