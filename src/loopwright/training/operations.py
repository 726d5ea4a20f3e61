"""Operations of training jobs that are no generic verb."""

from collections.abc import Mapping
from typing import Any

from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation, mutate
from loopwright.training.spot import INTERRUPT, is_spot
from loopwright.wire.errors import validation


def own_training_operations() -> dict[str, Operation]:
    """Operations of our own service model, by name."""
    return {"InterruptTrainingJob": _interrupt}


def _interrupt(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Ask for the interruption of a running spot job; asking twice interrupts once."""

    def change(record: Record) -> Mapping[str, Any] | None:
        if not is_spot(record):
            raise validation(
                f"Training job {record.name} is no managed spot job; only one that was created "
                "with EnableManagedSpotTraining can be interrupted. StopTrainingJob ends it."
            )
        where = record.status["SecondaryStatus"]
        if where != "Training":
            raise validation(
                f"Training job {record.name} is {where}; only one that is Training can be "
                "interrupted."
            )
        if record.status.get(INTERRUPT):
            return None
        return {**record.status, INTERRUPT: True}

    kind = context.kinds["TrainingJob"]
    record = mutate(context, kind, params["TrainingJobName"], change, "Interruption asked for")
    return {"TrainingJobArn": record.arn}
