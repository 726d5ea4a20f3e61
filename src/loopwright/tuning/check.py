"""What CreateHyperParameterTuningJob refuses beyond the model's own constraints."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopwright.contract.metrics import check_metrics
from loopwright.kernel.kinds import Lookup
from loopwright.kernel.records import Record
from loopwright.runtime.search import Categorical, Parameter
from loopwright.tuning.definitions import (
    Definition,
    Draw,
    autotuned,
    config_of,
    definitions,
    grid_size,
    job_request,
    jobs_max,
    max_resource,
    space_of,
)
from loopwright.wire.errors import ApiError, validation

FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
RESOURCE_MAX: Final = 20_000
SEARCHED_MAX: Final = 30
CHANGES_MAX: Final = 10


def check_tuning(spec: Mapping[str, Any], lookup: Lookup) -> None:
    """Refuse a tuning job that could not run as asked.

    Raises:
        ApiError: `ValidationException` naming the member, its value and the way out.
    """
    if bool(spec.get("TrainingJobDefinition")) == bool(spec.get("TrainingJobDefinitions")):
        raise validation("Give either TrainingJobDefinition or TrainingJobDefinitions, not both.")
    made = definitions(spec)
    _check_names(made)
    for definition in made:
        _check_definition(spec, definition, lookup)
    _check_limits(spec, made)
    _check_early_stopping(spec, made)
    if spec.get("WarmStartConfig"):
        _check_warm_start(spec, made, lookup)


def _check_names(made: Sequence[Definition]) -> None:
    names = [definition.name for definition in made]
    if len(made) > 1:
        if not all(names):
            raise validation("Every one of several TrainingJobDefinitions needs a DefinitionName.")
        for name in names:
            if names.count(name) > 1:
                raise validation(f"DefinitionName {name!r} is given twice; names are unique.")
        if len({definition.maximize for definition in made}) > 1:
            raise validation(
                "The definitions' objectives are of both types, Minimize and Maximize; trials of "
                "different definitions are compared, so give all the same type."
            )


def _check_definition(spec: Mapping[str, Any], definition: Definition, lookup: Lookup) -> None:
    where = f"definition {definition.name!r}" if definition.name else "TrainingJobDefinition"
    if not definition.metric:
        raise validation(
            f"{where} has no objective; give HyperParameterTuningJobObjective or TuningObjective."
        )
    if not definition.parameters:
        raise validation(
            f"{where} searches no parameter; give ParameterRanges with at least one range"
            + (", or AutoParameters with hints." if autotuned(spec) else ".")
        )
    if len(definition.parameters) > SEARCHED_MAX:
        raise validation(
            f"{where} searches {len(definition.parameters)} parameters; at most {SEARCHED_MAX} can "
            "be. Make the less important ones static."
        )
    for parameter in definition.parameters:
        if parameter.name in definition.static:
            raise validation(
                f"The hyperparameter {parameter.name!r} is both static and searched; remove it "
                "from StaticHyperParameters or from the ranges."
            )
    _check_strategy(spec, definition, where)
    _check_metric(spec, definition, lookup)
    _check_job(spec, definition, lookup, where)


def _check_strategy(spec: Mapping[str, Any], definition: Definition, where: str) -> None:
    config = config_of(spec)
    strategy = config["Strategy"]
    if config.get("StrategyConfig") and strategy != "Hyperband":
        raise validation(
            f"StrategyConfig only goes with the strategy Hyperband; Strategy is {strategy!r}."
        )
    if strategy == "Grid":
        others = [p.name for p in definition.parameters if not isinstance(p, Categorical)]
        if others:
            raise validation(
                f"Strategy Grid searches categorical ranges only; {where} has {others[0]!r} as an "
                "integer or continuous range. List its values in CategoricalParameterRanges."
            )
    if strategy == "Hyperband":
        maximum = max_resource(spec, definition)
        hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        minimum = hyperband.get("MinResource", 1)
        if maximum is None:
            raise validation(
                "Hyperband needs MaxResource: give HyperbandStrategyConfig.MaxResource, or a "
                "static hyperparameter named epochs, numepochs, n-epochs, n_epochs or num_epochs."
            )
        if maximum > RESOURCE_MAX or minimum > maximum:
            raise validation(
                f"HyperbandStrategyConfig: MinResource is {minimum} and MaxResource {maximum}; "
                f"MinResource must not be above MaxResource, nor that above {RESOURCE_MAX}."
            )


def _check_metric(spec: Mapping[str, Any], definition: Definition, lookup: Lookup) -> None:
    """A definition of the metric, when the request has any definitions at all."""
    given = definition.request["AlgorithmSpecification"].get("MetricDefinitions") or []
    check_metrics(given)
    names = [metric["Name"] for metric in given]
    if names and definition.metric not in names:
        raise validation(
            f"The objective metric {definition.metric!r} is none of the MetricDefinitions, "
            f"{', '.join(names)}; define it, with the regular expression that finds it in the log."
        )
    for metric in given:
        try:
            pattern = re.compile(metric["Regex"])
        except re.error as error:
            raise validation(
                f"MetricDefinitions {metric['Name']!r}: {metric['Regex']!r} is no regular "
                f"expression: {error}."
            ) from None
        if pattern.groups == 0:
            raise validation(
                f"MetricDefinitions {metric['Name']!r}: {metric['Regex']!r} has no group; put the "
                "number in parentheses, such as 'loss: ([0-9.]+)'."
            )


def _check_job(spec: Mapping[str, Any], definition: Definition, lookup: Lookup, where: str) -> None:
    """The training job of a first trial, by training's own rules."""
    point = {parameter.name: parameter.from_unit(0.5) for parameter in definition.parameters}
    record = Record("", "HyperParameterTuningJob", "check", "", "", spec, {}, 0.0, 0.0)
    space = space_of(spec, definition, True)
    request = job_request(record, definition, Draw(0, 0, point), space)
    try:
        lookup.check("TrainingJob", request)
    except ApiError as error:
        raise ApiError(error.code, f"{where}: {error.message}", error.status) from None


