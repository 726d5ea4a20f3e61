"""The unmodified `sagemaker` SDK in its own process, with the environment that `env` prints."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip
from tests.real.scripts import ROWS
from tests.server import Server

pytestmark = pytest.mark.real
ACCOUNT_ID = "123456789012"
CLIENT = str(Path(__file__).with_name("sdk_client.py"))
BUCKET = f"sagemaker-us-east-1-{ACCOUNT_ID}"


Flow = Callable[[str], tuple[Any, str]]
"""From a flow's name to its result and its standard output."""


@pytest.fixture(scope="module")
def variables(server: Server) -> dict[str, str]:
    return server.variables()


@pytest.fixture
def flow(variables: dict[str, str], tmp_path: Path) -> Flow:
    def run(name: str) -> tuple[Any, str]:
        done = subprocess.run(
            [sys.executable, CLIENT, name],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return json.loads(done.stdout.splitlines()[-1]), done.stdout

    return run


def test_the_session_finds_account_bucket_and_role(flow: Flow, tmp_path: Path) -> None:
    found, _ = flow("identity")
    assert found["account"] == ACCOUNT_ID
    assert found["bucket"] == found["again"] == BUCKET
    assert found["role"].startswith(f"arn:aws:iam::{ACCOUNT_ID}:role/")
    assert found["rows"] == f"s3://{BUCKET}/identity/rows.csv"
    assert found["read"] == ROWS
    assert found["listed"] == ["identity/rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == ROWS


def test_sklearn_from_fit_to_delete(flow: Flow) -> None:
    found, output = flow("sklearn")
    assert found["status"] == "Completed"
    assert "note is 'two words' ['l2']" in output
    assert "epoch=2 val_acc: 0.7" in output
    assert "Training seconds:" in output
    assert found["steps"][0] == "Starting"
    assert found["steps"][-2:] == ["Uploading", "Completed"]
    assert found["metrics"] == {"val_acc": 0.7}
    assert found["attached"]["strength"] == "0.5"
    assert found["columns"] == ["timestamp", "metric_name", "value"]
    assert {point[1] for point in found["points"]} == {"val_acc"}
    assert found["artifact"] == f"{found['job']}/output/model.tar.gz"
    assert found["bytes"] > 100
    assert found["state"] == "InService"
    assert found["answers"] == {"json": [1, 0], "csv": [["1.0"], ["0.0"]], "numpy": [1, 0]}
    assert found["models"] == []
    assert "Could not find" in found["gone"]


def test_a_plain_estimator_and_a_model_whose_endpoint_is_updated(flow: Flow) -> None:
    found, _ = flow("sklearn_model")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    assert found["answer"] == found["after"] == [1.0, 0.0]
    assert found["updated"] == {"State": "InService", "count": 2}


def test_xgboost_in_script_mode(flow: Flow) -> None:
    found, _ = flow("xgboost_script")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    high, low = (float(value) for row in found["answer"] for value in row)
    assert high > 0.5 > low


def test_the_built_in_xgboost(flow: Flow) -> None:
    found, _ = flow("xgboost_builtin")
    assert found["status"] == "Completed", found["reason"]
    assert found["metrics"] == ["train:logloss", "validation:logloss"]
    assert found["state"] == "InService"
    high, low = (float(value) for row in found["answer"] for value in row)
    assert high > 0.5 > low


def test_pytorch_with_code_inside_the_model(flow: Flow) -> None:
    if importlib.util.find_spec("torch") is None:
        skip("torch is not installed: make torch")
    found, _ = flow("pytorch")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    assert found["submit"] == "/opt/ml/model/code"
    assert found["numpy"] == found["json"] == [[6.0], [7.0]]


def test_three_processors(flow: Flow) -> None:
    found, _ = flow("processing")
    assert found == {
        kind: ["Completed", [f"processed/{kind}/deep/count.txt"], f"12 --kind {kind}"]
        for kind in ("sklearn", "script", "framework")
    }


def test_a_stop_and_two_refusals(flow: Flow) -> None:
    found, _ = flow("refusals")
    assert found["stopped"] == "Stopped"
    assert found["taken"][0] == "ResourceInUse"
    assert "already exists" in found["taken"][1]
    assert found["image"][0] == "ValidationException"
    assert "my-own" in found["image"][1]
