"""What follows from outcomes without anyone asking: new weights of bandits, guards that trip."""

import zlib
from collections.abc import Mapping
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.hosting.capacity import Change, with_changes
from loopwright.hosting.experiments import state as experiment
from loopwright.hosting.experiments.taking import (
    BANDIT,
    EXPERIMENT,
    begin,
    settings_of,
    settle_windows,
)
from loopwright.hosting.shown import WITHDRAWN
from loopwright.hosting.tables import ALLOCATIONS, COMPARISONS, ONLINE_STATES
from loopwright.hosting.traffic.arms import allocation
from loopwright.kernel.clock import Clock
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Store
from loopwright.kernel.tables import RECORDS
from loopwright.wire.errors import ApiError

MOVED: Final = 0.005
"""Smaller changes of a share are left alone."""


class OnlineRounds:
    """One per control plane; called by one thread. Every step is safe to repeat."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._known: dict[str, str] = {}

    def round(self) -> bool:
        """Act on what changed; whether anything did."""
        self._forget_comparisons()
        rows = self._running()
        if not rows:
            self._known.clear()
            return False
        settle_windows(self._database, self._clock.now())
        acted = False
        for row in self._running():
            record = self._store.by_uid(row.uid)
            if record is None:
                continue
            endpoint = self._store.get(record.region, "Endpoint", record.spec["EndpointName"])
            if endpoint is None or endpoint.status.get(DELETING):
                acted = self._end(record) or acted
                continue
            if row.state is None or not endpoint.status.get("Observed"):
                acted = self._mend(record, endpoint) or acted
                continue
            if self._known.get(row.uid) == row.state:
                continue
            state = orjson.loads(row.state)
            done = (
                self._allocate(record, state) if row.kind == BANDIT else self._guard(record, state)
            )
            if done:
                self._known[row.uid] = row.state
                acted = True
        return acted

    def _running(self) -> list[Any]:
        statement = (
            sa.select(RECORDS.c.uid, RECORDS.c.kind, ONLINE_STATES.c.state)
            .outerjoin(ONLINE_STATES, ONLINE_STATES.c.uid == RECORDS.c.uid)
            .where(RECORDS.c.kind.in_((EXPERIMENT, BANDIT)), RECORDS.c.state == "Running")
        )
        with self._database.read() as connection:
            return list(connection.execute(statement))

    def _forget_comparisons(self) -> None:
        """What shadows of an endpoint answered is not told of a later one of its name."""
        there = sa.select(RECORDS.c.uid).where(
            RECORDS.c.kind == "Endpoint",
            RECORDS.c.region == COMPARISONS.c.region,
            RECORDS.c.name == COMPARISONS.c.endpoint,
            RECORDS.c.state != "Deleting",
        )
        gone = ~there.exists()
        with self._database.read() as connection:
            found = connection.execute(sa.select(COMPARISONS.c.endpoint).where(gone)).first()
        if found is not None:
            statement = sa.delete(COMPARISONS).where(gone)
            self._database.write(lambda connection: connection.execute(statement))

    def _end(self, record: Record) -> bool:
        """An experiment or a bandit ends with its endpoint."""
        now = self._clock.now()
        status = {**record.status, "Status": "Stopped", "StoppedTime": now}
        event = f"Stopped: endpoint {record.spec['EndpointName']} is gone"
        try:
            self._store.change(record, status, state="Stopped", now=now, event=event)
        except Outdated:
            return False
        return True

    def _mend(self, record: Record, endpoint: Record) -> bool:
        """Finish what a kill cut off when it was begun."""
        begin(self._database, record, endpoint)
        try:
            self._store.change(
                endpoint, {**endpoint.status, "Observed": True},
                state=endpoint.status["EndpointStatus"], now=self._clock.now(), event="",
                more=lambda connection: _still_runs(connection, record),
            )  # fmt: skip
        except Outdated:
            return False
        return True

    def _allocate(self, record: Record, state: Mapping[str, Any]) -> bool:
        """Give an endpoint the bandit's weights; False: try again."""
        shares = allocation(state, settings_of(record.spec), zlib.crc32(record.uid.encode()))
        endpoint = self._store.get(record.region, "Endpoint", record.name)
        if endpoint is None:
            return True
        before = endpoint.status.get("Allocation") or {}
        if before.keys() == shares.keys() and all(
            abs(before[name] - share) < MOVED for name, share in shares.items()
        ):
            return True
        now = self._clock.now()
        text = orjson.dumps({name: round(share, 6) for name, share in shares.items()}).decode()

        def more(connection: sa.Connection) -> None:
            _still_runs(connection, record)
            connection.execute(
                sa.insert(ALLOCATIONS).values(
                    uid=record.uid, at=now, rewards=state["rewards"], shares=text
                )
            )

        try:
            self._store.change(
                endpoint, {**endpoint.status, "Allocation": shares},
                state=endpoint.status["EndpointStatus"], now=now, event="", more=more,
            )  # fmt: skip
        except Outdated:
            return False
        return True

    def _guard(self, record: Record, state: Mapping[str, Any]) -> bool:
        """Note guards that tripped, and take the traffic away if that was asked for."""
        tripped = experiment.tripped(experiment.setting_of(record.spec), state)
        names = sorted({name for name, _ in tripped})
        if not names or record.status.get("Guarded") == names:
            return True
        if record.spec.get("GuardAction") == "RemoveTraffic" and not self._remove(record, names):
            return False
        words = ", ".join(f"{name} by {guard}" for name, guard in tripped)
        try:
            self._store.change(
                record, {**record.status, "Guarded": names}, state="Running",
                now=self._clock.now(), event=f"Guards say it is worse: {words}",
            )  # fmt: skip
        except Outdated:
            return False
        return True

    def _remove(self, record: Record, names: list[str]) -> bool:
        endpoint = self._store.get(record.region, "Endpoint", record.spec["EndpointName"])
        if endpoint is None:
            return True
        weights = {item["name"]: item["weight"] for item in endpoint.status["Fleet"]["variants"]}
        there = set(names) & set(weights)
        withdrawn = set(endpoint.status.get(WITHDRAWN, ()))
        if there <= withdrawn and not any(weights[name] for name in there):
            return True
        try:
            status = with_changes(endpoint, {name: Change(weight=0.0) for name in there})
            status[WITHDRAWN] = sorted(withdrawn | there)
            self._store.change(
                endpoint, status, state="Updating", now=self._clock.now(),
                event=f"A guard of {record.name} takes the traffic from {', '.join(names)}",
            )  # fmt: skip
        except (Outdated, ApiError):
            return False
        return True


def _still_runs(connection: sa.Connection, record: Record) -> None:
    """Nothing is written for what was stopped or deleted meanwhile: nobody would take it back.

    Raises:
        Outdated: it was.
    """
    running = (RECORDS.c.uid == record.uid, RECORDS.c.state == "Running")
    if connection.execute(sa.select(RECORDS.c.uid).where(*running)).first() is None:
        raise Outdated(record.key)
