"""The pool of tasks under many threads, on both databases: the last place is given once."""

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.kernel.tables import METADATA as KERNEL
from loopwright.people.pool import Gone, TaskPool
from loopwright.people.tables import ASSIGNMENTS, METADATA, TASKS

TEAM = "arn:team"
WORKERS = 8


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Database]]:
    """As many connections to one database as there are workers: each like a process of its own."""
    url = f"sqlite:///{tmp_path}/pool.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    found = [Database(url) for _ in range(WORKERS)]
    for metadata in (KERNEL, METADATA):
        metadata.create_all(found[0].engine)
    yield found
    for database in found:
        database.close()


def offer(pool: TaskPool, wanted: int) -> tuple[str, str]:
    """A task of a job of its own; uid and job."""
    uid = uuid.uuid4().hex
    pool.functions()["people.offer"](
        {
            "uid": uid, "region": "r", "team": TEAM, "job": f"job-{uid}", "title": "t",
            "description": "d", "created": 1.0, "until": 1e9, "limit_s": 60.0, "wanted": wanted,
        }
    )  # fmt: skip
    return uid, f"job-{uid}"


def at_once(databases: list[Database], act: Any) -> list[Any]:
    """What `act(pool, worker)` returned for each worker, all begun at the same moment."""
    barrier = threading.Barrier(len(databases))
    found: list[Any] = [None] * len(databases)

    def run(number: int) -> None:
        pool = TaskPool(databases[number])
        barrier.wait(20)
        try:
            found[number] = act(pool, f"worker-{number}")
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(databases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("wanted", [1, 3])
def test_as_many_as_wanted_get_the_task_and_no_others(
    databases: list[Database], wanted: int
) -> None:
    for _ in range(6):
        _, job = offer(TaskPool(databases[0]), wanted)
        taken = at_once(databases, lambda pool, worker, job=job: pool.take(
            worker, [TEAM], job, 5.0, {}))  # fmt: skip
        assert not [item for item in taken if isinstance(item, Exception)]
        assert sum(item is not None for item in taken) == wanted


def test_two_windows_of_one_worker_get_one_task(databases: list[Database]) -> None:
    for _ in range(6):
        _, job = offer(TaskPool(databases[0]), 5)
        taken = at_once(databases, lambda pool, _, job=job: pool.take(
            "ana", [TEAM], job, 5.0, {}))  # fmt: skip
        assert {item.task for item in taken} == {taken[0].task}


def test_answers_at_once_are_counted_once_each(databases: list[Database]) -> None:
    for _ in range(4):
        pool = TaskPool(databases[0])
        uid, job = offer(pool, 3)
        for number in range(WORKERS):
            # All hold it: each lease began when those before had run out.
            now = 5.0 + 100 * number
            assert pool.take(f"worker-{number}", [TEAM], job, now, {}) is not None
        now = 5.0 + 100 * WORKERS
        told = at_once(databases, lambda pool, worker, uid=uid, now=now: pool.submit(
            worker=worker, task=uid, teams=[TEAM], answer={"by": worker}, now=now))  # fmt: skip
        assert Counter(told) == {"submitted": 3, "late": WORKERS - 3}
        with databases[0].read() as connection:
            given = connection.execute(sa.select(TASKS.c.given).where(TASKS.c.uid == uid)).scalar()
            kept = connection.execute(
                sa.select(ASSIGNMENTS.c.worker).where(
                    ASSIGNMENTS.c.task == uid, ASSIGNMENTS.c.state == "submitted"
                )
            ).all()
        assert given == len(kept) == 3


def test_closing_and_answering_at_once_agree(databases: list[Database]) -> None:
    for _ in range(6):
        pool = TaskPool(databases[0])
        uid, job = offer(pool, WORKERS)
        for number in range(1, WORKERS):
            assert pool.take(f"worker-{number}", [TEAM], job, 5.0, {}) is not None

        def act(pool: TaskPool, worker: str, uid: str = uid) -> Any:
            if worker == "worker-0":
                return pool.functions()["people.close"]({"uid": uid})
            return pool.submit(uid, worker, [TEAM], {}, 6.0)

        told = at_once(databases, act)
        assert told[0]["answers"] == Counter(told[1:])["submitted"] == len(pool.answers(uid))


def test_who_declined_or_never_had_a_task_cannot_answer_it(databases: list[Database]) -> None:
    pool = TaskPool(databases[0])
    uid, job = offer(pool, 1)
    with pytest.raises(Gone):
        pool.submit(uid, "ana", [TEAM], {}, 5.0)
    assert pool.take("ana", [TEAM], job, 5.0, {}) is not None
    pool.let_go(uid, "ana", [TEAM], 6.0, decline=True)
    assert pool.take("ana", [TEAM], job, 7.0, {}) is None
    with pytest.raises(Gone, match="declined"):
        pool.submit(uid, "ana", [TEAM], {}, 8.0)
