"""The instances of a fleet, as units: which there should be, which answer, which failed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.hosting.fleet import Fleet, instance_id, members
from loopwright.kernel.actions import Action, Stop, Wake
from loopwright.kernel.engine import View
from loopwright.kernel.records import Observation, Record

STOP_GRACE_S: Final = 30.0
STARTS_MAX: Final = 3
BACKOFF_S_MAX: Final = 60.0


@dataclass(frozen=True)
class Instance:
    """One instance of a fleet: its unit, and how often it was started again."""

    fleet: Fleet
    variant: Mapping[str, Any]
    index: int
    restarts: int
    unit_id: str
    unit: Observation | None

    @property
    def ready(self) -> bool:
        """Whether it answers, and will go on to."""
        unit = self.unit
        return unit is not None and unit.state == "running" and unit.ready and not unit.stopping

    @property
    def name(self) -> str:
        """Of its log stream."""
        return f"i-{self.fleet['generation']}{self.index:03d}{self.restarts:03d}"


def instances(record: Record, view: View, fleet: Fleet, part: float = 1.0) -> list[Instance]:
    """The instances of a part of a fleet, 0 to 1; of each variant rounded up."""
    restarts = record.status.get("Restarts", {})
    found = []
    for variant in members(fleet):
        for index in range(math.ceil(variant["count"] * part - 1e-9)):
            count = restarts.get(_slot(fleet, variant["name"], index), 0)
            unit_id = instance_id(record, fleet, variant["name"], index, count)
            unit = view.units.get(unit_id)
            found.append(Instance(fleet, variant, index, count, unit_id, unit))
    return found


def _slot(fleet: Fleet, variant: str, index: int) -> str:
    return f"{fleet['generation']}.{variant}.{index}"


def restarts(
    record: Record, wanted: Iterable[Instance], now: float, actions: list[Action]
) -> dict[str, int]:
    """Count up the instances that ended, so that the next pass starts them under a new id.

    One that was asked to end, by scaling in or a rollback, comes back at once; one that failed
    waits longer every time.
    """
    counts = dict(record.status.get("Restarts", {}))
    for item in wanted:
        if item.unit is None or not item.unit.over:
            continue
        at_once = item.restarts == 0 or item.unit.stopping
        wait_s = 0.0 if at_once else min(2.0**item.restarts, BACKOFF_S_MAX)
        ready_at = (item.unit.ended or now) + wait_s
        if now >= ready_at:
            counts[_slot(item.fleet, item.variant["name"], item.index)] = item.restarts + 1
        else:
            actions.append(Wake(ready_at))
    return counts


def failure(wanted: Iterable[Instance], now: float) -> str | None:
    """Why instances that are starting will not come up, or None."""
    for item in wanted:
        if item.unit is None or item.unit.stopping:
            continue
        name = item.variant["name"]
        head = (
            f"The primary container for production variant {name} did not pass the ping health "
            "check. Please check CloudWatch logs for this endpoint."
        )
        limit = item.variant.get("download_s")
        placed = item.unit.placed
        preparing = item.unit.state in ("placed", "preparing")
        if limit is not None and preparing and placed is not None and now > placed + limit:
            return (
                f"The model data of production variant {name} was not there within {limit} s "
                "(ModelDataDownloadTimeoutInSeconds)."
            )
        if item.unit.over and item.unit.started is None:
            return item.unit.message or head
        if item.unit.over and item.unit.state != "lost" and item.restarts + 1 >= STARTS_MAX:
            return f"{head} {item.unit.message}".strip()
        started = item.unit.started
        if started is not None and not item.ready and now > started + item.variant["start_s"]:
            return f"{head} It did not answer within {item.variant['start_s']:g} s."
    return None


def stop_all_but(view: View, kept: set[str]) -> list[Action]:
    """Have all other units end; each finishes the requests that it has."""
    return [
        Stop(unit_id, STOP_GRACE_S)
        for unit_id, unit in view.units.items()
        if unit_id not in kept and not unit.over and not unit.stopping
    ]
