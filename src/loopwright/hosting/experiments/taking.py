"""From requests and outcomes to what experiments and bandits know, each thing exactly once.

Requests come from gateways' journals, outcomes by `RecordOutcome`, either of them first; they meet
by their inference id. Whatever is learned is written in the transaction that takes it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.contract.frames import OBSERVED
from loopwright.database import Database
from loopwright.hosting.capture import Frame
from loopwright.hosting.experiments import state as experiment
from loopwright.hosting.tables import ASSIGNED, ONLINE_STATES, SEEN_USERS
from loopwright.hosting.traffic import arms as bandit
from loopwright.kernel.records import Record
from loopwright.kernel.tables import RECORDS

EXPERIMENT: Final = "OnlineExperiment"
BANDIT: Final = "Bandit"
KEPT_S: Final = 30 * 86_400.0
"""How long an outcome may come after its request."""
BATCH_MAX: Final = 5000
NAMED_MAX: Final = 500
"""How many values one statement names: SQLite and PostgreSQL take many more."""
CHANGING: Final = ("variant", "chances", "value")


@dataclass
class Learner:
    """An experiment or a bandit of an endpoint, with what it knows."""

    uid: str
    kind: str
    spec: Mapping[str, Any]
    state: dict[str, Any]
    changed: bool = False


def learners(connection: sa.Connection, region: str, endpoint: str) -> list[Learner]:
    """All that run on an endpoint."""
    rows = connection.execute(
        sa.select(RECORDS.c.uid, RECORDS.c.kind, RECORDS.c.spec, ONLINE_STATES.c.state)
        .join(ONLINE_STATES, ONLINE_STATES.c.uid == RECORDS.c.uid)
        .where(
            RECORDS.c.region == region,
            RECORDS.c.kind.in_((EXPERIMENT, BANDIT)),
            RECORDS.c.state == "Running",
        )
    )
    found = [
        Learner(row.uid, row.kind, orjson.loads(row.spec), orjson.loads(row.state)) for row in rows
    ]
    return [item for item in found if item.spec["EndpointName"] == endpoint]


def begin(database: Database, record: Record, endpoint: Record) -> None:
    """Let an experiment or a bandit know nothing, if it has no state yet.

    Inference ids that an earlier endpoint of the name had are free again.
    """
    if record.kind == BANDIT:
        state = bandit.empty(tuple(record.spec["VariantNames"]))
    else:
        state = experiment.empty_state(experiment.setting_of(record.spec))
    text = orjson.dumps(state).decode()

    def work(connection: sa.Connection) -> None:
        connection.execute(
            sa.delete(ASSIGNED).where(
                ASSIGNED.c.region == endpoint.region,
                ASSIGNED.c.endpoint == endpoint.name,
                ASSIGNED.c.at < endpoint.created,
            )
        )
        there = sa.select(ONLINE_STATES.c.uid).where(ONLINE_STATES.c.uid == record.uid)
        if connection.execute(there).first() is None:
            connection.execute(sa.insert(ONLINE_STATES).values(uid=record.uid, state=text))

    database.write(work)


def save(connection: sa.Connection, found: Iterable[Learner]) -> None:
    """Write what was learned."""
    for item in found:
        if item.changed:
            connection.execute(
                sa.update(ONLINE_STATES)
                .where(ONLINE_STATES.c.uid == item.uid)
                .values(state=orjson.dumps(item.state).decode())
            )


def settings_of(spec: Mapping[str, Any]) -> bandit.Settings:
    """A bandit's settings from the request that made it."""
    reward = spec.get("Reward", {})
    binary = reward.get("Type", "Binary") == "Binary"
    return bandit.Settings(
        spec["Policy"],
        binary,
        0.0 if binary else float(reward["Minimum"]),
        1.0 if binary else float(reward["Maximum"]),
        float(spec.get("FloorShare", 0.0)),
        float(spec.get("Discount", 1.0)),
        float(spec.get("Epsilon", 0.1)),
    )


def _reward(
    found: list[Learner], variant: str, chances: Mapping[str, float] | None, value: float
) -> None:
    for item in found:
        item.changed = True
        if item.kind == BANDIT:
            bandit.learn(item.state, settings_of(item.spec), variant, value)
        else:
            setting = experiment.setting_of(item.spec)
            experiment.reward(setting, item.state, variant, chances, value)


