"""What happens to an endpoint: instances start, traffic moves to those that answer, old ones end.

An update builds a new fleet beside the old one; the route changes only when every instance of the
new fleet is ready, and a fleet that cannot start leaves the old one in service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.instances import Machine
from loopwright.hosting.fleet import Fleet, Unbuildable, build, instance_id, program
from loopwright.kernel.actions import Action, Forget, Publish, SetStatus, Start, Stop, Wake
from loopwright.kernel.engine import Planner, View
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Observation, Record

STOP_GRACE_S: Final = 30.0
STARTS_MAX: Final = 3
BACKOFF_S_MAX: Final = 60.0


@dataclass(frozen=True)
class Instance:
    """One instance of a fleet: its unit, and how often it was started again."""

    variant: Mapping[str, Any]
    index: int
    restarts: int
    unit_id: str
    unit: Observation | None

    @property
    def ready(self) -> bool:
        return self.unit is not None and self.unit.state == "running" and self.unit.ready


def endpoint_planner(machine: Machine) -> Planner:
    """The planner of endpoints on this machine."""

    def plan(record: Record, view: View, now: float) -> list[Action]:
        status = record.status
        if status.get(DELETING):
            return _delete(record, view)
        if status["EndpointStatus"] == "Failed":
            return [Publish(_route_key(record), None), *_stop_all_but(view, set())]
        fleet = status.get("Fleet")
        wanted = status["EndpointConfigName"]
        if fleet is None or status.get("NextConfig"):
            return _begin(record, view, status.get("NextConfig") or wanted)
        return _run(record, view, now, machine, fleet)

    return plan


def _begin(record: Record, view: View, config_name: str) -> list[Action]:
    """Copy the configuration into a new fleet; the serving one, if any, stays until it is up."""
    status = record.status
    previous = status.get("Fleet")
    generation = int(status.get("Generation", 0)) + 1
    try:
        fleet = build(config_name, generation, view.lookup)
    except Unbuildable as error:
        if previous is None:
            return [SetStatus({"EndpointStatus": "Failed", "FailureReason": str(error)})]
        kept: dict[str, Any] = {"EndpointStatus": "InService", "NextConfig": None}
        return [SetStatus({**kept, "FailureReason": str(error)}, str(error))]
    if previous is not None and status.get("RetainAll"):
        _retain(fleet, previous)
    serving = status.get("OldFleet") or previous
    changes: dict[str, Any] = {
        "Fleet": fleet,
        "OldFleet": serving if previous is not None else None,
        "Generation": generation,
        "NextConfig": None,
        "RetainAll": None,
        "FailureReason": None,
    }
    return [SetStatus(changes, f"Starting the instances of {config_name}"), Wake(record.modified)]


def _retain(fleet: dict[str, Any], previous: Fleet) -> None:
    """`RetainAllVariantProperties`: weights and counts of variants that go on under their name."""
    known = {variant["name"]: variant for variant in previous["variants"]}
    for variant in fleet["variants"]:
        if variant["name"] in known:
            variant["weight"] = known[variant["name"]]["weight"]
            variant["count"] = known[variant["name"]]["count"]


def _instances(record: Record, view: View, fleet: Fleet) -> list[Instance]:
    restarts = record.status.get("Restarts", {})
    found = []
    for variant in fleet["variants"]:
        for index in range(variant["count"]):
            count = restarts.get(_slot(fleet, variant["name"], index), 0)
            unit_id = instance_id(record, fleet, variant["name"], index, count)
            found.append(Instance(variant, index, count, unit_id, view.units.get(unit_id)))
    return found


def _slot(fleet: Fleet, variant: str, index: int) -> str:
    return f"{fleet['generation']}.{variant}.{index}"


def _run(record: Record, view: View, now: float, machine: Machine, fleet: Fleet) -> list[Action]:
    """Keep the fleet complete, and move traffic when it is."""
    instances = _instances(record, view, fleet)
    actions: list[Action] = []
    for item in instances:
        if item.unit is None:
            name = f"i-{fleet['generation']}{item.index:03d}{item.restarts:03d}"
            actions.append(Start(item.unit_id, program(record, item.variant, machine, name)))
    settled = record.status["EndpointStatus"] == "InService"
    if not settled:
        failed = _failed(instances, now)
        if failed is not None:
            return _give_up(record, view, fleet, failed)
    restarts = _restarts(record, fleet, instances, now, actions)
    complete = all(item.ready for item in instances)
    old = record.status.get("OldFleet")
    serving = fleet if complete or old is None else old
    if serving is fleet:
        kept = {item.unit_id for item in instances}
        # Only in a later pass than the one that moves the traffic: the gateway needs a moment.
        if complete and settled:
            actions += _stop_all_but(view, kept)
    shown = _instances(record, view, serving)
    actions.append(Publish(_route_key(record), _route(record, serving, shown)))
    changes: dict[str, Any] = {
        "ProductionVariants": _variants(serving, shown),
        "Restarts": restarts,
    }
    event = ""
    if complete and not settled:
        changes |= {
            "EndpointStatus": "InService",
            "OldFleet": None,
            "EndpointConfigName": fleet["config"],
        }
        event = f"In service with {fleet['config']}"
    actions.append(SetStatus(changes, event))
    actions.append(Wake(now + 1.0))
    return actions


def _restarts(
    record: Record,
    fleet: Fleet,
    instances: list[Instance],
    now: float,
    actions: list[Action],
) -> dict[str, int]:
    """Count up the instances that ended, so that the next pass starts them under a new id."""
    counts = dict(record.status.get("Restarts", {}))
    for item in instances:
        if item.unit is None or not item.unit.over:
            continue
        wait_s = 0.0 if item.restarts == 0 else min(2.0**item.restarts, BACKOFF_S_MAX)
        ready_at = (item.unit.ended or now) + wait_s
        if now >= ready_at:
            counts[_slot(fleet, item.variant["name"], item.index)] = item.restarts + 1
        else:
            actions.append(Wake(ready_at))
    return counts


def _failed(instances: list[Instance], now: float) -> str | None:
    """Why a fleet that is starting will not come up, or None."""
    for item in instances:
        if item.unit is None:
            continue
        name = item.variant["name"]
        head = (
            f"The primary container for production variant {name} did not pass the ping health "
            "check. Please check CloudWatch logs for this endpoint."
        )
        if item.unit.over and item.unit.started is None:
            return item.unit.message or head
        if item.unit.over and item.unit.state != "lost" and item.restarts + 1 >= STARTS_MAX:
            return f"{head} {item.unit.message}".strip()
        started = item.unit.started
        if started is not None and not item.ready and now > started + item.variant["start_s"]:
            return f"{head} It did not answer within {item.variant['start_s']:g} s."
    return None


def _give_up(record: Record, view: View, fleet: Fleet, reason: str) -> list[Action]:
    """A first fleet that fails fails the endpoint; a later one is dropped and the old one stays."""
    old = record.status.get("OldFleet")
    if old is None:
        changes = {"EndpointStatus": "Failed", "FailureReason": reason[:1024]}
        return [SetStatus(changes, reason), *_stop_all_but(view, set())]
    kept = {item.unit_id for item in _instances(record, view, old)}
    back: dict[str, Any] = {
        "EndpointStatus": "InService",
        "FailureReason": reason[:1024],
        "Fleet": old,
        "OldFleet": None,
        "EndpointConfigName": old["config"],
    }
    event = f"Rolled back to {old['config']}: {reason}"
    return [SetStatus(back, event), *_stop_all_but(view, kept)]


def _stop_all_but(view: View, kept: set[str]) -> list[Action]:
    return [
        Stop(unit_id, STOP_GRACE_S)
        for unit_id, unit in view.units.items()
        if unit_id not in kept and not unit.over and not unit.stopping
    ]


def _delete(record: Record, view: View) -> list[Action]:
    withdrawn = Publish(_route_key(record), None)
    if all(unit.over for unit in view.units.values()):
        return [withdrawn, Forget()]
    return [withdrawn, *_stop_all_but(view, set())]


def _route_key(record: Record) -> str:
    return f"route/{record.region}/{record.name}"


def _route(record: Record, fleet: Fleet, instances: list[Instance]) -> dict[str, Any]:
    """What the gateway routes by: variants with weights, and the instances that answer."""
    return {
        "endpoint": record.name,
        "region": record.region,
        "arn": record.arn,
        "config": fleet["config"],
        "variants": [
            {
                "name": variant["name"],
                "weight": variant["weight"],
                "strategy": variant["strategy"],
                "instances": [
                    {"id": item.unit_id, "address": item.unit.address}
                    for item in instances
                    if item.variant is variant and item.ready and item.unit is not None
                ],
            }
            for variant in fleet["variants"]
        ],
    }


def _variants(fleet: Fleet, instances: list[Instance]) -> list[dict[str, Any]]:
    """`ProductionVariants` of DescribeEndpoint."""
    shown = []
    for variant in fleet["variants"]:
        ready = [item for item in instances if item.variant is variant and item.ready]
        image = variant["container"]["Image"]
        shown.append(
            {
                "VariantName": variant["name"],
                "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
                "CurrentWeight": variant["weight"],
                "DesiredWeight": variant["weight"],
                "CurrentInstanceCount": len(ready),
                "DesiredInstanceCount": variant["count"],
            }
        )
    return shown
