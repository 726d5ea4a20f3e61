"""What tables of planners share: records, views, and actions in short words."""

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.contract.instances import Machine
from loopwright.kernel.actions import (
    Action,
    Call,
    CreateChild,
    DropCall,
    Rest,
    SetStatus,
    Start,
    Stop,
    UpdateChild,
    Wake,
)
from loopwright.kernel.engine import View
from loopwright.kernel.records import Observation, Record

MACHINE = Machine(8.0, 2**34)
BORN = 1000.0


def record(
    kind: str, spec: Mapping[str, Any], status: Mapping[str, Any], created: float = BORN
) -> Record:
    """A record `j` of this kind."""
    return Record("us-east-1", kind, "j", "u", f"arn:{kind}/j", spec, status, created, created)


def unit(rank: int, seen: Observation, attempt: int = 0, kind: str = "TrainingJob") -> View:
    """A view of one unit of the record."""
    return View(units={f"{kind}/j/u#{attempt}.{rank}": seen})


def in_words(actions: Sequence[Action]) -> list[str]:
    """Actions as short words: what they are and what they are about."""
    found = []
    for action in actions:
        match action:
            case SetStatus(changes, _):
                shown = [f"{name}={value}" for name, value in changes.items() if _short(value)]
                found.append(" ".join(["set", *sorted(shown)]))
            case Start(unit_id, _, _):
                found.append(f"start {unit_id.partition('#')[2]}")
            case Stop(unit_id, grace_s, interruption):
                why = f" because {interruption}" if interruption else ""
                found.append(f"stop {unit_id.partition('#')[2]} in {grace_s:g}{why}")
            case Call(function, key, _):
                found.append(f"call {function} {key.rpartition('/')[2]}")
            case Wake(at):
                found.append(f"wake {at:g}")
            case Rest():
                found.append("rest")
            case CreateChild(kind, name, _):
                found.append(f"create {kind} {name}")
            case UpdateChild(_, name, changes, _):
                found.append(f"update {name} {' '.join(sorted(changes))}")
            case DropCall(key):
                found.append(f"drop {key.rpartition('/')[2]}")
            case _:
                found.append(type(action).__name__)
    return found


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and len(str(value)) <= 60
