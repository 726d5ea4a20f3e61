"""The SDK's own classes for the built-in algorithms, unmodified, against a running server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server

pytestmark = pytest.mark.real
CLIENT = str(Path(__file__).with_name("sdk_algorithms.py"))
Flow = Callable[[str], Any]


@pytest.fixture(scope="module")
def results(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What every flow came to; they share a process, because loading the SDK takes longest."""
    done = subprocess.run(
        [sys.executable, CLIENT],
        cwd=tmp_path_factory.mktemp("algorithms"),
        env=server.variables(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def flow(results: Any) -> Flow:
    def result(name: str) -> Any:
        assert isinstance(results[name], dict), results[name]
        return results[name]

    return result


def test_linear_learner(flow: Flow) -> None:
    found = flow("linear_learner")
    assert found["status"] == "Completed", found["reason"]
    assert found["image"].endswith("/linear-learner:1")
    assert found["metrics"]["test:binary_classification_accuracy"] > 0.95
    assert {"train:objective_loss", "test:roc_auc_score", "train:progress"} <= set(found["metrics"])
    assert found["accuracy"] == found["metrics"]["test:binary_classification_accuracy"]
    assert found["scores"] == 169
    again = found["again"]
    assert again["status"] == "Completed", again["reason"]
    # An epoch from scratch begins at a loss of log 2 and more.
    assert again["metrics"]["train:objective_loss"] < 0.3


def test_kmeans_on_two_hosts(flow: Flow) -> None:
    found = flow("kmeans")
    assert found["status"] == "Completed", found["reason"]
    assert found["clusters"] == 3
    # Lloyd's algorithm reaches 0.526 on all rows; centres of one shard are far from the others'.
    assert found["msd"] == pytest.approx(0.526, abs=0.02)
    assert found["metrics"]["train:msd"] == pytest.approx(found["msd"], rel=1e-4)


def test_pca(flow: Flow) -> None:
    found = flow("pca")
    assert found["status"] == "Completed", found["reason"]
    assert found["variances"] == pytest.approx([0.2410, 4.2000], abs=1e-3)


def test_knn(flow: Flow) -> None:
    found = flow("knn")
    assert found["status"] == "Completed", found["reason"]
    assert found["accuracy"] == pytest.approx(found["metrics"]["test:accuracy"])
    assert found["accuracy"] > 0.93


def test_random_cut_forest(flow: Flow) -> None:
    found = flow("forest")
    assert found["status"] == "Completed", found["reason"]
    assert found["highest"] == 20


def test_blazingtext(flow: Flow) -> None:
    found = flow("blazingtext")
    assert found["supervised"]["status"] == "Completed", found["supervised"]["reason"]
    assert found["supervised"]["metrics"]["validation:accuracy"] == 1.0
    assert [answer["label"][0] for answer in found["answers"]] == ["__label__good", "__label__bad"]
    assert [len(answer["prob"]) for answer in found["answers"]] == [2, 2]
    assert found["cbow"]["status"] == "Failed"
    assert "mode is 'cbow'" in found["cbow"]["reason"]


def test_csv_and_refusals_by_name(flow: Flow) -> None:
    found = flow("csv")
    assert found["good"]["status"] == "Completed", found["good"]["reason"]
    assert 2500 < found["good"]["metrics"]["validation:mse"] < 3300
    assert {"validation:objective_loss", "validation:objective_loss:final"} <= set(
        found["good"]["metrics"]
    )
    assert all(0 < prediction["score"] < 400 for prediction in found["answer"]["predictions"])
    assert found["wrong"]["reason"].startswith("ClientError: The hyperparameter epochs is 0")
    assert found["unknown"]["reason"].startswith("ClientError: There is no hyperparameter epoch;")
