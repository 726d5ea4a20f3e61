"""Records, their tags, history and queries, in a relational database.

Knows rows and transactions; knows no kind by name. Every write is one transaction, and a change
of a record names the revision that it was based on, so that nothing is overwritten unseen.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from loopwright.database import Database
from loopwright.kernel.records import Event, Record
from loopwright.kernel.statements import (
    ADD_EVENT,
    CHILDREN_OF,
    DUE,
    RECORD_NAMED,
    RECORD_OF,
    SET_DUE,
    SETTLE,
)
from loopwright.kernel.tables import CALLS, DOCUMENTS, EVENTS, METADATA, RECORDS, TAGS, UNITS


class Taken(Exception):
    """A record of this kind and name exists already in the region."""


class Outdated(Exception):
    """The record changed after the revision on which a change was based."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a List asks for.

    Attributes:
        sort: `name`, `created`, `modified` or `state`.
        after: The sort value and row id behind which the page starts.
        created, modified: (after, before) bounds, exclusive, None for none.
    """

    region: str
    kind: str
    sort: str = "created"
    descending: bool = False
    limit: int = 10
    after: tuple[Any, int] | None = None
    name_contains: str | None = None
    state: str | None = None
    created: tuple[float | None, float | None] = (None, None)
    modified: tuple[float | None, float | None] = (None, None)
    owner: str | None = None


Announce = Callable[[sa.Connection, Record | None, Record | None], None]
"""Hears of a record within the transaction that creates (None, record), changes (before, after) or
deletes it (record, None). What it writes by the connection happens exactly when the change does."""
NEVER: Final = Record("", "", "", "", "", {}, {}, 0.0, 0.0, revision=-1)


def encode(document: Any) -> str:
    """A document as JSON text; timestamps are seconds already."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def new_uid() -> str:
    """A random uid, 12 hexadecimal digits."""
    return secrets.token_hex(6)


def _unheard(connection: sa.Connection, before: Record | None, after: Record | None) -> None:
    """Where nobody listens."""


