"""The engine's passes: no news is lost that comes while one is computed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.kernel.actions import Action, Call, Rest, SetStatus, Wake
from loopwright.kernel.clock import VirtualClock
from loopwright.kernel.engine import REST_S, Engine, View
from loopwright.kernel.kinds import Kind, Kinds
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store
from loopwright.kernel.tables import CALLS, RECORDS

MISSING = ("ResourceNotFound", "There is no {name}.")


def _record(now: float) -> Record:
    return Record("r", "Thing", "t", "u", "arn", {}, {"S": "Live"}, now, now)


class World:
    """An engine with one record, whose planner calls a function, rests, and uses its result."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.store = Store(self.database)
        self.store.create_tables()
        self.store.reset()
        self.clock = VirtualClock(1000.0)
        self.meanwhile: Callable[[], None] = lambda: None
        kind = Kind("Thing", "thing", state="S", planner=self._plan, missing=MISSING)
        kinds = Kinds([kind], "123456789012")
        self.engine = Engine(
            self.store, kinds, self.clock, {"double": lambda given: 2 * given["n"]}
        )
        record = _record(1000.0)
        self.store.create(record, state="Live", tags={}, event="", due=1000.0)
        self.uid = record.uid

    def _plan(self, record: Record, view: View, now: float) -> Sequence[Action]:
        self.meanwhile()
        if "k" not in view.calls:
            return [Call("double", "k", {"n": 4})]
        result = view.calls["k"]
        return [Rest()] if result is None else [SetStatus({"Value": result["value"]}), Rest()]

    def run_call(self) -> None:
        """What the pool's thread does."""
        with self.store.reading() as connection:
            row = connection.execute(sa.select(CALLS)).one()
        self.engine.run_call(row)

    @property
    def due(self) -> float | None:
        with self.store.reading() as connection:
            return connection.execute(sa.select(RECORDS.c.due)).scalar_one()


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    sqlite = f"sqlite:///{tmp_path / 'test.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres")
    made = World(url)
    request.addfinalizer(made.database.close)
    return made


def test_a_result_that_comes_during_a_pass_is_not_slept_over(world: World) -> None:
    world.engine.plan_due()
    world.clock.advance(3.0)
    # After the pass has read its view, before it is applied.
    world.meanwhile = world.run_call
    world.engine.plan_due()
    assert world.due is not None and world.due <= world.clock.now()
    world.meanwhile = lambda: None
    world.engine.plan_due()
    record = world.store.by_uid(world.uid)
    assert record is not None and record.status["Value"] == 8
    assert world.due == world.clock.now() + REST_S


@pytest.mark.parametrize(("woken_at", "due"), [(1100.0, 1100.0), (9000.0, 1003.0 + REST_S)])
def test_a_wake_up_during_a_pass_is_kept_if_it_is_earlier(
    world: World, woken_at: float, due: float
) -> None:
    world.engine.plan_due()
    world.clock.advance(3.0)
    world.meanwhile = lambda: world.store.wake(world.uid, woken_at)
    world.engine.plan_due()
    assert world.due == due


def test_a_wake_up_before_a_pass_is_done_with_it(world: World) -> None:
    world.engine.plan_due()
    world.store.wake(world.uid, 1000.0)
    world.engine.plan_due()
    assert world.due == 1000.0 + REST_S


def test_a_finished_record_is_planned_once_more_when_it_was_woken(tmp_path: Path) -> None:
    made: list[float] = []
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    store = Store(database)
    store.create_tables()
    clock = VirtualClock(5.0)

    def plan(record: Record, view: View, now: float) -> Sequence[Action]:
        made.append(now)
        if len(made) == 1:
            store.wake(record.uid, now)
        return [SetStatus({"S": "Done"}), Wake(now + 50.0)] if len(made) == 1 else []

    kind = Kind(
        "Thing", "thing", state="S", finished=frozenset({"Done"}), planner=plan, missing=MISSING
    )
    engine = Engine(store, Kinds([kind], "123456789012"), clock, {})
    store.create(_record(5.0), state="Live", tags={}, event="", due=5.0)
    engine.plan_due()
    engine.plan_due()
    engine.plan_due()
    assert made == [5.0, 5.0]
    assert store.next_due() is None
    database.close()
