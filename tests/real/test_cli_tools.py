"""The AWS CLI against a running server, and Loopwright's own commands with their refusals."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.scripts import PLAY
from tests.server import BUCKET, Server, await_that, packed, training_request

pytestmark = pytest.mark.real
SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(300)\n"


class Aws:
    """The AWS CLI with the environment that `loopwright env` prints."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.folder = folder
        self._environment = server.variables()
        self._program = str(Path(sys.executable).with_name("aws"))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output", "json"))


@pytest.fixture
def aws(server: Server, tmp_path: Path) -> Aws:
    return Aws(server, tmp_path)


@pytest.fixture(scope="module")
def endpoint(server: Server) -> Iterator[str]:
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("cli-endpoint", model, PLAY)
    yield "cli-endpoint"
    server.client("sagemaker").delete_endpoint(EndpointName="cli-endpoint")


def _refused(server: Server, *arguments: str, code: int = 1) -> str:
    """The one sentence with which a command ends."""
    done = server.cli(*arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("loopwright: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("loopwright: ").strip()


def _sleeping(server: Server, name: str) -> None:
    """A job that runs until it is stopped, with its first line in the log."""
    server.train(name, SLEEP)

    def ready() -> bool | None:
        try:
            return "ready" in server.log_of(name) or None
        except ClientError:
            return None

    await_that(ready, f"the first line of {name}")


# The AWS CLI


def test_aws_says_who_and_keeps_files(aws: Aws) -> None:
    identity = aws.json("sts", "get-caller-identity")
    assert identity["Account"] == "123456789012"
    aws("s3", "mb", "s3://cli-files")
    (aws.folder / "deep" / "down").mkdir(parents=True)
    (aws.folder / "deep" / "a.txt").write_text("first")
    (aws.folder / "deep" / "down" / "b c.txt").write_text("second")
    (aws.folder / "large.bin").write_bytes(b"0123456789abcdef" * (9 << 16))
    aws("s3", "cp", "--recursive", "deep", "s3://cli-files/copied")
    aws("s3", "cp", "large.bin", "s3://cli-files/large.bin")
    assert "cli-files" in aws("s3", "ls")
    listed = aws("s3", "ls", "--recursive", "s3://cli-files/")
    assert [line.split(maxsplit=3)[2:] for line in listed.splitlines()] == [
        ["5", "copied/a.txt"], ["6", "copied/down/b c.txt"], [str(9 << 20), "large.bin"],
    ]  # fmt: skip
    assert "PRE down/" in aws("s3", "ls", "s3://cli-files/copied/")
    aws("s3", "cp", "s3://cli-files/large.bin", "again.bin")
    assert (aws.folder / "again.bin").read_bytes() == (aws.folder / "large.bin").read_bytes()
    assert aws("s3", "cp", "s3://cli-files/copied/a.txt", "-") == "first"
    aws("s3", "sync", "s3://cli-files/copied", "synced")
    assert (aws.folder / "synced" / "down" / "b c.txt").read_text() == "second"
    aws("s3", "rb", "--force", "s3://cli-files")
    assert "cli-files" not in aws("s3", "ls")


def test_aws_creates_describes_and_lists_a_training_job(server: Server, aws: Aws) -> None:
    source = server.put_source("cli-job", {"train.py": "print('hello from the job')"})
    request = training_request("cli-aws-job", source)
    (aws.folder / "job.json").write_text(json.dumps(request))
    made = aws.json("sagemaker", "create-training-job", "--cli-input-json", "file://job.json")
    server.trained("cli-aws-job")
    found = aws.json("sagemaker", "describe-training-job", "--training-job-name", "cli-aws-job")
    assert found["TrainingJobStatus"] == "Completed"
    assert found["TrainingJobArn"] == made["TrainingJobArn"]
    assert found["HyperParameters"] == request["HyperParameters"]
    names = aws(
        "sagemaker", "list-training-jobs", "--name-contains", "cli-aws", "--output", "text",
        "--query", "TrainingJobSummaries[].TrainingJobName",
    )  # fmt: skip
    assert names.split() == ["cli-aws-job"]
    group = "/aws/sagemaker/TrainingJobs"
    stream = aws.json(
        "logs", "describe-log-streams", "--log-group-name", group,
        "--log-stream-name-prefix", "cli-aws-job/",
    )["logStreams"][0]["logStreamName"]  # fmt: skip
    events = aws.json(
        "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream
    )["events"]
    assert "hello from the job" in [event["message"] for event in events]
    refused = aws.run("sagemaker", "create-training-job", "--cli-input-json", "file://job.json")
    assert refused.returncode != 0
    assert "ResourceInUse" in refused.stderr


def test_aws_invokes_an_endpoint(aws: Aws, endpoint: str) -> None:
    (aws.folder / "body.json").write_text('{"wish": 1}')
    told = aws.json(
        "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", endpoint,
        "--content-type", "application/json", "--body", "fileb://body.json", "answer.json",
    )  # fmt: skip
    assert told["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads((aws.folder / "answer.json").read_text())["echo"] == {"wish": 1}


# Loopwright's own commands


def test_env_points_at_the_server(server: Server) -> None:
    variables = server.variables()
    assert variables["AWS_ENDPOINT_URL"] == server.url
    assert variables["AWS_DEFAULT_REGION"] == "us-east-1"
    assert Path(variables["SAGEMAKER_USER_CONFIG_OVERRIDE"]).is_file()


def test_a_revoked_key_is_refused_at_once(server: Server, endpoint: str) -> None:
    access_key, secret = server.cli("keys", "add").stdout.split()
    assert access_key in server.cli("keys", "list").stdout.split()
    pair = {"aws_access_key_id": access_key, "aws_secret_access_key": secret}
    sagemaker, s3, runtime = (
        server.client(service, **pair) for service in ("sagemaker", "s3", "sagemaker-runtime")
    )
    calls = (
        sagemaker.list_models,
        s3.list_buckets,
        lambda: runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}"),
    )
    for call in calls:
        call()
    assert access_key in server.cli("keys", "revoke", access_key).stdout
    for call in calls:
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert access_key not in server.cli("keys", "list").stdout.split()
    assert access_key in _refused(server, "keys", "revoke", access_key)
    assert "ACCESS_KEY" in _refused(server, "keys", "revoke", code=2)


def test_images_and_doctor_say_what_there_is(server: Server) -> None:
    repositories = {item["repository"]: item for item in json.loads(
        server.cli("images", "--json").stdout)}  # fmt: skip
    assert repositories["sagemaker-xgboost"]["runtime"] == "xgboost"
    assert repositories["sagemaker-scikit-learn"]["installed"] == "yes"
    lines = server.cli("images").stdout.splitlines()
    assert len(lines) == len(repositories)
    found = json.loads(server.cli("doctor", "--json").stdout)
    assert found["python"]["value"].startswith("3.")
    assert found["sandbox"]["value"] in ("yes", "no")
    assert server.cli("doctor").stdout.count("\n") == len(found)


def test_a_running_job_is_shown_followed_and_stopped(server: Server) -> None:
    _sleeping(server, "cli-sleeper")
    shown = json.loads(server.cli("ps", "--json").stdout)
    assert shown["url"] == server.url
    assert {"kind": "TrainingJob", "name": "cli-sleeper", "status": "InProgress"}.items() <= next(
        item for item in shown["resources"] if item["name"] == "cli-sleeper"
    ).items()
    assert {item["what"] for item in shown["processes"]} >= {"control plane", "gateway", "unit"}
    assert any("cli-sleeper/" in item["detail"] for item in shown["processes"])
    assert "cli-sleeper\tInProgress" in server.cli("ps").stdout
    described = json.loads(server.cli("describe", "cli-sleeper", "--json").stdout)
    assert described["SecondaryStatus"] == "Training"
    assert "TrainingJob cli-sleeper: InProgress" in server.cli("describe", "cli-sleeper").stdout
    assert server.cli("logs", "cli-sleeper").stdout.splitlines()[-1:] == ["ready"]
    assert "cli-sleeper" in server.cli("stop", "cli-sleeper").stdout
    assert server.trained("cli-sleeper")["TrainingJobStatus"] == "Stopped"
    assert "Stopped" in _refused(server, "stop", "cli-sleeper")
    assert not any(
        "cli-sleeper/" in item["detail"]
        for item in json.loads(server.cli("ps", "--json").stdout)["processes"]
    )


def test_logs_are_followed_to_the_last_line(server: Server) -> None:
    script = """
import time
for number in range(30):
    print("line", number, flush=True)
    time.sleep(0.05)
"""
    server.train("cli-followed", script)
    lines = server.cli("logs", "cli-followed", "-f").stdout.splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line {n}" for n in range(30)]
    assert server.trained("cli-followed")["TrainingJobStatus"] == "Completed"


def test_invoke_takes_text_files_and_input(server: Server, endpoint: str, tmp_path: Path) -> None:
    def echo(*arguments: str) -> Any:
        return json.loads(server.cli("invoke", endpoint, *arguments).stdout)["echo"]

    assert echo('{"a": 1}') == {"a": 1}
    (tmp_path / "body.json").write_text('{"b": 2}')
    assert echo(f"@{tmp_path / 'body.json'}", "--variant", "AllTraffic") == {"b": 2}
    piped = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "invoke", "--home", str(server.home),
         endpoint, "-"],
        input='{"c": 3}', capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(piped.stdout)["echo"] == {"c": 3}
    described = json.loads(server.cli("describe", endpoint, "--json").stdout)
    assert described["EndpointStatus"] == "InService"
    assert "variant AllTraffic: weight 1, 1 of 1" in server.cli("describe", endpoint).stdout
    assert "no wish" in _refused(server, "invoke", endpoint, '{"raise": "no wish"}')
    assert "absent.json" in _refused(server, "invoke", endpoint, "@absent.json")
    assert "NoSuchVariant" in _refused(
        server, "invoke", endpoint, "{}", "--variant", "NoSuchVariant"
    )


@pytest.mark.parametrize("command", ["describe", "logs", "stop"])
def test_an_unknown_name_is_one_sentence(server: Server, command: str) -> None:
    told = _refused(server, command, "no-such-thing")
    assert "'no-such-thing'" in told
    assert "loopwright ps" in told


@pytest.mark.parametrize(
    ("command", "name"),
    [("describe", "cli-endpont"), ("logs", "CLI-Endpoint"), ("stop", "cliendpoint"),
     ("invoke", "cli-endpoints"), ("endpoint show", "cli_endpoint"), ("bandit show", "cli-endpint"),
     ("describe", "near-jbo"), ("spot interrupt", "near-job-"), ("logs", "near-Job")],
)  # fmt: skip
def test_an_unknown_name_brings_those_that_come_near(
    server: Server, endpoint: str, command: str, name: str
) -> None:
    if "near" in name:
        sagemaker = server.client("sagemaker")
        if not sagemaker.list_training_jobs(NameContains="near-job")["TrainingJobSummaries"]:
            server.train("near-job", "print('x')")
    body = ("{}",) if command == "invoke" else ()
    told = _refused(server, command, name, *body)
    assert f"Did you mean {'near-job' if 'near' in name else endpoint}" in told


def test_an_unknown_endpoint_is_one_sentence(server: Server) -> None:
    assert "no-such-thing" in _refused(server, "invoke", "no-such-thing", "{}")


def test_the_log_of_a_deleted_endpoint_is_printed(server: Server) -> None:
    model = server.put("gone/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("cli-gone", model, "print('served once', flush=True)\n" + PLAY)
    server.cli("invoke", "cli-gone", "{}")
    living = server.cli("logs", "cli-gone").stdout
    assert "served once" in living
    assert "Deleting" in server.cli("stop", "cli-gone").stdout

    def gone() -> bool | None:
        return server.cli("describe", "cli-gone", check=False).returncode == 1 or None

    await_that(gone, "the end of cli-gone")
    for more in ((), ("-f",)):
        assert "served once" in server.cli("logs", "cli-gone", *more).stdout
    lines = [
        json.loads(line) for line in server.cli("logs", "cli-gone", "--json").stdout.splitlines()
    ]
    assert "served once" in [line["message"] for line in lines]
    assert {"stream", "timestamp", "message"} == set(lines[0])


def test_what_is_printed_is_json_for_machines(server: Server, endpoint: str) -> None:
    def told(*words: str) -> Any:
        return json.loads(server.cli(*words, "--json").stdout)

    assert told("env")["AWS_ENDPOINT_URL"] == server.url
    pair = told("keys add")
    assert pair["AccessKeyId"] in told("keys list")
    assert told("keys revoke", pair["AccessKeyId"]) == {"revoked": [pair["AccessKeyId"]]}
    answer = told("invoke", endpoint, '{"a": 1}')
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads(answer["Body"])["echo"] == {"a": 1}
    assert told("endpoint show", endpoint)["endpoint"]["EndpointStatus"] == "InService"
    assert set(told("workers show")) == {"Jobs", "Workers"}
    assert told("workers show", "--link")["Url"].startswith(server.url)


TRIAL = """
import argparse
import time
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
print(f"score={parser.parse_known_args()[0].rate}", flush=True)
time.sleep(0.3)
"""


def _tune(server: Server, name: str) -> None:
    source = server.put_source(name, {"train.py": TRIAL})
    definition = training_request("unused", source)
    definition.pop("TrainingJobName")
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    metrics = [{"Name": "score", "Regex": "score=([0-9.]+)"}]
    definition["AlgorithmSpecification"]["MetricDefinitions"] = metrics
    one = {"Name": "rate", "MinValue": "0", "MaxValue": "1"}
    server.client("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [one]},
        },
        TrainingJobDefinition=definition,
    )


def test_a_tuning_job_is_followed_and_its_report_fetched(server: Server, tmp_path: Path) -> None:
    _tune(server, "cli-tuned")
    page = str(tmp_path / "report.html")
    assert "has no report" in _refused(server, "tuning show", "cli-tuned", "--html", page)
    lines = server.cli("tuning show", "cli-tuned", "-f").stdout.splitlines()
    assert len(lines) == len(set(lines)), "each line once"
    assert any(line.startswith("4 of 4 trials ended") for line in lines)
    rows = [line.split("\t") for line in lines if "\tCompleted\t" in line]
    trials = {row[0] for row in rows}
    assert len(trials) == 4 and all(name.startswith("cli-tuned-") for name in trials)
    once = server.cli("tuning show", "cli-tuned").stdout
    assert all(name in once for name in trials) and "━" not in once
    told = server.cli("tuning show", "cli-tuned", "-f", "--json").stdout.splitlines()
    state = json.loads(told[-1])
    assert state["job"]["HyperParameterTuningJobStatus"] == "Completed"
    assert "Written to" in server.cli("tuning show", "cli-tuned", "--html", page).stdout
    assert "cli-tuned" in Path(page).read_text()
    absent = str(tmp_path / "none" / "report.html")
    assert absent in _refused(server, "tuning show", "cli-tuned", "--html", absent)
    assert "Did you mean cli-tuned?" in _refused(server, "tuning show", "cli-tund")


def test_several_keys_are_revoked_together_or_not_at_all(server: Server) -> None:
    keys = [server.cli("keys add").stdout.split()[0] for _ in range(2)]
    assert "AKIANONE" in _refused(server, "keys revoke", keys[0], "AKIANONE")
    assert set(keys) <= set(server.cli("keys list").stdout.split())
    server.cli("keys revoke", *keys)
    assert not set(keys) & set(server.cli("keys list").stdout.split())


def test_in_a_pipe_rows_are_lines_with_tabs_and_nothing_is_cut(
    server: Server, endpoint: str
) -> None:
    lines = server.cli("endpoint show", endpoint).stdout.splitlines()
    row = next(line for line in lines if line.startswith("AllTraffic\t"))
    assert row.split("\t")[2] == "1 of 1"
    team = "a-team-with-a-name-that-is-as-long-as-a-name-may-be-0123456789"[:63]
    email = f"{'long' * 14}@{'example.' * 6}org"
    invited = server.cli("workers invite", "--team", team, email, "ben@example.com").stdout
    assert invited.count(f"{server.url}/work/join/") == 2
    shown = server.cli("workers show").stdout
    assert "│" not in shown and "…" not in shown
    for command in ("ps", "images", "doctor"):
        told = server.cli(command).stdout
        assert "…" not in told.replace("s3+http://…", "") and "│" not in told
        assert all("\t" in line for line in told.splitlines())


@pytest.mark.parametrize("words", [("logs", "-f"), ("endpoint", "show", "-f")])
def test_an_interrupted_follow_ends_quietly(
    server: Server, endpoint: str, words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "loopwright.cli", *words, endpoint, "--home", str(server.home)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True,
        # Where these tests run in the background of a shell they would inherit that it is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as following:  # fmt: skip
        try:
            assert following.stdout is not None and following.stderr is not None
            if words[0] == "logs":
                server.cli("invoke", endpoint, '{"raise": "something to log"}', check=False)
            # Its first line is there: it follows.
            assert following.stdout.readline()
            following.send_signal(signal.SIGINT)
            assert following.wait(60) == 130
            assert following.stderr.read().strip() == ""
        finally:
            following.kill()


@pytest.mark.parametrize(
    "arguments",
    [("env",), ("ps",), ("describe", "x"), ("logs", "x"), ("stop", "x"), ("invoke", "x", "{}")],
    ids=" ".join,
)
def test_a_home_without_a_server_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    told = _refused(Server(tmp_path / "empty"), *arguments)
    assert str(tmp_path / "empty") in told
    assert "loopwright serve" in told


def test_stop_on_a_home_without_a_server_has_nothing_to_stop(tmp_path: Path) -> None:
    assert "Stopped 0 processes" in Server(tmp_path / "empty").cli("stop").stdout


def test_a_server_that_died_is_one_sentence(own_server: Server) -> None:
    own_server.kill()
    assert "takes them up again" in _refused(own_server, "describe", "x")
    assert "not found" in _refused(own_server, "invoke", "x", "{}")
    own_server.stop()
    for arguments in (("ps",), ("describe", "x"), ("invoke", "x", "{}")):
        assert "loopwright serve" in _refused(own_server, *arguments)


def test_a_bucket_that_is_taken_is_named_by_aws(server: Server, aws: Aws) -> None:
    server.put("some/object", "x")
    refused = aws.run("s3", "rb", f"s3://{BUCKET}")
    assert refused.returncode != 0
    assert "BucketNotEmpty" in refused.stderr
