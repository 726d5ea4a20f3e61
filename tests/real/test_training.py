"""Training jobs through boto3 against a running server."""

import io
import itertools
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.scripts import ROWS, TRAIN
from tests.server import BUCKET, SKLEARN, Server, await_that, channel, training_request

pytestmark = pytest.mark.real


def _object(server: Server, uri: str) -> bytes:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    return bytes(server.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


def test_a_script_trains_and_everything_about_it_is_told(server: Server) -> None:
    server.put("rows/rows.csv", ROWS)
    server.train(
        "whole",
        TRAIN,
        InputDataConfig=[channel("train", f"s3://{BUCKET}/rows/")],
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": server.put_source("whole", {"train.py": TRAIN}),
            "strength": "0.5",
        },
        AlgorithmSpecification={
            "TrainingImage": SKLEARN,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "acc", "Regex": "acc=([0-9.]+)"}],
        },
        Tags=[{"Key": "team", "Value": "blue"}],
    )
    found = server.trained("whole")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert found["FinalMetricDataList"][0]["Value"] == 0.7
    steps = [step["Status"] for step in found["SecondaryStatusTransitions"]]
    assert steps[0] == "Starting"
    assert steps[-2:] == ["Uploading", "Completed"]
    assert found["TrainingStartTime"] <= found["TrainingEndTime"]
    assert found["BillableTimeInSeconds"] >= 1
    artifact = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{BUCKET}/jobs/whole/output/model.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(_object(server, artifact))) as archive:
        assert archive.getnames() == ["model.joblib"]
    output = _object(server, f"s3://{BUCKET}/jobs/whole/output/output.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(output)) as archive:
        report = archive.extractfile("report.json")
        assert report is not None
        assert json.loads(report.read()) == {"rows": 12}
    lines = server.log_of("whole")
    assert [line for line in lines if line.startswith("step=")] == [
        "step=0 acc=0.5", "step=1 acc=0.6", "step=2 acc=0.7",
    ]  # fmt: skip
    tags = server.client("sagemaker").list_tags(ResourceArn=found["TrainingJobArn"])
    assert tags["Tags"] == [{"Key": "team", "Value": "blue"}]
    points = server.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="acc",
        Dimensions=[{"Name": "TrainingJobName", "Value": "whole"}],
        StartTime=found["TrainingStartTime"],
        EndTime=found["TrainingEndTime"],
        Period=60,
        Statistics=["Average", "SampleCount"],
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 3


FAILURES = {
    "raises": ("raise ValueError('bad rows')", "ValueError: bad rows"),
    "exits": ("import sys; sys.exit(7)", "exit code: 7"),
    "dies": ("import os; os.kill(os.getpid(), 9)", "exit code: 137"),
    "speaks": (
        "import os, sys\n"
        "open('/opt/ml/output/failure', 'w').write('no such column') if os.path.isdir('/opt/ml')"
        " else open(os.environ['SAGEMAKER_BASE_DIR'] + '/output/failure', 'w')"
        ".write('no such column')\n"
        "os._exit(1)",
        "no such column",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_script_fails_its_job_with_the_reason(server: Server, case: str) -> None:
    script, words = FAILURES[case]
    server.train(f"fails-{case}", script)
    found = server.trained(f"fails-{case}")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("AlgorithmError: ")
    assert words in found["FailureReason"]


def test_a_job_without_a_model_completes_and_cannot_be_deployed(server: Server) -> None:
    server.train("no-model", "print('nothing saved')")
    found = server.trained("no-model")
    assert found["TrainingJobStatus"] == "Completed"
    assert found["ModelArtifacts"]["S3ModelArtifacts"] == ""
    assert "nothing was written" in found["SecondaryStatusTransitions"][-1]["StatusMessage"]
    with pytest.raises(ClientError, match="Could not find model data"):
        server.client("sagemaker").create_model(
            ModelName="no-model",
            ExecutionRoleArn="arn:aws:iam::123456789012:role/R",
            PrimaryContainer={
                "Image": SKLEARN,
                "ModelDataUrl": f"s3://{BUCKET}/jobs/no-model/output/model.tar.gz",
            },
        )


def test_a_running_job_stops_and_keeps_what_it_saved(server: Server) -> None:
    script = """
import os, signal, sys, time
def end(*_):
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "partial"), "w") as stream:
        stream.write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(300)
"""
    server.train("stopped", script)
    sagemaker = server.client("sagemaker")

    def ready() -> bool | None:
        try:
            return True if "ready" in server.log_of("stopped") else None
        except ClientError:
            return None

    await_that(ready, "the script's first line")
    sagemaker.stop_training_job(TrainingJobName="stopped")
    found = server.trained("stopped")
    assert found["TrainingJobStatus"] == "Stopped"
    with tarfile.open(
        fileobj=io.BytesIO(_object(server, found["ModelArtifacts"]["S3ModelArtifacts"]))
    ) as archive:
        assert archive.getnames() == ["partial"]
    with pytest.raises(ClientError, match="can be stopped"):
        sagemaker.stop_training_job(TrainingJobName="stopped")


def test_a_job_over_its_runtime_is_stopped(server: Server) -> None:
    server.train(
        "overtime",
        "import time; time.sleep(300)",
        StoppingCondition={"MaxRuntimeInSeconds": 1},
    )
    found = server.trained("overtime")
    assert found["TrainingJobStatus"] == "Stopped"
    assert found["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_twenty_jobs_at_once_run_once_each_within_capacity(server: Server) -> None:
    script = "import time; print('began'); time.sleep(0.2); print('ended')"
    source = server.put_source("many", {"train.py": script})
    names = [f"many-{number}" for number in range(20)]
    sagemaker = server.client("sagemaker")

    def create(name: str) -> Any:
        return sagemaker.create_training_job(**training_request(name, source))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(create, names))
    found = [server.trained(name, 180) for name in names]
    assert {job["TrainingJobStatus"] for job in found} == {"Completed"}
    assert all(server.log_of(name).count("began") == 1 for name in names)
    # ml.m5.large has both CPUs of this server, so no two may have trained at the same time.
    spans = sorted((job["TrainingStartTime"], job["TrainingEndTime"]) for job in found)
    starts = [start for start, _ in spans]
    assert all(
        (later - earlier).total_seconds() >= 0.2 for earlier, later in itertools.pairwise(starts)
    )
    waited = [
        step["StatusMessage"]
        for job in found
        for step in job["SecondaryStatusTransitions"]
        if step["Status"] == "Starting"
    ]
    assert any("Waiting for capacity" in message for message in waited)


def test_two_hosts_know_each_other_and_share_the_data(server: Server) -> None:
    for number in range(4):
        server.put(f"parts/{number}.txt", str(number))
    script = """
import os
print(os.environ["SM_CURRENT_HOST"], os.environ["SM_HOSTS"],
      sorted(os.listdir(os.environ["SM_CHANNEL_PARTS"])))
"""
    sharded = channel("parts", f"s3://{BUCKET}/parts/")
    sharded["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    server.train(
        "two-hosts",
        script,
        InputDataConfig=[sharded],
        ResourceConfig={
            "InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1,
        },
    )  # fmt: skip
    assert server.trained("two-hosts")["TrainingJobStatus"] == "Completed"
    lines = [line for line in server.log_of("two-hosts") if line.startswith("algo-")]
    assert lines == [
        """algo-1 ["algo-1","algo-2"] ['0.txt', '2.txt']""",
        """algo-2 ["algo-1","algo-2"] ['1.txt', '3.txt']""",
    ]


def test_a_job_sees_nothing_of_others(server: Server) -> None:
    script = """
import os, socket
print("host", socket.gethostname())
print("others", [name for name in os.listdir("/opt/ml/input/data")])
print("processes", len([name for name in os.listdir("/proc") if name.isdigit()]))
for path in ("/etc/loopwright-test", "/usr/loopwright-test"):
    try:
        open(path, "w")
        print("wrote", path)
    except OSError:
        pass
print("home", os.path.exists(HOME))
open("/tmp/scratch", "w").close()
""".replace("HOME", repr(str(server.home / "keys.json")))
    server.train("alone", script)
    found = server.trained("alone")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    lines = server.log_of("alone")
    assert "host algo-1" in lines
    assert "others []" in lines
    assert "home False" in lines
    assert not [line for line in lines if line.startswith("wrote")]
    count = next(int(line.split()[1]) for line in lines if line.startswith("processes"))
    assert count <= 3


def test_network_isolation_is_real(server: Server) -> None:
    script = f"""
import socket
try:
    socket.create_connection(("127.0.0.1", {server.port}), 3)
    print("connected")
except OSError as error:
    print("refused", type(error).__name__)
"""
    server.train("isolated", script, EnableNetworkIsolation=True)
    server.train("connected", script)
    assert server.trained("isolated")["TrainingJobStatus"] == "Completed"
    assert server.trained("connected")["TrainingJobStatus"] == "Completed"
    assert any(line.startswith("refused") for line in server.log_of("isolated"))
    assert "connected" in server.log_of("connected")
