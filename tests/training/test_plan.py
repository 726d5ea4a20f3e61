"""The planner of training jobs as what it is: a function of record, view and time."""

from typing import Any

import pytest

from loopwright.contract.trials import PAUSE_AT, PAUSED, TRIAL
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Observation
from loopwright.training.plan import TIMED_OUT, initial_status, training_planner
from loopwright.training.spot import INTERRUPT
from loopwright.training.trial import PAUSING
from tests.planning import MACHINE, in_words, record, unit
from tests.server import training_request

SPEC = training_request("j", "s3://b/code.tar.gz")
HOSTS = {**SPEC, "ResourceConfig": {**SPEC["ResourceConfig"], "InstanceCount": 2}}
RETRIES = {**SPEC, "RetryStrategy": {"MaximumRetryAttempts": 1}}
SPOT = {
    **SPEC,
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 400},
    "CheckpointConfig": {"S3Uri": "s3://b/kept"},
}
TRIED = {**SPEC, TRIAL: {"target": 3, "rungs": [3, 9]}, "CheckpointConfig": {"S3Uri": "s3://b/k"}}
RUNS = Observation("running", started=1005.0)
ENDED = Observation("exited", 0, started=1005.0, ended=1015.0)
FAILED = Observation("exited", 3, "no rows", started=1005.0, ended=1015.0)
KILLED = Observation("exited", 137, "", started=1005.0, ended=1015.0)
DONE = {"value": {"model": "s3://b/m", "checkpoints": {"uri": "s3://b/kept"}}}


