"""Operations of scheduled actions."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from loopwright.hosting.scaling.finding import (
    bad,
    change_target,
    named,
    page_of,
    targets_of,
    too_many,
    without,
)
from loopwright.hosting.scaling.schedule import Malformed, due_of, following, zone_of
from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, seconds

SCHEDULED_MAX: Final = 200


def put_action(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """PutScheduledAction."""
    name = params["ScheduledActionName"]
    now = context.clock.now()

    def change(record: Record) -> dict[str, Any]:
        actions = dict(record.spec.get("ScheduledActions", {}))
        if name not in actions and len(actions) >= SCHEDULED_MAX:
            raise too_many("scheduled actions of the scalable target", SCHEDULED_MAX)
        action = {"CreationTime": now, **actions.get(name, {})}
        action |= {"ScheduledActionName": name, "PutTime": now}
        for member in ("Schedule", "Timezone", "ScalableTargetAction"):
            if params.get(member):
                action[member] = params[member]
        for member in ("StartTime", "EndTime"):
            # "If you don't specify start and end times, the old values are deleted."
            action.pop(member, None)
            if params.get(member) is not None:
                action[member] = seconds(params[member])
        _check_action(action)
        action.setdefault("ScheduledActionARN", _action_arn(context, record, name))
        actions[name] = action
        return {**record.spec, "ScheduledActions": actions}

    change_target(context, params, change)
    return {}


def _action_arn(context: Context, record: Record, name: str) -> str:
    return (
        f"arn:aws:autoscaling:{context.region}:{context.kinds.account}:scheduledAction:{uuid4()}:"
        f"resource/sagemaker/{record.name}:scheduledActionName/{name}"
    )


def _check_action(action: Mapping[str, Any]) -> None:
    for member in ("Schedule", "ScalableTargetAction"):
        if not action.get(member):
            raise bad(f"{member} is missing; a new scheduled action needs it.")
    given = action["ScalableTargetAction"]
    least, most = given.get("MinCapacity"), given.get("MaxCapacity")
    if least is None and most is None:
        raise bad("ScalableTargetAction needs MinCapacity, MaxCapacity or both.")
    for member, value in (("MinCapacity", least), ("MaxCapacity", most)):
        if value is not None and value < 1:
            raise bad(f"{member} is {value}; a real-time variant keeps at least 1 instance.")
    if least is not None and most is not None and least > most:
        raise bad(f"MinCapacity is {least}, above MaxCapacity, {most}.")
    start, end = action.get("StartTime"), action.get("EndTime")
    if start is not None and end is not None and start >= end:
        raise bad("StartTime must be before EndTime.")
    try:
        zone = zone_of(action.get("Timezone"))
        following(action["Schedule"], zone, action["PutTime"], action["PutTime"])
        due = due_of(action, zone, None)
    except Malformed as error:
        raise bad(f"{error}.") from None
    if due is None:
        raise bad(
            f"Schedule is {action['Schedule']!r}, which never happens from now on until EndTime; "
            "give a time in the future."
        )


def describe_actions(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """DescribeScheduledActions."""
    wanted = params.get("ScheduledActionNames")
    return page_of(
        params,
        "ScheduledActions",
        (
            {**named(record), **{k: v for k, v in action.items() if k != "PutTime"}}
            for record in targets_of(context, params)
            for action in record.spec.get("ScheduledActions", {}).values()
            if not wanted or action["ScheduledActionName"] in wanted
        ),
        lambda item: [item["ResourceId"], item["ScheduledActionName"]],
    )


def delete_action(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """DeleteScheduledAction."""
    without(context, params, "ScheduledActions", params["ScheduledActionName"])
    return {}
