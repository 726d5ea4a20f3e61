"""The documented scenarios on the simulated world, and what must hold whatever crashes."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loopwright.compute.simulated import Script
from loopwright.contract.instances import Machine
from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.kernel.kinds import Kind
from loopwright.kernel.store import Store
from loopwright.processing.plan import processing_kinds
from loopwright.testing.simulation import Effects, SimulatedWorld
from loopwright.training.kinds import training_kinds
from loopwright.tuning.functions import tuning_functions
from loopwright.tuning.kinds import tuning_kinds

MACHINE = Machine(2.0, 16 * 2**30)
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::123456789012:role/Role"


def kinds() -> list[Kind]:
    return [
        *training_kinds(MACHINE),
        *processing_kinds(MACHINE),
        *hosting_kinds(MACHINE),
        *tuning_kinds(),
    ]


def training_request(name: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": {"sagemaker_program": "train.py"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/jobs"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


@dataclass
class Outcome:
    """What is compared between a run with crashes and one without."""

    final: dict[str, Any]
    world: SimulatedWorld


def world(folder: Path, effects: Effects, made: list[Kind] | None = None) -> SimulatedWorld:
    def collected(arguments: Mapping[str, Any]) -> Any:
        return {
            item["name"]: {"uri": item["uri"]} if item["mode"] == "checkpoints" else item["uri"]
            for item in arguments["items"]
        }

    simulated = SimulatedWorld(
        folder,
        made if made is not None else kinds(),
        effects,
        collected=collected,
        more_operations=hosting_operations(),
        more_functions=functions(folder),
    )
    simulated.backend.script_of = script_of
    return simulated


class _Shelf:
    """An object store that takes the report of a tuning job."""

    def bucket_exists(self, bucket: str) -> bool:
        return True

    def put_file(self, bucket: str, key: str, path: Path) -> Any:
        assert path.stat().st_size > 0


def functions(folder: Path) -> Callable[[Store], Mapping[str, Any]]:
    """The calls of tuning jobs; the report is not drawn, that would be most of the time."""
    (folder / "run").mkdir(exist_ok=True)
    return lambda store: {
        **tuning_functions(store, _Shelf(), folder),
        "tuning.report": lambda arguments: "s3://bucket/report.html",
    }


def script_of(unit_id: str, program: Mapping[str, Any]) -> Script:
    """Servers run on; a trial reports three steps, resumed where its attempt before was paused."""
    if program.get("serves"):
        return Script(None)
    if program.get("objective") is None:
        return Script(10.0)
    rate = float(orjson.loads(program["files"]["input/config/hyperparameters.json"])["rate"])
    attempt = int(unit_id.rpartition("#")[2].partition(".")[0])
    first = min(attempt, 2) + 1
    values = tuple(round((rate - 0.3) ** 2 + 1 / step, 6) for step in range(first, 4))
    return Script(len(values) + 0.5, reports=("loss", values), first_step=first)


def check_invariants(simulated: SimulatedWorld) -> None:
    """What holds at every moment and after every crash."""
    backend = simulated.backend
    twice = [name for name, count in Counter(backend.starts).items() if count > 1]
    assert not twice, f"started twice: {twice}"
    jobs = [name for name in backend.starts if name.startswith("TrainingJob/")]
    # A trial of Hyperband runs again each time that it is promoted, a spot job after interruptions.
    more = ("/hyperband-", "/spot/")
    slots = Counter(
        re.sub(r"#.*", "", name) for name in jobs if not any(part in name for part in more)
    )
    again = [name for name, count in slots.items() if count > 1]
    assert not again, f"a job ran more than once: {again}"
    assert backend.cpus_peak <= backend.total.cpus + 1e-9, "capacity was exceeded"


def train(simulated: SimulatedWorld) -> dict[str, Any]:
    """One job: accepted, run once, collected, completed."""
    simulated.call("CreateTrainingJob", **training_request("job"))
    simulated.run_until(lambda: _state(simulated, "TrainingJob", "job") == "Completed")
    _settle(simulated)
    record = simulated.record("TrainingJob", "job")
    assert record is not None
    return {
        "status": record.status["TrainingJobStatus"],
        "artifact": record.status["ModelArtifacts"],
        "steps": [step["Status"] for step in record.status["SecondaryStatusTransitions"]][-2:],
        "running": simulated.backend.running(),
    }


def train_many(simulated: SimulatedWorld) -> dict[str, Any]:
    """More jobs than fit at once: they queue."""
    names = [f"job-{number}" for number in range(5)]
    for name in names:
        simulated.call("CreateTrainingJob", **training_request(name))
    simulated.run_until(
        lambda: all(_state(simulated, "TrainingJob", name) == "Completed" for name in names)
    )
    return {"states": [_state(simulated, "TrainingJob", name) for name in names]}


def stop(simulated: SimulatedWorld) -> dict[str, Any]:
    """A job that is stopped while it runs."""
    simulated.call("CreateTrainingJob", **training_request("job"))
    for _ in range(3):
        simulated.step()
    simulated.call("StopTrainingJob", TrainingJobName="job")
    simulated.run_until(lambda: _state(simulated, "TrainingJob", "job") in ("Stopped", "Completed"))
    _settle(simulated)
    return {
        "over": _state(simulated, "TrainingJob", "job") in ("Stopped", "Completed"),
        "running": simulated.backend.running(),
    }


def spot(simulated: SimulatedWorld) -> dict[str, Any]:
    """A spot job gives its room to another job, and goes on after it."""
    stopping = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 6000}
    simulated.call(
        "CreateTrainingJob",
        **training_request(
            "spot",
            EnableManagedSpotTraining=True,
            StoppingCondition=stopping,
            CheckpointConfig={"S3Uri": "s3://bucket/checkpoints"},
        ),
    )
    simulated.run_until(lambda: bool(simulated.backend.running()))
    simulated.call("CreateTrainingJob", **training_request("job"))
    simulated.run_until(
        lambda: all(
            _state(simulated, "TrainingJob", name) == "Completed" for name in ("spot", "job")
        )
    )
    _settle(simulated)
    attempts = [name for name in simulated.backend.starts if "/spot/" in name]
    return {"attempts": len(attempts), "running": simulated.backend.running()}


def serve(simulated: SimulatedWorld) -> dict[str, Any]:
    """An endpoint: created, in service, updated, deleted."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
    simulated.call("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "VariantName": "A",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    for name, count in (("one", 1), ("two", 2)):
        simulated.call(
            "CreateEndpointConfig",
            EndpointConfigName=name,
            ProductionVariants=[{**variant, "InitialInstanceCount": count}],
        )
    simulated.call("CreateEndpoint", EndpointName="e", EndpointConfigName="one")
    simulated.run_until(lambda: _state(simulated, "Endpoint", "e") == "InService")
    first = _instances(simulated)
    simulated.call("UpdateEndpoint", EndpointName="e", EndpointConfigName="two")
    simulated.run_until(
        lambda: _state(simulated, "Endpoint", "e") == "InService" and _instances(simulated) == 2
    )
    for _ in range(10):
        simulated.step()
    second, running = _instances(simulated), len(simulated.backend.running())
    simulated.call("DeleteEndpoint", EndpointName="e")
    simulated.run_until(lambda: simulated.record("Endpoint", "e") is None)
    _settle(simulated)
    return {
        "instances": [first, second],
        "running": [running, simulated.backend.running()],
        "routes": list(simulated.store.documents("route/")),
    }


def _tuned(simulated: SimulatedWorld, name: str, config: dict[str, Any]) -> dict[str, Any]:
    request = training_request(name)
    objective = {"Type": "Minimize", "MetricName": "loss"}
    rate = {"Name": "rate", "MinValue": "0", "MaxValue": "1"}
    simulated.call(
        "CreateHyperParameterTuningJob",
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "HyperParameterTuningJobObjective": objective,
            "ParameterRanges": {"ContinuousParameterRanges": [rate]},
            "RandomSeed": 1,
            **config,
        },
        TrainingJobDefinition={
            "StaticHyperParameters": request["HyperParameters"],
            "AlgorithmSpecification": {
                **request["AlgorithmSpecification"],
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
            **{
                member: request[member]
                for member in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
            },
        },
    )
    simulated.run_until(
        lambda: _state(simulated, "HyperParameterTuningJob", name) == "Completed", 2000
    )
    _settle(simulated)
    record = simulated.record("HyperParameterTuningJob", name)
    assert record is not None
    children = simulated.store.children(record.uid)
    assert len({child.name for child in children}) == len(children)
    counts = record.status["TrainingJobStatusCounters"]
    assert (
        sum(counts.values()) == len(children) == config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    )
    return {"counts": counts, "running": simulated.backend.running(), "record": record}


def tune_random(simulated: SimulatedWorld) -> dict[str, Any]:
    """Random search: the points are a function of seed and index, so crashes change none."""
    limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2}
    found = _tuned(simulated, "random", {"Strategy": "Random", "ResourceLimits": limits})
    best = found.pop("record").status["BestTrainingJob"]
    return {**found, "best": best["TunedHyperParameters"]}


