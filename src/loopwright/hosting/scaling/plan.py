"""What happens to a scalable target: alarms of its policies, scheduled changes, new capacities.

The spec holds the target with its policies and scheduled actions; alarms tell of their breaches
by entries in the status (`triggers.py`). A new capacity is a call, whose result ends the activity.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from loopwright.hosting.scaling.rules import (
    COOLDOWN_S,
    LOW,
    Decision,
    Limits,
    Past,
    Proposal,
    decide,
    stepped,
    tracked,
)
from loopwright.hosting.scaling.schedule import following, zone_of
from loopwright.kernel.actions import (
    Action,
    Call,
    CreateChild,
    DeleteChild,
    DropCall,
    Forget,
    SetStatus,
    Wake,
)
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record

SPACE: Final = UUID("0a7b2a3c-6a5e-4a09-a5c2-5a0b0f1f9c55")
LOOK_S: Final = 2.0
FRESH_S: Final = 150.0
"""How long a breach counts: alarms tell again each minute while they last."""
ACTIVITIES_MAX: Final = 100
HIGH_POINTS: Final = 3
LOW_POINTS: Final = 15


def plan_target(record: Record, view: View, now: float) -> list[Action]:
    """One pass over a scalable target."""
    endpoint, variant = names_of(record)
    serving = view.lookup("Endpoint", endpoint)
    known = serving is not None and not serving.status.get(DELETING)
    if record.status.get(DELETING) or not known:
        alarms: list[Action] = [DeleteChild("Alarm", name) for _, name in view.children]
        return alarms or [Forget()]
    assert serving is not None
    actions = _alarms(record, view)
    count = _count(serving, variant)
    if count is None:
        return [*actions, Wake(now + LOOK_S * 10)]
    changes: dict[str, Any] = {}
    activities = [dict(item) for item in record.status.get("Activities", ())]
    limits = _scheduled(record, changes, activities, count, now)
    _settle(record, view, serving, activities, changes, actions, now)
    idle = not any(item["StatusCode"] in ("Pending", "InProgress") for item in activities)
    if idle and serving.status["EndpointStatus"] == "InService":
        _scale(record, count, limits, activities, changes, actions, now)
    changes["Activities"] = activities[-ACTIVITIES_MAX:]
    return [*actions, SetStatus(changes), Wake(now + LOOK_S)]


def names_of(record: Record) -> tuple[str, str]:
    """Endpoint and variant of a target: its resource is `endpoint/NAME/variant/VARIANT`."""
    parts = record.name.split("/")
    return parts[1], parts[3]


def _count(serving: Record, variant: str) -> int | None:
    for item in (serving.status.get("Fleet") or {"variants": ()})["variants"]:
        if item["name"] == variant:
            return int(item["count"])
    return None


# Alarms of target tracking


def alarm_specs(record: Record, policy: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The two alarms of a target tracking policy, by name; their shapes are observed practice."""
    config = policy["TargetTrackingScalingPolicyConfiguration"]
    endpoint, variant = names_of(record)
    metric = config.get("CustomizedMetricSpecification") or {
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationsPerInstance",
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
        "Statistic": "Sum",
    }
    found = {}
    low = not config.get("DisableScaleIn")
    sides = [("High", "GreaterThanThreshold", HIGH_POINTS, 1.0)]
    sides += [("Low", "LessThanThreshold", LOW_POINTS, LOW)] if low else []
    for side, operator, points, part in sides:
        key = uuid5(SPACE, f"{policy['PolicyARN']} {side} {sorted(config.items())!r}")
        spec = {
            "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy "
            f"{policy['PolicyARN']}.",
            "Namespace": metric["Namespace"],
            "MetricName": metric["MetricName"],
            "Dimensions": metric.get("Dimensions", []),
            "Statistic": metric["Statistic"],
            "Period": 60,
            "EvaluationPeriods": points,
            "Threshold": float(config["TargetValue"]) * part,
            "ComparisonOperator": operator,
            "AlarmActions": [policy["PolicyARN"]],
            "ActionsEnabled": True,
            **({"Unit": metric["Unit"]} if metric.get("Unit") else {}),
        }
        found[f"TargetTracking-{record.name}-Alarm{side}-{key}"] = spec
    return found


def _alarms(record: Record, view: View) -> list[Action]:
    """Bring the alarms in line with the policies."""
    wanted: dict[str, dict[str, Any]] = {}
    for policy in record.spec.get("Policies", {}).values():
        if policy["PolicyType"] == "TargetTrackingScaling":
            wanted |= alarm_specs(record, policy)
    there = {name for kind, name in view.children if kind == "Alarm"}
    return [
        *(CreateChild("Alarm", n, {**s, "AlarmName": n}) for n, s in wanted.items()
          if n not in there),
        *(DeleteChild("Alarm", name) for name in there - set(wanted)),
    ]  # fmt: skip


