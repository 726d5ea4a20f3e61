"""Weights and instance counts of a serving endpoint, changed in place.

One function serves `UpdateEndpointWeightsAndCapacities` and Application Auto Scaling, so that a
change by either meets the same rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.contract.instances import check_count
from loopwright.hosting.shown import WITHDRAWN
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.wire.errors import validation
from loopwright.wire.near import did_you_mean


@dataclass(frozen=True)
class Change:
    """What a variant shall have; None leaves it as it is."""

    weight: float | None = None
    count: int | None = None


def in_service(record: Record) -> None:
    """Refuse to change an endpoint that is not in service.

    Raises:
        ApiError: `ValidationException`, with the state that it is in.
    """
    state = record.status["EndpointStatus"]
    if record.status.get(DELETING) or state != "InService":
        out = "wait until it is InService"
        if state == "Failed":
            out = "delete it and create it again"
        raise validation(f"Cannot update endpoint {record.arn}: it is {state}; {out}.")


def with_changes(record: Record, changes: Mapping[str, Change]) -> dict[str, Any]:
    """The status of an endpoint whose variants, by name, shall have these weights and counts.

    Raises:
        ApiError: it is not in service, has no such variant, or no weight would be above 0.
    """
    in_service(record)
    fleet = dict(record.status["Fleet"])
    names = {variant["name"] for variant in fleet["variants"]}
    for name in changes:
        if name not in names:
            raise validation(
                f"Endpoint {record.name} has no variant {name!r}; it has "
                f"{', '.join(sorted(names))}.{did_you_mean(name, names)}"
            )
    fleet["variants"] = [
        _changed(variant, changes.get(variant["name"], Change())) for variant in fleet["variants"]
    ]
    if sum(variant["weight"] for variant in fleet["variants"]) <= 0:
        raise validation("The sum of the variants' weights must be above 0.")
    before = {variant["name"]: variant["count"] for variant in record.status["Fleet"]["variants"]}
    # What an earlier change failed of says nothing of this one.
    kept = {name: value for name, value in record.status.items() if name != "FailureReason"}
    given = {name for name, change in changes.items() if change.weight is not None}
    kept[WITHDRAWN] = [name for name in record.status.get(WITHDRAWN, ()) if name not in given]
    return {**kept, "EndpointStatus": "Updating", "Fleet": fleet, "Before": before}


def _changed(variant: Mapping[str, Any], change: Change) -> dict[str, Any]:
    changed = dict(variant)
    check_count(f"Variant {variant['name']}", change.count or 0)
    if change.weight is not None:
        changed["weight"] = change.weight
    if change.count is not None:
        changed["count"] = change.count
    return changed
