"""What is kept of a resource: the validated request, verbatim, and a status document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One resource.

    Attributes:
        kind: Name of its `Kind`, such as `TrainingJob`.
        name: Unique among the kind's records of a region.
        uid: Never reused, so that a deleted and recreated name is another thing.
        spec: The request that created it, after validation, untouched.
        status: What has become of it, in the words of the service's Describe shape.
        created, modified: Platform seconds since the epoch.
        owner: The `uid` of the record that asked for this one, or None.
        revision: Grows with every change; a change based on an older one is refused.
    """

    region: str
    kind: str
    name: str
    uid: str
    arn: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    created: float
    modified: float
    owner: str | None = None
    revision: int = 0

    @property
    def key(self) -> str:
        """`kind/name/uid`: the stem of the ids of its units, calls and documents."""
        return f"{self.kind}/{self.name}/{self.uid}"

    def unit_id(self, attempt: int = 0, rank: int = 0) -> str:
        """The deterministic id of a unit: `kind/name/uid#attempt.rank`."""
        return f"{self.key}#{attempt}.{rank}"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a record's history."""

    at: float
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of a unit.

    Attributes:
        state: `queued` (waits for capacity), `placed` (has it, not started yet), `preparing`
            (inputs are being laid out), `running`, `exited`, or `lost` (its shim died without
            a word; the unit's processes died with it).
        exit_code: Of an exited unit; 128 + n for signal n.
        message: Why it waits, or why preparing failed; the last words of its error.
        placed, started, ended: Platform seconds, or None.
        ready: Whether a serving unit answered its health check.
        address: Where a serving unit listens: a socket path relative to the home folder.
        metrics: Last value by metric name, with its time: `{"name": [value, at]}`. A value that
            was no number is None.
        curve: The objective of a tuning trial, `[step, value]` ascending in step, thinned.
        numbered: Whether the steps of `curve` are those that its log lines name; else they count
            the reports from 1.
        stopping: Whether a stop was asked for.
        interruption: Why its capacity was taken back, if it was.
        signalled: Of a unit that is over: whether the stop reached it while it ran.
        cut: Of one that the stop reached: whether it used up its grace, and was killed.
        told: Of one that is over: what it left to be told, whether it failed or not.
    """

    state: str
    exit_code: int | None = None
    message: str = ""
    placed: float | None = None
    started: float | None = None
    ended: float | None = None
    ready: bool = False
    address: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: Sequence[Sequence[float]] = ()
    numbered: bool = False
    stopping: bool = False
    interruption: str = ""
    signalled: bool = False
    cut: bool = False
    told: str = ""

    @property
    def over(self) -> bool:
        """Whether the unit will never run again."""
        return self.state in ("exited", "lost")