def _check_limits(spec: Mapping[str, Any], made: Sequence[Definition]) -> None:
    config = config_of(spec)
    limits = config["ResourceLimits"]
    given = limits.get("MaxNumberOfTrainingJobs")
    if config["Strategy"] == "Grid":
        size = sum(grid_size(definition) for definition in made)
        if given is not None and given != size:
            raise validation(
                f"MaxNumberOfTrainingJobs is {given}, but the grid has {size} points; leave it "
                "out, or give the same number."
            )
    criteria = config.get("TuningJobCompletionCriteria", {})
    unbounded = jobs_max(spec, tuple(made)) is None and "MaxRuntimeInSeconds" not in limits
    if unbounded and not criteria:
        raise validation(
            "Nothing ends this tuning job: give ResourceLimits.MaxNumberOfTrainingJobs, "
            "ResourceLimits.MaxRuntimeInSeconds or TuningJobCompletionCriteria."
        )


def _check_early_stopping(spec: Mapping[str, Any], made: Sequence[Definition]) -> None:
    config = config_of(spec)
    if config.get("TrainingJobEarlyStoppingType") != "Auto":
        return
    if config["Strategy"] == "Hyperband":
        raise validation(
            "TrainingJobEarlyStoppingType is Auto, but Hyperband stops trials by its own rule; "
            "set it to Off."
        )
    if len(made) > 1:
        raise validation(
            "TrainingJobEarlyStoppingType Auto does not go with several TrainingJobDefinitions; "
            "set it to Off."
        )


