"""What the API offers of tuning jobs."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.defaults import TRAINING, algorithm_shown
from loopwright.contract.trials import OBJECTIVE
from loopwright.kernel.defaults import Each, Given, filled
from loopwright.kernel.kinds import Kind, Lookup
from loopwright.kernel.records import Record
from loopwright.tuning.check import check_tuning
from loopwright.tuning.definitions import definitions, resources_of
from loopwright.tuning.plan import FINISHED, initial_status, plan_tuning

RANGES: Final = {
    "IntegerParameterRanges": Each({"ScalingType": "Auto"}),
    "ContinuousParameterRanges": Each({"ScalingType": "Auto"}),
}
DEFINITION: Final = {**TRAINING, "HyperParameterRanges": Given(RANGES)}
DEFAULTS: Final = {
    "HyperParameterTuningJobConfig": Given(
        {"TrainingJobEarlyStoppingType": "Off", "ParameterRanges": Given(RANGES)}
    ),
    "TrainingJobDefinition": Given(DEFINITION),
    "TrainingJobDefinitions": Each(DEFINITION),
}


def tuning_kinds() -> list[Kind]:
    """The kinds of this room."""
    return [
        Kind(
            "HyperParameterTuningJob",
            arn="hyper-parameter-tuning-job",
            state="HyperParameterTuningJobStatus",
            finished=FINISHED,
            initial_status=initial_status,
            planner=plan_tuning,
            check=check_tuning,
            present=_present,
            missing=("ResourceNotFound", "There is no tuning job {name!r} in this region."),
            taken=(
                "ResourceInUse",
                "Hyperparameter tuning job names must be unique within an AWS account and region, "
                "and a job with this name already exists ({arn})",
            ),
            stop_when=frozenset({"InProgress"}),
            delete_when=FINISHED,
            spec_defaults=DEFAULTS,
        )
    ]


def _present(record: Record, _lookup: Lookup) -> Mapping[str, Any]:
    """The definitions as the service shows them: with the objective, and one resource member.

    The SDK deletes `_tuning_objective_metric` from what it reads, and takes `MetricDefinitions`
    out of it, without looking whether they are there.
    """
    spec = record.spec
    found: dict[str, Any] = {}
    shown = [
        {
            **filled(made.request, TRAINING),
            "StaticHyperParameters": {**made.static, OBJECTIVE: made.metric},
            "ResourceConfig": resources_of(made.request),
            "AlgorithmSpecification": {
                "MetricDefinitions": [],
                **algorithm_shown(made.request["AlgorithmSpecification"], made.static),
            },
        }
        for made in definitions(spec)
    ]
    if spec.get("TrainingJobDefinitions"):
        found["TrainingJobDefinitions"] = shown
    else:
        found["TrainingJobDefinition"] = shown[0]
    return found
