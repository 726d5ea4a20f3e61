"""The slow work of tuning jobs, run as calls: ask a strategy or a rule, read parents, report.

Every function reads what it needs from the store when it runs. It may run again after a crash:
it writes nothing but the report, which is the same for the same trials.
"""

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import orjson

from loopwright.compute.folder import unit_folder
from loopwright.compute.staging import split_uri
from loopwright.contract.trials import TRIAL
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store
from loopwright.runtime.search import Space, Trial, read_trial, trial_document
from loopwright.tuning.definitions import Definition, config_of, definitions, space_of
from loopwright.tuning.report import Figures, render_report
from loopwright.tuning.trials import (
    Outcome,
    as_trial,
    best_of,
    not_resumed,
    outcomes,
    summary,
)

Function = Callable[[Mapping[str, Any]], Any]
STRATEGY_TAG: Final = "loopwright:strategy"
PARENT_TRIALS_MAX: Final = 1000


class Target(Protocol):
    """What the report needs of the object store (`loopwright.objects.base.Objects`)."""

    def bucket_exists(self, bucket: str) -> bool: ...
    def put_file(self, bucket: str, key: str, path: Path) -> Any: ...


def tuning_functions(store: Store, target: Target, home: Path) -> dict[str, Function]:
    """By the name that planners call them."""
    search = Search(store)
    return {
        "tuning.begin": search.begin,
        "tuning.suggest": search.suggest,
        "tuning.judge": search.judge,
        "tuning.answer": lambda arguments: answer(home, arguments),
        "tuning.report": lambda arguments: write_report(search, target, home, arguments),
    }


