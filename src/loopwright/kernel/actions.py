"""The closed set of things a planner may ask for. All actions of one pass are one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Merge `changes` into the status document; a value of None removes its member."""

    changes: Mapping[str, Any]
    event: str = ""


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Create a record owned by this one; a name that this record already owns is left alone."""

    kind: str
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateChild:
    """Merge `changes` into the status of a record that this one owns, unless that is finished."""

    kind: str
    name: str
    changes: Mapping[str, Any]
    event: str = ""


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Ask for the deletion of a record that this one owns."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Start:
    """Have a unit run; starting the same id twice starts it once.

    Args:
        unit_id: From `Record.unit_id`.
        program: What to run and what it needs; see `kernel.units.Program`.
        gang: Units of one gang get their capacity all at once or not at all.
    """

    unit_id: str
    program: Mapping[str, Any]
    gang: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask a unit to end: SIGTERM, then SIGKILL after `grace_s`. A queued unit never starts.

    Args:
        interruption: Why its capacity is taken back, which the unit finds as a notice; empty when
            it is simply to end.
    """

    unit_id: str
    grace_s: float = 120.0
    interruption: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Make a document visible to other processes under a key; None withdraws it."""

    key: str
    document: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Call:
    """Slow, repeatable work with a durable result, which the view shows under `key` once done."""

    function: str
    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DropCall:
    """The result of a call was used in this pass: forget it, so that results do not pile up."""

    key: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until something tells; the timer looks again only after `REST_S`."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Plan again at this time at the latest (platform seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class Forget:
    """The record's deletion is complete: remove it with its units, calls and documents."""


Action = (
    SetStatus
    | CreateChild
    | UpdateChild
    | DeleteChild
    | Start
    | Stop
    | Publish
    | Call
    | DropCall
    | Rest
    | Wake
    | Forget
)
