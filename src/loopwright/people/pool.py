"""The pool of tasks: offered to teams, leased by workers one at a time, answered once by each.

An answer that was accepted is durable and is counted in the same transaction; nobody's answer
counts twice, and one that comes when none is wanted any more is kept as late, uncounted. Times are
platform seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.kernel.store import Outdated, add_event, read_uid, set_due, update_status
from loopwright.people.kinds import COMPLETE
from loopwright.people.tables import ASSIGNMENTS, TASKS

SHOWN_MAX: Final = 100
"""A worker is told of at most so many open tasks of a job: counting more tells nobody anything."""
LEASED: Final = "leased"
SUBMITTED: Final = "submitted"
DECLINED: Final = "declined"
RETURNED: Final = "returned"
LATE: Final = "late"


class Gone(Exception):
    """The task is not this worker's, or not any more; the text says why, for the worker."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker may take up.

    Attributes:
        open: Tasks that wait for this worker, `SHOWN_MAX` standing for as many or more.
        limit_s: Time for one task.
    """

    team: str
    name: str
    title: str
    description: str
    open: int
    limit_s: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task in a worker's hands.

    Attributes:
        until: When the lease ends.
        submitted: When it was answered, or None.
    """

    task: str
    team: str
    job: str
    title: str
    description: str
    worker: str
    state: str
    accepted: float
    until: float
    submitted: float | None


def _free(worker: str, now: float) -> sa.ColumnElement[bool]:
    """Whether a task has room for an answer of this worker, who has not said no to it."""
    mine = sa.exists().where(
        ASSIGNMENTS.c.task == TASKS.c.uid,
        ASSIGNMENTS.c.worker == worker,
        ASSIGNMENTS.c.state.in_((SUBMITTED, DECLINED, LATE)),
    )
    leases = (
        sa.select(sa.func.count())
        .where(
            ASSIGNMENTS.c.task == TASKS.c.uid,
            ASSIGNMENTS.c.worker != worker,
            ASSIGNMENTS.c.state == LEASED,
            ASSIGNMENTS.c.until > now,
        )
        .scalar_subquery()
    )
    return sa.and_(~mine, TASKS.c.given + leases < TASKS.c.wanted)


