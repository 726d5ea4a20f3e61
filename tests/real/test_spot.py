"""Checkpoints and managed spot through boto3 against a running server."""

import json
import random
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import BUCKET, Server, await_that, training_request

pytestmark = pytest.mark.real
COUNTING = """\
import json, os, sys, time

path = "/opt/ml/checkpoints/state.json"
state = {"step": 0, "sum": 0}
if os.path.exists(path):
    state = json.load(open(path))
print("begins at", state["step"], flush=True)
while state["step"] < int(os.environ["STEPS"]):
    time.sleep(float(os.environ["PAUSE"]))
    state["step"] += 1
    state["sum"] = (state["sum"] * 31 + state["step"]) % 1_000_003
    with open(path + ".part", "w") as stream:
        json.dump(state, stream)
    os.rename(path + ".part", path)
    print("step", state["step"], flush=True)
open("/opt/ml/model/sum.txt", "w").write(str(state["sum"]))
print("ends with", state["sum"], flush=True)
"""


def _sum(steps: int) -> int:
    value = 0
    for step in range(1, steps + 1):
        value = (value * 31 + step) % 1_000_003
    return value


def _request(server: Server, name: str, steps: int, pause: float, **more: Any) -> dict[str, Any]:
    source = server.put_source("counting", {"train.py": COUNTING})
    request = training_request(name, source)
    request["Environment"] = {"STEPS": str(steps), "PAUSE": str(pause)}
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/ck/{name}"}
    request |= more
    return {key: value for key, value in request.items() if value is not None}


def _spot(server: Server, name: str, steps: int, pause: float, **more: Any) -> dict[str, Any]:
    stopping = {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600}
    more = {"EnableManagedSpotTraining": True, "StoppingCondition": stopping, **more}
    return _request(server, name, steps, pause, **more)


def _state(server: Server, name: str) -> dict[str, Any] | None:
    try:
        body = server.client("s3").get_object(Bucket=BUCKET, Key=f"ck/{name}/state.json")["Body"]
    except ClientError:
        return None
    return dict(json.loads(body.read()))


def _reaches(server: Server, name: str, step: int) -> None:
    def reached() -> bool | None:
        state = _state(server, name)
        return True if state is not None and state["step"] >= step else None

    await_that(reached, f"step {step} of {name}")


def _begins(server: Server, name: str) -> list[int]:
    lines = server.log_of(name)
    return [int(line.split()[-1]) for line in lines if line.startswith("begins")]


def _trains(server: Server, name: str) -> None:
    def trains() -> bool | None:
        found = server.client("sagemaker").describe_training_job(TrainingJobName=name)
        return True if found["SecondaryStatus"] == "Training" else None

    await_that(trains, f"{name} to train")


def _interrupt(name: str, server: Server) -> None:
    server.cli("spot interrupt", name)


def _told(found: dict[str, Any]) -> list[str]:
    steps = found["SecondaryStatusTransitions"]
    return [step["StatusMessage"] for step in steps if step["Status"] == "Interrupted"]


def test_checkpoints_are_in_s3_while_the_job_runs(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_request(server, "steady", 400, 0.05))
    _reaches(server, "steady", 3)
    server.client("sagemaker").stop_training_job(TrainingJobName="steady")
    assert server.trained("steady")["TrainingJobStatus"] == "Stopped"
    reached = _state(server, "steady")
    assert reached is not None
    again = _request(server, "steady-2", reached["step"] + 2, 0.01)
    again["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/ck/steady"}
    server.client("sagemaker").create_training_job(**again)
    assert server.trained("steady-2")["TrainingJobStatus"] == "Completed"
    assert _begins(server, "steady-2") == [reached["step"]]


def test_a_spot_job_interrupted_thrice_ends_like_one_that_was_not(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_spot(server, "thrice", 100, 0.1))
    for step in (5, 30, 55):
        _reaches(server, "thrice", step)
        seen = len(_begins(server, "thrice"))
        server.client("loopwright").interrupt_training_job(TrainingJobName="thrice")

        def goes_on(seen: int = seen) -> bool | None:
            return True if len(_begins(server, "thrice")) > seen else None

        await_that(goes_on, "the next attempt")
    found = server.trained("thrice")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    begins = _begins(server, "thrice")
    assert len(begins) == 4
    assert begins == sorted(set(begins))
    assert f"ends with {_sum(100)}" in server.log_of("thrice")
    steps = [step["Status"] for step in found["SecondaryStatusTransitions"]]
    assert steps.count("Interrupted") == 3
    assert steps[-1] == "Completed"
    assert 0 < found["BillableTimeInSeconds"] <= found["TrainingTimeInSeconds"]
    told = _told(found)
    assert all("last checkpoint" in text for text in told)


def test_work_without_checkpoints_is_told_to_be_lost(server: Server) -> None:
    request = _spot(server, "forgetful", 40, 0.1, CheckpointConfig=None)
    server.client("sagemaker").create_training_job(**request)
    _trains(server, "forgetful")
    server.client("loopwright").interrupt_training_job(TrainingJobName="forgetful")
    found = server.trained("forgetful")
    assert found["TrainingJobStatus"] == "Completed"
    told = _told(found)
    assert "no CheckpointConfig" in told[0]
    assert _begins(server, "forgetful") == [0, 0]


