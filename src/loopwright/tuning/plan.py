"""What happens to a tuning job: trials are suggested, made, watched, ended; then it ends.

The trials are training jobs that the record owns. All that a pass needs is read from them, so a
pass can be repeated: a trial's name follows from its index, and an index is used once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.trials import CURVE, PAUSE_AT, STOP_REASON, reached
from loopwright.kernel.actions import (
    Action,
    Call,
    CreateChild,
    DropCall,
    Publish,
    Rest,
    SetStatus,
    UpdateChild,
    Wake,
)
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record
from loopwright.runtime.search import Space
from loopwright.tuning.advice import advise
from loopwright.tuning.criteria import Ending, ending_of, hopeless
from loopwright.tuning.definitions import (
    Definition,
    Draw,
    autotuned,
    config_of,
    definitions,
    job_request,
    jobs_max,
    space_of,
    trial_name,
)
from loopwright.tuning.own import ASKED, OWN_STRATEGY, answered, ask
from loopwright.tuning.trials import (
    Outcome,
    as_trial,
    best_of,
    counters,
    not_resumed,
    outcomes,
    summary,
)

FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
CHILD: Final = "TrainingJob"
ENDING: Final = "Ending"
"""Status: why no more trials are made, and the state that the job will have."""
BEGUN: Final = "Begun"
NOTHING_NEW: Final = "NothingNew"
"""Status: the trials (over, paused) for which the strategy had nothing to propose."""
JUDGED: Final = "Judged"
"""Status: last step at which early stopping judged a running trial, by its index."""
CONVERGED: Final = "ConvergedInRow"
METRICS: Final = "ParentMetricDefinitions"
PARENT_BEST: Final = "ParentBest"
BLIND_MAX: Final = 2
"""Trials of a model-based strategy that may wait for capacity: more would be guessed blindly."""
MODEL_BASED: Final = frozenset({"Bayesian", "Hyperband"})


def initial_status(spec: Mapping[str, Any], _now: float) -> dict[str, Any]:
    """The status of a tuning job that was just accepted."""
    config = config_of(spec)
    return {
        "HyperParameterTuningJobStatus": "InProgress",
        **counters([]),
        # Lists show these two at the top.
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
    }


@dataclass(frozen=True)
class Tuning:
    """One tuning job as a pass sees it."""

    record: Record
    view: View
    now: float
    made: tuple[Definition, ...]
    trials: list[Outcome]

    @property
    def active(self) -> list[Outcome]:
        return [trial for trial in self.trials if trial.active]

    @property
    def paused(self) -> list[Outcome]:
        return [trial for trial in self.trials if trial.state == "paused"]

    @property
    def strategy(self) -> str:
        return str(config_of(self.record.spec)["Strategy"])

    def of(self, definition: Definition) -> list[Outcome]:
        return [t for t in self.trials if t.trial["definition"] == definition.name]

    def definition_of(self, trial: Outcome) -> Definition:
        return next(d for d in self.made if d.name == trial.trial["definition"])

    def space(self, definition: Definition) -> Space:
        return space_of(self.record.spec, definition, not not_resumed(self.trials))


def plan_tuning(record: Record, view: View, now: float) -> list[Action]:
    """What to do next for one tuning job."""
    status = record.status
    if status["HyperParameterTuningJobStatus"] in FINISHED:
        return []
    made = definitions(record.spec)
    jobs = [child for (kind, _), child in view.children.items() if kind == CHILD]
    tuning = Tuning(record, view, now, made, outcomes(jobs, made))
    started = _begin(tuning)
    if started is not None:
        return started
    shown = _shown(tuning)
    if status.get(STOPPING):
        return _wind_down(tuning, shown, Ending("Stopped", "Stop requested"))
    if ENDING in status:
        return _wind_down(tuning, shown, Ending(*status[ENDING]))
    ending = hopeless(record, tuning.trials, made) or ending_of(record, tuning.trials, now)
    if ending is not None:
        change = {**shown, ENDING: [ending.state, ending.reason, ending.details]}
        return [SetStatus(change, ending.reason), Wake(now)]
    return [SetStatus(shown), *_judge(tuning), *_advance(tuning), *_timer(record)]


def _begin(tuning: Tuning) -> list[Action] | None:
    """The first passes: advice into the history, parents' results, tags; None once done."""
    record = tuning.record
    if BEGUN in record.status:
        return None
    key = f"{record.key}/begin"
    if key not in tuning.view.calls:
        noted = [
            SetStatus({"Advised": number}, f"Advice: {text}")
            for number, text in enumerate(advise(record.spec), 1)
        ]
        return [*noted, Call("tuning.begin", key, {"uid": record.uid})]
    result = tuning.view.calls[key]
    if result is None:
        return []
    if "error" in result:
        reason = f"The tuning job could not begin: {result['error']}"
        change = {BEGUN: True, ENDING: ["Failed", reason, {}]}
        return [DropCall(key), SetStatus(change, reason), Wake(tuning.now)]
    value = result["value"]
    changes = {
        BEGUN: True,
        METRICS: value["metrics"] or None,
        PARENT_BEST: value["best"],
        OWN_STRATEGY: value["strategy"] or None,
    }
    actions: list[Action] = [DropCall(key), Wake(tuning.now)]
    if not value["trials"]:
        return [*actions, SetStatus(changes)]
    text = f"Warm start from {len(value['trials'])} trials of {value['parents']} parents"
    published = Publish(f"{record.key}/parents", {"trials": value["trials"]})
    return [*actions, SetStatus(changes, text), published]


