"""What happens to a human loop: a task for its team, its answers to S3, an event, the end.

A loop's spec is its request and, as `Flow`, what its flow definition said when it began, so that
deleting or replacing the flow or its template changes no loop that runs.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from loopwright.kernel.actions import (
    Action,
    Call,
    CreateChild,
    DropCall,
    SetStatus,
    UpdateChild,
    Wake,
)
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record

LOOP_FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
TASK_OVER: Final = frozenset({"Answered", "Expired", "Stopped", "Failed"})
REASON_MAX: Final = 1024
RETRY_S: Final = 30.0
RETRIED_S: Final = 86_400.0
"""How long a loop whose answers cannot be written waits for its bucket."""
LOOK_S: Final = 5.0
LIFE_S: Final = 30 * 86_400
LIMIT_S: Final = 3600


def task_name(record: Record) -> str:
    """The name of a loop's task."""
    return f"loop-{record.uid}"


def plan_loop(record: Record, view: View, now: float) -> list[Action]:
    """What to do next for one human loop."""
    status = record.status
    if status["HumanLoopStatus"] in LOOP_FINISHED:
        return []
    name = task_name(record)
    task = view.children.get(("HumanTask", name))
    if task is None:
        return [CreateChild("HumanTask", name, _task(record))]
    if task.status["HumanTaskStatus"] not in TASK_OVER:
        if status.get(STOPPING) and not task.status.get(STOPPING):
            return [UpdateChild("HumanTask", name, {STOPPING: True}, "Stop requested")]
        return [Wake(now + 60.0)]
    return _conclude(record, view, task, now)


def plan_rule(record: Record, view: View, now: float) -> list[Action]:
    """An endpoint that was made anew under its name is looked at by its rules again."""
    endpoint = view.lookup("Endpoint", record.spec["EndpointName"])
    if endpoint is None or endpoint.status.get("Reviewed"):
        return [Wake(now + LOOK_S)]
    key = f"{record.key}/arm"
    if key in view.calls:
        return [DropCall(key), Wake(now + LOOK_S)] if view.calls[key] is not None else []
    arguments = {"region": record.region, "endpoint": endpoint.name}
    return [Call("review.arm", key, arguments)]


def _task(record: Record) -> dict[str, Any]:
    flow = record.spec["Flow"]
    config = flow["HumanLoopConfig"]
    return {
        "WorkteamArn": config["WorkteamArn"],
        "Job": f"review/{flow['FlowDefinitionName']}",
        "TaskTitle": config["TaskTitle"],
        "TaskDescription": config["TaskDescription"],
        "TaskKeywords": config.get("TaskKeywords", []),
        "TemplateSha": flow["TemplateSha"],
        "Input": orjson.loads(record.spec["HumanLoopInput"]["InputContent"]),
        "Count": config["TaskCount"],
        "TaskTimeLimitInSeconds": config.get("TaskTimeLimitInSeconds", LIMIT_S),
        "AvailabilityLifetimeInSeconds": config.get("TaskAvailabilityLifetimeInSeconds", LIFE_S),
    }


def _conclude(record: Record, view: View, task: Record, now: float) -> list[Action]:
    """The task is over: write what there is, then end."""
    over = task.status["HumanTaskStatus"]
    count = int(task.status.get("AnswerCount", 0))
    uri = ""
    if count or record.spec.get("Rule"):
        key = f"{record.key}/output"
        if view.calls.get(key) is None:
            return [] if key in view.calls else [Call("review.output", key, _written(record, task))]
        result = view.calls[key]
        if "error" in result:
            if now < float(task.status["EndTime"]) + RETRIED_S:
                wait = f"The answers cannot be written yet: {result['error']}"
                look = SetStatus({"WaitsFor": wait}, "" if record.status.get("WaitsFor") else wait)
                return [look, Wake(now + RETRY_S), *_again(record, key, now)]
            reason = f"The answers could not be written: {result['error']}"
            return _end(record, "Failed", now, "", ("InternalError", reason))
        uri = result["value"]["uri"] if count else ""
    if over == "Answered":
        return _end(record, "Completed", now, uri)
    if over == "Stopped":
        return _end(record, "Stopped", now, uri)
    if over == "Failed":
        reason = f"The task cannot be shown to workers: {task.status['FailureReason']}"
        return _end(record, "Failed", now, uri, ("ValidationError", reason[:REASON_MAX]))
    wanted = record.spec["Flow"]["HumanLoopConfig"]["TaskCount"]
    reason = f"The task expired with {count} of {wanted} answers."
    return _end(record, "Failed", now, uri, ("Expired", reason))


def _again(record: Record, key: str, now: float) -> list[Action]:
    """Drop a failed call once its time to be tried again has come."""
    due = float(record.status.get("RetryAt", 0.0))
    if not due:
        return [SetStatus({"RetryAt": now + RETRY_S})]
    if now < due:
        return []
    return [DropCall(key), SetStatus({"RetryAt": None})]


def _written(record: Record, task: Record) -> dict[str, Any]:
    flow = record.spec["Flow"]
    source = flow.get("HumanLoopRequestSource", {}).get("AwsManagedHumanLoopRequestSource")
    return {
        "task": task.uid,
        "region": record.region,
        "loop": record.name,
        "flow": record.spec["FlowDefinitionArn"],
        "flow_name": flow["FlowDefinitionName"],
        "path": flow["OutputConfig"]["S3OutputPath"],
        "created": record.created,
        "input": record.spec["HumanLoopInput"]["InputContent"],
        "source": source or "",
        "rule": record.spec.get("Rule", {}),
    }


def _end(
    record: Record, state: str, now: float, uri: str, failure: tuple[str, str] = ("", "")
) -> list[Action]:
    code, reason = failure
    changes: dict[str, Any] = {
        "HumanLoopStatus": state,
        "EndTime": now,
        "WaitsFor": None,
        "RetryAt": None,
        "FailureCode": code or None,
        "FailureReason": reason or None,
        "HumanLoopOutput": {"OutputS3Uri": uri} if uri else None,
    }
    event = Call("events.put", f"{record.key}/event", _event(record, changes))
    return [SetStatus(changes, f"{state} {reason}".strip()), event]


def _event(record: Record, changes: Mapping[str, Any]) -> dict[str, Any]:
    """As A2I tells EventBridge (developer guide, "Use Amazon CloudWatch Events in A2I")."""
    detail = {
        "creationTime": record.created,
        "failureCode": changes["FailureCode"],
        "failureReason": changes["FailureReason"],
        "flowDefinitionArn": record.spec["FlowDefinitionArn"],
        "humanLoopArn": record.arn,
        "humanLoopName": record.name,
        "humanLoopOutput": {"outputS3Uri": (changes["HumanLoopOutput"] or {}).get("OutputS3Uri")},
        "humanLoopStatus": changes["HumanLoopStatus"],
    }
    return {
        "id": f"{record.uid}-{changes['HumanLoopStatus']}",
        "region": record.region,
        "time": changes["EndTime"],
        "source": "aws.sagemaker",
        "detail-type": "SageMaker A2I HumanLoop Status Change",
        "resources": [record.arn],
        "detail": detail,
    }
