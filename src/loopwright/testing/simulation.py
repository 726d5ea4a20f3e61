"""A whole control plane on a virtual clock, which can be crashed before or after any effect.

The store is a real database; the backend is simulated and, like real units, outlives the crash.
An effect is a transaction, a request to the backend, or the run of a slow function. A crash
drops every object of the control plane and makes new ones on the same database.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa

from loopwright.compute.simulated import SimulatedBackend
from loopwright.database import Database
from loopwright.kernel.clock import VirtualClock
from loopwright.kernel.engine import Engine, Taken
from loopwright.kernel.kinds import Kind, Kinds, Lookup
from loopwright.kernel.records import Observation, Record
from loopwright.kernel.store import Store
from loopwright.kernel.units import Capacity, Program, Supervisor
from loopwright.kernel.verbs import Context, generic_operations
from loopwright.wire.errors import ApiError
from loopwright.wire.services import service

T = TypeVar("T")
REGION = "us-east-1"


class Crash(BaseException):
    """The control plane was killed. No Exception, so that nothing in it can catch it."""


class Effects:
    """Counts effects, and crashes at those that were chosen.

    Args:
        crash_before, crash_after: Numbers of effects, from 0.
        chance: Probability of a crash at any effect, half before and half after it.
        seed: Of that chance.
    """

    def __init__(
        self,
        crash_before: frozenset[int] = frozenset(),
        crash_after: frozenset[int] = frozenset(),
        chance: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.count = 0
        self.crashes = 0
        self._before = crash_before
        self._after = crash_after
        self._chance = chance
        self._random = random.Random(seed)

    def run(self, effect: Callable[[], T]) -> T:
        """Do one effect, or crash."""
        number = self.count
        self.count += 1
        if number in self._before or self._random.random() < self._chance / 2:
            self._crash(number, "before")
        result = effect()
        if number in self._after or self._random.random() < self._chance / 2:
            self._crash(number, "after")
        return result

    def _crash(self, number: int, when: str) -> None:
        self.crashes += 1
        raise Crash(f"{when} effect {number}")


@cache
def _dialect() -> sa.Dialect:
    """One dialect for all databases: statements are compiled for a dialect."""
    engine = sa.create_engine("sqlite://")
    with engine.connect():
        return engine.dialect


class _CrashingDatabase(Database):
    compiled: ClassVar[dict[Any, Any]] = {}
    """Compiled statements, kept over crashes: a third of a simulation's time was compiling anew."""

    def __init__(self, url: str, effects: Effects) -> None:
        super().__init__(url, synchronous="OFF")
        same = sa.Engine(self.engine.pool, _dialect(), self.engine.url)
        self.engine = same.execution_options(compiled_cache=self.compiled)
        self.effects = effects

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        return self.effects.run(lambda: super(_CrashingDatabase, self).write(work))


class _CrashingBackend:
    def __init__(self, backend: SimulatedBackend, effects: Effects) -> None:
        self._backend = backend
        self._effects = effects

    def capacity(self) -> Capacity:
        return self._backend.capacity()

    def start(self, unit_id: str, program: Program) -> None:
        self._effects.run(lambda: self._backend.start(unit_id, program))

    def observe(self, unit_id: str, program: Program) -> Observation | None:
        return self._backend.observe(unit_id, program)

    def stop(self, unit_id: str, grace_s: float, notice: str = "") -> None:
        self._effects.run(lambda: self._backend.stop(unit_id, grace_s, notice))

    def discard(self, unit_id: str) -> None:
        self._effects.run(lambda: self._backend.discard(unit_id))