class Store:
    """The kernel's state. Thread-safe; owns no connection between calls.

    Args:
        announce: See `Announce`; hears of what this class, `verbs` and the engine do. A room that
            writes rows of its kinds itself speaks for itself.
    """

    def __init__(self, database: Database, announce: Announce = _unheard) -> None:
        self.database = database
        self.announce = announce

    def create_tables(self) -> None:
        """Create what is missing; repeatable."""
        METADATA.create_all(self.database.engine)
        for index in RECORDS.indexes:
            # Homes of earlier versions lack what came later.
            index.create(self.database.engine, checkfirst=True)
        self.database.add_columns(RECORDS)

    # Reading

    def get(self, region: str, kind: str, name: str) -> Record | None:
        """The record of this name, or None."""
        with self.database.read() as connection:
            return read_record(connection, region, kind, name)

    def by_uid(self, uid: str) -> Record | None:
        """The record with this uid, or None."""
        with self.database.read() as connection:
            return read_uid(connection, uid)

    def to_plan(self, uid: str) -> tuple[Record, int] | None:
        """A record, and how often it was woken so far (see `settle`); None when it is gone."""
        with self.database.read() as connection:
            row = connection.execute(RECORD_OF, {"of": uid}).first()
        return (_record(row), row.wakes or 0) if row is not None else None

    def by_arn(self, arn: str) -> Record | None:
        """The record with this ARN, or None."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(RECORDS).where(RECORDS.c.arn == arn)).first()
        return _record(row) if row is not None else None

    def find(
        self, query: Query, *where: sa.ColumnElement[bool]
    ) -> tuple[list[Record], tuple[Any, int] | None]:
        """A page of records, and where the next page starts or None at the end.

        Args:
            where: Further conditions on `RECORDS`.
        """
        column = RECORDS.c[query.sort]
        conditions = _conditions(query, self.database.is_sqlite)
        statement = sa.select(RECORDS).where(*conditions, *where)
        if query.after is not None:
            value, row_id = query.after
            ahead = column < value if query.descending else column > value
            beyond = RECORDS.c.id < row_id if query.descending else RECORDS.c.id > row_id
            statement = statement.where(sa.or_(ahead, sa.and_(column == value, beyond)))
        order = [part.desc() if query.descending else part.asc() for part in (column, RECORDS.c.id)]
        statement = statement.order_by(*order).limit(query.limit + 1)
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        following = (getattr(rows[-1], query.sort), rows[-1].id) if more and rows else None
        return [_record(row) for row in rows], following

    def heads(self, kind: str) -> list[tuple[str, int]]:
        """(uid, revision) of every record of a kind, of all regions: what changed, for little."""
        statement = (
            sa.select(RECORDS.c.uid, RECORDS.c.revision)
            .where(RECORDS.c.kind == kind)
            .order_by(RECORDS.c.id)
        )
        with self.database.read() as connection:
            return [(row.uid, row.revision) for row in connection.execute(statement)]

    def children(self, owner: str, known: Mapping[str, Record] | None = None) -> list[Record]:
        """The records that this record asked for, oldest first."""
        with self.database.read() as connection:
            return read_children(connection, owner, known)

    def events(self, uid: str) -> list[Event]:
        """A record's history, oldest first."""
        statement = sa.select(EVENTS).where(EVENTS.c.record == uid).order_by(EVENTS.c.id)
        with self.database.read() as connection:
            return [Event(row.at, row.what, row.detail) for row in connection.execute(statement)]

    def due(self, now: float, limit: int = 100) -> list[str]:
        """Uids of records whose planner should run, the longest waiting first."""
        with self.database.read() as connection:
            return list(connection.execute(DUE, {"now": now, "most": limit}).scalars())

    def next_due(self) -> float | None:
        """When the next record falls due, or None."""
        with self.database.read() as connection:
            value = connection.execute(sa.select(sa.func.min(RECORDS.c.due))).scalar()
        return float(value) if value is not None else None

    def document(self, key: str) -> tuple[int, dict[str, Any]] | None:
        """A published document with its generation, or None."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(DOCUMENTS).where(DOCUMENTS.c.key == key)).first()
        return (row.generation, orjson.loads(row.document)) if row is not None else None

    def documents(self, prefix: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """Every published document under a prefix of keys, with its version."""
        statement = sa.select(DOCUMENTS).where(DOCUMENTS.c.key.startswith(prefix, autoescape=True))
        with self.database.read() as connection:
            return {
                row.key: (version_of(row), orjson.loads(row.document))
                for row in connection.execute(statement)
            }

    def states(self, kind: str) -> dict[str, dict[str, str]]:
        """The state of every record of a kind, by region and name."""
        columns = (RECORDS.c.region, RECORDS.c.name, RECORDS.c.state)
        found: dict[str, dict[str, str]] = {}
        with self.database.read() as connection:
            for region, name, state in connection.execute(
                sa.select(*columns).where(RECORDS.c.kind == kind)
            ):
                found.setdefault(region, {})[name] = state
        return found

    # Writing

    def create(
        self,
        record: Record,
        *,
        state: str,
        tags: Mapping[str, str],
        event: str,
        due: float | None,
        more: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> None:
        """Add a record with its tags and the first line of its history.

        Args:
            more: What else belongs to the transaction.

        Raises:
            Taken: the region has a record of this kind and name.
        """

        def work(connection: sa.Connection) -> None:
            insert_record(connection, record, state=state, due=due)
            set_tags(connection, record.arn, tags)
            add_event(connection, record.uid, record.created, event)
            more(connection)
            self.announce(connection, None, record)

        try:
            self.database.write(work)
        except IntegrityError as error:
            raise Taken(record.name) from error

    def change(
        self,
        record: Record,
        status: Mapping[str, Any],
        *,
        state: str,
        now: float,
        event: str,
        more: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> Record:
        """Replace the status document and have the record planned at once.

        Args:
            event: For its history; empty for none.
            more: What else belongs to the transaction.

        Raises:
            Outdated: the record changed since `record` was read, or is gone.
        """

        def work(connection: sa.Connection) -> Record:
            changed = update_status(connection, record, status, state=state, now=now)
            set_due(connection, record.uid, now)
            if event:
                add_event(connection, record.uid, now, event)
            more(connection)
            self.announce(connection, record, changed)
            return changed

        return self.database.write(work)

    def replace_spec(
        self,
        record: Record,
        spec: Mapping[str, Any],
        now: float,
        status: Mapping[str, Any] | None = None,
        more: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> Record:
        """Replace the spec (operations that update a resource in place).

        Args:
            status: To replace with it, when it does not change what lists filter by.
            more: What else belongs to the transaction.

        Raises:
            Outdated: as for `change`.
        """
        known = record.status if status is None else status

        def work(connection: sa.Connection) -> Record:
            statement = (
                sa.update(RECORDS)
                .where(RECORDS.c.uid == record.uid, RECORDS.c.revision == record.revision)
                .values(
                    spec=encode(spec), status=encode(known), modified=now,
                    revision=record.revision + 1, due=now,
                )
            )  # fmt: skip
            if connection.execute(statement).rowcount != 1:
                raise Outdated(record.key)
            more(connection)
            revision = record.revision + 1
            changed = replace(record, spec=spec, status=known, modified=now, revision=revision)
            self.announce(connection, record, changed)
            return changed

        return self.database.write(work)

    def delete(
        self, *records: Record, more: Callable[[sa.Connection], None] = lambda connection: None
    ) -> None:
        """Remove records and all that hangs on them, in one transaction; repeatable."""

        def work(connection: sa.Connection) -> None:
            for record in records:
                self.announce(connection, record, None)
                remove_record(connection, record)
            more(connection)

        self.database.write(work)

    def wake(self, uid: str, at: float) -> None:
        """Have a record planned at `at` at the latest."""
        self.database.write(lambda connection: set_due(connection, uid, at))

    # Tags

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource, ordered by key."""
        statement = sa.select(TAGS).where(TAGS.c.arn == arn).order_by(TAGS.c.key)
        with self.database.read() as connection:
            return {row.key: row.value for row in connection.execute(statement)}

    def add_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set tags, replacing the values of keys that exist; repeatable."""
        self.database.write(lambda connection: set_tags(connection, arn, tags))

    def delete_tags(self, arn: str, keys: Iterable[str]) -> None:
        """Remove tags; keys that do not exist are left out; repeatable."""
        names = list(keys)
        statement = sa.delete(TAGS).where(TAGS.c.arn == arn, TAGS.c.key.in_(names))
        self.database.write(lambda connection: connection.execute(statement))

    def reset(self) -> None:
        """Empty every table of the kernel."""

        def work(connection: sa.Connection) -> None:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(sa.delete(table))

        self.database.write(work)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for the kernel's own compound reads."""
        with self.database.read() as connection:
            yield connection


