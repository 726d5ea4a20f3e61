"""What the API offers of training jobs."""

from collections.abc import Mapping
from typing import Any

from loopwright.contract.defaults import TRAINING, algorithm_shown
from loopwright.contract.instances import Machine
from loopwright.kernel.kinds import Kind, Lookup
from loopwright.kernel.records import Record
from loopwright.training.check import check_training
from loopwright.training.plan import FINISHED, initial_status, training_planner
from loopwright.training.spot import Schedule


def training_kinds(machine: Machine, schedule: Schedule | None = None) -> list[Kind]:
    """The kinds of this room.

    Args:
        schedule: Of interruptions of managed spot jobs, for tests and demos.
    """
    return [
        Kind(
            "TrainingJob",
            arn="training-job",
            state="TrainingJobStatus",
            finished=FINISHED,
            initial_status=initial_status,
            planner=training_planner(machine, schedule),
            check=check_training,
            present=_present,
            missing=(
                "ValidationException",
                "Requested resource not found. There is no training job {name}.",
            ),
            taken=(
                "ResourceInUse",
                "Job name must be unique within an AWS account and region, and a job with this "
                "name already exists ({arn})",
            ),
            stop_when=frozenset({"InProgress"}),
            delete_when=FINISHED,
            spec_defaults=TRAINING,
        )
    ]


def _present(record: Record, _lookup: Lookup) -> Mapping[str, Any]:
    """Members that clients read without looking whether they are there, and built-in metrics."""
    found: dict[str, Any] = {
        "AlgorithmSpecification": algorithm_shown(
            record.spec["AlgorithmSpecification"], record.spec.get("HyperParameters", {})
        )
    }
    if "ModelArtifacts" not in record.status:
        found["ModelArtifacts"] = {"S3ModelArtifacts": ""}
    return found
