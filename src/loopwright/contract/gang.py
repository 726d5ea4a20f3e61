"""The units of one job, seen together: they start together, and one failure ends them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.kernel.actions import Action, Start, Stop
from loopwright.kernel.records import Observation, Record

KILLED: Final = 137
"""Exit code of a unit, or of a rank in it, that signal 9 ended."""


NOTICED: Final = (
    "Connection closed by peer",
    "Connection reset by peer",
    "ncclRemoteError",
)
"""What gloo and NCCL say on a host of which another one has gone."""


def _only_noticed(unit: Observation) -> bool:
    """Whether a unit failed because it lost another one, by its own words."""
    return any(words in unit.message for words in NOTICED)


def _was_killed(unit: Observation) -> bool:
    """Whether something else than the end of its grace killed a unit that is over."""
    return unit.state == "lost" or (unit.exit_code == KILLED and not unit.cut)


@dataclass(frozen=True)
class Gang:
    """Units of one attempt, by rank.

    Attributes:
        ids: Unit ids.
        units: What is known of each; None for one that was never asked for.
    """

    ids: tuple[str, ...]
    units: tuple[Observation | None, ...]

    @property
    def asked(self) -> bool:
        """Whether every unit was asked for."""
        return all(unit is not None for unit in self.units)

    @property
    def seen(self) -> list[Observation]:
        return [unit for unit in self.units if unit is not None]

    @property
    def over(self) -> bool:
        """Whether no unit will run any more."""
        return self.asked and all(unit.over for unit in self.seen)

    @property
    def stage(self) -> str:
        """`waiting`, `preparing`, `running` or `over`, of the unit that is least far."""
        if self.over:
            return "over"
        states = {unit.state for unit in self.seen}
        if "queued" in states or not states:
            return "waiting"
        return "preparing" if states & {"placed", "preparing"} else "running"

    @property
    def waits_for(self) -> str:
        """Why a unit waits for capacity, or nothing."""
        return next((unit.message for unit in self.seen if unit.state == "queued"), "")

    @property
    def started(self) -> float | None:
        times = [unit.started for unit in self.seen if unit.started is not None]
        return min(times) if times else None

    @property
    def ended(self) -> float | None:
        times = [unit.ended for unit in self.seen if unit.ended is not None]
        return max(times) if times else None

    @property
    def failure(self) -> Observation | None:
        """The unit that failed first, or None; one that was killed is the cause of the others.

        Of others the one that only lost its peer comes after them, whichever agent was quicker.

        The others only saw that it was gone, and may have ended before it was noticed: then the
        stop for their sake reached its host too.
        """
        failed = [
            unit
            for unit in self.seen
            if unit.over and (unit.state == "lost" or unit.exit_code != 0)
        ]
        by_words = sorted(
            failed,
            key=lambda unit: (
                unit.signalled and not _was_killed(unit),
                not _was_killed(unit),
                _only_noticed(unit),
                unit.ended or 0.0,
            ),
        )
        return by_words[0] if by_words else None

    @property
    def interruption(self) -> str:
        """Why the units' capacity was taken back before they came to their end, or nothing."""
        return next(
            (
                unit.interruption
                for unit in self.seen
                if unit.interruption
                and unit.over
                and (unit.signalled or unit.state == "lost" or unit.started is None)
            ),
            "",
        )

    @property
    def told(self) -> str:
        """What the units left to be told, of the first one that left anything."""
        return next((unit.told for unit in self.seen if unit.told), "")

    @property
    def seconds(self) -> float:
        """How long the units ran."""
        if self.started is None or self.ended is None:
            return 0.0
        return max(0.0, self.ended - self.started)

    @property
    def metrics(self) -> dict[str, list[Any]]:
        """Last value (None: no number) and time of each metric; of several hosts' the latest."""
        found: dict[str, list[Any]] = {}
        for unit in self.seen:
            for name, point in unit.metrics.items():
                if name not in found or point[1] >= found[name][1]:
                    found[name] = point
        return found

    @property
    def curve(self) -> tuple[list[list[float]], bool]:
        """The objective's reports, of the host that made the most, and whether they name steps."""
        if not self.seen:
            return [], False
        unit = max(self.seen, key=lambda unit: len(unit.curve))
        return [list(report) for report in unit.curve], unit.numbered

    def start(self, programs: Sequence[Mapping[str, Any]]) -> list[Action]:
        """Ask for the units that were not asked for yet."""
        name = self.ids[0].rpartition(".")[0]
        return [
            Start(unit_id, program, gang=name)
            for unit_id, unit, program in zip(self.ids, self.units, programs, strict=True)
            if unit is None
        ]

    def stop(self, grace_s: float, interruption: str = "") -> list[Action]:
        """End the units that are not over."""
        return [
            Stop(unit_id, grace_s, interruption)
            for unit_id, unit in zip(self.ids, self.units, strict=True)
            if unit is not None and not unit.over and not unit.stopping
        ]


def gang_of(record: Record, units: Mapping[str, Observation], attempt: int, count: int) -> Gang:
    """The gang of an attempt."""
    ids = tuple(record.unit_id(attempt, rank) for rank in range(count))
    return Gang(ids, tuple(units.get(unit_id) for unit_id in ids))
