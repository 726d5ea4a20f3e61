"""A training job that tuning pauses at a step and lets go on from its checkpoint."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.gang import Gang
from loopwright.contract.trials import (
    COUNTS_FROM_0,
    CURVE,
    FROM_ZERO,
    PAUSE_AT,
    PAUSED,
    PRIOR,
    PRIOR_S,
    TRIAL,
    joined,
    reached,
)
from loopwright.kernel.records import Record

PAUSING: Final = "Pausing"
NOT_LOADED: Final = (
    "The script does not go on from its checkpoint: its first report after the pause was step {} "
    "again. Load the newest file below /opt/ml/checkpoints before training, or leave "
    "CheckpointConfig out, so that trials are stopped instead of paused."
)
NO_CHECKPOINT: Final = (
    "Nothing was in the checkpoint folder when the job was paused, so it starts from the beginning "
    "again. Write a checkpoint at every step, or leave CheckpointConfig out."
)


def pause_at(record: Record) -> int:
    """The step at which to pause; 0 for never."""
    target = record.status.get(PAUSE_AT)
    if target is None:
        target = record.spec.get(TRIAL, {}).get("target")
    return int(target or 0)


def followed(record: Record, gang: Gang) -> dict[str, Any]:
    """Status members of the objective's curve, as of now."""
    if TRIAL not in record.spec:
        return {}
    now, numbered = gang.curve
    status = record.status
    before = status.get(PRIOR, [])
    changes: dict[str, Any] = {}
    from_0 = status.get(COUNTS_FROM_0)
    if from_0 is None and now and not before:
        from_0 = bool(numbered and now[0][0] == 0)
        changes[COUNTS_FROM_0] = from_0
    curve, from_zero = joined(before, now, numbered, bool(from_0))
    changes[CURVE] = curve
    if from_zero and FROM_ZERO not in status:
        changes[FROM_ZERO] = NOT_LOADED.format(int(curve[0][0]))
    return changes


def should_pause(record: Record, changes: Mapping[str, Any]) -> bool:
    """Whether the job has reached the step that tuning gave it."""
    target = pause_at(record)
    return target > 0 and reached(changes.get(CURVE, ())) >= target


def resumes(record: Record) -> dict[str, Any] | None:
    """Status changes that start the next attempt, when the job may go on; None while it rests."""
    status = record.status
    target = pause_at(record)
    at = status[PAUSED]
    if 0 < target <= at:
        return None
    return {
        "Attempt": status.get("Attempt", 0) + 1,
        PAUSED: None,
        PAUSING: None,
        PRIOR: status.get(CURVE, []),
    }


def paused(record: Record, gang: Gang, uploaded: bool) -> dict[str, Any]:
    """Status changes of a job whose units ended because it was paused."""
    changes: dict[str, Any] = {PAUSED: reached(record.status.get(CURVE, ()))}
    changes[PRIOR_S] = record.status.get(PRIOR_S, 0) + gang.seconds
    if not uploaded and FROM_ZERO not in record.status:
        changes[FROM_ZERO] = NO_CHECKPOINT
    return changes
