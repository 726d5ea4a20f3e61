"""The bus: rules and targets by name, and an outbox from which each target gets each event once.

An event is put under an id that says what happened; putting it again, as after a crash, adds
nothing. It leaves the outbox when its target took it, or when its tries are used up.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.events.pattern import matches
from loopwright.aws.events.tables import ENTRIES, OUTBOX
from loopwright.database import Database

KEPT_S: Final = 86_400.0
"""Delivered entries are remembered so long, so that the same event is not put twice."""
RULE: Final = "rule"
TARGET: Final = "target"
SPACE: Final = uuid.UUID("0b5c8c0e-9a39-4e53-b8a6-0d9f6a0e7b52")


class Bus:
    """The events of a home. Thread-safe."""

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    # Documents

    def put_entry(self, kind: str, region: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep or replace a document."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(ENTRIES).where(*_is(kind, region, name)))
            connection.execute(
                sa.insert(ENTRIES).values(
                    kind=kind, region=region, name=name, document=orjson.dumps(document).decode()
                )
            )

        self._database.write(work)

    def entry(self, kind: str, region: str, name: str) -> dict[str, Any] | None:
        """A document, or None."""
        statement = sa.select(ENTRIES.c.document).where(*_is(kind, region, name))
        with self._database.read() as connection:
            text = connection.execute(statement).scalar()
        return dict(orjson.loads(text)) if text is not None else None

    def entries(self, kind: str, region: str, prefix: str = "") -> list[dict[str, Any]]:
        """Documents by name."""
        with self._database.read() as connection:
            return _entries(connection, kind, region, prefix)

    def remove_entry(self, kind: str, region: str, name: str) -> None:
        """Forget a document."""
        statement = sa.delete(ENTRIES).where(*_is(kind, region, name))
        self._database.write(lambda connection: connection.execute(statement))

    # Events

    def put(self, event: Mapping[str, Any]) -> str:
        """Put an event on the bus; its id.

        Args:
            event: `id` (what happened, the same when it is put again), `region`, `source`,
                `detail-type`, `time` (seconds), `resources`, `detail`.
        """
        return self._database.write(lambda connection: self.put_within(connection, event))

    def put_within(self, connection: sa.Connection, event: Mapping[str, Any]) -> str:
        """As `put`, in a transaction of the caller's: the event is put exactly when that holds."""
        region = event["region"]
        event_id = str(uuid.uuid5(SPACE, f"{region}/{event['source']}/{event['id']}"))
        moment = datetime.fromtimestamp(event["time"], UTC)
        told = {
            "version": "0",
            "id": event_id,
            "detail-type": event["detail-type"],
            "source": event["source"],
            "account": self._account,
            "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": event.get("resources", []),
            "detail": event["detail"],
        }
        now = time.time()
        for rule, target in _wanted(connection, region, told):
            entry = f"{event_id}/{rule}/{target['Id']}"
            known = sa.select(OUTBOX.c.id).where(OUTBOX.c.id == entry)
            if connection.execute(known).first() is not None:
                continue
            connection.execute(
                sa.insert(OUTBOX).values(
                    id=entry, region=region, target=orjson.dumps(target).decode(),
                    event=orjson.dumps(told).decode(), attempts=0, put=now, due=now, result="",
                )
            )  # fmt: skip
        return event_id

    def has_rules(self, connection: sa.Connection, region: str) -> bool:
        """Whether any event of a region could be wanted."""
        statement = sa.select(ENTRIES.c.name).where(
            ENTRIES.c.kind == RULE, ENTRIES.c.region == region
        )
        return connection.execute(statement.limit(1)).first() is not None

    def due(self, now: float) -> Sequence[Any]:
        """Rows to deliver."""
        statement = sa.select(OUTBOX).where(OUTBOX.c.due <= now).order_by(OUTBOX.c.due).limit(100)
        with self._database.read() as connection:
            return connection.execute(statement).all()

    def settle(self, entry: str, attempts: int, due: float | None, result: str) -> None:
        """What became of a try: `due` None: delivered or given up."""
        changes = (
            sa.update(OUTBOX)
            .where(OUTBOX.c.id == entry)
            .values(attempts=attempts, due=due, result=result[:1000])
        )
        old = sa.delete(OUTBOX).where(OUTBOX.c.due.is_(None), OUTBOX.c.put < time.time() - KEPT_S)

        def work(connection: sa.Connection) -> None:
            connection.execute(changes)
            connection.execute(old)

        self._database.write(work)


def _wanted(
    connection: sa.Connection, region: str, event: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """The targets of the rules that an event matches."""
    found = []
    for rule in _entries(connection, RULE, region):
        if rule.get("State", "ENABLED") == "DISABLED":
            continue
        if matches(orjson.loads(rule["EventPattern"]), event):
            targets = _entries(connection, TARGET, region, f"{rule['Name']}/")
            found += [(rule["Name"], target) for target in targets]
    return found


def _entries(
    connection: sa.Connection, kind: str, region: str, prefix: str = ""
) -> list[dict[str, Any]]:
    statement = sa.select(ENTRIES.c.document).where(
        ENTRIES.c.kind == kind, ENTRIES.c.region == region,
        ENTRIES.c.name.startswith(prefix, autoescape=True),
    )  # fmt: skip
    rows = connection.execute(statement.order_by(ENTRIES.c.name))
    return [dict(orjson.loads(row.document)) for row in rows]


def _is(kind: str, region: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (ENTRIES.c.kind == kind, ENTRIES.c.region == region, ENTRIES.c.name == name)
