"""The metrics of a unit, read from the file that its shim appends to.

What was read is remembered per unit, so that watching a job of many reports costs what is new.
The memory is only a shortcut: the same file gives the same answer when it is read from the start.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute.folder import UnitFolder
from loopwright.kernel.units import Program

DENSE: Final = 32
GROWTH: Final = 1.05


@dataclass
class Points:
    """What was seen so far of one unit.

    Attributes:
        read: Bytes of whole lines that were taken.
        metrics: Last value (None: no number) and time by name.
        curve: The objective as `[step, value]`, thinned.
        reports: How often the objective was reported.
        numbered: Whether every report named its step, never a lower one than before.
    """

    rungs: frozenset[int]
    objective: str
    read: int = 0
    metrics: dict[str, list[Any]] = field(default_factory=dict)
    reports: int = 0
    numbered: bool = True
    named: list[list[float]] = field(default_factory=list)
    counted: list[list[float]] = field(default_factory=list)

    @property
    def curve(self) -> list[list[float]]:
        return self.named if self.numbered else self.counted

    def take(self, line: bytes) -> None:
        """One line: name, value, time and, of the objective, the step if its log line named one."""
        name, value, at, *step = orjson.loads(line)
        self.metrics[name] = [value, at]
        if name != self.objective:
            return
        self.reports += 1
        number = step[0] if step else None
        last = self.named[-1][0] if self.named else -1
        if number is None or number < last:
            self.numbered = False
        if value is None or not math.isfinite(value):
            return
        self._add(self.counted, self.reports, value)
        if self.numbered and number is not None:
            self._add(self.named, number, value)

    def _add(self, curve: list[list[float]], step: int, value: float) -> None:
        """Keep a report: the latest always, earlier ones the sparser the later they are."""
        if curve and curve[-1][0] == step:
            curve[-1][1] = value
            return
        if len(curve) > 1 and not self._kept(int(curve[-2][0]), int(curve[-1][0])):
            curve.pop()
        curve.append([step, value])

    def _kept(self, before: int, step: int) -> bool:
        """Whether it is the first report at or after a rung, or far enough from the one before."""
        if step <= DENSE or step >= math.ceil(before * GROWTH):
            return True
        return any(before < rung <= step for rung in self.rungs)


class PointReader:
    """Reads units' metrics; one per backend."""

    def __init__(self) -> None:
        self._known: dict[str, Points] = {}

    def read(self, folder: UnitFolder, program: Program) -> Points:
        """Everything that the shim has written down so far."""
        key = folder.path.name
        points = self._known.get(key)
        if points is None:
            objective = program.get("objective") or {}
            points = Points(frozenset(objective.get("rungs", ())), objective.get("metric", ""))
            self._known[key] = points
        try:
            with (folder.path / "metrics.jsonl").open("rb") as stream:
                stream.seek(points.read)
                fresh = stream.read()
        except FileNotFoundError:
            return points
        whole = fresh[: fresh.rfind(b"\n") + 1]
        for line in whole.splitlines():
            points.take(line)
        points.read += len(whole)
        return points

    def forget(self, folder: UnitFolder) -> None:
        """The unit's folder goes."""
        self._known.pop(folder.path.name, None)


class PointFiles:
    """Points of units' files, `metrics.jsonl` and `usage.jsonl`, read from where one came to.

    An endpoint's instance writes for months: to read its file from the start for each new line
    would cost more every day.
    """

    def __init__(self) -> None:
        self._ends: dict[Path, tuple[int, int]] = {}

    def read(self, path: Path, start: int) -> list[tuple[str, float | None, float]]:
        """(name, value, seconds) of every whole line after the first `start` ones.

        A value that was no number is None.
        """
        lines, at = self._ends.get(path, (0, 0))
        if lines != start:
            lines, at = 0, 0
        try:
            with path.open("rb") as stream:
                stream.seek(at)
                content = stream.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1].splitlines()
        self._ends[path] = (lines + len(whole), at + content.rfind(b"\n") + 1)
        return [tuple(orjson.loads(line)[:3]) for line in whole[start - lines :]]

    def keep(self, paths: Iterable[Path]) -> None:
        """Forget all other files."""
        self._ends = {path: self._ends[path] for path in paths if path in self._ends}