# Steps inside a transaction, for the engine's passes


def version_of(row: Any) -> str:
    """The version of a published document: never the same for two, of a deleted record neither."""
    return f"{row.record}.{row.generation}"


def read_record(connection: sa.Connection, region: str, kind: str, name: str) -> Record | None:
    named = {"region": region, "kind": kind, "name": name}
    row = connection.execute(RECORD_NAMED, named).first()
    return _record(row) if row is not None else None


def read_uid(connection: sa.Connection, uid: str) -> Record | None:
    row = connection.execute(RECORD_OF, {"of": uid}).first()
    return _record(row) if row is not None else None


def read_children(
    connection: sa.Connection, owner: str, known: Mapping[str, Record] | None = None
) -> list[Record]:
    """Records that another one owns, oldest first.

    Args:
        known: By uid, as read before; one whose revision did not change is taken from here.
    """
    known = known or {}
    heads = connection.execute(CHILDREN_OF, {"of": owner}).all()
    found = {
        uid: known[uid] for uid, revision in heads if known.get(uid, NEVER).revision == revision
    }
    missing = [uid for uid, _ in heads if uid not in found]
    for start in range(0, len(missing), 500):
        part = missing[start : start + 500]
        rows = connection.execute(sa.select(RECORDS).where(RECORDS.c.uid.in_(part)))
        found |= {row.uid: _record(row) for row in rows}
    return [found[uid] for uid, _ in heads if uid in found]


