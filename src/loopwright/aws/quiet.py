"""Variants without traffic: what the service tells of them is zero, not nothing.

SageMaker emits the invocation metrics of a variant with the value zero while nobody asks it
(developer guide, "Edit a scaling policy", section Scale-in), so that it scales in to its minimum.
Latencies are of requests, so there are none without. Zeros are not written down: `SERVED` says from
when to when a variant was in service, and whoever reads a metric takes a zero for each minute of it
that has no point. So an endpoint that is idle for a year costs a row, not a million points.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from loopwright.aws.metric_retention import GONE_S, LEVELS
from loopwright.aws.statistics import Watched
from loopwright.aws.tables import SERVED
from loopwright.database import Database

NAMESPACE: Final = "AWS/SageMaker"
ZEROED: Final = (
    "Invocations",
    "InvocationsPerInstance",
    "Invocation4XXErrors",
    "Invocation5XXErrors",
    "InvocationModelErrors",
)
MINUTE_S: Final = 60.0
ZERO: Final = (1.0, 0.0, 0.0, 0.0)
"""Count, sum, minimum and maximum of a minute without a request."""
Variant = tuple[str, str, str, str]
"""Region, endpoint, configuration, variant."""


class Serving:
    """Writes down which variants are in service. One per control plane, used by one thread.

    Args:
        announce: Called once of each variant that comes into service.
    """

    def __init__(
        self, database: Database, announce: Callable[[sa.Connection, Variant], None]
    ) -> None:
        self._database = database
        self._announce = announce
        # By variant the id of its row. Those that an earlier process was writing have ended: what
        # nobody watched was not told either.
        self._rows: dict[Variant, int] = {}
        self._served: set[Variant] = set()
        self._minute = 0.0

    def show(self, routes: Iterable[Mapping[str, Any]]) -> None:
        """These routes are published: documents of `hosting.shown.route`."""
        self._served = {
            (route["region"], route["endpoint"], entry["config"], entry["name"])
            for route in routes
            for entry in (*route["variants"], *route["shadows"])
            if entry["instances"]
        }

    def note(self, now: float) -> None:
        """What is shown is served at a platform time; writes at changes, and once a minute."""
        served = self._served
        minute = now // MINUTE_S
        if served == self._rows.keys() and minute == self._minute:
            return
        ids = list(self._rows.values())

        def work(connection: sa.Connection) -> dict[Variant, int]:
            if ids:
                connection.execute(sa.update(SERVED).where(SERVED.c.id.in_(ids)).values(seen=now))
            found = {key: row for key, row in self._rows.items() if key in served}
            for key in served - found.keys():
                names = dict(zip(("region", "endpoint", "config", "variant"), key, strict=True))
                added = sa.insert(SERVED).values(**names, since=now, seen=now)
                found[key] = int(connection.execute(added.returning(SERVED.c.id)).scalar_one())
                self._announce(connection, key)
            if found.keys() != self._rows.keys():
                connection.execute(sa.delete(SERVED).where(SERVED.c.seen < now - GONE_S))
            return found

        if ids or served:
            self._rows = self._database.write(work)
        self._minute = minute

    def reset(self) -> None:
        """Everything was emptied."""
        self._rows, self._served = {}, set()


def spans(
    connection: sa.Connection, region: str, metric: Watched, window: tuple[float, float]
) -> list[tuple[float, float]]:
    """When, within a window, a variant was in service of which a metric is zero without traffic."""
    if metric.namespace != NAMESPACE or metric.name not in ZEROED:
        return []
    if metric.unit not in (None, "None"):
        return []
    named = {item["Name"]: item["Value"] for item in metric.dimensions}
    columns = {
        "EndpointName": SERVED.c.endpoint,
        "VariantName": SERVED.c.variant,
        "EndpointConfigName": SERVED.c.config,
    }
    if not {"EndpointName", "VariantName"} <= named.keys() <= columns.keys():
        return []
    statement = sa.select(SERVED.c.since, SERVED.c.seen).where(
        SERVED.c.region == region,
        SERVED.c.since < window[1],
        SERVED.c.seen > window[0],
        *(columns[name] == value for name, value in named.items()),
    )
    return [
        (max(since, window[0]), min(seen, window[1]))
        for since, seen in connection.execute(statement)
    ]


def empty_slots(
    served: Iterable[tuple[float, float]],
    held: Sequence[float],
    period_s: float,
    now: float | None = None,
) -> list[float]:
    """Where the minutes begin that lie wholly within the spans and have no point.

    Args:
        served: Spans in seconds; those of several configurations may overlap.
        held: The times of the points that there are.
        period_s: What is asked for; below a minute, slots are as short.
        now: The time by whose retention points were joined, which then stand for longer; None:
            none of the window were.
    """
    slot = min(period_s, MINUTE_S)
    ages = [] if now is None else [(now - age, length) for age, length in reversed(LEVELS)]
    taken = {length: {at // length for at in held} for length in (slot, *(n for _, n in ages))}
    found: set[float] = set()
    for start, end in served:
        at = -(-start // slot) * slot
        while at + slot <= end:
            length = next((length for limit, length in ages if at < limit), slot)
            if at // length not in taken[length]:
                found.add(at)
            at += slot
    return sorted(found)