class _Inline:
    """A pool that runs what it is given at once."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> None:
        work(*arguments)


class SimulatedWorld:
    """A control plane that is made anew after each crash.

    Args:
        folder: For the database; a memory disk is quickest.
        kinds: Made by the rooms.
        collected: Called by the function `collect`, with its arguments; returns its value.
        more_operations: Operations of the rooms that are no generic verbs.
        more_functions: Functions of the rooms' calls, made anew after each crash.
        more_rounds: What a round of the control plane does first, made anew after each crash.

    Attributes:
        taken: Whether gateways go by what is published, see `engine.Taken`.
    """

    def __init__(
        self,
        folder: Path,
        kinds: list[Kind],
        effects: Effects,
        *,
        collected: Callable[[Mapping[str, Any]], Any],
        more_operations: Mapping[str, Any] | None = None,
        more_functions: Callable[[Store], Mapping[str, Any]] = lambda store: {},
        more_rounds: Callable[[Store], Callable[[], None]] = lambda store: lambda: None,
    ) -> None:
        self.clock = VirtualClock()
        self.backend = SimulatedBackend(self.clock)
        self.effects = effects
        self.taken: Taken = lambda key, version: True
        self._url = f"sqlite:///{folder / 'world.db'}"
        self._kinds = Kinds(kinds, account="123456789012")
        self._collected = collected
        self._more_functions = more_functions
        self._more_rounds = more_rounds
        self._operations = {
            **generic_operations(self._kinds, service("sagemaker")),
            **(more_operations or {}),
        }
        self.store: Store
        self._boot()
        with self.undisturbed():
            self.store.create_tables()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Without crashes and without counting: for the test's own steps."""
        kept, self.effects = self.effects, Effects()
        self._rewire(self.effects)
        try:
            yield
        finally:
            self.effects = kept
            self._rewire(kept)

    def _rewire(self, effects: Effects) -> None:
        database = self.store.database
        assert isinstance(database, _CrashingDatabase)
        database.effects = effects
        self.crashing_backend._effects = effects

    def _boot(self) -> None:
        """The control plane from nothing but the database and the backend."""
        if hasattr(self, "store"):
            self.store.database.close()
        self.store = Store(_CrashingDatabase(self._url, self.effects))
        self.crashing_backend = _CrashingBackend(self.backend, self.effects)
        functions = {"collect": self._collect, **self._more_functions(self.store)}
        self.engine = Engine(
            self.store, self._kinds, self.clock, functions, lambda *asked: self.taken(*asked)
        )
        self.supervisor = Supervisor(
            self.store, self.crashing_backend, self.clock, self.engine.wake
        )
        self._first = self._more_rounds(self.store)

    def _collect(self, arguments: Mapping[str, Any]) -> Any:
        return self.effects.run(lambda: self._collected(arguments))

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """An API call by a client that asks again when the connection breaks.

        Raises:
            ApiError: the call is refused; of a create that is repeated after a crash, the refusal
                that the first one already took effect is an answer.
        """
        repeated = False
        while True:
            try:
                return dict(self._operations[operation](self._context(), params))
            except Crash:
                self._boot()
                repeated = True
            except ApiError as error:
                if repeated and error.code in ("ResourceInUse", "ValidationException"):
                    return {"refused": error.code}
                raise

    def _context(self) -> Context:
        return Context(
            region=REGION,
            store=self.store,
            kinds=self._kinds,
            clock=self.clock,
            lookup=Lookup(
                lambda kind, name: self.store.get(REGION, kind, name), lambda uri: True, self._kinds
            ),
            wake=self.engine.wake,
        )

    def step(self, seconds: float = 1.0) -> None:
        """One round of the control plane, and the time after it."""
        try:
            self._first()
            self.supervisor.round()
            self.engine.plan_due()
            self.engine.run_calls(_Inline())  # type: ignore[arg-type]
        except Crash:
            self._boot()
        self.clock.advance(seconds)

    def run_until(self, condition: Callable[[], bool], rounds: int = 400) -> None:
        """Step until a condition holds.

        Raises:
            AssertionError: it does not hold after so many rounds.
        """
        for _ in range(rounds):
            if condition():
                return
            self.step()
        raise AssertionError(f"the condition does not hold after {rounds} rounds")

    def record(self, kind: str, name: str) -> Record | None:
        """A record as it stands."""
        return self.store.get(REGION, kind, name)