def insert_record(
    connection: sa.Connection, record: Record, *, state: str, due: float | None
) -> None:
    connection.execute(
        sa.insert(RECORDS).values(
            region=record.region,
            kind=record.kind,
            name=record.name,
            uid=record.uid,
            arn=record.arn,
            owner=record.owner,
            spec=encode(record.spec),
            status=encode(record.status),
            state=state,
            created=record.created,
            modified=record.modified,
            revision=record.revision,
            due=due,
        )
    )


def update_status(
    connection: sa.Connection,
    record: Record,
    status: Mapping[str, Any],
    *,
    state: str,
    now: float,
) -> Record:
    statement = (
        sa.update(RECORDS)
        .where(RECORDS.c.uid == record.uid, RECORDS.c.revision == record.revision)
        .values(status=encode(status), state=state, modified=now, revision=record.revision + 1)
    )
    if connection.execute(statement).rowcount != 1:
        raise Outdated(record.key)
    return replace(record, status=status, modified=now, revision=record.revision + 1)


def set_due(connection: sa.Connection, uid: str, at: float | None) -> None:
    """Wake a record: have it planned at `at`."""
    connection.execute(SET_DUE, {"of": uid, "at": at})


def settle(connection: sa.Connection, uid: str, at: float | None, wakes: int) -> None:
    """At the end of a pass: have the record planned next at `at`, or earlier if it was woken since.

    Args:
        wakes: As `Store.to_plan` gave it before the pass looked at anything else. News that came
            after that may be missing from what the pass saw.
    """
    connection.execute(SETTLE, {"of": uid, "at": at, "seen": wakes})


def add_event(connection: sa.Connection, uid: str, at: float, what: str, detail: str = "") -> None:
    connection.execute(ADD_EVENT, {"record": uid, "at": at, "what": what, "detail": detail})


def set_tags(connection: sa.Connection, arn: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        connection.execute(sa.delete(TAGS).where(TAGS.c.arn == arn, TAGS.c.key == key))
        connection.execute(sa.insert(TAGS).values(arn=arn, key=key, value=value))


def remove_record(connection: sa.Connection, record: Record) -> None:
    connection.execute(sa.delete(RECORDS).where(RECORDS.c.uid == record.uid))
    connection.execute(sa.delete(TAGS).where(TAGS.c.arn == record.arn))
    for table in (EVENTS, DOCUMENTS, CALLS):
        connection.execute(sa.delete(table).where(table.c.record == record.uid))
    # Units stay until the supervisor has discarded what they left on disk.
    connection.execute(sa.update(UNITS).where(UNITS.c.record == record.uid).values(record=""))


def _conditions(query: Query, sqlite: bool) -> Sequence[sa.ColumnElement[bool]]:
    found = [RECORDS.c.region == query.region, RECORDS.c.kind == query.kind]
    if query.name_contains:
        # LIKE minds the case on one database and not on the other; the service minds it.
        position = sa.func.instr if sqlite else sa.func.strpos
        found.append(position(RECORDS.c.name, query.name_contains) > 0)
    if query.state is not None:
        found.append(RECORDS.c.state == query.state)
    if query.owner is not None:
        found.append(RECORDS.c.owner == query.owner)
    for column, (after, before) in (
        (RECORDS.c.created, query.created),
        (RECORDS.c.modified, query.modified),
    ):
        if after is not None:
            found.append(column > after)
        if before is not None:
            found.append(column < before)
    return found


def _record(row: Any) -> Record:
    return Record(
        region=row.region,
        kind=row.kind,
        name=row.name,
        uid=row.uid,
        arn=row.arn,
        spec=orjson.loads(row.spec),
        status=orjson.loads(row.status),
        created=row.created,
        modified=row.modified,
        owner=row.owner,
        revision=row.revision,
    )