def take_observations(
    platform: Callable[[float], float],
) -> Callable[[sa.Connection, list[Frame]], None]:
    """What a journal's chunk tells of requests, for `journal.JournalTaker`.

    Args:
        platform: The platform's time at a real one.
    """

    def take(connection: sa.Connection, frames: list[Frame]) -> None:
        heads: dict[tuple[str, str], list[list[Any]]] = {}
        for head, _, _ in frames:
            if head[0] == OBSERVED:
                heads.setdefault((head[1], head[2]), []).append(head)
        for (region, endpoint), told in heads.items():
            found = learners(connection, region, endpoint)
            if found:
                _observed(connection, found, told, platform)
                save(connection, found)

    return take


def _observed(
    connection: sa.Connection,
    found: list[Learner],
    heads: list[list[Any]],
    platform: Callable[[float], float],
) -> None:
    """Learn from the requests of one endpoint, in their order."""
    region, endpoint = heads[0][1:3]
    known = Assigned(connection, region, endpoint, (head[9] for head in heads if head[9]))
    users = Users(connection, found, {head[10] for head in heads if head[10] is not None})
    experiments = [(item, experiment.setting_of(item.spec)) for item in found
                   if item.kind == EXPERIMENT]  # fmt: skip
    for head in heads:
        (_, _, _, _, variant, chances, status, micros, at, inference, place) = head
        if chances is not None and place is not None and users.seen(place):
            chances = None  # The user's variant is no new draw.
        for item, setting in experiments:
            experiment.observe(setting, item.state, variant, chances, status, micros)
            item.changed = True
        if not inference or status == 0:
            continue
        row = known.get(inference)
        if row is None:
            text = None if chances is None else orjson.dumps(chances).decode()
            known.add(Request(inference, variant, text, platform(at), None))
        elif not row.variant and row.value is not None:
            # The outcome came first.
            row.variant = variant
            row.chances = None if chances is None else orjson.dumps(chances).decode()
            known.change(row)
            _reward(found, variant, chances, row.value)
    known.write()
    users.write()


@dataclass
class Request:
    """What is known of a request by its inference id; see `tables.ASSIGNED`."""

    inference: str
    variant: str
    chances: str | None
    at: float
    value: float | None


class Assigned:
    """The requests of one endpoint that a chunk speaks of: read and written together.

    One statement for each was nine tenths of the time that taking a request took.
    """

    def __init__(
        self, connection: sa.Connection, region: str, endpoint: str, inferences: Iterable[str]
    ) -> None:
        self._connection = connection
        self._key = {"region": region, "endpoint": endpoint}
        self._rows: dict[str, Request] = {}
        self._new: dict[str, Request] = {}
        self._changed: dict[str, Request] = {}
        columns = (ASSIGNED.c.inference, ASSIGNED.c.variant, ASSIGNED.c.chances, ASSIGNED.c.at,
                   ASSIGNED.c.value)  # fmt: skip
        wanted = list(dict.fromkeys(inferences))
        for start in range(0, len(wanted), NAMED_MAX):
            rows = connection.execute(
                sa.select(*columns).where(
                    ASSIGNED.c.region == region,
                    ASSIGNED.c.endpoint == endpoint,
                    ASSIGNED.c.inference.in_(wanted[start : start + NAMED_MAX]),
                )
            )
            self._rows |= {row.inference: Request(*row) for row in rows}

    def get(self, inference: str) -> Request | None:
        """What is known of a request."""
        return self._rows.get(inference)

    def add(self, row: Request) -> None:
        """A request of which nothing was known."""
        self._rows[row.inference] = self._new[row.inference] = row

    def change(self, row: Request) -> None:
        """A request of which more is known."""
        if row.inference not in self._new:
            self._changed[row.inference] = row

    def write(self) -> None:
        """Write what is new and what changed."""
        if self._new:
            rows = [{**self._key, **vars(row)} for row in self._new.values()]
            self._connection.execute(sa.insert(ASSIGNED), rows)
        if self._changed:
            statement = (
                sa.update(ASSIGNED)
                .where(
                    ASSIGNED.c.region == self._key["region"],
                    ASSIGNED.c.endpoint == self._key["endpoint"],
                    ASSIGNED.c.inference == sa.bindparam("key"),
                )
                .values({name: sa.bindparam(f"new_{name}") for name in CHANGING})
            )
            rows = [
                {"key": row.inference, **{f"new_{name}": getattr(row, name) for name in CHANGING}}
                for row in self._changed.values()
            ]
            self._connection.execute(statement, rows)


