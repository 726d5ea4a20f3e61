"""One door to a relational database: SQLite (WAL) by default, PostgreSQL by URL.

Knows engines, transactions and the single writer of a process; knows no table. SQLite allows one
writer at a time, so the writers of a process stand in one queue here instead of polling a file
lock, and every write transaction is `BEGIN IMMEDIATE`: it never fails half-way for want of a lock.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")

BUSY_TIMEOUT_MS: Final = 30_000
ATTEMPTS_MAX: Final = 5
SERIALIZATION_STATES: Final = {"40001", "40P01"}


class Database:
    """A database with many concurrent readers and one queue of writers. Thread-safe.

    Args:
        url: A SQLAlchemy URL; `sqlite:///PATH` or `postgresql+psycopg://…`.
        synchronous: SQLite only. `NORMAL` survives any process kill; `FULL` survives power loss
            too and costs one more fsync a commit.
    """

    def __init__(self, url: str, *, synchronous: str = "NORMAL") -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._lock = threading.Lock()
        # Without a limit: a reader who needs a second connection must not wait for readers who do.
        arguments: dict[str, Any] = {"pool_size": 16, "max_overflow": -1}
        arguments["pool_pre_ping"] = not self.is_sqlite
        if self.is_sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            arguments["connect_args"] = {"timeout": BUSY_TIMEOUT_MS / 1000}
        self.engine = sa.create_engine(url, **arguments)
        if self.is_sqlite:
            _prepare_sqlite(self.engine, synchronous)
        else:
            sa.event.listen(self.engine, "before_cursor_execute", _without_nul, retval=True)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for queries: one consistent snapshot, nothing is written."""
        with self.engine.connect() as connection:
            yield connection

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction and return what it returns; all of it is durable, or none.

        `work` may run again after a serialization failure (PostgreSQL), so it must touch nothing
        but the connection. An exception rolls the transaction back and is raised again.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                with self._lock, self.engine.connect() as connection:
                    if self.is_sqlite:
                        connection.exec_driver_sql("BEGIN IMMEDIATE")
                    result = work(connection)
                    connection.commit()
                    return result
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if state not in SERIALIZATION_STATES or attempt == ATTEMPTS_MAX:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def add_columns(self, table: sa.Table) -> None:
        """Add the columns that a table of an earlier version lacks; they allow NULL. Repeatable."""
        unless = "" if self.is_sqlite else "IF NOT EXISTS "
        dialect = self.engine.dialect

        def work(connection: sa.Connection) -> None:
            known = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
            for column in table.columns:
                if column.name not in known:
                    declared = sa.schema.CreateColumn(column).compile(dialect=dialect)
                    connection.exec_driver_sql(
                        f"ALTER TABLE {table.name} ADD COLUMN {unless}{declared}"
                    )

        self.write(work)

    def close(self) -> None:
        self.engine.dispose()


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database's server does not answer for the moment."""
    return isinstance(error, OperationalError) and "sqlite3" not in type(error.orig).__module__


def _without_nul(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """PostgreSQL keeps no U+0000 in texts: what programs print has it as U+FFFD there, so that a
    container's last words, or a request's id, cannot stop the transactions of everybody."""
    return statement, _kept(parameters)


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in value else value
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_kept(item) for item in value)
    return value


def _prepare_sqlite(engine: sa.Engine, synchronous: str) -> None:
    """Open every SQLite connection in WAL mode, with transactions begun by us alone."""

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    sa.event.listen(engine, "connect", connected)