def tune_hyperband(simulated: SimulatedWorld) -> dict[str, Any]:
    """Hyperband with pauses and promotions; which trial is promoted when depends on the timing."""
    limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2}
    strategy = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}
    config = {"Strategy": "Hyperband", "StrategyConfig": strategy, "ResourceLimits": limits}
    found = _tuned(simulated, "hyperband", config)
    del found["record"]
    # A crash may let a trial run past its rung, up to its end: how each ended is not the same.
    found["counts"] = sum(found["counts"].values())
    return found


SCENARIOS: dict[str, Callable[[SimulatedWorld], dict[str, Any]]] = {
    "train": train,
    "train_many": train_many,
    "stop": stop,
    "spot": spot,
    "serve": serve,
    "tune_random": tune_random,
    "tune_hyperband": tune_hyperband,
}


def run(name: str, folder: Path, effects: Effects) -> Outcome:
    simulated = world(folder, effects)
    final = SCENARIOS[name](simulated)
    check_invariants(simulated)
    simulated.store.database.close()
    return Outcome(final, simulated)


def _settle(simulated: SimulatedWorld) -> None:
    for _ in range(5):
        simulated.step()


def _state(simulated: SimulatedWorld, kind: str, name: str) -> str | None:
    record = simulated.record(kind, name)
    member = f"{kind}Status"
    return record.status[member] if record is not None else None


def _instances(simulated: SimulatedWorld) -> int:
    found = simulated.store.document("route/us-east-1/e")
    if found is None:
        return 0
    return sum(len(variant["instances"]) for variant in found[1]["variants"])
