"""A backend without processes: a world that a test's clock moves, and that outlives crashes.

It keeps its own ledger of starts, so that a unit started twice is seen however the control plane
came to do it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from loopwright.kernel.clock import Clock
from loopwright.kernel.records import Observation
from loopwright.kernel.units import Capacity, Program


@dataclass(frozen=True)
class Script:
    """How a simulated unit goes: how long it runs (None: until stopped), and how it ends.

    Attributes:
        reports: Name and values of a metric that it reports, one each `report_s`, as its steps
            `first_step` and so on.
    """

    duration_s: float | None = 10.0
    exit_code: int = 0
    message: str = ""
    stop_s: float = 1.0
    reports: tuple[str, tuple[float, ...]] | None = None
    report_s: float = 1.0
    first_step: int = 1


@dataclass
class _Unit:
    script: Script
    started: float
    stop_at: float | None = None
    killed: bool = False


@dataclass
class SimulatedBackend:
    """Units as entries of a table.

    Attributes:
        clock: Moved by the test.
        total: What units may occupy together.
        script_of: How a unit of this id and program goes.
        starts: Every start that really happened, in order: the ledger.
    """

    clock: Clock
    total: Capacity = field(default_factory=lambda: Capacity(2.0, 16 * 2**30))
    script_of: Callable[[str, Program], Script] = lambda unit_id, program: Script()
    starts: list[str] = field(default_factory=list)
    cpus_peak: float = 0.0
    _units: dict[str, _Unit] = field(default_factory=dict)
    _cpus: dict[str, float] = field(default_factory=dict)

    def capacity(self) -> Capacity:
        return self.total

    def start(self, unit_id: str, program: Program) -> None:
        if unit_id in self._units:
            return
        self.starts.append(unit_id)
        self._units[unit_id] = _Unit(self.script_of(unit_id, program), self.clock.now())
        self._cpus[unit_id] = float(program.get("cpus", 0))
        running = sum(self._cpus[name] for name in self._units if not self._seen(name).over)
        self.cpus_peak = max(self.cpus_peak, running)

    def observe(self, unit_id: str, program: Program) -> Observation | None:
        if unit_id not in self._units:
            return None
        seen = self._seen(unit_id)
        if program.get("serves") and seen.state == "running":
            return Observation("running", started=seen.started, ready=True, address=unit_id)
        return seen

    def stop(self, unit_id: str, grace_s: float, notice: str = "") -> None:
        unit = self._units.get(unit_id)
        if unit is not None and unit.stop_at is None and not self._seen(unit_id).over:
            unit.stop_at = self.clock.now() + min(grace_s, unit.script.stop_s)

    def discard(self, unit_id: str) -> None:
        # The ledger stays: a unit that is started again after this is a fault to be seen.
        self._cpus.pop(unit_id, None)
        self._cpus.setdefault(unit_id, 0.0)

    def kill_shim(self, unit_id: str) -> None:
        """The unit's shim and processes are gone without a word."""
        if unit_id in self._units and not self._seen(unit_id).over:
            self._units[unit_id].killed = True

    def running(self) -> list[str]:
        """Ids of units that are not over."""
        return [name for name in self._units if not self._seen(name).over]

    def _seen(self, unit_id: str) -> Observation:
        unit = self._units[unit_id]
        seen = self._state(unit)
        if unit.script.reports is None:
            return seen
        name, values = unit.script.reports
        until = seen.ended if seen.ended is not None else self.clock.now()
        count = min(len(values), int((until - unit.started) / unit.script.report_s))
        curve = [[unit.script.first_step + k, values[k]] for k in range(count)]
        metrics = {name: [values[count - 1], until]} if count else {}
        return replace(seen, curve=curve, numbered=True, metrics=metrics)

    def _state(self, unit: _Unit) -> Observation:
        now = self.clock.now()
        if unit.killed:
            return Observation("lost", started=unit.started)
        end = None
        if unit.script.duration_s is not None:
            end = unit.started + unit.script.duration_s
        if unit.stop_at is not None and (end is None or unit.stop_at < end):
            if now >= unit.stop_at:
                return Observation(
                    "exited", 143, started=unit.started, ended=unit.stop_at, signalled=True
                )
        elif end is not None and now >= end:
            return Observation(
                "exited", unit.script.exit_code, unit.script.message,
                started=unit.started, ended=end,
            )  # fmt: skip
        return Observation("running", started=unit.started)
