"""The commands of README.md and docs/, run against a server as they are printed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.documented import Documented, documented
from tests.real.scripts import PLAY
from tests.server import Server, packed, training_request

pytestmark = pytest.mark.real
JOB, ENDPOINT = "doc-job", "doc-endpoint"
# Documented elsewhere by tests of their own, which make what they need.
ELSEWHERE = {
    "serve": "tests/cli/test_serve_options.py, and each test with a server",
    "demo": "CI runs `make demo`",
    "spot": "tests/real/test_spot.py",
    "tuning": "tests/real/test_tuning.py",
    "experiment": "tests/real/test_online.py",
    "bandit": "tests/real/test_online.py",
    "completion": "tests/cli/test_words.py",
}
# What stands for a value in the documents, by the command's first word.
VALUES = {
    "describe": {"NAME": JOB, "JOB": JOB},
    "logs": {"NAME": JOB},
    "stop": {"NAME": "doc-stopped"},
    "invoke": {"NAME": ENDPOINT, "BODY": '{"a": 1}'},
    "endpoint": {"NAME": ENDPOINT},
    "workers": {"NAME": "doc-team", "EMAIL": "ana@example.com"},
    "advise": {"REQUEST.json": "request.json"},
    "env": {"SECONDS": "1"},
}
FOLLOWED = ("-f", "--follow")


def _runs(found: Documented) -> bool:
    # `stop` alone would end the server of all tests, `distribution` runs a job for a minute.
    return (
        found.words[0] not in ELSEWHERE
        and found.words not in (("stop",), ("invoke",))
        and found.words[:2] != ("advise", "distribution")
        and not found.words[0].startswith("-")
    )


RUN = [found for found in documented() if _runs(found)]


@pytest.fixture(scope="module")
def prepared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read; the server has what they name."""
    server.train(JOB, "print('said by the job')")
    server.train("doc-stopped", "import time; time.sleep(300)")
    server.deploy(ENDPOINT, server.put("doc/model.tar.gz", packed({"note.txt": "x"})), PLAY)
    server.trained(JOB)
    folder = tmp_path_factory.mktemp("documented")
    training = training_request("unused", "s3://bucket/code.tar.gz")
    training = {name: value for name, value in training.items() if name != "TrainingJobName"}
    training["StaticHyperParameters"] = training.pop("HyperParameters")
    training["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "m", "Regex": "m=(.*)"}]
    ranges = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}
    request = {
        "HyperParameterTuningJobName": "unused",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "m"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 9},
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": training,
    }
    (folder / "request.json").write_text(json.dumps(request))
    return folder


@pytest.mark.parametrize("found", RUN, ids=lambda found: f"{found.page}: {found.text}")
def test_a_documented_command_runs(server: Server, prepared: Path, found: Documented) -> None:
    values = VALUES.get(found.words[0], {})
    words = [values.get(word, word) for word in found.words if word not in FOLLOWED]
    if "--home" in words:
        del words[words.index("--home") : words.index("--home") + 2]
    if words == ["keys", "revoke", "ACCESS_KEY"]:
        words[2] = server.cli("keys add").stdout.split()[0]
    done = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "--home", str(server.home), *words],
        cwd=prepared, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shows_nothing = words[:2] == ["workers", "show"] and "--link" not in words
    assert done.stdout or shows_nothing


def test_most_documented_commands_are_run() -> None:
    run = {found.words[0] for found in RUN}
    assert run >= {*VALUES, "env", "keys", "images", "doctor", "ps"}
    assert {found.words[0] for found in documented()} - run - {*ELSEWHERE} <= {
        "--help", "--version", "COMMAND",
    }  # fmt: skip