def test_a_job_on_demand_takes_the_room_of_a_spot_job(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_spot(server, "yields", 40, 0.1))
    _reaches(server, "yields", 2)
    server.client("sagemaker").create_training_job(**_request(server, "urgent", 3, 0.01))
    assert server.trained("urgent")["TrainingJobStatus"] == "Completed"
    found = server.trained("yields")
    assert found["TrainingJobStatus"] == "Completed"
    told = _told(found)
    assert "urgent needs the capacity" in told[0]
    begins = _begins(server, "yields")
    assert begins[0] == 0
    assert begins[1] >= 2


def test_a_notice_is_given_before_the_end(server: Server) -> None:
    script = """\
import json, os, signal, sys, time
def told(number, frame):
    print("notice", json.load(open("/opt/ml/.loopwright/interruption.json"))["reason"], flush=True)
    sys.exit(0)
if os.path.exists("/opt/ml/checkpoints/mark"):
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
open("/opt/ml/checkpoints/mark", "w").close()
print("waits", flush=True)
time.sleep(60)
"""
    request = _spot(server, "noticed", 1, 0.1)
    request["HyperParameters"]["sagemaker_submit_directory"] = server.put_source(
        "noticed", {"train.py": script}
    )
    server.client("sagemaker").create_training_job(**request)
    await_that(lambda: "waits" in server.log_of("noticed") or None, "the script")
    _trains(server, "noticed")
    _interrupt("noticed", server)
    assert server.trained("noticed")["TrainingJobStatus"] == "Completed"
    assert "notice an interruption was asked for" in server.log_of("noticed")


def test_only_running_spot_jobs_can_be_interrupted(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_request(server, "on-demand", 60, 0.1))
    with pytest.raises(ClientError, match="no managed spot job"):
        server.client("loopwright").interrupt_training_job(TrainingJobName="on-demand")
    with pytest.raises(ClientError, match="nobody"):
        server.client("loopwright").interrupt_training_job(TrainingJobName="nobody")
    server.client("sagemaker").stop_training_job(TrainingJobName="on-demand")


def test_waiting_too_long_ends_a_spot_job(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_request(server, "blocker", 60, 0.1))
    _trains(server, "blocker")
    stopping = {"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 2}
    request = _spot(server, "impatient", 1, 0.1, StoppingCondition=stopping)
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("impatient")
    assert found["TrainingJobStatus"] == "Stopped"
    assert found["SecondaryStatus"] == "MaxWaitTimeExceeded"
    server.client("sagemaker").stop_training_job(TrainingJobName="blocker")


def test_a_killed_job_with_retries_goes_on_from_its_checkpoint(server: Server) -> None:
    kill = 'if state["step"] == 5 and not resumed: os.kill(os.getpid(), 9)'
    script = COUNTING.replace('    print("step"', f'    {kill}\n    print("step"')
    script = script.replace('print("begins', 'resumed = state["step"] > 0\nprint("begins')
    request = _request(server, "retried", 7, 0.6, RetryStrategy={"MaximumRetryAttempts": 1})
    request["HyperParameters"]["sagemaker_submit_directory"] = server.put_source(
        "retried", {"train.py": script}
    )
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("retried")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    begins = _begins(server, "retried")
    assert begins[0] == 0
    # The very last checkpoint counts if the disk's clock shows that it was renamed into place.
    assert begins[1] in (3, 4, 5)


def test_kills_of_the_control_plane_tear_no_checkpoint(own_server: Server) -> None:
    request = _spot(own_server, "battered", 200, 0.1)
    own_server.client("sagemaker").create_training_job(**request)
    chooser = random.Random(3)
    for round_number in range(4):
        time.sleep(chooser.uniform(0.2, 1.5))  # The instant is what is tried.
        own_server.kill()
        own_server.start()
        if round_number % 2:
            _trains(own_server, "battered")
            own_server.client("loopwright").interrupt_training_job(TrainingJobName="battered")
    found = own_server.trained("battered", 120)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    begins = _begins(own_server, "battered")
    assert begins == sorted(begins)
    assert f"ends with {_sum(200)}" in own_server.log_of("battered")


def test_the_library_resumes(server: Server) -> None:
    script = """\
import time
from loopwright.runtime.checkpoints import Checkpoints
state = {"sum": 0}
checkpoints = Checkpoints(keep=2)
step = checkpoints.resume(state=state)
print("begins at", step, flush=True)
while step < 60:
    time.sleep(0.1)
    step += 1
    state["sum"] += step
    checkpoints.save(step, state=state)
print("ends with", state["sum"], flush=True)
"""
    request = _spot(server, "library", 60, 0.1)
    request["HyperParameters"]["sagemaker_submit_directory"] = server.put_source(
        "library", {"train.py": script}
    )
    client = server.client("sagemaker")
    client.create_training_job(**request)

    def kept() -> bool | None:
        found = server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="ck/library/step-")
        return True if found["KeyCount"] >= 6 else None

    await_that(kept, "two checkpoints of three files")
    _trains(server, "library")
    server.client("loopwright").interrupt_training_job(TrainingJobName="library")
    assert server.trained("library")["TrainingJobStatus"] == "Completed"
    begins = _begins(server, "library")
    assert len(begins) == 2
    assert begins[1] >= 2
    assert f"ends with {60 * 61 // 2}" in server.log_of("library")
