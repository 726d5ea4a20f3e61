"""What happens to a training job: wait, download, train, upload, end."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.defaults import RUNTIME_S
from loopwright.contract.gang import Gang, gang_of
from loopwright.contract.instances import Machine
from loopwright.contract.programs import failed_reason
from loopwright.contract.trials import CURVE, PAUSED, PRIOR_S, STOP_REASON, TRIAL, reached
from loopwright.kernel.actions import Action, Call, Rest, SetStatus, Wake
from loopwright.kernel.engine import Planner, View
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record
from loopwright.kernel.units import SPOT_GRACE_S
from loopwright.training.program import checkpoints_of, instance_count, programs
from loopwright.training.spot import (
    INTERRUPT,
    Schedule,
    again,
    attempt_after,
    fate,
    frequency,
    interruption,
    waits_until,
)
from loopwright.training.trial import PAUSING, followed, paused, resumes, should_pause

FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
STOP_GRACE_S: Final = 120.0
FAILED_GRACE_S: Final = 5.0
"""For the hosts of a job of which one has failed: what they do comes to nothing."""
ATTEMPT: Final = "Attempt"
TIMED_OUT: Final = "TimedOut"
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
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
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


def training_planner(machine: Machine, schedule: Schedule | None = None) -> Planner:
    """The planner of training jobs on this machine.

    Args:
        schedule: Interruptions of managed spot jobs besides those that others' need brings.
    """

    def plan(record: Record, view: View, now: float) -> list[Action]:
        if record.status["TrainingJobStatus"] in FINISHED:
            return []
        if PAUSED in record.status and not record.status.get(STOPPING):
            return _rest(record, now)
        attempt = record.status.get(ATTEMPT, 0)
        gang = gang_of(record, view.units, attempt, instance_count(record.spec))
        if not gang.asked:
            if record.status.get(STOPPING):
                return [_finish(record, now, "Stopped", "Stopped", gang)]
            return gang.start(programs(record, machine))
        if not gang.over:
            return _attend(record, gang, now, schedule)
        status = record.status
        pausing = PAUSING in status and PAUSED not in status and not _ended(record)
        if pausing and not _completed(record, gang):
            return _pause(record, view, gang, now)
        why = again(record, gang)
        if why and not _ended(record):
            return _start_again(record, view, gang, now, why)
        return _conclude(record, view, gang, now)

    return plan


def _ended(record: Record) -> bool:
    """Whether the job is to end, by a stop or by its time."""
    return bool(record.status.get(STOPPING) or record.status.get(TIMED_OUT))


def _completed(record: Record, gang: Gang) -> bool:
    """Whether a job that was to be paused had done all its steps, and ended well, before that."""
    rungs = record.spec[TRIAL].get("rungs") or [0]
    return gang.failure is None and reached(record.status.get(CURVE, ())) >= rungs[-1]


def _rest(record: Record, now: float) -> list[Action]:
    """While a trial is paused: go on when tuning says so."""
    changes = resumes(record)
    if changes is None:
        return [Rest()]
    text = f"Going on from step {record.status[PAUSED]}"
    return [_move(record, now, "Restarting", text, changes), Wake(now)]


def _start_again(record: Record, view: View, gang: Gang, now: float, why: str) -> list[Action]:
    """When another attempt follows: keep the checkpoint of this one, then ask for new units."""
    key = f"{gang.ids[0]}/again"
    items = [item for item in _outputs(record) if item["name"] == "checkpoints"]
    uploaded = False
    if items and gang.started is not None:
        if key not in view.calls:
            return [Call("collect", key, {"units": list(gang.ids), "items": items})]
        result = view.calls[key]
        if result is None:
            return []
        if "error" in result:
            reason = f"ClientError: the checkpoint could not be uploaded: {result['error']}"[:1024]
            return [_finish(record, now, "Failed", "Failed", gang, {"FailureReason": reason})]
        uploaded = bool(result["value"].get("checkpoints"))
    changes = attempt_after(record, gang)
    text = f"{why}; {fate(record, gang, uploaded)}"
    moved = _move(record, now, "Interrupted", text, changes)
    advice = frequency(changes, view.calls.get(key))
    return [moved, *([SetStatus({"Advised": advice}, advice)] if advice else []), Wake(now)]


def _pause(record: Record, view: View, gang: Gang, now: float) -> list[Action]:
    """When the units of a job ended because it is to be paused: keep its checkpoint."""
    key = f"{gang.ids[0]}/pause"
    result = view.calls.get(key)
    if key not in view.calls:
        items = [item for item in _outputs(record) if item["name"] == "checkpoints"]
        return [Call("collect", key, {"units": list(gang.ids), "items": items})]
    if result is None:
        return []
    if "error" in result:
        reason = f"ClientError: the checkpoint could not be uploaded: {result['error']}"
        return [_finish(record, now, "Failed", "Failed", gang, {"FailureReason": reason[:1024]})]
    uploaded = bool(result["value"].get("checkpoints"))
    changes = paused(record, gang, uploaded)
    text = f"Paused at step {changes[PAUSED]}; it goes on if tuning promotes it"
    return [_move(record, now, "Interrupted", text, changes), Rest()]


def _attend(record: Record, gang: Gang, now: float, schedule: Schedule | None) -> list[Action]:
    """While units wait or run: show where they are, and end them when their time is over."""
    status = record.status
    wait_end = waits_until(record)
    if wait_end is not None and now >= wait_end and not _ended(record):
        limit_s = record.spec["StoppingCondition"]["MaxWaitTimeInSeconds"]
        text = f"Took longer than MaxWaitTimeInSeconds, {limit_s} s, with its interruptions"
        change = SetStatus({TIMED_OUT: "MaxWaitTimeExceeded"}, text)
        return [change, *gang.stop(STOP_GRACE_S)]
    followed_now = followed(record, gang)
    if _ended(record):
        return [_move(record, now, "Stopping", extra=followed_now), *gang.stop(STOP_GRACE_S)]
    if PAUSING in status:
        return [SetStatus(followed_now), *gang.stop(STOP_GRACE_S)]
    if gang.failure is not None:
        return gang.stop(FAILED_GRACE_S)
    waits = [Wake(wait_end)] if wait_end is not None else []
    if gang.stage == "waiting":
        return [_move(record, now, "Starting", gang.waits_for), *waits]
    if gang.stage == "preparing":
        return [_move(record, now, "Downloading"), *waits]
    started = gang.started if gang.started is not None else now
    limit_s = record.spec.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", RUNTIME_S)
    end = started + limit_s - status.get(PRIOR_S, 0)
    if now >= end:
        return [
            SetStatus(
                {TIMED_OUT: "MaxRuntimeExceeded"},
                f"Ran longer than MaxRuntimeInSeconds, {limit_s} s",
            ),
            *gang.stop(STOP_GRACE_S),
        ]
    if should_pause(record, followed_now):
        text = f"Reached step {reached(followed_now[CURVE])}: pausing"
        return [SetStatus({**followed_now, PAUSING: True}, text), *gang.stop(STOP_GRACE_S)]
    taken_back, interruption_at = interruption(record, started, now, schedule)
    if taken_back:
        asked = SetStatus({**followed_now, INTERRUPT: None}, f"Interrupting: {taken_back}")
        return [asked, *gang.stop(SPOT_GRACE_S, taken_back)]
    first = status.get("TrainingStartTime", started)
    moved = _move(record, now, "Training", extra={"TrainingStartTime": first, **followed_now})
    return [moved, *(Wake(at) for at in (end, wait_end, interruption_at) if at is not None)]


def _conclude(record: Record, view: View, gang: Gang, now: float) -> list[Action]:
    """When every unit is over: try again, or upload what there is and end."""
    status = record.status
    ended_by_us = _ended(record)
    failure = gang.failure
    if gang.started is None:
        if failure is not None and not ended_by_us:
            return [_fail(record, now, gang)]
        return [_finish(record, now, "Stopped", status.get(TIMED_OUT, "Stopped"), gang)]
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
        return [_finish(record, now, "Stopped", status[TIMED_OUT], gang, extra)]
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
    kept = checkpoints_of(record.spec)
    if kept is not None:
        found.append({"name": "checkpoints", "mode": "checkpoints", **kept})
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
    status = record.status
    changes: dict[str, Any] = {
        "TrainingJobStatus": state,
        **followed(record, gang),
        **(extra or {}),
    }
    started = status.get("TrainingStartTime", gang.started)
    changes["TrainingEndTime"] = now
    if started is not None:
        latest_s = 0.0 if PAUSED in status else gang.seconds
        ran_s = max(1, round(status.get(PRIOR_S, 0) + latest_s))
        spot = record.spec.get("EnableManagedSpotTraining")
        changes |= {
            "TrainingStartTime": started,
            # Of a spot job with its interruptions: what it did not run was not paid for.
            "TrainingTimeInSeconds": max(ran_s, round(now - started)) if spot else ran_s,
            "BillableTimeInSeconds": ran_s * instance_count(record.spec),
        }
    metrics = [
        {"MetricName": name, "Value": value, "Timestamp": at}
        for name, (value, at) in sorted(gang.metrics.items())
        if value is not None
    ]
    if metrics:
        changes["FinalMetricDataList"] = metrics
    message = changes.get("FailureReason", "")
    if state == "Stopped":
        message = status.get(STOP_REASON, "")
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
