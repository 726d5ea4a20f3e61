"""What happens to a training job: wait, download, train, upload, end."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.gang import Gang, gang_of
from loopwright.contract.instances import Machine
from loopwright.contract.programs import failed_reason
from loopwright.kernel.actions import Action, Call, SetStatus, Wake
from loopwright.kernel.engine import Planner, View
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record
from loopwright.training.program import instance_count, programs

FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
STOP_GRACE_S: Final = 120.0
ATTEMPT: Final = "Attempt"
TIMED_OUT: Final = "TimedOut"
RUNTIME_DEFAULT_S: Final = 86_400
MESSAGES: Final = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training in progress",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Restarting": "Starting the training job again after an internal error",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


def initial_status(_spec: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The status of a job that was just accepted."""
    return {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": now, "StatusMessage": MESSAGES["Starting"]}
        ],
    }


def training_planner(machine: Machine) -> Planner:
    """The planner of training jobs on this machine."""

    def plan(record: Record, view: View, now: float) -> list[Action]:
        if record.status["TrainingJobStatus"] in FINISHED:
            return []
        attempt = record.status.get(ATTEMPT, 0)
        gang = gang_of(record, view.units, attempt, instance_count(record.spec))
        if not gang.asked:
            if record.status.get(STOPPING):
                return [_finish(record, now, "Stopped", "Stopped", gang)]
            return gang.start(programs(record, machine, attempt))
        if not gang.over:
            return _attend(record, gang, now)
        return _conclude(record, view, gang, now)

    return plan


def _attend(record: Record, gang: Gang, now: float) -> list[Action]:
    """While units wait or run: show where they are, and end them when their time is over."""
    status = record.status
    if status.get(STOPPING) or status.get(TIMED_OUT):
        return [_move(record, now, "Stopping"), *gang.stop(STOP_GRACE_S)]
    if gang.failure is not None:
        return gang.stop(STOP_GRACE_S)
    if gang.stage == "waiting":
        return [_move(record, now, "Starting", gang.waits_for)]
    if gang.stage == "preparing":
        return [_move(record, now, "Downloading")]
    started = gang.started if gang.started is not None else now
    limit_s = record.spec.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", RUNTIME_DEFAULT_S)
    if now >= started + limit_s:
        return [
            SetStatus({TIMED_OUT: True}, f"Ran longer than MaxRuntimeInSeconds, {limit_s} s"),
            *gang.stop(STOP_GRACE_S),
        ]
    moved = _move(record, now, "Training", extra={"TrainingStartTime": started})
    return [moved, Wake(started + limit_s)]


def _conclude(record: Record, view: View, gang: Gang, now: float) -> list[Action]:
    """When every unit is over: try again, or upload what there is and end."""
    status = record.status
    ended_by_us = bool(status.get(STOPPING) or status.get(TIMED_OUT))
    failure = gang.failure
    if failure is not None and not ended_by_us:
        attempt = status.get(ATTEMPT, 0)
        retries = record.spec.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        if failure.state == "lost" and attempt < retries:
            return [_move(record, now, "Restarting", extra={ATTEMPT: attempt + 1})]
    if gang.started is None:
        if failure is not None and not ended_by_us:
            return [_fail(record, now, gang)]
        return [_finish(record, now, "Stopped", "Stopped", gang)]
    key = f"{gang.ids[0]}/collect"
    if key not in view.calls:
        call = Call("collect", key, {"units": list(gang.ids), "items": _outputs(record)})
        return [_move(record, now, "Uploading"), call]
    result = view.calls[key]
    if result is None:
        return []
    if "error" in result:
        reason = f"ClientError: the artifacts could not be uploaded: {result['error']}"
        return [_finish(record, now, "Failed", "Failed", gang, {"FailureReason": reason[:1024]})]
    extra: dict[str, Any] = {}
    if result["value"].get("model"):
        extra["ModelArtifacts"] = {"S3ModelArtifacts": result["value"]["model"]}
    if failure is not None and not ended_by_us:
        return [_fail(record, now, gang, extra)]
    if status.get(TIMED_OUT):
        return [_finish(record, now, "Stopped", "MaxRuntimeExceeded", gang, extra)]
    if status.get(STOPPING):
        return [_finish(record, now, "Stopped", "Stopped", gang, extra)]
    return [_finish(record, now, "Completed", "Completed", gang, extra)]


def _outputs(record: Record) -> list[dict[str, Any]]:
    """What is uploaded from the units' folders, and where to."""
    config = record.spec["OutputDataConfig"]
    root = f"{config['S3OutputPath'].rstrip('/')}/{record.name}/output"
    archive = config.get("CompressionType", "GZIP") == "GZIP"
    mode = "archive" if archive else "tree"
    ending = ".tar.gz" if archive else "/"
    found = [
        {"name": "model", "folder": "model", "uri": f"{root}/model{ending}", "mode": mode},
        {"name": "output", "folder": "output/data", "uri": f"{root}/output{ending}", "mode": mode},
    ]
    checkpoints = record.spec.get("CheckpointConfig")
    if checkpoints:
        path = checkpoints.get("LocalPath", "/opt/ml/checkpoints").removeprefix("/opt/ml/")
        uri = checkpoints["S3Uri"].rstrip("/") + "/"
        found.append({"name": "checkpoints", "folder": path, "uri": uri, "mode": "tree"})
    return found


def _fail(
    record: Record, now: float, gang: Gang, extra: Mapping[str, Any] | None = None
) -> SetStatus:
    failure = gang.failure
    assert failure is not None
    if failure.state == "lost":
        reason = "InternalServerError: the unit was lost: its supervising process was killed."
    elif gang.started is None:
        reason = failure.message
    else:
        reason = failed_reason(failure.exit_code, failure.message)
    merged = {**(extra or {}), "FailureReason": reason[:1024]}
    return _finish(record, now, "Failed", "Failed", gang, merged)


def _finish(
    record: Record,
    now: float,
    state: str,
    secondary: str,
    gang: Gang,
    extra: Mapping[str, Any] | None = None,
) -> SetStatus:
    """The last change of a job: times, final metrics, artifacts."""
    changes: dict[str, Any] = {"TrainingJobStatus": state, **(extra or {})}
    started = gang.started
    changes["TrainingEndTime"] = now
    if started is not None:
        seconds = max(1, round((gang.ended or now) - started))
        changes |= {
            "TrainingStartTime": started,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds * instance_count(record.spec),
        }
    metrics = [
        {"MetricName": name, "Value": value, "Timestamp": at}
        for name, (value, at) in sorted(gang.metrics.items())
    ]
    if metrics:
        changes["FinalMetricDataList"] = metrics
    message = changes.get("FailureReason", "")
    if state == "Completed" and "ModelArtifacts" not in changes:
        message = "Training job completed; nothing was written to /opt/ml/model"
    return _move(record, now, secondary, message, changes)


def _move(
    record: Record,
    now: float,
    secondary: str,
    message: str = "",
    extra: Mapping[str, Any] | None = None,
) -> SetStatus:
    """Enter a secondary status, or only renew its message."""
    transitions = [dict(step) for step in record.status["SecondaryStatusTransitions"]]
    text = message or MESSAGES.get(secondary, secondary)
    if transitions[-1]["Status"] == secondary:
        transitions[-1]["StatusMessage"] = text
        event = ""
    else:
        transitions[-1]["EndTime"] = now
        transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": text})
        event = f"{secondary}: {text}"
    if extra and extra.get("TrainingJobStatus") in FINISHED:
        transitions[-1]["EndTime"] = now
    changes = {
        **(extra or {}),
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": transitions,
    }
    return SetStatus(changes, event)
