"""Attempts of a training job: when one follows another, and what becomes of the work so far.

Managed spot jobs run on capacity that nobody else needs. It is taken back when another job waits
for it, when somebody asks for it (`loopwright spot interrupt`), or by a seeded schedule.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.gang import KILLED, Gang
from loopwright.contract.trials import CURVE, PRIOR, PRIOR_S
from loopwright.kernel.records import Observation, Record
from loopwright.runtime.failure import OUT_OF_MEMORY

INTERRUPT: Final = "InterruptRequested"
"""Status: somebody asked to take the job's capacity back."""
RETRIES: Final = "Retries"
INTERRUPTIONS: Final = "Interruptions"


@dataclass(frozen=True)
class Schedule:
    """Random interruptions that are the same for the same seed, job and attempt.

    Attributes:
        mean_s: Mean of the exponential time to an interruption, in platform seconds.
    """

    seed: int
    mean_s: float

    def after_s(self, job: str, attempt: int) -> float:
        """How long after its start an attempt is interrupted, if it still runs."""
        return random.Random(f"{self.seed}/{job}/{attempt}").expovariate(1 / self.mean_s)


def is_spot(record: Record) -> bool:
    """Whether the job runs on idle capacity."""
    return bool(record.spec.get("EnableManagedSpotTraining"))


def waits_until(record: Record) -> float | None:
    """When the time of a spot job is over, its interruptions included."""
    if not is_spot(record):
        return None
    limit_s = record.spec.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
    return None if limit_s is None else record.created + float(limit_s)


def interruption(
    record: Record, started: float, now: float, schedule: Schedule | None
) -> tuple[str, float | None]:
    """Why the capacity of a running job is taken back now, if it is; and when to look again."""
    if not is_spot(record):
        return "", None
    if record.status.get(INTERRUPT):
        return "an interruption was asked for", None
    if schedule is None:
        return "", None
    at = started + schedule.after_s(record.name, record.status.get("Attempt", 0))
    return ("the schedule of interruptions says so", None) if now >= at else ("", at)


OWN_FAULT: Final = (OUT_OF_MEMORY, "OutOfDisk:")
"""What the reasons say of units that would end the same way another time."""


def again(record: Record, gang: Gang) -> str:
    """Why another attempt follows one whose units are over; nothing when none does."""
    if gang.interruption and is_spot(record):
        return f"Interrupted, {gang.interruption}"
    failure = gang.failure
    if failure is None or not _retryable(failure):
        return ""
    used = record.status.get(RETRIES, 0)
    limit = record.spec.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    if used >= limit:
        return ""
    what = "its supervising process was killed" if failure.state == "lost" else "it was killed"
    return f"A host failed, {what}: attempt {used + 1} of {limit} to run the job again"


def _retryable(failure: Observation) -> bool:
    """Whether a unit failed by no fault of its own, as far as one can tell."""
    if failure.state == "lost":
        return True
    return failure.exit_code == KILLED and not any(words in failure.message for words in OWN_FAULT)


def attempt_after(record: Record, gang: Gang) -> dict[str, Any]:
    """Status changes by which the next attempt begins."""
    status = record.status
    changes: dict[str, Any] = {
        "Attempt": status.get("Attempt", 0) + 1,
        PRIOR_S: status.get(PRIOR_S, 0) + gang.seconds,
    }
    if CURVE in status:
        changes[PRIOR] = status[CURVE]
    if gang.interruption and is_spot(record):
        changes[INTERRUPTIONS] = status.get(INTERRUPTIONS, 0) + 1
    else:
        changes[RETRIES] = status.get(RETRIES, 0) + 1
    return changes


def frequency(changes: Mapping[str, Any], collected: Any) -> str:
    """Advice on how often to write a checkpoint, from what one costs and how often work is lost.

    The interval that loses least is sqrt(2 C M), with the cost C of a checkpoint and the mean time
    M between interruptions (Young 1974; Daly 2006 refines it where C is not small against M).
    """
    told = ((collected or {}).get("value") or {}).get("checkpoints") or {}
    cost_s, interval_s = told.get("cost_s"), told.get("interval_s")
    ends = changes.get(INTERRUPTIONS, 0) + changes.get(RETRIES, 0)
    if not cost_s or not interval_s or not ends:
        return ""
    mean_s = changes[PRIOR_S] / ends
    best_s = math.sqrt(2 * cost_s * mean_s)
    if best_s / 2 <= interval_s <= best_s * 2:
        return ""
    word = "more" if interval_s > best_s else "less"
    return (
        f"Advice: a checkpoint costs {cost_s:.2g} s and was written every {interval_s:.2g} s; with "
        f"an interruption every {mean_s:.0f} s it should be written {word} often, about every "
        f"{best_s:.2g} s (Young's formula); two or three of them are enough."
    )


def fate(record: Record, gang: Gang, uploaded: bool) -> str:
    """What becomes of the work of an attempt that did not come to its end."""
    if gang.started is None:
        return "it had not begun yet"
    if uploaded:
        return "it goes on from its last checkpoint"
    lost = f"the work of {gang.seconds:.0f} s is lost, because "
    if "CheckpointConfig" not in record.spec:
        return lost + "the job has no CheckpointConfig"
    return lost + "no whole checkpoint was in its checkpoint folder"
