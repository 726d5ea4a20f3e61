"""The unmodified SDK's tuner on real data, in its own process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]


@pytest.fixture
def flow(server: Server, tmp_path: Path) -> Callable[[str], Any]:
    variables = server.variables()
    # The client's own path stays; the tests' folder is added for the shared helpers.
    variables["PYTHONPATH"] = f"{variables['PYTHONPATH']}:{ROOT}"

    def run(name: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tests.real.sdk_tuning", name],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_the_built_in_xgboost_is_tuned_deployed_and_started_warm(
    flow: Callable[[str], Any], server: Server
) -> None:
    found = flow("xgboost")
    assert found["status"] == "Completed", found["reason"]
    assert found["metric"] == [found["value"]]
    assert found["frame"] == [10, pytest.approx(found["value"])]
    assert found["best"][0] == found["best"][1]
    lines = [line for line in server.log_of(found["best"][0]) if "validation-logloss" in line]
    assert float(lines[-1].rpartition("validation-logloss:")[2].split()[0]) == pytest.approx(
        found["value"], abs=1e-5
    )
    assert found["state"] == "InService"
    assert 0.0 <= found["answer"] <= 0.5
    assert found["children"] == {
        "identical": ["Completed", True],
        "transfer": ["Completed", False],
    }


def test_a_script_is_tuned_by_all_four_strategies(
    flow: Callable[[str], Any], server: Server
) -> None:
    found = flow("mlp")
    for strategy, (status, reason, value, job) in found.items():
        assert status == "Completed", (strategy, reason)
        assert any(line.endswith(f"val_acc: {value:.4f}") for line in server.log_of(job)), strategy
    assert max(value for _, _, value, _ in found.values()) > 0.85


def test_two_estimators_share_a_tuning_job(flow: Callable[[str], Any]) -> None:
    found = flow("several")
    assert found["status"] == "Completed", found["reason"]
    assert found["names"] == ["deep", "flat"]
    assert sum(found["counts"].values()) == 4
    assert min(found["counts"].values()) >= 1
    assert found["best"].startswith("cancer-several-")


def test_the_first_lab_tunes_and_evaluates(flow: Callable[[str], Any]) -> None:
    found = flow("lab")
    assert found["status"] == ["Completed", "Completed"], found["reason"]
    assert {"learning_rate", "train_batch_size", "FinalObjectiveValue"} <= set(found["columns"])
    assert len(set(found["best"])) == 1
    told, measured = found["accuracy"]
    assert told == pytest.approx(100 * measured, abs=0.01)
    assert told > 60