class TaskPool:
    """The tasks of a home. Thread-safe.

    Args:
        tell: `tell(team, task)`: a team that had nothing to do has a task now. May be called again.
    """

    def __init__(
        self, database: Database, tell: Callable[[str, str], None] = lambda team, task: None
    ) -> None:
        self.database = database
        self._tell = tell

    # For workers

    def jobs(self, worker: str, teams: Sequence[str], now: float) -> list[Job]:
        """What waits for a worker, oldest first."""
        if not teams:
            return []
        found = []
        with self.database.read() as connection:
            for team in teams:
                for row in _heads(connection, team):
                    free = (
                        sa.select(TASKS.c.uid)
                        .where(*_open(team), TASKS.c.job == row.job, TASKS.c.until > now,
                               _free(worker, now))
                        .limit(SHOWN_MAX)
                    )  # fmt: skip
                    counted = sa.select(sa.func.count()).select_from(free.subquery())
                    if count := connection.execute(counted).scalar_one():
                        job = Job(team, row.job, row.title, row.description, count, row.limit_s)
                        found.append((row.created, job))
        return [job for _, job in sorted(found, key=lambda item: item[0])]

    def held(self, worker: str, teams: Sequence[str], now: float) -> list[Assignment]:
        """The tasks that a worker has in hand, the oldest lease first."""
        statement = _assignments().where(
            ASSIGNMENTS.c.worker == worker,
            ASSIGNMENTS.c.state == LEASED,
            ASSIGNMENTS.c.until > now,
            TASKS.c.state == "open",
            TASKS.c.team.in_(teams),
        )
        with self.database.read() as connection:
            rows = connection.execute(statement.order_by(ASSIGNMENTS.c.accepted)).all()
        return [_assignment(row) for row in rows]

    def take(
        self, worker: str, teams: Sequence[str], job: str, now: float, identity: Mapping[str, Any]
    ) -> Assignment | None:
        """Lease the oldest task of a job to a worker; the one in hand when there is one."""

        def work(connection: sa.Connection) -> str | None:
            held = (
                sa.select(ASSIGNMENTS.c.task)
                .join(TASKS, TASKS.c.uid == ASSIGNMENTS.c.task)
                .where(
                    ASSIGNMENTS.c.worker == worker, ASSIGNMENTS.c.state == LEASED,
                    ASSIGNMENTS.c.until > now, TASKS.c.state == "open", TASKS.c.job == job,
                    TASKS.c.team.in_(teams),
                )
            )  # fmt: skip
            known: str | None = connection.execute(held.limit(1)).scalar()
            if known is not None:
                return known
            row = self._next_free(connection, worker, teams, job, now)
            if row is None:
                return None
            _put(
                connection,
                {
                    "task": row.uid, "worker": worker, "state": LEASED, "accepted": now,
                    "until": now + row.limit_s, "submitted": None, "answer": None,
                    "identity": orjson.dumps(identity).decode(),
                },
            )  # fmt: skip
            return str(row.uid)

        if not teams:
            return None
        uid = self.database.write(work)
        return self.assignment(uid, worker, teams) if uid is not None else None

    def _next_free(
        self, connection: sa.Connection, worker: str, teams: Sequence[str], job: str, now: float
    ) -> Any:
        """The oldest task that a worker may take, locked, or None."""
        while True:
            row = _oldest(connection, worker, teams, job, now)
            if row is None or self.database.is_sqlite:
                return row
            # Who waited for the lock decided by what was there before: another worker's lease,
            # which stands in another table, may have taken the last room meanwhile. So what is
            # locked is looked at once more.
            own = TASKS.c.uid == row.uid
            connection.execute(sa.select(TASKS.c.uid).where(own).with_for_update())
            again = sa.select(TASKS.c.uid).where(own, TASKS.c.state == "open", _free(worker, now))
            if connection.execute(again).first() is not None:
                return row

    def assignment(self, task: str, worker: str, teams: Sequence[str]) -> Assignment:
        """A worker's hold on a task.

        Raises:
            Gone: there is none, or the worker has left the team.
        """
        where = (
            ASSIGNMENTS.c.task == task, ASSIGNMENTS.c.worker == worker, TASKS.c.team.in_(teams),
        )  # fmt: skip
        with self.database.read() as connection:
            row = connection.execute(_assignments().where(*where)).first()
        if row is None:
            raise Gone("This task is not yours, or it has been removed.")
        return _assignment(row)

    def submit(
        self, task: str, worker: str, teams: Sequence[str], answer: Mapping[str, Any], now: float
    ) -> str:
        """Keep an answer: `submitted`, `again` (it was there already) or `late`.

        A lease that has ended counts as long as nobody else's answer or lease has taken its room.

        Raises:
            Gone: the worker never had the task, or said no to it.
        """
        text = orjson.dumps(answer).decode()

        def work(connection: sa.Connection) -> str:
            locked = sa.select(TASKS).where(TASKS.c.uid == task, TASKS.c.team.in_(teams))
            if not self.database.is_sqlite:
                locked = locked.with_for_update()
            row = connection.execute(locked).first()
            own = (ASSIGNMENTS.c.task == task, ASSIGNMENTS.c.worker == worker)
            held = connection.execute(sa.select(ASSIGNMENTS).where(*own)).first()
            if row is None or held is None:
                raise Gone("This task is not yours, or it has been removed.")
            if held.state in (SUBMITTED, LATE):
                return "again"
            if held.state == DECLINED:
                raise Gone("You declined this task.")
            state = SUBMITTED if self._has_room(connection, row, held, now) else LATE
            values = {"state": state, "submitted": now, "answer": text}
            connection.execute(sa.update(ASSIGNMENTS).where(*own).values(**values))
            if state == SUBMITTED:
                self._count(connection, row, now)
            return state

        while True:
            try:
                return self.database.write(work)
            except Outdated:
                # The task's planner changed it at the same moment: the whole is done again.
                continue

    @staticmethod
    def _has_room(connection: sa.Connection, row: Any, held: Any, now: float) -> bool:
        if row.state != "open" or now >= row.until:
            return False
        if held.state == LEASED and held.until > now:
            return bool(row.given < row.wanted)
        others = sa.select(sa.func.count()).where(
            ASSIGNMENTS.c.task == row.uid,
            ASSIGNMENTS.c.worker != held.worker,
            ASSIGNMENTS.c.state == LEASED,
            ASSIGNMENTS.c.until > now,
        )
        return bool(row.given + connection.execute(others).scalar_one() < row.wanted)

    @staticmethod
    def _count(connection: sa.Connection, row: Any, now: float) -> None:
        """One more answer; the last one wakes the task's planner, in the same transaction."""
        given = row.given + 1
        values = {"given": given, "state": "answered" if given >= row.wanted else "open"}
        connection.execute(sa.update(TASKS).where(TASKS.c.uid == row.uid).values(**values))
        record = read_uid(connection, row.uid)
        if record is None:
            return
        status = {**record.status, "AnswerCount": given}
        if given >= row.wanted:
            status[COMPLETE] = True
        state = str(status["HumanTaskStatus"])
        update_status(connection, record, status, state=state, now=now)
        add_event(connection, record.uid, now, f"Answer {given} of {row.wanted}")
        if given >= row.wanted:
            set_due(connection, record.uid, now)

    def let_go(
        self, task: str, worker: str, teams: Sequence[str], now: float, *, decline: bool
    ) -> None:
        """Give a task back; declined, it is not offered to this worker again.

        Raises:
            Gone: the worker does not have it.
        """
        self.assignment(task, worker, teams)
        statement = (
            sa.update(ASSIGNMENTS)
            .where(
                ASSIGNMENTS.c.task == task,
                ASSIGNMENTS.c.worker == worker,
                ASSIGNMENTS.c.state.in_((LEASED, RETURNED)),
            )
            .values(state=DECLINED if decline else RETURNED, until=now)
        )
        self.database.write(lambda connection: connection.execute(statement))

    def open_tasks(self, team: str) -> int:
        """How many tasks of a team wait for answers."""
        statement = sa.select(sa.func.count()).where(TASKS.c.team == team, TASKS.c.state == "open")
        with self.database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    # For planners

    def functions(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The calls of the task planner; each can be repeated."""
        return {
            "people.offer": self.offer,
            "people.close": self._close,
            "people.forget": self._forget,
        }

    def offer(self, arguments: Mapping[str, Any]) -> None:
        """Put a task where its team sees it; again changes nothing."""
        uid, team = arguments["uid"], arguments["team"]

        def work(connection: sa.Connection) -> bool:
            known = sa.select(TASKS.c.uid).where(TASKS.c.uid == uid)
            if connection.execute(known).first() is None:
                values = {**arguments, "given": 0, "state": "open"}
                connection.execute(sa.insert(TASKS).values(**values))
            other = sa.select(TASKS.c.uid).where(*_open(team), TASKS.c.uid != uid).limit(1)
            return connection.execute(other).first() is None

        if self.database.write(work):
            self._tell(team, uid)

    def _close(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Take no more answers; how many there are is decided with that."""
        uid = arguments["uid"]

        def work(connection: sa.Connection) -> int:
            connection.execute(
                sa.update(TASKS)
                .where(TASKS.c.uid == uid, TASKS.c.state == "open")
                .values(state="closed")
            )
            given = sa.select(TASKS.c.given).where(TASKS.c.uid == uid)
            return int(connection.execute(given).scalar() or 0)

        return {"answers": self.database.write(work)}

    def _forget(self, arguments: Mapping[str, Any]) -> None:
        self.forget(arguments["uid"])

    def forget(self, uid: str) -> None:
        """Remove a task with its answers."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(ASSIGNMENTS).where(ASSIGNMENTS.c.task == uid))
            connection.execute(sa.delete(TASKS).where(TASKS.c.uid == uid))

        self.database.write(work)

    # For those who asked

    def answers(self, task: str) -> list[dict[str, Any]]:
        """The counted answers of a task in the service's form, in the order of submission."""
        statement = (
            sa.select(ASSIGNMENTS)
            .where(ASSIGNMENTS.c.task == task, ASSIGNMENTS.c.state == SUBMITTED)
            .order_by(ASSIGNMENTS.c.submitted, ASSIGNMENTS.c.worker)
        )
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        return [
            {
                "worker": row.worker,
                "answer": orjson.loads(row.answer),
                "accepted": row.accepted,
                "submitted": row.submitted,
                "identity": orjson.loads(row.identity),
            }
            for row in rows
        ]


def _oldest(
    connection: sa.Connection, worker: str, teams: Sequence[str], job: str, now: float
) -> Any:
    """The oldest task of a job that has room for a worker."""
    found = []
    for team in teams:
        # A team at a time: the index gives them in order, and the first that is free ends it.
        free = (
            sa.select(TASKS.c.uid, TASKS.c.limit_s, TASKS.c.created)
            .where(*_open(team), TASKS.c.job == job, TASKS.c.until > now, _free(worker, now))
            .order_by(TASKS.c.created)
            .limit(1)
        )
        row = connection.execute(free).first()
        if row is not None:
            found.append(row)
    return min(found, key=lambda item: item.created, default=None)


def _open(team: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (TASKS.c.team == team, TASKS.c.state == "open")


def _heads(connection: sa.Connection, team: str) -> Iterator[Any]:
    """The oldest open task of each job of a team.

    Goes from job to job by the index, so that it costs by the jobs and not by their tasks.
    """
    last = ""
    while True:
        statement = (
            sa.select(TASKS)
            .where(*_open(team), TASKS.c.job > last)
            .order_by(TASKS.c.job, TASKS.c.created)
            .limit(1)
        )
        row = connection.execute(statement).first()
        if row is None:
            return
        last = row.job
        yield row


def _assignments() -> sa.Select[Any]:
    return sa.select(
        ASSIGNMENTS.c.task, ASSIGNMENTS.c.worker, ASSIGNMENTS.c.state, ASSIGNMENTS.c.accepted,
        ASSIGNMENTS.c.until, ASSIGNMENTS.c.submitted, TASKS.c.team, TASKS.c.job, TASKS.c.title,
        TASKS.c.description,
    ).join(TASKS, TASKS.c.uid == ASSIGNMENTS.c.task)  # fmt: skip


def _assignment(row: Any) -> Assignment:
    return Assignment(
        row.task, row.team, row.job, row.title, row.description, row.worker, row.state,
        row.accepted, row.until, row.submitted,
    )  # fmt: skip


def _put(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """Write an assignment in place of one that was given back or ran out."""
    connection.execute(
        sa.delete(ASSIGNMENTS).where(
            ASSIGNMENTS.c.task == values["task"], ASSIGNMENTS.c.worker == values["worker"]
        )
    )
    connection.execute(sa.insert(ASSIGNMENTS).values(**values))
