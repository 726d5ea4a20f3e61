"""An empty database of both engines."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from loopwright.aws.tables import METADATA
from loopwright.database import Database

ENGINES = ["sqlite", "postgres"]


@pytest.fixture(params=ENGINES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/m.db")
        yield database
        database.close()
        return
    url = request.getfixturevalue("postgres")
    name = f"metrics_{random.randrange(10**9)}"
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    database = Database(f"{url.rpartition('/')[0]}/{name}")
    yield database
    database.close()
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
    server.dispose()


@pytest.fixture
def database(empty: Database) -> Database:
    METADATA.create_all(empty.engine)
    return empty
