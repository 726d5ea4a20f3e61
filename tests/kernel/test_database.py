"""What both databases must do alike, where PostgreSQL would not by itself."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from loopwright.database import Database

TEXTS = sa.Table("texts", sa.MetaData(), sa.Column("text", sa.Text, primary_key=True))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'd.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    made = Database(url)
    TEXTS.metadata.create_all(made.engine)
    yield made
    TEXTS.metadata.drop_all(made.engine)
    made.close()


def test_text_with_u_0000_stops_no_transaction(database: Database) -> None:
    # A container's last words, or what a script calls its metric.
    rows = [{"text": "a\0b"}, {"text": "\N{SNOWMAN}"}]
    database.write(lambda connection: connection.execute(sa.insert(TEXTS), rows))
    with database.read() as connection:
        found = connection.execute(sa.select(TEXTS).where(TEXTS.c.text == "a\0b")).scalar_one()
    assert found == ("a\0b" if database.is_sqlite else "a\N{REPLACEMENT CHARACTER}b")


def test_readers_that_need_a_second_connection_do_not_wait_for_each_other(
    database: Database,
) -> None:
    together = threading.Barrier(20)
    done = []

    def read() -> None:
        with database.read() as one:
            one.execute(sa.text("SELECT 1"))
            together.wait(20)
            with database.read() as other:
                done.append(other.execute(sa.text("SELECT 1")).scalar_one())

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 20