# Scheduled actions


def _scheduled(
    record: Record,
    changes: dict[str, Any],
    activities: list[dict[str, Any]],
    count: int,
    now: float,
) -> Limits:
    """Carry out the scheduled actions that are due, and say what the limits are."""
    status = record.status
    least = status.get("MinCapacity", record.spec["MinCapacity"])
    most = status.get("MaxCapacity", record.spec["MaxCapacity"])
    suspended = record.spec.get("SuspendedState", {})
    done = dict(status.get("Done", {}))
    for name, action in sorted(record.spec.get("ScheduledActions", {}).items()):
        created = float(action["CreationTime"])
        start = float(action.get("StartTime") or created)
        due = following(
            action["Schedule"], zone_of(action.get("Timezone")),
            done.get(name, max(created, start) - 1e-3), start,
        )  # fmt: skip
        end = action.get("EndTime")
        if due is None or due > now or (end is not None and due > float(end)):
            continue
        # What was missed while nobody was there happens once, not many times.
        done[name] = now
        if suspended.get("ScheduledScalingSuspended"):
            continue
        given = action["ScalableTargetAction"]
        least, most = given.get("MinCapacity", least), given.get("MaxCapacity", most)
        cause = f"scheduled action name {name} was triggered"
        activities.append(_activity(record, cause, f"Setting min capacity to {least} and max "
                                    f"capacity to {most}", now, "Successful"))  # fmt: skip
    changes |= {"Done": done, "MinCapacity": least, "MaxCapacity": most}
    return Limits(
        least,
        most,
        bool(suspended.get("DynamicScalingInSuspended")),
        bool(suspended.get("DynamicScalingOutSuspended")),
    )


# Capacity


def _scale(
    record: Record,
    count: int,
    limits: Limits,
    activities: list[dict[str, Any]],
    changes: dict[str, Any],
    actions: list[Action],
    now: float,
) -> None:
    """Ask for a new capacity where the limits or the policies want one."""
    if not limits.least <= count <= limits.most:
        wanted = min(max(count, limits.least), limits.most)
        cause = f"maximum capacity was set to {limits.most}"
        if count < limits.least:
            cause = f"minimum capacity was set to {limits.least}"
        _ask(record, count, wanted, cause, activities, actions, now)
        return
    past = record.status.get("Last")
    last = Past(*past) if past else None
    proposals, staying = _proposals(record, count, last, now)
    decision = decide(proposals, staying, count, limits, last, now)
    if decision.count is not None and decision.proposal is not None:
        item = decision.proposal
        cause = f"monitor alarm {item.alarm} in state ALARM triggered policy {item.policy}"
        base = count if decision.base is None else decision.base
        _ask(record, base, decision.count, cause, activities, actions, now)
        changes["Handled"] = {**record.status.get("Handled", {}), item.policy: now}
    elif decision.reason and decision.proposal is not None:
        _not_scaled(record, decision, count, limits, activities, now)


def _proposals(
    record: Record, count: int, last: Past | None, now: float
) -> tuple[list[Proposal], int]:
    """What the policies ask for, and how many of target tracking do not agree to scale in."""
    triggers: Mapping[str, Mapping[str, Any]] = record.status.get("Triggers", {})
    handled: Mapping[str, float] = record.status.get("Handled", {})
    found, staying = [], 0
    before = last.before if last is not None else None
    for name, policy in record.spec.get("Policies", {}).items():
        trigger = triggers.get(name)
        fresh = (
            trigger is not None
            and now - trigger["at"] <= FRESH_S
            and trigger["at"] > handled.get(name, 0.0)
        )
        if policy["PolicyType"] == "StepScaling":
            if fresh and trigger is not None:
                found += _stepped(name, policy, trigger, count, before)
            continue
        config = policy["TargetTrackingScalingPolicyConfiguration"]
        made = _tracked(name, config, trigger, count, before) if fresh and trigger else []
        found += made
        if not config.get("DisableScaleIn") and not any(item.wanted < count for item in made):
            staying += 1
    return found, staying


