"""Trials of a tuning job: its training jobs, read back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loopwright.contract.trials import CURVE, FROM_ZERO, PAUSE_AT, PAUSED, TRIAL, best
from loopwright.kernel.records import Record
from loopwright.runtime.search import Trial
from loopwright.tuning.definitions import Definition
from loopwright.tuning.ranges import texts

State = Literal["running", "paused", "completed", "stopped", "failed"]
ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True)
class Outcome:
    """What became of one trial so far.

    Attributes:
        state: As in `runtime.search.Trial`.
        value: The objective as the script reports it: of a completed trial the last report, of a
            stopped one the best; None without one.
    """

    job: Record
    state: State
    value: float | None

    @property
    def trial(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.job.spec[TRIAL]
        return found

    @property
    def active(self) -> bool:
        """Whether it has a place among the parallel trials."""
        return self.state == "running"

    @property
    def waiting(self) -> bool:
        """Whether it still waits for capacity."""
        return self.active and self.job.status.get("SecondaryStatus") == "Starting"

    @property
    def over(self) -> bool:
        return self.state in ("completed", "stopped", "failed")


def outcome(job: Record, metric: str) -> Outcome:
    """How a training job stands as a trial."""
    status = job.status
    trial = job.spec[TRIAL]
    ended = status["TrainingJobStatus"]
    if ended not in ENDED:
        at = status.get(PAUSED)
        target = status.get(PAUSE_AT, trial.get("target")) or 0
        return Outcome(job, "paused" if at is not None and 0 < target <= at else "running", None)
    if ended == "Failed":
        return Outcome(job, "failed", None)
    value = None
    if ended == "Stopped":
        value = best(status.get(CURVE, ()), trial["maximize"])
    if value is None:
        value = next(
            (
                point["Value"]
                for point in status.get("FinalMetricDataList", ())
                if point["MetricName"] == metric
            ),
            None,
        )
    if value is None:
        return Outcome(job, "failed", None)
    return Outcome(job, "completed" if ended == "Completed" else "stopped", float(value))


def outcomes(jobs: Iterable[Record], made: Sequence[Definition]) -> list[Outcome]:
    """All trials in order of creation."""
    metrics = {definition.name: definition.metric for definition in made}
    found = [outcome(job, metrics[job.spec[TRIAL]["definition"]]) for job in jobs]
    return sorted(found, key=lambda item: int(item.trial["index"]))


def as_trial(found: Outcome, task: int = 0, same: bool = True) -> Trial:
    """A trial as strategies see it: lower is better, curve without what is no number."""
    sign = -1.0 if found.trial["maximize"] else 1.0
    status = found.job.status
    target = status.get(PAUSE_AT, found.trial.get("target")) or None
    return Trial(
        number=int(found.trial["number"]),
        point=found.trial["point"],
        state=found.state,
        curve=tuple((int(step), sign * value) for step, value in status.get(CURVE, ())),
        value=sign * found.value if found.value is not None else None,
        target=target if found.state in ("running", "paused") else None,
        task=task,
        same=same,
    )


def summary(found: Outcome, definition: Definition, tuning_job: str) -> dict[str, Any]:
    """A `HyperParameterTrainingJobSummary`."""
    job, status = found.job, found.job.status
    shown: dict[str, Any] = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TuningJobName": tuning_job,
        "CreationTime": job.created,
        "TrainingStartTime": status.get("TrainingStartTime"),
        "TrainingEndTime": status.get("TrainingEndTime"),
        "TrainingJobStatus": status["TrainingJobStatus"],
        "TunedHyperParameters": texts(found.trial["point"]),
        "FailureReason": status.get("FailureReason"),
        "ObjectiveStatus": objective_status(found),
    }
    if definition.name:
        shown["TrainingJobDefinitionName"] = definition.name
    if found.value is not None:
        shown["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "Type": "Maximize" if definition.maximize else "Minimize",
            "MetricName": definition.metric,
            "Value": found.value,
        }
    return {member: value for member, value in shown.items() if value is not None}


def objective_status(found: Outcome) -> str:
    """`Succeeded`, `Pending` or `Failed`, as the counters count it."""
    if not found.over:
        return "Pending"
    return "Succeeded" if found.value is not None else "Failed"


def counters(found: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """`TrainingJobStatusCounters` and `ObjectiveStatusCounters`."""
    jobs = dict.fromkeys(
        ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0
    )
    objectives = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for item in found:
        objectives[objective_status(item)] += 1
        ended = item.job.status["TrainingJobStatus"]
        if ended in ("Completed", "Stopped"):
            jobs[ended] += 1
        elif ended == "Failed":
            reason = item.job.status.get("FailureReason", "")
            retryable = reason.startswith("InternalServerError")
            jobs["RetryableError" if retryable else "NonRetryableError"] += 1
        else:
            jobs["InProgress"] += 1
    return {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": objectives}


def best_of(found: Iterable[Outcome]) -> Outcome | None:
    """The best trial with a value; the earlier one of equals."""
    chosen: Outcome | None = None
    for item in found:
        if item.value is None or not item.over:
            continue
        sign = -1.0 if item.trial["maximize"] else 1.0
        if chosen is None or chosen.value is None or sign * item.value < sign * chosen.value:
            chosen = item
    return chosen


def not_resumed(found: Iterable[Outcome]) -> str:
    """Why paused trials do not go on from their checkpoints, if one did not."""
    return next((item.job.status[FROM_ZERO] for item in found if FROM_ZERO in item.job.status), "")