def _shown(tuning: Tuning) -> dict[str, Any]:
    """Counters and best trials, for Describe."""
    record = tuning.record
    found: dict[str, Any] = counters(tuning.trials)
    best = best_of(tuning.trials)
    if best is not None:
        found["BestTrainingJob"] = summary(best, tuning.definition_of(best), record.name)
    warm = record.spec.get("WarmStartConfig", {})
    if warm.get("WarmStartType") == "IdenticalDataAndAlgorithm":
        found["OverallBestTrainingJob"] = _overall(tuning, found.get("BestTrainingJob"))
    return found


def _overall(tuning: Tuning, own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The best over this job and its parents."""
    theirs: Mapping[str, Any] | None = tuning.record.status.get(PARENT_BEST)
    if own is None or theirs is None:
        return own or theirs
    member = "FinalHyperParameterTuningJobObjectiveMetric"
    sign = -1.0 if tuning.made[0].maximize else 1.0
    better = sign * own[member]["Value"] <= sign * theirs[member]["Value"]
    return own if better else theirs


def _timer(record: Record) -> list[Action]:
    """Look again when the time is over; else only when something happens."""
    limit_s = config_of(record.spec)["ResourceLimits"].get("MaxRuntimeInSeconds")
    return [Rest()] if limit_s is None else [Rest(), Wake(record.created + limit_s)]


# Making trials


def _advance(tuning: Tuning) -> list[Action]:
    """Fill the free places with trials, as far as the strategy proposes any."""
    record = tuning.record
    limits = config_of(record.spec)["ResourceLimits"]
    free = limits["MaxParallelTrainingJobs"] - len(tuning.active)
    if free <= 0:
        return []
    index = len(tuning.trials)
    key = f"{record.key}/suggest"
    if key in tuning.view.calls:
        result = tuning.view.calls[key]
        return _take(tuning, key, result, index) if result is not None else []
    if ASKED in record.status:
        return answered(record, tuning.view, key)
    waiting = sum(1 for trial in tuning.active if trial.waiting)
    if tuning.strategy in MODEL_BASED and waiting >= BLIND_MAX:
        return []
    limit = jobs_max(record.spec, tuning.made)
    new = limit is None or index < limit
    if not new and not (tuning.strategy == "Hyperband" and tuning.paused):
        return []
    progress = _progress(tuning)
    if record.status.get(NOTHING_NEW) == progress:
        return []
    count = min(free, limit - index) if limit is not None else free
    definition = _next_definition(tuning)
    arguments = {
        "uid": record.uid,
        "definition": definition.name,
        "count": max(1, count) if tuning.strategy not in MODEL_BASED else 1,
        "new": new,
        "progress": progress,
        "converges": _converges(record),
    }
    if OWN_STRATEGY in record.status:
        seed = [config_of(record.spec).get("RandomSeed", 0), index]
        history = [as_trial(trial) for trial in tuning.of(definition)]
        return ask(record, tuning.space(definition), history, {**arguments, "seed": seed})
    return [Call("tuning.suggest", key, arguments)]


def _converges(record: Record) -> bool:
    """Whether the job is to end by itself when the model expects no more improvement."""
    criteria = config_of(record.spec).get("TuningJobCompletionCriteria", {})
    given = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence")
    return bool(given == "Enabled" or (given is None and autotuned(record.spec)))


def _progress(tuning: Tuning) -> list[int]:
    """How far the trials are, as far as a strategy's answer depends on it."""
    return [
        len(tuning.trials),
        sum(1 for trial in tuning.trials if trial.over),
        sum(reached(trial.job.status.get(CURVE, ())) for trial in tuning.paused),
        len(tuning.paused),
    ]


def _next_definition(tuning: Tuning) -> Definition:
    """Of several definitions: by turns the one tried least, and the one with the best so far."""
    if len(tuning.made) == 1:
        return tuning.made[0]
    if tuning.strategy == "Grid":
        for definition in tuning.made:
            if len(tuning.of(definition)) < jobs_max_of(tuning, definition):
                return definition
    least = min(tuning.made, key=lambda definition: len(tuning.of(definition)))
    best = best_of(tuning.trials)
    if best is None or len(tuning.trials) % 2 == 0:
        return least
    return tuning.definition_of(best)


def jobs_max_of(tuning: Tuning, definition: Definition) -> int:
    """The size of one definition's grid."""
    return jobs_max(tuning.record.spec, (definition,)) or 0


def _take(tuning: Tuning, key: str, result: Mapping[str, Any], index: int) -> list[Action]:
    """Use what the strategy answered: make trials, let one go on, or wait for news."""
    actions: list[Action] = [DropCall(key), Wake(tuning.now)]
    if "error" in result:
        reason = f"The strategy failed: {result['error']}"
        change = {ENDING: ["Failed", reason, {}]}
        return [*actions, SetStatus(change, reason)]
    value = result["value"]
    definition = next(d for d in tuning.made if d.name == value["definition"])
    space = tuning.space(definition)
    changes: dict[str, Any] = {NOTHING_NEW: None, CONVERGED: None}
    if value.get("converged"):
        changes[CONVERGED] = tuning.record.status.get(CONVERGED, 0) + 1
        changes["ConvergedWhy"] = value["converged"]
    if not value["proposals"]:
        # Nothing can come of it until a trial ends or pauses; without any it is the end.
        if not tuning.active:
            reason = "The strategy has nothing more to try"
            return [*actions, SetStatus({ENDING: ["Completed", reason, {}]}, reason)]
        return [*actions, SetStatus({NOTHING_NEW: value["progress"]})]
    actions.append(SetStatus(changes))
    number = len(tuning.of(definition))
    for point, target, resumed in value["proposals"]:
        if resumed is not None:
            actions.append(_promote(tuning, definition, int(resumed), target))
            continue
        draw = Draw(index, number, point, target)
        metrics = tuning.record.status.get(METRICS)
        request = job_request(tuning.record, definition, draw, space, metrics)
        actions.append(CreateChild(CHILD, trial_name(tuning.record, index), request))
        index, number = index + 1, number + 1
    return actions


def _promote(
    tuning: Tuning, definition: Definition, number: int, target: int | None
) -> UpdateChild:
    trial = next(t for t in tuning.of(definition) if t.trial["number"] == number)
    text = f"Promoted: goes on to step {target}" if target else "Promoted: goes on to its end"
    return UpdateChild(CHILD, trial.job.name, {PAUSE_AT: target or 0}, text)


# Ending trials


def _judge(tuning: Tuning) -> list[Action]:
    """Ask the stopping rule about running trials that went on since it was last asked."""
    record = tuning.record
    config = config_of(record.spec)
    key = f"{record.key}/judge"
    if key in tuning.view.calls:
        result = tuning.view.calls[key]
        return _stopped(tuning, key, result) if result is not None else []
    automatic = config.get("TrainingJobEarlyStoppingType") == "Auto" or (
        autotuned(record.spec) and tuning.strategy != "Hyperband" and len(tuning.made) == 1
    )
    if tuning.strategy != "Hyperband" and not automatic:
        return []
    steps = {
        str(trial.trial["index"]): reached(trial.job.status.get(CURVE, ()))
        for trial in tuning.active
        if not trial.job.status.get(STOPPING)
    }
    judged = record.status.get(JUDGED, {})
    if all(step <= judged.get(index, 0) for index, step in steps.items()):
        return []
    rule = "hyperband" if tuning.strategy == "Hyperband" else "median"
    call = Call("tuning.judge", key, {"uid": record.uid, "rule": rule})
    return [call, SetStatus({JUDGED: steps})]


def _stopped(tuning: Tuning, key: str, result: Mapping[str, Any]) -> list[Action]:
    """Stop the trials that the rule named."""
    actions: list[Action] = [DropCall(key), Wake(tuning.now)]
    if "error" in result:
        return [*actions, SetStatus({}, f"Early stopping failed: {result['error']}")]
    by_index = {trial.trial["index"]: trial for trial in tuning.active}
    for index, reason in result["value"]:
        if index in by_index:
            actions.append(_stop(by_index[index], reason))
    return actions


def _stop(trial: Outcome, reason: str) -> UpdateChild:
    changes = {STOPPING: True, "TrainingJobStatus": "Stopping", STOP_REASON: reason}
    return UpdateChild(CHILD, trial.job.name, changes, reason)


def _wind_down(tuning: Tuning, shown: Mapping[str, Any], ending: Ending) -> list[Action]:
    """Stop what still runs; once nothing does, write the report and end."""
    left = [trial for trial in tuning.trials if not trial.over]
    if left:
        stops = [
            _stop(trial, _last_words(trial, ending))
            for trial in left
            if not trial.job.status.get(STOPPING)
        ]
        return [SetStatus(shown), *stops, Rest()]
    key = f"{tuning.record.key}/report"
    if key not in tuning.view.calls and tuning.trials:
        return [SetStatus(shown), Call("tuning.report", key, {"uid": tuning.record.uid})]
    result = tuning.view.calls.get(key)
    if result is None and tuning.trials:
        return [Rest()]
    return _finish(tuning, shown, ending, result)


def _last_words(trial: Outcome, ending: Ending) -> str:
    if trial.state == "paused":
        return "Not promoted by Hyperband before the tuning job ended"
    return f"The tuning job ended: {ending.reason}"


def _finish(
    tuning: Tuning,
    shown: Mapping[str, Any],
    ending: Ending,
    report: Mapping[str, Any] | None,
) -> list[Action]:
    record = tuning.record
    changes: dict[str, Any] = {
        **shown,
        "HyperParameterTuningJobStatus": ending.state,
        "HyperParameterTuningEndTime": tuning.now,
        "ConsumedResources": {"RuntimeInSeconds": max(0, round(tuning.now - record.created))},
        "TuningJobCompletionDetails": ending.details or None,
        STOPPING: None,
    }
    if ending.state == "Failed":
        changes["FailureReason"] = ending.reason[:1024]
    actions: list[Action] = [SetStatus(changes, f"{ending.state}: {ending.reason}")]
    if report is not None:
        told = report.get("error") or f"Report: {report['value']}"
        what = "The report could not be written: " if "error" in report else ""
        actions.insert(0, SetStatus({"Report": report.get("value")}, f"{what}{told}"))
    return actions
