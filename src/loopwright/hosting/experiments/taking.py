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
        known: dict[tuple[str, str], list[Learner]] = {}
        for head, _, _ in frames:
            if head[0] != OBSERVED:
                continue
            region, endpoint = head[1], head[2]
            key = (region, endpoint)
            if key not in known:
                known[key] = learners(connection, region, endpoint)
            if known[key]:
                _observed(connection, known[key], head, platform)
        for found in known.values():
            save(connection, found)

    return take


def _observed(
    connection: sa.Connection,
    found: list[Learner],
    head: list[Any],
    platform: Callable[[float], float],
) -> None:
    (_, region, endpoint, _, variant, chances, status, micros, at, inference, place) = head
    if chances is not None and place is not None and _seen(connection, found, place):
        chances = None  # The user's variant is no new draw.
    for item in found:
        if item.kind == EXPERIMENT:
            setting = experiment.setting_of(item.spec)
            experiment.observe(setting, item.state, variant, chances, status, micros)
            item.changed = True
    if not inference or status == 0:
        return
    where = _where(region, endpoint, inference)
    row = connection.execute(sa.select(ASSIGNED).where(*where)).one_or_none()
    text = None if chances is None else orjson.dumps(chances).decode()
    if row is None:
        connection.execute(
            sa.insert(ASSIGNED).values(
                region=region,
                endpoint=endpoint,
                inference=inference,
                variant=variant,
                chances=text,
                at=platform(at),
            )
        )
    elif not row.variant:
        # The outcome came first.
        connection.execute(sa.update(ASSIGNED).where(*where).values(variant=variant, chances=text))
        _reward(found, variant, chances, row.value)


def _seen(connection: sa.Connection, found: list[Learner], place: float) -> bool:
    """Whether a user was there before, for those experiments that tell users apart."""
    seen = False
    for item in found:
        if item.kind != EXPERIMENT:
            continue
        where = (SEEN_USERS.c.uid == item.uid, SEEN_USERS.c.place == place)
        if connection.execute(sa.select(SEEN_USERS.c.uid).where(*where)).first() is not None:
            seen = True
        else:
            connection.execute(sa.insert(SEEN_USERS).values(uid=item.uid, place=place))
    return seen


def _where(region: str, endpoint: str, inference: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        ASSIGNED.c.region == region,
        ASSIGNED.c.endpoint == endpoint,
        ASSIGNED.c.inference == inference,
    )


def record_outcomes(
    database: Database, region: str, endpoint: str, outcomes: list[tuple[str, float]], now: float
) -> tuple[int, int]:
    """Take outcomes by inference id, in one transaction.

    Returns:
        How many were new, and how many were there already, whose first value stays.
    """

    def work(connection: sa.Connection) -> tuple[int, int]:
        found = learners(connection, region, endpoint)
        new = 0
        for inference, value in outcomes:
            where = _where(region, endpoint, inference)
            row = connection.execute(sa.select(ASSIGNED).where(*where)).one_or_none()
            if row is not None and row.value is not None:
                continue
            new += 1
            if row is None:
                connection.execute(
                    sa.insert(ASSIGNED).values(
                        region=region,
                        endpoint=endpoint,
                        inference=inference,
                        variant="",
                        at=now,
                        value=value,
                    )
                )
                continue
            connection.execute(sa.update(ASSIGNED).where(*where).values(value=value))
            chances = None if row.chances is None else orjson.loads(row.chances)
            _reward(found, row.variant, chances, value)
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
            for row in rows:
                where = _where(region, endpoint, row.inference)
                connection.execute(sa.update(ASSIGNED).where(*where).values(value=default))
                chances = None if row.chances is None else orjson.loads(row.chances)
                _reward(found, row.variant, chances, default)
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
