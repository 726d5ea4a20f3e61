"""Operations of tuning jobs that are no generic verb."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from loopwright.kernel.verbs import Context, Operation, find, make_token, read_token
from loopwright.tuning.advice import advise
from loopwright.tuning.definitions import definitions
from loopwright.tuning.trials import Outcome, outcomes, summary
from loopwright.wire.errors import validation
from loopwright.wire.services import operation
from loopwright.wire.validate import validate

PAGE_DEFAULT: Final = 10


def tuning_operations() -> dict[str, Operation]:
    """By operation name."""
    return {"ListTrainingJobsForHyperParameterTuningJob": _list_trials}


def tuning_advice() -> dict[str, Operation]:
    """Operations of our own service model, by name."""
    return {"AdviseTuning": _advise}


def _advise(_context: Context, params: dict[str, Any]) -> dict[str, Any]:
    try:
        request = orjson.loads(params["Request"])
    except orjson.JSONDecodeError as error:
        raise validation(f"Request is no JSON: {error}.") from None
    if not isinstance(request, dict):
        raise validation("Request must be one JSON object: the request of a tuning job.")
    validate(operation("sagemaker", "CreateHyperParameterTuningJob"), request)
    return {"Advice": advise(request)}


def _list_trials(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """The trials of a tuning job: filtered, sorted, by pages."""
    kind = context.kinds["HyperParameterTuningJob"]
    record = find(context, kind, params["HyperParameterTuningJobName"])
    made = {definition.name: definition for definition in definitions(record.spec)}
    jobs = context.store.children(record.uid)
    found = outcomes(jobs, list(made.values()))
    wanted = params.get("StatusEquals")
    if wanted is not None:
        found = [t for t in found if t.job.status["TrainingJobStatus"] == wanted]
    sort = params.get("SortBy", "Name")
    descending = params.get("SortOrder", "Ascending") == "Descending"
    found.sort(key=lambda trial: trial.job.name)
    found.sort(key=lambda trial: _key(trial, sort), reverse=descending)
    if sort == "FinalObjectiveMetricValue":
        # A trial without a value is neither best nor worst: it comes last.
        found.sort(key=lambda trial: trial.value is None)
    fingerprint = ["trials", record.uid, sort, descending, wanted]
    after = read_token(params.get("NextToken"), fingerprint)
    start = int(after[0]) if after is not None else 0
    end = start + (params.get("MaxResults") or PAGE_DEFAULT)
    following = (end, 0) if end < len(found) else None
    shown = [
        summary(trial, made[trial.trial["definition"]], record.name) for trial in found[start:end]
    ]
    return {
        "TrainingJobSummaries": shown,
        "NextToken": make_token(following, fingerprint),
    }


def _key(trial: Outcome, sort: str) -> Any:
    status: Mapping[str, Any] = trial.job.status
    keys: dict[str, Any] = {
        "Name": trial.job.name,
        "CreationTime": trial.job.created,
        "Status": status["TrainingJobStatus"],
        "FinalObjectiveMetricValue": trial.value if trial.value is not None else 0.0,
    }
    return keys[sort]
