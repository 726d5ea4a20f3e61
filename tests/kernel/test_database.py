"""What both databases must do alike, where PostgreSQL would not by itself."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from loopwright import cli
from loopwright.api import _failure
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


def test_a_database_that_is_away_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nobody listens on this port.
    url = "postgresql+psycopg://test@127.0.0.1:1/none"
    with pytest.raises(sa.exc.OperationalError) as caught, Database(url).read():
        pass
    told = _failure(caught.value, "id")
    assert (told.code, told.status) == ("ServiceUnavailable", 503)
    with pytest.raises(SystemExit, match="1"):
        cli.main(["serve", "--home", str(tmp_path / "home"), "--database", url])
    said = capsys.readouterr().err
    assert "--database does not answer" in said and "Traceback" not in said


def test_a_broken_table_is_no_database_that_is_away(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught, database.read() as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))
    assert _failure(caught.value, "id").code == "InternalFailure"
