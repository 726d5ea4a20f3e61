"""What happens to an endpoint: instances start, traffic moves to those that answer, old ones end.

An update builds a new fleet beside the old one (`rollout.py`), and an update that fails leaves
the old one in service.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.contract.instances import Machine
from loopwright.hosting.fleet import Fleet, Unbuildable, build, program, retained
from loopwright.hosting.instances import Instance, failure, instances, restarts, stop_all_but
from loopwright.hosting.rollout import (
    Fleets,
    Moment,
    Rollout,
    advance,
    begin,
    fleets_of,
    rollout_of,
    state_of,
)
from loopwright.hosting.shown import (
    WITHDRAWN,
    Part,
    capture_summary,
    pending,
    route,
    route_key,
    variants,
)
from loopwright.kernel.actions import Action, Forget, Publish, SetStatus, Start, Wake
from loopwright.kernel.engine import Planner, View
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record


def endpoint_planner(machine: Machine) -> Planner:
    """The planner of endpoints on this machine."""

    def plan(record: Record, view: View, now: float) -> list[Action]:
        status = record.status
        if status.get(DELETING):
            return _delete(record, view, now)
        if status["EndpointStatus"] == "Failed":
            return [Publish(route_key(record), None), *stop_all_but(view, set())]
        if status.get("Fleet") is None or status.get("Update"):
            return _begin(record, view, now)
        if status.get("Deployment"):
            return _roll(record, view, now, machine)
        return _keep(record, view, now, machine)

    return plan


def _begin(record: Record, view: View, now: float) -> list[Action]:
    """Copy the configuration into a new fleet; the serving one, if any, stays until it is up."""
    status = record.status
    previous = status.get("Fleet")
    update = status.get("Update") or {"config": status["EndpointConfigName"]}
    generation = int(status.get("Generation", 0)) + 1
    try:
        fleet = build(update["config"], generation, view.lookup)
    except Unbuildable as error:
        if previous is None:
            return [SetStatus({"EndpointStatus": "Failed", "FailureReason": str(error)})]
        kept: dict[str, Any] = {"EndpointStatus": "InService", "Update": None}
        return [SetStatus({**kept, "FailureReason": str(error)}, str(error))]
    changes: dict[str, Any] = {
        "Fleet": fleet,
        "Generation": generation,
        "Update": None,
        "FailureReason": None,
        WITHDRAWN: None,
    }
    if previous is not None:
        retained(fleet, previous, update.get("retained", ()))
        changes |= {
            "OldFleet": previous,
            "Deployment": begin(update["deployment"], fleet, now).document(),
            "LastDeploymentConfig": update["deployment"] or None,
        }
    event = f"Starting the instances of {update['config']}"
    return [SetStatus(changes, event), Wake(now)]


def _starts(record: Record, wanted: Sequence[Instance], machine: Machine) -> list[Action]:
    return [
        Start(item.unit_id, program(record, item.variant, machine, item.name))
        for item in wanted
        if item.unit is None
    ]


def _keep(record: Record, view: View, now: float, machine: Machine) -> list[Action]:
    """No update goes on: keep the fleet complete, and come into service when it is."""
    status = record.status
    fleet = status["Fleet"]
    wanted = instances(record, view, fleet)
    actions = _starts(record, wanted, machine)
    settled = status["EndpointStatus"] == "InService"
    failed = None if settled else failure(wanted, now)
    if failed is not None:
        return _failed(record, view, fleet, failed)
    counts = restarts(record, wanted, now, actions)
    part = Part(fleet, 1.0, wanted)
    complete = all(item.ready for item in wanted)
    routed = route(record, [part])
    taken = view.taken(route_key(record), routed)
    # Only once no gateway sends them anything.
    if complete and settled and taken:
        actions += stop_all_but(view, {item.unit_id for item in wanted})
    # An endpoint that is being created answers as one that does not exist, as SageMaker's.
    if complete or status["EndpointStatus"] != "Creating":
        actions.append(Publish(route_key(record), routed))
    changes = {**_variants_of(part), "Restarts": counts}
    event = ""
    if complete and taken and not settled:
        changes |= {
            "EndpointStatus": "InService",
            "EndpointConfigName": fleet["config"],
            "Before": None,
        }
        event = f"In service with {fleet['config']}"
    return [*actions, SetStatus(changes, event), Wake(now + 1.0)]


def _failed(record: Record, view: View, fleet: Fleet, reason: str) -> list[Action]:
    """A first fleet that does not come up fails the endpoint; more instances of one that serves
    are given up."""
    before: Mapping[str, Any] | None = record.status.get("Before")
    if before is None:
        changes = {"EndpointStatus": "Failed", "FailureReason": reason[:1024]}
        return [SetStatus(changes, reason), *stop_all_but(view, set())]
    known = [
        {**variant, "count": before.get(variant["name"], variant["count"])}
        for variant in fleet["variants"]
    ]
    back = {
        "EndpointStatus": "InService",
        "FailureReason": reason[:1024],
        "Fleet": {**fleet, "variants": known},
        "Before": None,
    }
    return [SetStatus(back, f"Kept the earlier instance counts: {reason}")]


def _roll(record: Record, view: View, now: float, machine: Machine) -> list[Action]:
    """One pass of an update."""
    old = rollout_of(record.status["Deployment"])
    fleets = fleets_of(record, view, old)
    wanted = [*fleets.green, *fleets.blue]
    actions = _starts(record, wanted, machine)
    counts = restarts(record, wanted, now, actions)
    taken = view.taken(route_key(record), route(record, _parts(record, old, fleets)))
    new, event = advance(record, view, old, fleets, Moment(now, taken))
    green, blue = _parts(record, new or old, fleets)
    actions.append(Publish(route_key(record), route(record, [green, blue])))
    if taken and old.phase != "provision":
        actions += stop_all_but(view, {item.unit_id for item in wanted})
    if new is None:
        return [*actions, _done(record, old, counts, green, blue), Wake(now)]
    changes = {
        **_variants_of(blue),
        "PendingDeploymentSummary": pending(green, new.started, state_of(new)),
        "Deployment": new.document(),
        "Restarts": counts,
    }
    if new.reason:
        changes |= {"EndpointStatus": _back_state(new, blue, now), "FailureReason": new.reason}
    at_once = new.phase != old.phase or new.at != old.at
    return [*actions, SetStatus(changes, event), Wake(now if at_once else _next_look(new, now))]


def _parts(record: Record, rollout: Rollout, fleets: Fleets) -> tuple[Part, Part]:
    """The new and the old fleet with their shares of the traffic."""
    status, share = record.status, rollout.at.share
    return (
        Part(status["Fleet"], share, fleets.green),
        Part(status["OldFleet"], 1.0 - share, fleets.blue),
    )


def _back_state(rollout: Rollout, blue: Part, now: float) -> str:
    """`RollingBack`, or that the old fleet does not come up again; it is tried on and on."""
    failed = failure(blue.instances, now)
    return "RollingBack" if failed is None else "UpdateRollbackFailed"


def _next_look(rollout: Rollout, now: float) -> float:
    """In time for the end of the phase, and often enough to see alarms and instances."""
    wait_s = {"bake": rollout.wait_s, "terminate": rollout.termination_s}.get(rollout.phase)
    look = now + 1.0
    return look if wait_s is None else min(look, max(now, rollout.since + wait_s))


def _done(
    record: Record, rollout: Rollout, counts: Mapping[str, int], green: Part, blue: Part
) -> SetStatus:
    """The update is over; what is left of the losing fleet ends in the next passes."""
    part = blue if rollout.reason else green
    fleet = part.fleet
    changes = {
        **_variants_of(part),
        "EndpointStatus": "InService",
        "EndpointConfigName": fleet["config"],
        "Fleet": fleet,
        "OldFleet": None,
        "Deployment": None,
        "PendingDeploymentSummary": None,
        "FailureReason": rollout.reason[:1024] or None,
        "Restarts": counts,
    }
    event = f"In service with {fleet['config']}"
    if rollout.reason:
        event = f"Rolled back to {fleet['config']}: {rollout.reason}"
    return SetStatus(changes, event)


def _variants_of(part: Part) -> dict[str, Any]:
    return {
        "ProductionVariants": variants(part),
        "ShadowProductionVariants": variants(part, "shadows") or None,
        "DataCaptureConfig": capture_summary(part.fleet.get("capture")),
    }


def _delete(record: Record, view: View, now: float) -> list[Action]:
    """First nobody is sent to it any more, then its instances end, then it is gone."""
    withdrawn = Publish(route_key(record), None)
    if not view.taken(route_key(record), None):
        return [withdrawn, Wake(now + 1.0)]
    if all(unit.over for unit in view.units.values()):
        return [withdrawn, Forget()]
    return [withdrawn, *stop_all_but(view, set())]
