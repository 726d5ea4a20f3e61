"""An update of an endpoint, step by step: a new fleet (green) takes over from the old one (blue).

Each step first starts what is missing, then moves the traffic and waits until all gateways go by
it, then ends what is superfluous and bakes: waits, and looks at the alarms. Any alarm, failed
instance or lapse of time takes all traffic back to the old fleet. The words are the developer
guide's on deployment guardrails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loopwright.hosting.deploy import rolling
from loopwright.hosting.deploy.family import policy_of, steps_of
from loopwright.hosting.deploy.steps import Step
from loopwright.hosting.fleet import Fleet
from loopwright.hosting.instances import Instance, failure, instances
from loopwright.kernel.engine import View
from loopwright.kernel.records import Record


@dataclass(frozen=True)
class Moment:
    """When a pass is, and whether the gateways go by the present route."""

    now: float
    taken: bool


@dataclass(frozen=True)
class Rollout:
    """Where an update stands.

    Attributes:
        config: Its `DeploymentConfig`.
        at: Where it stands.
        ahead: The steps to come; the first is the one under way.
        phase: `provision`, `shift`, `bake` or `terminate`.
        since, started: When the phase and the update began, platform seconds.
        reason: Why it goes back to the old fleet; empty while it goes forward.
    """

    config: Mapping[str, Any]
    at: Step
    ahead: tuple[Step, ...]
    phase: str
    since: float
    started: float
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """For the status."""
        return {
            "config": self.config,
            "at": _listed(self.at),
            "ahead": [_listed(step) for step in self.ahead],
            "phase": self.phase,
            "since": self.since,
            "started": self.started,
            "reason": self.reason,
        }

    @property
    def wait_s(self) -> float:
        """How long each step bakes; a rollback does not."""
        name, policy = policy_of(self.config)
        if self.reason:
            return 0.0
        timed = policy if name == "rolling" else policy.get("TrafficRoutingConfiguration", {})
        return float(timed.get("WaitIntervalInSeconds", 0))

    @property
    def termination_s(self) -> float:
        """How long the old fleet stays after the last step."""
        return float(policy_of(self.config)[1].get("TerminationWaitInSeconds", 0))

    @property
    def due(self) -> float:
        """When the update must be done, platform seconds."""
        limit = policy_of(self.config)[1].get("MaximumExecutionTimeoutInSeconds")
        return self.started + float(limit) if limit else float("inf")

    @property
    def alarms(self) -> list[str]:
        """Names of the alarms that guard it."""
        given = self.config.get("AutoRollbackConfiguration", {}).get("Alarms", ())
        return [alarm["AlarmName"] for alarm in given]


def _listed(step: Step) -> list[float]:
    return [step.share, step.green, step.blue]


def rollout_of(document: Mapping[str, Any]) -> Rollout:
    """As `Rollout.document` wrote it."""
    return Rollout(
        document["config"], Step(*document["at"]), tuple(Step(*s) for s in document["ahead"]),
        document["phase"], document["since"], document["started"], document["reason"],
    )  # fmt: skip


def begin(config: Mapping[str, Any], fleet: Fleet, now: float) -> Rollout:
    """An update to a new fleet."""
    ahead = tuple(steps_of(config, _counts(fleet)))
    return Rollout(config, Step(0.0, 0.0, 1.0), ahead, "provision", now, now)


def _counts(fleet: Fleet) -> dict[str, int]:
    return {variant["name"]: int(variant["count"]) for variant in fleet["variants"]}


def wanted(step: Rollout) -> Step:
    """How much of both fleets there should be in this phase; the share is what is served now."""
    if step.phase == "provision":
        ahead = step.ahead[0]
        return Step(step.at.share, max(step.at.green, ahead.green), max(step.at.blue, ahead.blue))
    return step.at


@dataclass(frozen=True)
class Fleets:
    """The instances of both fleets as they should be in this phase."""

    green: Sequence[Instance]
    blue: Sequence[Instance]


def fleets_of(record: Record, view: View, rollout: Rollout) -> Fleets:
    """The instances that the phase wants."""
    part = wanted(rollout)
    status = record.status
    return Fleets(
        instances(record, view, status["Fleet"], part.green),
        instances(record, view, status["OldFleet"], part.blue),
    )


def advance(
    record: Record, view: View, rollout: Rollout, fleets: Fleets, moment: Moment
) -> tuple[Rollout | None, str]:
    """The next state, and what to write in the history; None when the update is over."""
    now = moment.now
    if not rollout.reason:
        reason = _obstacle(view, rollout, fleets, now)
        if reason:
            return _back(rollout, record.status["Fleet"], reason, now), f"Rolling back: {reason}"
    if rollout.phase == "provision":
        return _provisioned(record, view, rollout, now)
    if rollout.phase == "shift" and moment.taken:
        return _in_phase(rollout, "bake", now), ""
    if rollout.phase == "bake" and now >= rollout.since + rollout.wait_s:
        return _baked(rollout, now)
    if rollout.phase == "terminate" and now >= rollout.since + rollout.termination_s:
        return None, ""
    return rollout, ""


def _provisioned(record: Record, view: View, rollout: Rollout, now: float) -> tuple[Rollout, str]:
    """Move the traffic once all instances of the step answer."""
    step = rollout.ahead[0]
    status = record.status
    green = instances(record, view, status["Fleet"], step.green)
    blue = instances(record, view, status["OldFleet"], step.blue)
    # The side that has all traffic of the step need not wait for the other one.
    needed = [*(green if step.share > 0 else ()), *(blue if step.share < 1 else ())]
    if not all(item.ready for item in needed):
        return rollout, ""
    moved = Rollout(
        rollout.config, step, rollout.ahead[1:], "shift", now, rollout.started, rollout.reason
    )
    config = status["OldFleet" if rollout.reason else "Fleet"]["config"]
    share = 1.0 - step.share if rollout.reason else step.share
    return moved, f"{share:.0%} of the traffic goes to {config}"


def _baked(rollout: Rollout, now: float) -> tuple[Rollout | None, str]:
    if rollout.ahead:
        phase = "provision"
    elif rollout.termination_s > 0 and not rollout.reason:
        phase = "terminate"
    else:
        return None, ""
    return _in_phase(rollout, phase, now), ""


def _in_phase(rollout: Rollout, phase: str, now: float) -> Rollout:
    return replace(rollout, phase=phase, since=now)


def _obstacle(view: View, rollout: Rollout, fleets: Fleets, now: float) -> str | None:
    """Why the update must not go on, or None."""
    for name in rollout.alarms:
        alarm = view.lookup("Alarm", name)
        if alarm is None:
            return f"The alarm {name} that guards the update was deleted."
        # One that was in ALARM for a moment only counts too.
        last = float(alarm.status.get("AlarmedTimestamp") or 0.0)
        if alarm.status.get("StateValue") == "ALARM" or last >= rollout.started:
            return f"One or more alarms are in ALARM: {name}."
    if now > rollout.due:
        return f"The update took longer than {rollout.due - rollout.started:g} s."
    return failure(fleets.green, now)


def _back(rollout: Rollout, fleet: Fleet, reason: str, now: float) -> Rollout:
    """All traffic to the old fleet: at once where it is still there, else as it comes up again."""
    name, policy = policy_of(rollout.config)
    ahead = [Step(0.0, 0.0, 1.0)]
    if name == "rolling":
        ahead = rolling.back(policy, _counts(fleet), rollout.at)
    return Rollout(
        rollout.config, rollout.at, tuple(ahead), "provision", now, rollout.started, reason
    )


def state_of(rollout: Rollout) -> dict[str, Any]:
    """`VariantStatus` of the new fleet."""
    status = {"provision": "Creating", "shift": "ActivatingTraffic"}.get(rollout.phase, "Baking")
    if rollout.reason:
        status = "Deleting"
    elif rollout.phase == "provision" and rollout.at.share > 0:
        status = "ActivatingTraffic"
    message = f"{rollout.at.share:.0%} of the traffic"
    if rollout.phase == "bake" and not rollout.reason:
        message += f", baking for {rollout.wait_s:g} s"
    return {"Status": status, "StatusMessage": message, "StartTime": rollout.since}
