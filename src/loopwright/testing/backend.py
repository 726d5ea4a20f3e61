"""The contract of compute backends.

A test module subclasses `BackendContract` and gives it a fixture `world` with a `BackendWorld`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from loopwright.kernel.records import Observation
from loopwright.kernel.units import Backend, Program


@dataclass
class BackendWorld:
    """A backend, and how a test tells its units what to do.

    Attributes:
        backend: The backend under test.
        program: `program(kind)` for `quick` (exit 0), `fails` (exit 3), `endless`, and
            `unstartable` (its inputs cannot be laid out).
        wait: `wait(condition)` until it holds; the way depends on the backend's clock.
        starts: How often a unit's process really began, by unit id.
    """

    backend: Backend
    program: Callable[[str], Program]
    wait: Callable[[Callable[[], bool]], None]
    starts: Callable[[str], int]

    def seen(self, unit_id: str, program: Program) -> Observation | None:
        return self.backend.observe(unit_id, program)

    def until(self, unit_id: str, program: Program, states: set[str]) -> Observation:
        """The first observation in one of these states."""

        def reached() -> bool:
            found = self.seen(unit_id, program)
            return found is not None and found.state in states

        self.wait(reached)
        found = self.seen(unit_id, program)
        assert found is not None
        return found


class BackendContract:
    """What every backend must do."""

    def test_an_unknown_unit_is_unknown(self, world: BackendWorld) -> None:
        assert world.seen("Thing/a/1#0.0", world.program("quick")) is None
        world.backend.stop("Thing/a/1#0.0", 1.0)
        world.backend.discard("Thing/a/1#0.0")
        assert world.seen("Thing/a/1#0.0", world.program("quick")) is None

    def test_capacity_is_positive(self, world: BackendWorld) -> None:
        capacity = world.backend.capacity()
        assert capacity.cpus > 0
        assert capacity.memory_bytes > 0

    def test_a_unit_runs_and_ends(self, world: BackendWorld) -> None:
        program = world.program("quick")
        world.backend.start("Thing/b/1#0.0", program)
        end = world.until("Thing/b/1#0.0", program, {"exited", "lost"})
        assert (end.state, end.exit_code) == ("exited", 0)
        assert end.started is not None
        assert end.ended is not None
        assert end.started <= end.ended

    def test_an_exit_code_is_told(self, world: BackendWorld) -> None:
        program = world.program("fails")
        world.backend.start("Thing/c/1#0.0", program)
        end = world.until("Thing/c/1#0.0", program, {"exited", "lost"})
        assert (end.state, end.exit_code) == ("exited", 3)

    def test_starting_again_starts_nothing(self, world: BackendWorld) -> None:
        program = world.program("quick")
        threads = [
            threading.Thread(target=world.backend.start, args=("Thing/d/1#0.0", program))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.until("Thing/d/1#0.0", program, {"exited"})
        world.backend.start("Thing/d/1#0.0", program)
        end = world.until("Thing/d/1#0.0", program, {"exited"})
        assert end.exit_code == 0
        assert world.starts("Thing/d/1#0.0") == 1

    def test_a_stop_ends_a_unit(self, world: BackendWorld) -> None:
        program = world.program("endless")
        world.backend.start("Thing/e/1#0.0", program)
        world.until("Thing/e/1#0.0", program, {"running"})
        world.backend.stop("Thing/e/1#0.0", 5.0)
        world.backend.stop("Thing/e/1#0.0", 5.0)
        end = world.until("Thing/e/1#0.0", program, {"exited", "lost"})
        assert end.state == "exited"
        assert end.exit_code != 0

    def test_units_are_apart(self, world: BackendWorld) -> None:
        quick, endless = world.program("quick"), world.program("endless")
        world.backend.start("Thing/f/1#0.0", endless)
        world.backend.start("Thing/f/1#0.1", quick)
        world.until("Thing/f/1#0.1", quick, {"exited"})
        assert world.until("Thing/f/1#0.0", endless, {"running"}).exit_code is None
        world.backend.stop("Thing/f/1#0.0", 1.0)
        world.until("Thing/f/1#0.0", endless, {"exited"})
