"""The store's contract over SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.database import Database
from loopwright.kernel.store import Store
from loopwright.testing.store import StoreContract


class TestOnSqlite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        database = Database(f"sqlite:///{tmp_path / 'test.db'}")
        store = Store(database)
        store.create_tables()
        yield store
        database.close()


class TestOnPostgres(StoreContract):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Store]:
        database = Database(postgres)
        store = Store(database)
        store.create_tables()
        store.reset()
        yield store
        database.close()
