"""What the outside does to scalable targets and endpoints: alarms tell, calls change counts."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.hosting.capacity import Change, with_changes
from loopwright.kernel.clock import Clock
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Store
from loopwright.wire.errors import ApiError


def breach(store: Store, alarm: Record, action: str, value: float | None, at: float) -> str:
    """An alarm names a scaling policy for the state that it is in: note it at the policy's target.

    The same note made twice is one.

    Returns:
        Why it cannot be, or nothing.
    """
    resource, _, policy = action.partition(":resource/sagemaker/")[2].partition(":policyName/")
    if value is None:
        return "no datapoint is known; SetAlarmState needs StateReasonData with recentDatapoints"
    told = {
        "alarm": alarm.name,
        "state": alarm.status["StateValue"],
        "value": value,
        "at": at,
        "threshold": float(alarm.spec["Threshold"]),
    }
    while True:
        record = store.get(alarm.region, "ScalableTarget", resource)
        known = {} if record is None else record.spec.get("Policies", {})
        if record is None or known.get(policy, {}).get("PolicyARN") != action:
            return f"there is no scaling policy {policy!r} of {resource!r}"
        if record.status.get("Triggers", {}).get(policy) == told:
            return ""
        status = {
            **record.status,
            "Triggers": {**record.status.get("Triggers", {}), policy: told},
        }
        try:
            store.change(record, status, state="", now=at, event="")
        except Outdated:
            continue
        return ""


def scaling_functions(store: Store, clock: Clock) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """`scaling.apply`: set the instance count of a variant; repeating it changes nothing."""

    def apply(arguments: Mapping[str, Any]) -> dict[str, Any]:
        while True:
            record = store.get(arguments["region"], "Endpoint", arguments["endpoint"])
            if record is None:
                return {"refused": f"Endpoint {arguments['endpoint']} is gone."}
            variants = (record.status.get("Fleet") or {"variants": ()})["variants"]
            counts = {item["name"]: item["count"] for item in variants}
            if counts.get(arguments["variant"]) == arguments["count"]:
                return {"count": arguments["count"]}
            try:
                change = Change(count=arguments["count"])
                status = with_changes(record, {arguments["variant"]: change})
                event = f"Scaling {arguments['variant']} to {arguments['count']} instances"
                store.change(record, status, state="Updating", now=clock.now(), event=event)
            except Outdated:
                continue
            except ApiError as error:
                return {"refused": error.message}
            return {"count": arguments["count"]}

    return {"scaling.apply": apply}
