"""The training definitions of a tuning job, and the training jobs that are made of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.images import runtime_of
from loopwright.contract.programs import decoded
from loopwright.contract.trials import OBJECTIVE, TRIAL
from loopwright.kernel.records import Record
from loopwright.runtime.search import Parameter, Point, Resources, Space
from loopwright.tuning.ranges import XGBOOST_RANGES, parameters, texts

EPOCH_NAMES: Final = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
"""Static hyperparameters that Hyperband's MaxResource is taken from when it is not given."""
AUTOTUNE_JOBS: Final = 20
COPIED: Final = (
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig",
    "StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining", "RetryStrategy", "Environment",
)  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """One training definition.

    Attributes:
        name: Of the definition; empty when the request has only one without a name.
        request: As in the request.
        metric: Name of the objective metric. `maximize`: whether more of it is better.
        parameters: What is searched.
    """

    name: str
    request: Mapping[str, Any]
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]

    @property
    def static(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.request.get("StaticHyperParameters", {})
        return found

    @property
    def resumable(self) -> bool:
        """Whether its trials write checkpoints that a paused one could go on from."""
        return bool(self.request.get("CheckpointConfig"))


def config_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """`HyperParameterTuningJobConfig`."""
    found: Mapping[str, Any] = spec["HyperParameterTuningJobConfig"]
    return found


def autotuned(spec: Mapping[str, Any]) -> bool:
    """Whether the request leaves ranges, limits and criteria to us."""
    return bool(spec.get("Autotune", {}).get("Mode") == "Enabled")


def definitions(spec: Mapping[str, Any]) -> tuple[Definition, ...]:
    """The definitions of a request, in its order.

    Raises:
        ApiError: `ValidationException` for ranges that are none.
    """
    config = config_of(spec)
    several = spec.get("TrainingJobDefinitions") or []
    found = []
    for index, request in enumerate(several or [spec["TrainingJobDefinition"]]):
        own = config if not several else {}
        objective = request.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
        ranges = request.get("HyperParameterRanges") or own.get("ParameterRanges") or {}
        where = f"TrainingJobDefinitions[{index}]" if several else "ParameterRanges"
        searched = parameters(ranges, where)
        if not searched and autotuned(spec) and _is_xgboost(request):
            static = request.get("StaticHyperParameters", {})
            searched = tuple(
                parameter
                for parameter in parameters(XGBOOST_RANGES, where)
                if parameter.name not in static
            )
        found.append(
            Definition(
                request.get("DefinitionName", ""),
                request,
                objective["MetricName"] if objective else "",
                bool(objective and objective["Type"] == "Maximize"),
                searched,
            )
        )
    return tuple(found)


def _is_xgboost(request: Mapping[str, Any]) -> bool:
    image = request["AlgorithmSpecification"].get("TrainingImage")
    script = "sagemaker_program" in request.get("StaticHyperParameters", {})
    return bool(image) and not script and runtime_of(image, "TrainingImage").name == "xgboost"


def jobs_max(spec: Mapping[str, Any], made: tuple[Definition, ...]) -> int | None:
    """How many trials the job may run; None when only time or a criterion ends it."""
    config = config_of(spec)
    given = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if given is not None:
        return int(given)
    if config["Strategy"] == "Grid":
        return sum(grid_size(definition) for definition in made)
    return AUTOTUNE_JOBS if autotuned(spec) else None


def grid_size(definition: Definition) -> int:
    """Points of the grid of a definition whose parameters are all categorical."""
    size = 1
    for parameter in definition.parameters:
        size *= len(getattr(parameter, "values", ()))
    return size


def max_resource(spec: Mapping[str, Any], definition: Definition) -> int | None:
    """Hyperband's `MaxResource`, or what the static hyperparameters say of epochs."""
    config = config_of(spec)
    hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    if "MaxResource" in hyperband:
        return int(hyperband["MaxResource"])
    for name in EPOCH_NAMES:
        text = decoded(definition.static.get(name, ""))
        if text.isdigit() and int(text) > 0:
            return int(text)
    return None


def space_of(spec: Mapping[str, Any], definition: Definition, resumable: bool) -> Space:
    """What a strategy searches for one definition.

    Args:
        resumable: Whether trials that were paused have gone on from their checkpoints so far.
    """
    config = config_of(spec)
    made = definitions(spec)
    limit = jobs_max(spec, made)
    resources = None
    if config["Strategy"] == "Hyperband":
        hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        maximum = max_resource(spec, definition) or 1
        minimum = int(hyperband.get("MinResource", 1))
        resources = Resources(minimum, maximum, definition.resumable and resumable)
    return Space(
        definition.parameters,
        -(-limit // len(made)) if limit is not None else None,
        int(config["ResourceLimits"]["MaxParallelTrainingJobs"]),
        resources,
    )


def trial_name(record: Record, index: int) -> str:
    """`TUNINGJOB-001-HASH` of the trial of this index, counted from 0; the same at every pass."""
    digest = hashlib.sha256(f"{record.uid}/{index}".encode()).hexdigest()[:8]
    return f"{record.name}-{index + 1:03d}-{digest}"


@dataclass(frozen=True)
class Draw:
    """What is to be a new trial: its index in the job, its number in its definition, its point."""

    index: int
    number: int
    point: Point
    target: int | None = None


def job_request(
    record: Record,
    definition: Definition,
    draw: Draw,
    space: Space,
    metric_definitions: list[Any] | None = None,
) -> dict[str, Any]:
    """The request of the training job of a trial.

    Args:
        metric_definitions: Of a warm start's parent, for a child that has none of its own: the
            SDK's copies of a tuner drop them.
    """
    request = definition.request
    name = trial_name(record, draw.index)
    found = {member: request[member] for member in COPIED if member in request}
    algorithm = dict(request["AlgorithmSpecification"])
    if metric_definitions and not algorithm.get("MetricDefinitions"):
        algorithm["MetricDefinitions"] = metric_definitions
    found["AlgorithmSpecification"] = algorithm
    found["ResourceConfig"] = resources_of(request)
    if "CheckpointConfig" in request:
        # A folder each: trials must not restore each other's checkpoints.
        root = request["CheckpointConfig"]["S3Uri"].rstrip("/")
        found["CheckpointConfig"] = {**request["CheckpointConfig"], "S3Uri": f"{root}/{name}"}
    found["HyperParameters"] = {
        **definition.static,
        **texts(draw.point),
        OBJECTIVE: definition.metric,
    }
    found["TuningJobArn"] = record.arn
    found[TRIAL] = {
        "index": draw.index,
        "number": draw.number,
        "definition": definition.name,
        "point": dict(draw.point),
        "maximize": definition.maximize,
        "rungs": list(space.resources.rungs) if space.resources is not None else [],
        "target": draw.target,
    }
    return found


def resources_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """`ResourceConfig` of a definition, from either of the two members that clients send."""
    if request.get("ResourceConfig"):
        return dict(request["ResourceConfig"])
    given = dict(request.get("HyperParameterTuningResourceConfig", {}))
    choices = given.pop("InstanceConfigs", [])
    given.pop("AllocationStrategy", None)
    if choices and "InstanceType" not in given:
        first = choices[0]
        given["InstanceType"] = first["InstanceType"]
        given["InstanceCount"] = first["InstanceCount"]
        given["VolumeSizeInGB"] = first.get("VolumeSizeInGB", 1)
    given.setdefault("InstanceCount", 1)
    given.setdefault("VolumeSizeInGB", 1)
    return given
