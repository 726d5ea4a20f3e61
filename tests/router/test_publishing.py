"""When a route counts as that of all workers of the gateway."""

import os
from pathlib import Path

import pytest

from loopwright.router import publishing
from loopwright.router.publishing import Publisher, Reader
from loopwright.router.routes import Routes

DOCUMENT = {"endpoint": "e", "region": "r", "arn": "a", "variants": []}
KEY = "route/r/e"
Documents = dict[str, tuple[str, dict[str, object]]]


class Worker:
    """What of a worker concerns its routes."""

    def __init__(self, home: Path) -> None:
        self.reader = Reader(home)
        self.routes = Routes(home / "routes")

    def look(self) -> None:
        self.routes.refresh()
        self.reader.tell(self.routes.versions)

    def kill(self) -> None:
        os.close(self.reader._lock)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("run", "routes"):
        (tmp_path / name).mkdir()
    return tmp_path


def at(version: str) -> Documents:
    return {KEY: (version, DOCUMENT)}


def test_all_workers_have_to_look(home: Path) -> None:
    publisher = Publisher(home)
    assert not publisher.taken(KEY, "u.1")
    one, two = Worker(home), Worker(home)
    assert publisher.publish(at("u.1")) == []
    assert publisher.waits and not publisher.taken(KEY, "u.1")
    one.look()
    assert publisher.publish(at("u.1")) == []
    two.look()
    assert publisher.publish(at("u.1")) == ["u"]
    assert publisher.taken(KEY, "u.1") and not publisher.taken(KEY, "u.2")
    assert publisher.publish(at("u.1")) == [] and not publisher.waits
    # A later version, and the end.
    assert publisher.publish(at("u.2")) == []
    one.look()
    two.look()
    assert publisher.publish(at("u.2")) == ["u"]
    assert publisher.publish({}) == []
    assert not publisher.taken(KEY, None)
    one.look()
    two.look()
    assert publisher.publish({}) == ["u"]
    assert publisher.taken(KEY, None)


def test_workers_that_are_gone_are_not_waited_for(home: Path) -> None:
    publisher = Publisher(home)
    assert publisher.publish(at("u.1")) == ["u"], "there is no worker"
    killed, ended, living = Worker(home), Worker(home), Worker(home)
    assert publisher.publish(at("u.2")) == []
    killed.kill()
    ended.reader.close()
    assert publisher.publish(at("u.2")) == []
    living.look()
    assert publisher.publish(at("u.2")) == ["u"]
    assert len(list((home / "run").iterdir())) == 2, "what the others left is removed"


def test_a_publisher_that_was_killed_is_followed_by_one_that_knows_nothing(home: Path) -> None:
    worker = Worker(home)
    Publisher(home).publish(at("u.1") | {"route/r/f": ("v.1", {**DOCUMENT, "endpoint": "f"})})
    worker.look()
    after = Publisher(home)
    assert after.publish(at("u.1")) == ["u"], "the worker goes by it already"
    assert after.taken(KEY, "u.1")
    assert not after.taken("route/r/f", None), "the worker still goes by what is deleted"
    worker.look()
    after.publish(at("u.1"))
    assert after.taken("route/r/f", None)


def test_a_record_of_the_same_name_is_another(home: Path) -> None:
    publisher, worker = Publisher(home), Worker(home)
    publisher.publish(at("old.1"))
    worker.look()
    assert publisher.publish(at("new.1")) == []
    assert not publisher.taken(KEY, "new.1")


def test_a_worker_that_is_stuck_does_not_block_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, _stuck = Publisher(home), Worker(home)
    assert publisher.publish(at("u.1")) == []
    monkeypatch.setattr(publishing, "PATIENCE_S", -1.0)
    assert publisher.publish(at("u.1")) == ["u"]
    assert publisher.taken(KEY, "u.1")