class Search:
    """Reads tuning jobs and their trials; trials that did not change are not read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: dict[str, dict[str, Record]] = {}
        self._trials: dict[tuple[str, int], Trial] = {}

    def record(self, uid: str) -> Record:
        """The tuning job.

        Raises:
            LookupError: it was deleted.
        """
        record = self._store.by_uid(uid)
        if record is None:
            raise LookupError("the tuning job was deleted")
        return record

    def outcomes(self, record: Record, made: Sequence[Definition]) -> list[Outcome]:
        """All trials of a tuning job, in order of creation."""
        jobs = self._store.children(record.uid, self._jobs.get(record.uid))
        self._jobs = {record.uid: {job.uid: job for job in jobs}}
        return outcomes((job for job in jobs if TRIAL in job.spec), made)

    def _own(self, found: Sequence[Outcome]) -> list[Trial]:
        """Trials as strategies see them; made once for each state of a job."""
        keys = [(item.job.uid, item.job.revision) for item in found]
        made = {
            key: self._trials.get(key) or as_trial(item)
            for key, item in zip(keys, found, strict=True)
        }
        self._trials = made
        return list(made.values())

    def _parents(self, record: Record) -> list[Trial]:
        document = self._store.document(f"{record.key}/parents")
        return [read_trial(trial) for trial in document[1]["trials"]] if document else []

    # Calls

    def suggest(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Proposals `[point, target, resumes]` of the job's strategy for one definition."""
        record = self.record(arguments["uid"])
        made = definitions(record.spec)
        definition = next(d for d in made if d.name == arguments["definition"])
        found = self.outcomes(record, made)
        space = space_of(record.spec, definition, not not_resumed(found))
        own = self._own([t for t in found if t.trial["definition"] == definition.name])
        parents = self._parents(record)
        strategy = module("strategies", config_of(record.spec)["Strategy"].lower())
        proposals: list[list[Any]] = []
        count = int(arguments["count"])
        while len(proposals) < count:
            rng = generator(record, definition, len(own))
            proposal = strategy.suggest(space, [*own, *parents], rng)
            if proposal is None or (proposal.resumes is None and not arguments["new"]):
                break
            target = proposal.target
            proposals.append([dict(proposal.point), target, proposal.resumes])
            if proposal.resumes is not None:
                break
            own.append(Trial(len(own), proposal.point, "running", target=target))
        converged = None
        if arguments["converges"] and len(made) == 1:
            converged = module("", "convergence").converged(space, [*own, *parents])
        return {
            "proposals": proposals,
            "definition": definition.name,
            "progress": arguments["progress"],
            "converged": converged,
        }

    def judge(self, arguments: Mapping[str, Any]) -> list[list[Any]]:
        """[index, reason] of the running trials that the rule ends."""
        record = self.record(arguments["uid"])
        made = definitions(record.spec)
        found = self.outcomes(record, made)
        rule = (
            module("strategies", "hyperband")
            if arguments["rule"] == "hyperband"
            else module("stopping", arguments["rule"])
        )
        ended: list[list[Any]] = []
        for definition in made:
            space = space_of(record.spec, definition, not not_resumed(found))
            of = [t for t in found if t.trial["definition"] == definition.name]
            history = [as_trial(item) for item in of] if len(made) > 1 else self._own(of)
            for item, trial in zip(of, history, strict=True):
                if trial.state != "running" or not trial.curve:
                    continue
                reason = _overrun(space, trial) or rule.stop(trial, history, space)
                if reason and definition.maximize:
                    reason += " (values with their sign turned, because more is better)"
                if reason:
                    ended.append([item.trial["index"], reason])
        return ended

    def begin(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What a tuning job starts from: its parents' trials, and its tags.

        Raises:
            LookupError: a parent was deleted since.
        """
        record = self.record(arguments["uid"])
        made = definitions(record.spec)
        warm = record.spec.get("WarmStartConfig", {})
        same = warm.get("WarmStartType") == "IdenticalDataAndAlgorithm"
        trials: list[Any] = []
        metrics: list[Any] = []
        found: list[Outcome] = []
        parents = [
            entry["HyperParameterTuningJobName"]
            for entry in warm.get("ParentHyperParameterTuningJobs", ())
        ]
        for task, name in enumerate(parents, 1):
            parent = self._store.get(record.region, record.kind, name)
            if parent is None:
                raise LookupError(
                    f"the parent {name!r} of the warm start was deleted before its results were "
                    "read; create the job again without it"
                )
            theirs = definitions(parent.spec)
            results = [item for item in self.outcomes(parent, theirs) if item.over]
            found += results
            metrics = metrics or list(_metric_definitions(theirs[0], results))
            trials += [
                trial_document(_imputed(item, as_trial(item, task, same), theirs[0], made[0]))
                for item in results
            ]
        best = best_of(found)
        tags = self._store.tags(record.arn)
        return {
            "trials": trials[-PARENT_TRIALS_MAX:],
            "parents": len(parents),
            "metrics": metrics,
            "best": _summary_of(best, made[0]) if best is not None and same else None,
            "strategy": tags.get(STRATEGY_TAG, ""),
        }


def _summary_of(best: Outcome, definition: Definition) -> dict[str, Any]:
    job = str(best.job.spec.get("TuningJobArn", "")).rpartition("/")[2]
    return summary(best, definition, job)


def _metric_definitions(definition: Definition, results: Sequence[Outcome]) -> Sequence[Any]:
    """A parent's metric definitions, or those that its trials inherited themselves."""
    found: Sequence[Any] = definition.request["AlgorithmSpecification"].get("MetricDefinitions", [])
    if not found and results:
        return list(results[0].job.spec["AlgorithmSpecification"].get("MetricDefinitions", []))
    return found


def _imputed(item: Outcome, trial: Trial, parent: Definition, own: Definition) -> Trial:
    """A parent's trial with its static values for what is searched now."""
    point = dict(trial.point)
    for parameter in own.parameters:
        if parameter.name not in point and parameter.name in parent.static:
            point[parameter.name] = parent.static[parameter.name]
    names = {parameter.name for parameter in own.parameters}
    kept = {name: value for name, value in point.items() if name in names}
    return Trial(
        trial.number, kept, trial.state, trial.curve, trial.value, None, trial.task, trial.same
    )


def _overrun(space: Space, trial: Trial) -> str | None:
    """Why a trial of a multi-fidelity search that went past its last step is ended."""
    if space.resources is None or trial.curve[-1][0] <= space.resources.maximum:
        return None
    return f"It went past MaxResource, {space.resources.maximum} steps"


def generator(record: Record, definition: Definition, index: int) -> Any:
    """The random generator of one suggestion: a function of seed, definition and index alone."""
    given = config_of(record.spec).get("RandomSeed")
    seed = seed_of(record) if given is None else int(given)
    return module("", "draws").generator(seed, definition.name, index)


def seed_of(record: Record) -> int:
    """A seed for a job that gave none."""
    return int.from_bytes(hashlib.blake2b(record.uid.encode(), digest_size=4).digest())


def module(family: str, name: str) -> ModuleType:
    """A strategy or rule by name: the declared lazy seam.

    NumPy and SciPy are loaded by the first suggestion, so that `serve` starts without them.
    """
    path = f"{family}.{name}" if family else name
    return importlib.import_module(f"loopwright.tuning.{path}")


def answer(home: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a user's own strategy wrote down.

    Raises:
        RuntimeError: it failed; with its own words.
    """
    if arguments["failure"]:
        raise RuntimeError(arguments["failure"])
    path = unit_folder(home, arguments["unit"]).base / arguments["file"]
    if path.is_symlink():
        raise RuntimeError("the strategy's answer is a link")
    document = orjson.loads(path.read_bytes())
    return {**document, "definition": arguments["definition"], "progress": arguments["progress"]}


def write_report(search: Search, target: Target, home: Path, arguments: Mapping[str, Any]) -> str:
    """Write the HTML report beside the trials' outputs; its URI."""
    record = search.record(arguments["uid"])
    made = definitions(record.spec)
    found = search.outcomes(record, made)
    root = made[0].request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    uri = f"{root}/{record.name}/report.html"
    bucket, key = split_uri(uri)
    if not target.bucket_exists(bucket):
        raise FileNotFoundError(f"the bucket {bucket!r} of {uri} does not exist")
    scratch = home / "run" / f"report-{record.uid}.html"
    scratch.write_text(render_report(Figures(record, made, found)), encoding="utf-8")
    target.put_file(bucket, key, scratch)
    scratch.unlink()
    return uri