class Users:
    """Which users were there before, for those experiments that tell users apart."""

    def __init__(self, connection: sa.Connection, found: list[Learner], places: set[float]) -> None:
        self._connection = connection
        self._seen: dict[str, set[float]] = {}
        self._new: list[dict[str, Any]] = []
        wanted = list(places)
        for item in found:
            if item.kind != EXPERIMENT:
                continue
            seen = self._seen[item.uid] = set()
            for start in range(0, len(wanted), NAMED_MAX):
                rows = connection.execute(
                    sa.select(SEEN_USERS.c.place).where(
                        SEEN_USERS.c.uid == item.uid,
                        SEEN_USERS.c.place.in_(wanted[start : start + NAMED_MAX]),
                    )
                )
                seen.update(rows.scalars())

    def seen(self, place: float) -> bool:
        """Whether a user was there before, for any experiment; from now on for all."""
        before = False
        for uid, seen in self._seen.items():
            if place in seen:
                before = True
            else:
                seen.add(place)
                self._new.append({"uid": uid, "place": place})
        return before

    def write(self) -> None:
        """Write who is new."""
        if self._new:
            self._connection.execute(sa.insert(SEEN_USERS), self._new)


def record_outcomes(
    database: Database, region: str, endpoint: str, outcomes: list[tuple[str, float]], now: float
) -> tuple[int, int]:
    """Take outcomes by inference id, in one transaction.

    Returns:
        How many were new, and how many were there already, whose first value stays.
    """

    def work(connection: sa.Connection) -> tuple[int, int]:
        found = learners(connection, region, endpoint)
        known = Assigned(connection, region, endpoint, (inference for inference, _ in outcomes))
        new = 0
        for inference, value in outcomes:
            row = known.get(inference)
            if row is None:
                known.add(Request(inference, "", None, now, value))
            elif row.value is None:
                row.value = value
                known.change(row)
                chances = None if row.chances is None else orjson.loads(row.chances)
                _reward(found, row.variant, chances, value)
            else:
                continue
            new += 1
        known.write()
        save(connection, found)
        return new, len(outcomes) - new

    return database.write(work)


def settle_windows(database: Database, now: float) -> int:
    """Give requests whose time for an outcome is over the default one; how many there were."""

    def work(connection: sa.Connection) -> int:
        connection.execute(sa.delete(ASSIGNED).where(ASSIGNED.c.at < now - KEPT_S))
        count = 0
        for (region, endpoint), (window_s, default) in _windows(connection).items():
            rows = connection.execute(
                sa.select(ASSIGNED)
                .where(
                    ASSIGNED.c.region == region,
                    ASSIGNED.c.endpoint == endpoint,
                    ASSIGNED.c.variant != "",
                    ASSIGNED.c.value.is_(None),
                    ASSIGNED.c.at < now - window_s,
                )
                .order_by(ASSIGNED.c.at)
                .limit(BATCH_MAX)
            ).all()
            if not rows:
                continue
            found = learners(connection, region, endpoint)
            known = Assigned(connection, region, endpoint, ())
            for row in rows:
                known.change(Request(row.inference, row.variant, row.chances, row.at, default))
                chances = None if row.chances is None else orjson.loads(row.chances)
                _reward(found, row.variant, chances, default)
            known.write()
            save(connection, found)
            count += len(rows)
        return count

    return database.write(work)


def _windows(connection: sa.Connection) -> dict[tuple[str, str], tuple[float, float]]:
    """By endpoint the longest window of what runs there, and its default outcome."""
    rows = connection.execute(
        sa.select(RECORDS.c.region, RECORDS.c.spec).where(
            RECORDS.c.kind.in_((EXPERIMENT, BANDIT)), RECORDS.c.state == "Running"
        )
    )
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        spec = orjson.loads(row.spec)
        window = spec.get("OutcomeWindowInSeconds")
        if window is None:
            continue
        key = (row.region, spec["EndpointName"])
        given = (float(window), float(spec.get("DefaultOutcome", 0.0)))
        found[key] = max(found.get(key, given), given)
    return found
