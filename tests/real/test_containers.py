"""The course's four steps with an image of one's own, through the unmodified clients, and kills."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.images import REPOSITORY, Workshop
from tests.server import (
    BUCKET,
    ROLE,
    Server,
    await_that,
    channel,
    packed,
    training_request,
    variant,
)

pytestmark = pytest.mark.real
SDK = """\
import json, sys, time
import boto3
import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor

uri, folder = sys.argv[1:]
role = sagemaker.get_execution_role()
session = sagemaker.Session()
client = boto3.client("sagemaker")


def over(describe, member, **name):
    while (state := describe(**name)[member]) not in ("Completed", "Failed", "InService"):
        time.sleep(0.1)
    assert state != "Failed", describe(**name)


data = session.upload_data(f"{folder}/numbers.csv", key_prefix="own/train")
estimator = Estimator(
    image_uri=uri, role=role, instance_count=1, instance_type="ml.m5.large",
    hyperparameters={"scale": 2}, sagemaker_session=session,
    metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
)
estimator.fit({"train": data.rpartition("/")[0]}, wait=False)
job = estimator.latest_training_job.name
over(client.describe_training_job, "TrainingJobStatus", TrainingJobName=job)
processor = Processor(
    image_uri=uri, role=role, instance_count=1, instance_type="ml.m5.large",
    entrypoint=["python3", "/opt/program/process.py"], env={"MARK": "here"},
    sagemaker_session=session,
)
processor.run(
    inputs=[ProcessingInput(source=f"{folder}/data.csv", destination="/opt/ml/processing/input")],
    outputs=[ProcessingOutput(source="/opt/ml/processing/output", output_name="counted")],
    arguments=["one", "two"], wait=False, logs=False,
)
name = processor.latest_job.job_name
over(client.describe_processing_job, "ProcessingJobStatus", ProcessingJobName=name)
output = processor.latest_job.outputs[0].destination
predictor = estimator.deploy(
    initial_instance_count=1, instance_type="ml.m5.large", endpoint_name="own-image",
    env={"CALL_BACK": "1"}, wait=False,
)
over(client.describe_endpoint, "EndpointStatus", EndpointName="own-image")
answer = json.loads(predictor.predict(b"5", initial_args={"ContentType": "text/csv"}))
predictor.delete_endpoint()
print("RESULT", json.dumps({
    "answer": answer, "job": job,
    "counted": sagemaker.s3.S3Downloader.read_file(f"{output}/count.txt", session),
}))
"""


def request(workshop: Workshop, name: str, code: str, **more: Any) -> dict[str, Any]:
    """A training job whose container runs a piece of Python."""
    found = {
        **training_request(name, ""),
        # A hyperparameter is one line.
        "HyperParameters": {"code": json.dumps(code)},
        "AlgorithmSpecification": {"TrainingImage": workshop.uri, "TrainingInputMode": "File"},
    }
    return {**found, **more}


def train(workshop: Workshop, name: str, code: str, **more: Any) -> None:
    workshop.server.put(f"own/{name}", "")
    workshop.server.client("sagemaker").create_training_job(**request(workshop, name, code, **more))


def says(server: Server, name: str, line: str) -> None:
    """Wait until a job has said something."""

    def said() -> bool | None:
        try:
            return True if line in server.log_of(name) else None
        except ClientError:
            return None

    await_that(said, f"{line!r} of {name}")


def unit_container(workshop: Workshop) -> str:
    """The name of the one container that runs for a unit."""

    def only() -> str | None:
        found = [name for name in workshop.containers() if name.startswith("loopwright-")]
        return found[0] if len(found) == 1 else None

    return await_that(only, "a single container")


def test_the_sdk_trains_processes_and_serves_with_ones_own_image(
    workshop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "numbers.csv").write_text("1 2 3 6")
    (tmp_path / "data.csv").write_text("a b c d e")
    (tmp_path / "flow.py").write_text(SDK)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "flow.py"), workshop.uri, str(tmp_path)],
        env=workshop.environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.rpartition("RESULT ")[2].splitlines()[0])
    assert found["answer"] == {"score": 4.0}
    assert found["counted"] == "5 one two here"
    server = workshop.server
    job = server.trained(found["job"])
    assert job["FinalMetricDataList"][0]["MetricName"] == "loss"
    lines = server.log_of(found["job"])
    assert f"job {found['job']} rows 4" in lines
    logs = server.client("logs")
    group = "/aws/sagemaker/Endpoints/own-image"
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    assert [event["message"] for event in events["events"]] == ["loopwright answers 403"]


def test_an_endpoint_lives_through_kills_and_its_updates(workshop: Workshop) -> None:
    server = workshop.server
    sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
    model = server.put(
        "own/model.tar.gz", packed({"mean.json": json.dumps({"mean": 1.0, "scale": "2"})})
    )
    account = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    for name, isolated in (("open", False), ("closed", True)):
        container = {
            "Image": f"{account}/{REPOSITORY}:1", "ModelDataUrl": model,
            "Environment": {"CALL_BACK": "1"},
        }  # fmt: skip
        sagemaker.create_model(
            ModelName=f"own-{name}", ExecutionRoleArn=ROLE, PrimaryContainer=container,
            EnableNetworkIsolation=isolated,
        )  # fmt: skip
        sagemaker.create_endpoint_config(
            EndpointConfigName=f"own-{name}",
            ProductionVariants=[variant("AllTraffic", f"own-{name}")],
        )

    def ask(value: str) -> Any:
        answer = runtime.invoke_endpoint(EndpointName="own-lives", Body=value)
        return json.loads(answer["Body"].read())["score"]

    sagemaker.create_endpoint(EndpointName="own-lives", EndpointConfigName="own-open")
    assert server.endpoint("own-lives")["EndpointStatus"] == "InService"
    assert ask("3") == 4.0
    server.kill()
    assert ask("4") == 6.0
    server.start()
    name = unit_container(workshop)
    workshop.docker("kill", name)

    def healed() -> bool | None:
        try:
            return True if ask("3") == 4.0 and name not in workshop.containers() else None
        except ClientError:
            return None

    await_that(healed, "another instance")
    sagemaker.update_endpoint(EndpointName="own-lives", EndpointConfigName="own-closed")

    def updated() -> bool | None:
        found = sagemaker.describe_endpoint(EndpointName="own-lives")
        done = found["EndpointConfigName"] == "own-closed"
        return True if done and found["EndpointStatus"] == "InService" else None

    await_that(updated, "the update to a model without network")
    assert ask("1") == 0.0
    assert ask("2") == 2.0
    text = "".join(path.read_text() for path in (server.home / "logs").glob("*own-lives*/*.log"))
    assert "no way out" in text
    sagemaker.delete_endpoint(EndpointName="own-lives")


def test_a_kill_of_the_control_plane_costs_no_line_and_starts_nothing_twice(
    workshop: Workshop,
) -> None:
    code = "import time\nfor n in range(60): print('line', n); time.sleep(0.05)"
    train(workshop, "own-survives", code)
    says(workshop.server, "own-survives", "line 3")
    workshop.server.kill()
    workshop.server.start()
    found = workshop.server.trained("own-survives")
    assert found["TrainingJobStatus"] == "Completed", found
    lines = workshop.server.log_of("own-survives")
    assert lines == [f"line {number}" for number in range(60)]


def test_a_killed_container_fails_its_job(workshop: Workshop) -> None:
    train(workshop, "own-killed", "import time\nprint('up'); time.sleep(600)")
    says(workshop.server, "own-killed", "up")
    name = unit_container(workshop)
    workshop.docker("kill", name)
    found = workshop.server.trained("own-killed")
    assert found["TrainingJobStatus"] == "Failed"
    assert "exit code: 137" in found["FailureReason"]
    assert name not in workshop.containers()


def test_a_stop_is_sigterm(workshop: Workshop) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    (base / 'model/kept').write_text('kept'); print('told to end'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up'); time.sleep(600)"
    )
    train(workshop, "own-stopped", code)
    says(workshop.server, "own-stopped", "up")
    workshop.server.client("sagemaker").stop_training_job(TrainingJobName="own-stopped")
    found = workshop.server.trained("own-stopped")
    assert found["TrainingJobStatus"] == "Stopped"
    assert workshop.server.log_of("own-stopped") == ["up", "told to end"]
    assert found["ModelArtifacts"]["S3ModelArtifacts"]


def test_the_failure_file_is_the_reason(workshop: Workshop) -> None:
    train(workshop, "own-fails", "raise ValueError('no good')")
    found = workshop.server.trained("own-fails")
    assert found["FailureReason"].startswith("AlgorithmError: train: ValueError('no good')")


def test_entry_points_and_images_without_programs(workshop: Workshop) -> None:
    algorithm = {"TrainingImage": workshop.uri, "TrainingInputMode": "File"}
    shell = {"ContainerEntrypoint": ["/bin/sh", "-c"],
             "ContainerArguments": ["echo of $TRAINING_JOB_NAME in $AWS_REGION"]}  # fmt: skip
    train(workshop, "own-shell", "", AlgorithmSpecification={**algorithm, **shell})
    without = {"ContainerEntrypoint": ["no-such-program"]}
    train(workshop, "own-none", "", AlgorithmSpecification={**algorithm, **without})
    assert workshop.server.trained("own-shell")["TrainingJobStatus"] == "Completed"
    assert workshop.server.log_of("own-shell") == ["of own-shell in us-east-1"]
    reason = workshop.server.trained("own-none")["FailureReason"]
    assert reason.startswith("ClientError: the image")
    assert "'no-such-program'" in reason


def test_isolation_cuts_the_network_off(workshop: Workshop) -> None:
    code = (
        "import socket\nprint([name for _, name in socket.if_nameindex()])\n"
        "url = os.environ['AWS_ENDPOINT_URL']\n"
        "try:\n    socket.create_connection(('127.0.0.1', int(url.rpartition(':')[2])), 2)\n"
        "    print('reached')\nexcept OSError as error:\n    print('cut off')"
    )
    train(workshop, "own-apart", code, EnableNetworkIsolation=True)
    train(workshop, "own-open", code)
    assert workshop.server.trained("own-apart")["TrainingJobStatus"] == "Completed"
    assert workshop.server.log_of("own-apart")[1:] == ["cut off"]
    workshop.server.trained("own-open")
    assert workshop.server.log_of("own-open")[1:] == ["reached"]


def test_hosts_find_each_other_and_pipes_are_fed(workshop: Workshop) -> None:
    code = (
        "import socket, time\n"
        "resources = json.loads((base / 'input/config/resourceconfig.json').read_text())\n"
        "me = resources['current_host']\nserver = socket.create_server((me, 5151))\n"
        "for host in resources['hosts']:\n"
        "    for _ in range(600):\n"
        "        try:\n"
        "            socket.create_connection((host, 5151), 1).close(); break\n"
        "        except OSError:\n            time.sleep(0.05)\n"
        "print(socket.gethostname(), 'met', resources['hosts'])\n"
        "print(open('/opt/ml/input/data/piped_0').read())\ntime.sleep(1)"
    )
    workshop.server.put("piped/1.txt", "through the pipe")
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    channels = [channel("piped", f"s3://{BUCKET}/piped/", InputMode="Pipe")]
    train(workshop, "own-hosts", code, ResourceConfig=resources, InputDataConfig=channels)
    found = workshop.server.trained("own-hosts")
    assert found["TrainingJobStatus"] == "Completed", found["FailureReason"]
    hosts = ["algo-1", "algo-2"]
    lines = workshop.server.log_of("own-hosts")
    assert sorted(line for line in lines if " met " in line) == [f"{h} met {hosts}" for h in hosts]
    assert lines.count("through the pipe") == 2


def test_checkpoints_are_published_and_come_back(workshop: Workshop) -> None:
    code = (
        "folder = base / 'checkpoints'\nprint(sorted(p.name for p in folder.iterdir()))\n"
        "(folder / 'new.part').write_text('2'); (folder / 'new.part').rename(folder / 'new')"
    )
    workshop.server.put("own-checkpoints/old", "1")
    config = {"S3Uri": f"s3://{BUCKET}/own-checkpoints"}
    train(workshop, "own-checkpoints", code, CheckpointConfig=config)
    assert workshop.server.trained("own-checkpoints")["TrainingJobStatus"] == "Completed"
    assert workshop.server.log_of("own-checkpoints") == ["['old']"]
    s3 = workshop.server.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="own-checkpoints/")["Contents"]
    assert [item["Key"] for item in listed] == ["own-checkpoints/new", "own-checkpoints/old"]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/nobodys:1", "Cannot find repository"),
        ("REPOSITORY:2", "Requested image not found"),
        ("REPOSITORY@sha256:" + "0" * 64, "Requested image not found"),
    ],
)
def test_an_image_that_is_not_there_is_refused(workshop: Workshop, image: str, words: str) -> None:
    image = image.replace("REPOSITORY", workshop.uri.rpartition(":")[0])
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
    with pytest.raises(ClientError) as refused:
        train(workshop, "own-missing", "", AlgorithmSpecification=algorithm)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert words in refused.value.response["Error"]["Message"]


def test_an_image_by_digest_and_one_that_was_only_built(workshop: Workshop) -> None:
    ecr = workshop.server.client("ecr")
    (detail,) = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    repository = workshop.uri.rpartition(":")[0]
    workshop.docker("tag", workshop.uri, "localhost/only-built:1")
    for name, image in (
        ("own-digest", f"{repository}@{detail['imageDigest']}"),
        ("own-built", "localhost/only-built:1"),
        ("own-nowhere", "localhost:1/nowhere:1"),
    ):
        algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
        train(workshop, name, "print('ran')", AlgorithmSpecification=algorithm)
    assert workshop.server.trained("own-digest")["TrainingJobStatus"] == "Completed"
    assert workshop.server.trained("own-built")["TrainingJobStatus"] == "Completed"
    reason = workshop.server.trained("own-nowhere")["FailureReason"]
    assert reason.startswith("ClientError: the image localhost:1/nowhere:1 could not be pulled")


def test_without_an_engine_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", cpus=1)
    server.start()
    try:
        algorithm = {"TrainingImage": "me/mine:1", "TrainingInputMode": "File"}
        sagemaker = server.client("sagemaker")
        with pytest.raises(ClientError) as refused:
            sagemaker.create_training_job(
                **{**training_request("x", ""), "AlgorithmSpecification": algorithm}
            )
        assert "--engine none" in refused.value.response["Error"]["Message"]
        assert "# No containers: " in server.cli("env").stdout
    finally:
        server.stop()
    assert "container engine" in server.cli("doctor").stdout


def test_the_registry_is_started_again_where_it_was(workshop: Workshop) -> None:
    server = workshop.server
    pid = int(json.loads((server.home / "run" / "registry.json").read_text())["pid"])
    os.kill(pid, signal.SIGKILL)

    def back() -> bool | None:
        done = workshop.docker("push", "-q", workshop.uri, check=False)
        return True if done.returncode == 0 else None

    await_that(back, "the registry")
