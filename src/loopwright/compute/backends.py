"""Several backends of one machine as one: a unit's program says where it runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

from loopwright.compute.container import ContainerBackend
from loopwright.compute.folder import unit_folder
from loopwright.compute.process import ProcessBackend
from loopwright.compute.shims import ShimBackend
from loopwright.kernel.records import Observation
from loopwright.kernel.units import Capacity, Program


class Backends:
    """Programs with the member `container` go to the container backend, all others to processes.

    Args:
        home: Loopwright's home folder: what a unit is, is read there when only its id is given.
        processes: Also the one that says what the machine has.
        containers: Of the same machine and home.
    """

    def __init__(self, home: Path, processes: ProcessBackend, containers: ContainerBackend) -> None:
        self._home = home
        self._processes = processes
        self._containers = containers

    def capacity(self) -> Capacity:
        """What units may occupy together, however they run."""
        return self._processes.capacity()

    def start(self, unit_id: str, program: Program) -> None:
        """Start the unit unless it was started before."""
        self._by_program(program).start(unit_id, program)

    def observe(self, unit_id: str, program: Program) -> Observation | None:
        """What is known of the unit."""
        return self._by_program(program).observe(unit_id, program)

    def stop(self, unit_id: str, grace_s: float, notice: str = "") -> None:
        """SIGTERM now, SIGKILL after `grace_s` seconds."""
        self._by_id(unit_id).stop(unit_id, grace_s, notice)

    def end(self, units: Mapping[str, Program]) -> list[str]:
        """End units at once and wait for it; the ids of those that live on all the same."""
        boxed = {unit_id: program for unit_id, program in units.items() if "container" in program}
        others = {unit_id: units[unit_id] for unit_id in units if unit_id not in boxed}
        return [*self._processes.end(others), *self._containers.end(boxed)]

    def discard(self, unit_id: str) -> None:
        """Remove what the unit left behind, its logs excepted."""
        self._by_id(unit_id).discard(unit_id)

    def call_before_stop(self, function: Callable[[str], None]) -> None:
        """Have this called once with the id of a running unit before it is told to end."""
        self._processes.before_stop = self._containers.before_stop = function

    def warm_up(self) -> None:
        """Make the first job quick."""
        self._processes.launcher.warm_up()

    def close(self) -> None:
        """Stop preparing; units run on."""
        self._containers.close()
        self._processes.close()

    def _by_program(self, program: Program) -> ShimBackend:
        return self._containers if program.get("container") else self._processes

    def _by_id(self, unit_id: str) -> ShimBackend:
        # Before it is laid out a unit is nothing but a folder, the same for both.
        inside = self._containers.holds(unit_folder(self._home, unit_id))
        return self._containers if inside else self._processes
