"""When the control plane is ready, and what is said when it is not."""

from pathlib import Path

import pytest

from loopwright.database import Database
from loopwright.health import STALE_S, Health


def test_ready_by_its_rounds_and_its_database(tmp_path: Path) -> None:
    now = 1000.0
    database = Database(f"sqlite:///{tmp_path / 'd.db'}")
    health = Health(database, lambda: now)
    assert health.state()["ready"] and "reason" not in health.state()
    health.failed(ValueError("the wheel\ncame off"))
    assert "ValueError: the wheel" in health.state()["reason"]
    health.planned()
    assert health.state()["ready"]
    now += STALE_S + 1
    assert "61 s" in health.state()["reason"]
    health.planned()
    assert health.state()["ready"]
    database.close()


def test_not_ready_while_the_database_is_away() -> None:
    # Nobody listens on this port.
    database = Database("postgresql+psycopg://test@127.0.0.1:1/none")
    told = Health(database).state()
    assert (told["alive"], told["ready"]) == (True, False)
    assert "database does not answer" in told["reason"]
    database.close()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError()])
def test_a_fault_is_named(tmp_path: Path, error: Exception) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.db'}")
    health = Health(database)
    health.failed(error)
    assert type(error).__name__ in health.state()["reason"]
    database.close()