def _check_warm_start(spec: Mapping[str, Any], made: Sequence[Definition], lookup: Lookup) -> None:
    if len(made) > 1:
        raise validation("WarmStartConfig does not go with several TrainingJobDefinitions.")
    warm = spec["WarmStartConfig"]
    for entry in warm["ParentHyperParameterTuningJobs"]:
        name = entry.get("HyperParameterTuningJobName", "")
        parent = lookup.record("HyperParameterTuningJob", name)
        if parent is None:
            raise validation(
                f"WarmStartConfig: there is no tuning job {name!r}; it may have been deleted. "
                "Name a parent that exists."
            )
        state = parent.status["HyperParameterTuningJobStatus"]
        if state not in FINISHED:
            raise validation(
                f"WarmStartConfig: the parent {name!r} is {state}; wait until it has ended."
            )
        if parent.spec.get("TrainingJobDefinitions"):
            raise validation(
                f"WarmStartConfig: the parent {name!r} has several training definitions; such a "
                "job cannot be a parent."
            )
        _check_parent(made[0], definitions(parent.spec)[0], name, warm["WarmStartType"])


def _check_parent(own: Definition, parent: Definition, name: str, kind: str) -> None:
    if (own.metric, own.maximize) != (parent.metric, parent.maximize):
        raise validation(
            f"WarmStartConfig: the parent {name!r} has the objective {parent.metric!r}, this job "
            f"{own.metric!r}; both name and type must be the same."
        )
    ours, theirs = _names(own), _names(parent)
    if len(ours) != len(theirs):
        raise validation(
            f"WarmStartConfig: this job has {len(ours)} hyperparameters, static and searched, the "
            f"parent {name!r} has {len(theirs)}; the number must stay the same."
        )
    changes = _changes(own, parent)
    if len(changes) > CHANGES_MAX:
        raise validation(
            f"WarmStartConfig: {len(changes)} hyperparameters differ from the parent {name!r} "
            f"({', '.join(changes)}); at most {CHANGES_MAX} may."
        )
    if kind == "IdenticalDataAndAlgorithm":
        _check_identical(own, parent, name)


def _names(definition: Definition) -> set[str]:
    static = {key for key in definition.static if not key.startswith(("_", "sagemaker_"))}
    return static | {parameter.name for parameter in definition.parameters}


def _changes(own: Definition, parent: Definition) -> list[str]:
    """Hyperparameters that turned static or searched, or whose static value changed."""
    ours = {parameter.name: parameter for parameter in own.parameters}
    theirs = {parameter.name: parameter for parameter in parent.parameters}
    turned = sorted(set(ours) ^ set(theirs))
    changed = [
        key
        for key, value in own.static.items()
        if key in parent.static
        and parent.static[key] != value
        and not key.startswith(("_", "sagemaker_"))
    ]
    for name in set(ours) & set(theirs):
        if _type(ours[name]) != _type(theirs[name]):
            raise validation(
                f"WarmStartConfig: {name!r} is {_type(ours[name])} here and {_type(theirs[name])} "
                "in the parent; a hyperparameter's type must stay the same."
            )
    return [*turned, *changed]


def _type(parameter: Parameter) -> str:
    return type(parameter).__name__.lower()


def _check_identical(own: Definition, parent: Definition, name: str) -> None:
    ours = own.request["AlgorithmSpecification"].get("TrainingImage", "")
    theirs = parent.request["AlgorithmSpecification"].get("TrainingImage", "")
    if ours.partition(":")[0] != theirs.partition(":")[0]:
        raise validation(
            f"WarmStartConfig IdenticalDataAndAlgorithm: the training image is {ours!r}, the "
            f"parent {name!r} has {theirs!r}. Use TransferLearning for another algorithm."
        )
    if _sources(own) != _sources(parent):
        raise validation(
            f"WarmStartConfig IdenticalDataAndAlgorithm: the input data differ from those of the "
            f"parent {name!r}. Use TransferLearning for other data."
        )


def _sources(definition: Definition) -> dict[str, str]:
    return {
        channel["ChannelName"]: channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        for channel in definition.request.get("InputDataConfig", ())
    }
