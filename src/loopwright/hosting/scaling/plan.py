"""What happens to a scalable target: alarms of its policies, scheduled changes, new capacities.

A new capacity is a call, whose result, and then the endpoint's coming into service, end the
activity. While one goes on nothing else is decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.hosting.scaling.rules import (
    COOLDOWN_S,
    Decision,
    Limits,
    Past,
    Proposal,
    decide,
    stepped,
    tracked,
)
from loopwright.hosting.scaling.schedule import due_of, zone_of
from loopwright.hosting.scaling.targets import (
    activity,
    alarm_specs,
    caused_by,
    count_of,
    names_of,
    reason_of,
)
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

LOOK_S: Final = 2.0
FRESH_S: Final = 150.0
"""How long what an alarm told counts while its state lasts; it tells again each minute."""
EDGE_S: Final = 15.0
"""How long it counts when the alarm left the state again, as after SetAlarmState."""
RETRY_S: Final = 60.0
"""After a capacity that was not to be had, before it is asked for again."""
ACTIVITIES_MAX: Final = 100


@dataclass
class _Pass:
    """One pass over a target: what it sees, and what it gathers."""

    record: Record
    view: View
    serving: Record
    count: int
    now: float
    activities: list[dict[str, Any]]
    changes: dict[str, Any] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)

    def note(self, cause: str, description: str, code: str, message: str = "") -> dict[str, Any]:
        """Add an activity."""
        made = activity(self.record, cause, description, self.now, code, message)
        self.activities.append(made)
        return made


def plan_target(record: Record, view: View, now: float) -> list[Action]:
    """One pass over a scalable target."""
    endpoint, variant = names_of(record)
    serving = view.lookup("Endpoint", endpoint)
    if record.status.get(DELETING) or serving is None or serving.status.get(DELETING):
        alarms: list[Action] = [DeleteChild("Alarm", name) for _, name in view.children]
        return alarms or [Forget()]
    actions = _alarms(record, view)
    count = count_of(serving, variant)
    if count is None:
        # Of an update to a configuration without the variant.
        return [*actions, Wake(now + LOOK_S * 10)]
    known = [dict(item) for item in record.status.get("Activities", ())]
    this = _Pass(record, view, serving, count, now, known)
    limits = _scheduled(this)
    _settle(this)
    if _idle(this):
        _scale(this, limits)
    this.changes["Activities"] = this.activities[-ACTIVITIES_MAX:]
    return [*actions, *this.actions, SetStatus(this.changes), Wake(now + LOOK_S)]


def _alarms(record: Record, view: View) -> list[Action]:
    """Bring the alarms in line with the policies."""
    wanted: dict[str, dict[str, Any]] = {}
    for policy in record.spec.get("Policies", {}).values():
        if policy["PolicyType"] == "TargetTrackingScaling":
            wanted |= alarm_specs(record, policy)
    there = {name for kind, name in view.children if kind == "Alarm"}
    return [
        *(CreateChild("Alarm", name, spec) for name, spec in wanted.items() if name not in there),
        *(DeleteChild("Alarm", name) for name in sorted(there - set(wanted))),
    ]


def _idle(this: _Pass) -> bool:
    """Whether a capacity may be asked for: nothing goes on, and nothing failed a moment ago."""
    if this.serving.status["EndpointStatus"] != "InService":
        return False
    asked = [item for item in this.activities if "after" in item]
    if not asked:
        return True
    last = asked[-1]
    if last["StatusCode"] in ("Failed", "Unfulfilled"):
        return bool(this.now >= last["EndTime"] + RETRY_S)
    return bool(last["StatusCode"] == "Successful")


# Scheduled actions


def _scheduled(this: _Pass) -> Limits:
    """Carry out the scheduled actions that are due, and say what the limits are."""
    spec, status = this.record.spec, this.record.status
    least = int(status.get("MinCapacity", spec["MinCapacity"]))
    most = int(status.get("MaxCapacity", spec["MaxCapacity"]))
    suspended = spec.get("SuspendedState", {})
    actions = spec.get("ScheduledActions", {})
    done = {name: at for name, at in status.get("Done", {}).items() if name in actions}
    for name, action in sorted(actions.items()):
        due = due_of(action, zone_of(action.get("Timezone")), done.get(name))
        if due is None or due > this.now:
            continue
        # What was missed while nobody was there happens once, not many times.
        done[name] = this.now
        if suspended.get("ScheduledScalingSuspended"):
            continue
        given = action["ScalableTargetAction"]
        wanted = (given.get("MinCapacity", least), given.get("MaxCapacity", most))
        words = f"min capacity to {wanted[0]} and max capacity to {wanted[1]}"
        cause = f"scheduled action name {name} was triggered"
        if wanted[0] > wanted[1]:
            why = f"Failed to set {words}: the minimum would be above the maximum."
            this.note(cause, f"Setting {words}", "Failed", why)
            continue
        least, most = wanted
        this.note(cause, f"Setting {words}", "Successful", f"Successfully set {words}.")
    this.changes |= {"Done": done, "MinCapacity": least, "MaxCapacity": most}
    return Limits(
        least,
        most,
        bool(suspended.get("DynamicScalingInSuspended")),
        bool(suspended.get("DynamicScalingOutSuspended")),
    )


# Capacity


def _scale(this: _Pass, limits: Limits) -> None:
    """Ask for a new capacity where the limits or the policies want one."""
    count = this.count
    if not limits.least <= count <= limits.most:
        wanted = min(max(count, limits.least), limits.most)
        cause = f"maximum capacity was set to {limits.most}"
        if count < limits.least:
            cause = f"minimum capacity was set to {limits.least}"
        _ask(this, count, wanted, cause)
        return
    past = this.changes.get("Last") or this.record.status.get("Last")
    last = Past(*past) if past else None
    triggers = _standing(this, last)
    handled = this.record.status.get("Handled", {})
    news = {name: t["at"] for name, t in triggers.items() if t["at"] > handled.get(name, 0.0)}
    if not news:
        return
    # Each is decided on once, whatever comes of it: the alarm tells again.
    this.changes["Handled"] = {**handled, **news}
    proposals, staying = _proposals(this, triggers, last)
    # Cooldowns count to the time of the telling, so that a delay decides nothing else.
    decision = decide(proposals, staying, count, limits, last, max(news.values()))
    item = decision.proposal
    if decision.count is not None and item is not None:
        base = count if decision.base is None else decision.base
        cause = caused_by(item.alarm, item.state, item.policy)
        _ask(this, base, decision.count, cause)["policy"] = item.policy
    elif decision.reason and item is not None:
        _not_scaled(this, decision, item, limits)


def _standing(this: _Pass, last: Past | None) -> dict[str, Mapping[str, Any]]:
    """What alarms told since the last change and is still so, by policy."""
    found = {}
    for name in this.record.spec.get("Policies", {}):
        trigger = this.record.status.get("Triggers", {}).get(name)
        if trigger is None or (last is not None and trigger["at"] <= last.at):
            continue
        age_s = this.now - trigger["at"]
        alarm = this.view.lookup("Alarm", trigger["alarm"])
        lasts = alarm is not None and alarm.status.get("StateValue") == trigger["state"]
        if age_s <= EDGE_S or (lasts and age_s <= FRESH_S):
            found[name] = trigger
    return found


def _proposals(
    this: _Pass, triggers: Mapping[str, Mapping[str, Any]], last: Past | None
) -> tuple[list[Proposal], int]:
    """What the policies ask for, and how many of target tracking do not agree to scale in."""
    found: list[Proposal] = []
    staying = 0
    for name, policy in this.record.spec.get("Policies", {}).items():
        trigger = triggers.get(name)
        made = [] if trigger is None else _proposal(name, policy, trigger, this.count, last)
        found += made
        config = policy.get("TargetTrackingScalingPolicyConfiguration")
        if config is not None and not config.get("DisableScaleIn"):
            staying += not any(item.wanted < this.count for item in made)
    return found, staying


def _proposal(
    name: str,
    policy: Mapping[str, Any],
    trigger: Mapping[str, Any],
    count: int,
    last: Past | None,
) -> list[Proposal]:
    """What one policy asks for, from the present capacity and from that before the last change."""
    config = policy.get("TargetTrackingScalingPolicyConfiguration")
    steps = policy.get("StepScalingPolicyConfiguration", {})

    def wanted(capacity: int) -> int | None:
        if config is None:
            return stepped(steps, capacity, trigger["value"], trigger["threshold"])
        return tracked(config, capacity, trigger["value"], "-AlarmLow-" in trigger["alarm"])

    now = wanted(count)
    if now is None:
        return []
    cool_s = float(steps.get("Cooldown", COOLDOWN_S))
    cooldowns = config or {}
    return [
        Proposal(
            name,
            trigger["alarm"],
            now,
            None if last is None else wanted(last.before),
            float(cooldowns.get("ScaleOutCooldown", cool_s)),
            float(cooldowns.get("ScaleInCooldown", cool_s)),
            tracking=config is not None,
            state=trigger["state"],
        )
    ]


def _ask(this: _Pass, base: int, wanted: int, cause: str) -> dict[str, Any]:
    made = this.note(cause, f"Setting desired instance count to {wanted}.", "Pending")
    made |= {"before": base, "after": wanted}
    endpoint, variant = names_of(this.record)
    arguments = {
        "region": this.record.region, "endpoint": endpoint, "variant": variant, "count": wanted,
    }  # fmt: skip
    this.actions.append(Call("scaling.apply", _key(made), arguments))
    return made


def _key(item: Mapping[str, Any]) -> str:
    return f"apply-{item['ActivityId']}"


def _settle(this: _Pass) -> None:
    """End the activities whose capacity is there, or was refused."""
    for item in this.activities:
        result = this.view.calls.get(_key(item))
        if item["StatusCode"] == "Pending" and result is not None:
            this.actions.append(DropCall(_key(item)))
            refused = result.get("error") or (result.get("value") or {}).get("refused")
            words = f"set desired instance count to {item['after']}"
            if refused:
                text = f"Failed to {words}. Reason: {refused}"
                item |= {"StatusCode": "Failed", "StatusMessage": text[:1023], "EndTime": this.now}
                continue
            text = f"Successfully {words}. Waiting for change to be fulfilled by sagemaker."
            item |= {"StatusCode": "InProgress", "StatusMessage": text}
        elif item["StatusCode"] == "InProgress":
            _end(this, item)


def _end(this: _Pass, item: dict[str, Any]) -> None:
    if this.serving.status["EndpointStatus"] != "InService":
        return
    item["EndTime"] = this.now
    if this.count != item["after"]:
        why = this.serving.status.get("FailureReason") or "the endpoint was changed meanwhile"
        text = f"The desired instance count is {this.count}: {why}"
        item |= {"StatusCode": "Unfulfilled", "StatusMessage": text[:1023]}
        return
    item["StatusCode"] = "Successful"
    item["StatusMessage"] = (
        f"Successfully set desired instance count to {item['after']}. "
        "Change successfully fulfilled by sagemaker."
    )
    if "policy" in item:
        # From here the cooldown counts.
        this.changes["Last"] = [this.now, item["before"], item["after"]]


def _not_scaled(this: _Pass, decision: Decision, item: Proposal, limits: Limits) -> None:
    """Tell once, and not at each evaluation, why nothing is done."""
    cause = caused_by(item.alarm, item.state, item.policy)
    reason = reason_of(decision.reason, limits.least, limits.most, this.count)
    last = this.activities[-1] if this.activities else {}
    if last.get("Cause") == cause and last.get("NotScaledReasons") == [reason]:
        return
    made = this.note(cause, "Attempting to scale due to alarm triggered", "Failed")
    made["NotScaledReasons"] = [reason]
