"""The unmodified `sagemaker` SDK in a process of its own, with the environment that `env` prints."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.scripts import ROWS
from tests.server import Server

pytestmark = pytest.mark.real
ACCOUNT_ID = "123456789012"
CLIENT = str(Path(__file__).with_name("sdk_client.py"))
BUCKET = f"sagemaker-us-east-1-{ACCOUNT_ID}"


def _flow(server: Server, folder: Path, name: str) -> tuple[Any, str]:
    """(result, standard output) of a flow."""
    done = subprocess.run(
        [sys.executable, CLIENT, name],
        cwd=folder,
        env=server.variables(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_the_session_finds_account_bucket_and_role(server: Server, tmp_path: Path) -> None:
    found, _ = _flow(server, tmp_path, "identity")
    assert found["account"] == ACCOUNT_ID
    assert found["bucket"] == found["again"] == BUCKET
    assert found["role"].startswith(f"arn:aws:iam::{ACCOUNT_ID}:role/")
    assert found["rows"] == f"s3://{BUCKET}/identity/rows.csv"
    assert found["read"] == ROWS
    assert found["listed"] == ["identity/rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == ROWS


def test_sklearn_from_fit_to_delete(server: Server, tmp_path: Path) -> None:
    found, output = _flow(server, tmp_path, "sklearn")
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


def test_a_plain_estimator_and_a_model_whose_endpoint_is_updated(
    server: Server, tmp_path: Path
) -> None:
    found, _ = _flow(server, tmp_path, "sklearn_model")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    assert found["answer"] == found["after"] == [1.0, 0.0]
    assert found["updated"] == {"State": "InService", "count": 2}


def test_xgboost_in_script_mode(server: Server, tmp_path: Path) -> None:
    found, _ = _flow(server, tmp_path, "xgboost_script")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    high, low = (float(value) for row in found["answer"] for value in row)
    assert high > 0.5 > low


def test_the_built_in_xgboost(server: Server, tmp_path: Path) -> None:
    found, _ = _flow(server, tmp_path, "xgboost_builtin")
    assert found["status"] == "Completed", found["reason"]
    assert found["metrics"] == ["train:logloss", "validation:logloss"]
    assert found["state"] == "InService"
    high, low = (float(value) for row in found["answer"] for value in row)
    assert high > 0.5 > low


def test_pytorch_with_code_inside_the_model(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found, _ = _flow(server, tmp_path, "pytorch")
    assert found["status"] == "Completed", found["reason"]
    assert found["state"] == "InService"
    assert found["submit"] == "/opt/ml/model/code"
    assert found["numpy"] == found["json"] == [[6.0], [7.0]]


def test_three_processors(server: Server, tmp_path: Path) -> None:
    found, _ = _flow(server, tmp_path, "processing")
    assert found == {
        kind: ["Completed", [f"processed/{kind}/deep/count.txt"], f"12 --kind {kind}"]
        for kind in ("sklearn", "script", "framework")
    }


def test_a_stop_and_two_refusals(server: Server, tmp_path: Path) -> None:
    found, _ = _flow(server, tmp_path, "refusals")
    assert found["stopped"] == "Stopped"
    assert found["taken"][0] == "ResourceInUse"
    assert "already exists" in found["taken"][1]
    assert found["image"][0] == "ValidationException"
    assert "my-own" in found["image"][1]
