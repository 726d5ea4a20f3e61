"""Inference experiments on the simulated world: one at a time, and what becomes of the endpoint."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.hosting.shadow_tests import shadow_test_functions
from loopwright.testing.simulation import Effects, SimulatedWorld
from loopwright.wire.errors import ApiError
from tests.hosting.world import World
from tests.simulation.scenarios import MACHINE, ROLE, script_of

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 50,
    "DestinationS3Uri": "s3://bucket/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}
RETAIN = {"A": "Retain", "S": "Remove"}


def model(name: str, count: int = 1, model_name: str = "m") -> dict[str, Any]:
    machine = {"InstanceType": "ml.t2.medium", "InstanceCount": count}
    infrastructure = {
        "InfrastructureType": "RealTimeInference",
        "RealTimeInferenceConfig": machine,
    }
    return {
        "VariantName": name, "ModelName": model_name, "InfrastructureConfig": infrastructure,
    }  # fmt: skip


class Trial(World):
    """An endpoint `e` that serves `old`, with capture."""

    def _make(self, folder: Path, effects: Effects) -> SimulatedWorld:
        simulated = SimulatedWorld(
            folder,
            hosting_kinds(MACHINE),
            effects,
            collected=lambda arguments: None,
            more_operations=hosting_operations(),
            more_functions=lambda store: shadow_test_functions(store, self),
        )
        simulated.backend.script_of = script_of
        return simulated

    def now(self) -> float:
        """As a clock."""
        return self.simulated.clock.now()

    def at(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self.now() + seconds, UTC)

    def begin(self, name: str, share: int = 50, **more: Any) -> None:
        shadows = [{"ShadowModelVariantName": "S", "SamplingPercentage": share}]
        request = {
            "Name": name,
            "Type": "ShadowMode",
            "RoleArn": ROLE,
            "EndpointName": "e",
            "ModelVariants": [model("A"), model("S")],
            "ShadowModeConfig": {"SourceModelVariantName": "A", "ShadowModelVariants": shadows},
        }
        self.call("CreateInferenceExperiment", **{**request, **more})

    def state(self, name: str) -> str:
        found = self.simulated.record("InferenceExperiment", name)
        assert found is not None
        return str(found.status["Status"])

    def reaches(self, name: str, state: str) -> None:
        self.run_until(lambda: self.state(name) == state)

    def stop(self, name: str, **more: Any) -> None:
        self.call("StopInferenceExperiment", Name=name, ModelVariantActions=RETAIN, **more)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    made = Trial(tmp_path)
    made.config("old", {"A": 1}, DataCaptureConfig=CAPTURE)
    made.serve("old")
    return made


def test_an_endpoint_has_one_experiment_at_a_time(trial: Trial) -> None:
    trial.begin("one")
    trial.begin("two", Schedule={"EndTime": trial.at(200)})
    trial.reaches("one", "Running")
    for _ in range(20):
        trial.simulated.step()
    assert (trial.state("one"), trial.state("two")) == ("Running", "Created")
    trial.stop("one")
    trial.reaches("two", "Running")
    assert trial.state("one") == "Completed"
    between = trial.simulated.record("InferenceExperiment", "two")
    assert between is not None and between.status["Before"].startswith("one-")
    trial.reaches("two", "Completed")
    assert trial.status["EndpointConfigName"] == between.status["Before"]


def test_a_schedule_ends_at_what_was_there_at_its_start(trial: Trial) -> None:
    trial.begin("later", Schedule={"StartTime": trial.at(100), "EndTime": trial.at(200)})
    trial.config("new", {"A": 2}, DataCaptureConfig=CAPTURE)
    trial.update("new")
    trial.run_until(trial.settled)
    trial.reaches("later", "Running")
    assert trial.status["DataCaptureConfig"]["CurrentSamplingPercentage"] == 50
    trial.call("DeleteEndpointConfig", EndpointConfigName="new")
    trial.reaches("later", "Completed")
    (variant,) = trial.status["Fleet"]["variants"]
    assert (variant["count"], trial.status["Fleet"]["shadows"]) == (2, [])


def test_what_somebody_else_updated_stays(trial: Trial) -> None:
    trial.begin("test", Schedule={"EndTime": trial.at(600)})
    trial.reaches("test", "Running")
    trial.config("new", {"A": 1})
    trial.update("new")
    trial.reaches("test", "Cancelled")
    assert trial.status["EndpointConfigName"] == "new"


def test_one_that_has_not_begun_is_cancelled(trial: Trial) -> None:
    trial.begin("later", Schedule={"StartTime": trial.at(600)})
    trial.reaches("later", "Created")
    trial.stop("later")
    assert trial.state("later") == "Cancelled"
    trial.call("DeleteInferenceExperiment", Name="later")


def test_a_stop_that_cannot_be_done_is_refused(trial: Trial) -> None:
    trial.begin("test")
    trial.reaches("test", "Running")
    for desired, words in (
        ([model("S")], "lacks A"),
        ([model("A"), model("X")], "X is named too"),
        ([model("A", model_name="gone")], 'Could not find model "gone"'),
        ([model("A", 0)], "at least 1"),
    ):
        with pytest.raises(ApiError, match=words):
            trial.stop("test", DesiredModelVariants=desired)
    assert trial.state("test") == "Running"


def test_an_experiment_that_cannot_be_done_is_refused(trial: Trial) -> None:
    for more, words in (
        ({"share": -1}, "from 0 to 100"),
        ({"ModelVariants": [model("A", 0), model("S")]}, "at least 1"),
        ({"Schedule": {"EndTime": trial.at(-5)}}, "still to come"),
        ({"Schedule": {"StartTime": trial.at(9), "EndTime": trial.at(5)}}, "after StartTime"),
        ({"Schedule": {"EndTime": trial.at(31 * 86_400)}}, "at most 30 days"),
    ):
        with pytest.raises(ApiError, match=words):
            trial.begin("bad", **more)