def seen(*units: Observation, calls: dict[str, Any] | None = None, attempt: int = 0) -> View:
    names = {f"TrainingJob/j/u#{attempt}.{rank}": found for rank, found in enumerate(units)}
    keys = {f"TrainingJob/j/u#0.0/{name}": value for name, value in (calls or {}).items()}
    return View(units=names, calls=keys)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], View, list[str]]] = {
    # what: spec, status besides the first one, view, actions at 1010
    "new": (SPEC, {}, View(), ["start 0.0"]),
    "new, of two hosts": (HOSTS, {}, View(), ["start 0.0", "start 0.1"]),
    "one host was asked for": (HOSTS, {}, unit(0, RUNS), ["start 0.1"]),
    "stopped before its start": (
        SPEC, {STOPPING: True}, View(),
        ["set SecondaryStatus=Stopped TrainingEndTime=1010.0 TrainingJobStatus=Stopped"],
    ),
    "waits for room": (
        SPEC, {}, unit(0, Observation("queued", message="4 CPUs")),
        ["set SecondaryStatus=Starting"],
    ),
    "inputs come": (
        SPEC, {}, unit(0, Observation("preparing")), ["set SecondaryStatus=Downloading"],
    ),
    "runs": (
        SPEC, {}, unit(0, RUNS),
        ["set SecondaryStatus=Training TrainingStartTime=1005.0", "wake 1305"],
    ),
    "runs too long": (
        SPEC | {"StoppingCondition": {"MaxRuntimeInSeconds": 5}}, {}, unit(0, RUNS),
        ["set TimedOut=MaxRuntimeExceeded", "stop 0.0 in 120"],
    ),
    "is being stopped": (
        SPEC, {STOPPING: True}, unit(0, RUNS),
        ["set SecondaryStatus=Stopping", "stop 0.0 in 120"],
    ),
    "one host failed": (HOSTS, {}, seen(FAILED, RUNS), ["stop 0.1 in 5"]),
    "ended": (SPEC, {}, unit(0, ENDED), ["set SecondaryStatus=Uploading", "call collect collect"]),
    "uploads": (SPEC, {}, seen(ENDED, calls={"collect": None}), []),
    "uploaded": (
        SPEC, {}, seen(ENDED, calls={"collect": DONE}),
        ["set BillableTimeInSeconds=10 SecondaryStatus=Completed TrainingEndTime=1010.0 "
         "TrainingJobStatus=Completed TrainingStartTime=1005.0 TrainingTimeInSeconds=10"],
    ),
    "cannot upload": (
        SPEC, {}, seen(ENDED, calls={"collect": {"error": "no bucket", "code": "x"}}),
        ["set BillableTimeInSeconds=10 FailureReason=ClientError: the artifacts could not be "
         "uploaded: no bucket SecondaryStatus=Failed TrainingEndTime=1010.0 "
         "TrainingJobStatus=Failed TrainingStartTime=1005.0 TrainingTimeInSeconds=10"],
    ),
    "failed": (
        SPEC, {}, seen(FAILED, calls={"collect": DONE}),
        ["set BillableTimeInSeconds=10 FailureReason=AlgorithmError: no rows, exit code: 3 "
         "SecondaryStatus=Failed TrainingEndTime=1010.0 TrainingJobStatus=Failed "
         "TrainingStartTime=1005.0 TrainingTimeInSeconds=10"],
    ),
    "stopped": (
        SPEC, {STOPPING: True}, seen(FAILED, calls={"collect": DONE}),
        ["set BillableTimeInSeconds=10 SecondaryStatus=Stopped TrainingEndTime=1010.0 "
         "TrainingJobStatus=Stopped TrainingStartTime=1005.0 TrainingTimeInSeconds=10"],
    ),
    "ended by its time": (
        SPEC, {TIMED_OUT: "MaxRuntimeExceeded"}, seen(FAILED, calls={"collect": DONE}),
        ["set BillableTimeInSeconds=10 SecondaryStatus=MaxRuntimeExceeded TrainingEndTime=1010.0 "
         "TrainingJobStatus=Stopped TrainingStartTime=1005.0 TrainingTimeInSeconds=10"],
    ),
    "inputs could not be had": (
        SPEC, {}, unit(0, Observation("exited", 1, "ClientError: no data", ended=1009.0)),
        ["set FailureReason=ClientError: no data SecondaryStatus=Failed TrainingEndTime=1010.0 "
         "TrainingJobStatus=Failed"],
    ),
    "a host was killed": (
        RETRIES, {}, unit(0, KILLED),
        ["set Attempt=1 PriorSeconds=10.0 Retries=1 SecondaryStatus=Interrupted", "wake 1010"],
    ),
    "no retry is left": (
        RETRIES, {"Retries": 1}, unit(0, KILLED),
        ["set SecondaryStatus=Uploading", "call collect collect"],
    ),
    "spot capacity is asked back": (
        SPOT, {INTERRUPT: True}, unit(0, RUNS),
        ["set", "stop 0.0 in 120 because an interruption was asked for"],
    ),
    "spot waited too long": (
        SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 5, "MaxWaitTimeInSeconds": 6}}, {},
        unit(0, Observation("queued")),
        ["set TimedOut=MaxWaitTimeExceeded", "stop 0.0 in 120"],
    ),
    "a trial reached its step": (
        TRIED, {}, unit(0, Observation("running", started=1005.0, curve=[[1, 0.5], [3, 0.4]])),
        ["set CountsFromZero=False Pausing=True", "stop 0.0 in 120"],
    ),
    "a trial is pausing": (
        TRIED, {PAUSING: True}, unit(0, FAILED), ["call collect pause"],
    ),
    "a trial is paused": (
        TRIED, {PAUSING: True}, seen(FAILED, calls={"pause": DONE}),
        ["set PausedAt=0 PriorSeconds=10.0 SecondaryStatus=Interrupted", "rest"],
    ),
    "a paused trial rests": (TRIED, {PAUSED: 3}, View(), ["rest"]),
    "a paused trial is promoted": (
        TRIED, {PAUSED: 3, PAUSE_AT: 9}, View(),
        ["set Attempt=1 SecondaryStatus=Restarting", "wake 1010"],
    ),
    "a paused trial is stopped": (
        TRIED, {PAUSED: 3, PAUSING: True, STOPPING: True, "TrainingStartTime": 1005.0},
        seen(FAILED, calls={"collect": DONE}),
        ["set BillableTimeInSeconds=1 SecondaryStatus=Stopped TrainingEndTime=1010.0 "
         "TrainingJobStatus=Stopped TrainingStartTime=1005.0 TrainingTimeInSeconds=1"],
    ),
    "is over": (SPEC, {"TrainingJobStatus": "Completed"}, View(), []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_done(case: str) -> None:
    spec, status, view, wanted = CASES[case]
    job = record("TrainingJob", spec, {**initial_status(spec, 1000.0), **status})
    plan = training_planner(MACHINE)
    assert in_words(plan(job, view, 1010.0)) == wanted
    # It remembers nothing.
    assert in_words(plan(job, view, 1010.0)) == wanted