def _tracked(
    name: str,
    config: Mapping[str, Any],
    trigger: Mapping[str, Any],
    count: int,
    before: int | None,
) -> list[Proposal]:
    low = "-AlarmLow-" in trigger["alarm"]
    wanted = tracked(config, count, trigger["value"], low)
    if wanted is None:
        return []
    earlier = None if before is None else tracked(config, before, trigger["value"], low)
    out_s = float(config.get("ScaleOutCooldown", COOLDOWN_S))
    in_s = float(config.get("ScaleInCooldown", COOLDOWN_S))
    return [Proposal(name, trigger["alarm"], wanted, earlier, out_s, in_s)]


def _stepped(
    name: str,
    policy: Mapping[str, Any],
    trigger: Mapping[str, Any],
    count: int,
    before: int | None,
) -> list[Proposal]:
    config = policy["StepScalingPolicyConfiguration"]
    wanted = stepped(config, count, trigger["value"], trigger["threshold"])
    if wanted is None:
        return []
    earlier = None
    if before is not None:
        earlier = stepped(config, before, trigger["value"], trigger["threshold"])
    cool_s = float(config.get("Cooldown", COOLDOWN_S))
    return [Proposal(name, trigger["alarm"], wanted, earlier, cool_s, cool_s)]


def _ask(
    record: Record,
    base: int,
    wanted: int,
    cause: str,
    activities: list[dict[str, Any]],
    actions: list[Action],
    now: float,
) -> None:
    activity = _activity(
        record, cause, f"Setting desired instance count to {wanted}.", now, "Pending"
    )
    activity |= {"before": base, "after": wanted}
    activities.append(activity)
    endpoint, variant = names_of(record)
    arguments = {
        "region": record.region, "endpoint": endpoint, "variant": variant, "count": wanted,
    }  # fmt: skip
    actions.append(Call("scaling.apply", f"apply-{activity['ActivityId']}", arguments))


def _settle(
    record: Record,
    view: View,
    serving: Record,
    activities: list[dict[str, Any]],
    changes: dict[str, Any],
    actions: list[Action],
    now: float,
) -> None:
    """End the activities whose capacity is there, or was refused."""
    for item in activities:
        key = f"apply-{item['ActivityId']}"
        result = view.calls.get(key)
        if item["StatusCode"] == "Pending" and result is not None:
            actions.append(DropCall(key))
            if result.get("refused"):
                item |= {"StatusCode": "Failed", "StatusMessage": result["refused"], "EndTime": now}
                continue
            item |= {"StatusCode": "InProgress", "StatusMessage": _progress(item)}
            changes["Last"] = [now, item["before"], item["after"]]
        elif item["StatusCode"] == "InProgress" and serving.status["EndpointStatus"] == "InService":
            _end(item, serving, names_of(record)[1], now)


def _progress(item: Mapping[str, Any]) -> str:
    return (
        f"Successfully set desired instance count to {item['after']}. "
        "Waiting for change to be fulfilled by sagemaker."
    )


def _end(item: dict[str, Any], serving: Record, variant: str, now: float) -> None:
    count = _count(serving, variant)
    if count == item["after"]:
        text = (
            f"Successfully set desired instance count to {count}. "
            "Change successfully fulfilled by sagemaker."
        )
        item |= {"StatusCode": "Successful", "StatusMessage": text, "EndTime": now}
        return
    why = serving.status.get("FailureReason") or "the endpoint was changed meanwhile"
    text = f"The instance count is {count}: {why}"
    item |= {"StatusCode": "Unfulfilled", "StatusMessage": text[:1023], "EndTime": now}


def _activity(
    record: Record, cause: str, description: str, now: float, code: str
) -> dict[str, Any]:
    number = len(record.status.get("Activities", ())), now, cause
    return {
        "ActivityId": str(uuid5(SPACE, f"{record.uid} {number}")),
        "Cause": cause,
        "Description": description,
        "StartTime": now,
        "StatusCode": code,
        **({"EndTime": now, "StatusMessage": "Done."} if code == "Successful" else {}),
    }


def _not_scaled(
    record: Record,
    decision: Decision,
    count: int,
    limits: Limits,
    activities: list[dict[str, Any]],
    now: float,
) -> None:
    """Tell once, for each breach, why nothing was done."""
    assert decision.proposal is not None
    cause = (
        f"monitor alarm {decision.proposal.alarm} in state ALARM triggered policy "
        f"{decision.proposal.policy}"
    )
    last = activities[-1] if activities else {}
    if last.get("Cause") == cause and last.get("NotScaledReasons"):
        return
    reason = {
        "Code": decision.reason,
        "MinCapacity": limits.least,
        "MaxCapacity": limits.most,
        "CurrentCapacity": count,
    }
    item = _activity(record, cause, "Attempting to scale due to alarm triggered", now, "Failed")
    activities.append({**item, "EndTime": now, "NotScaledReasons": [reason]})
