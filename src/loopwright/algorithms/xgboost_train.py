"""The XGBoost algorithm: reads the channels, boosts, writes model/xgboost-model.

Behaves as algorithm mode of the public sagemaker-xgboost-container on one host.
"""

import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import xgboost

from loopwright.algorithms import xgboost_channels as channels
from loopwright.algorithms import xgboost_checkpoints as checkpoints
from loopwright.algorithms import xgboost_hyperparameters as hyperparameters
from loopwright.algorithms import xgboost_metrics
from loopwright.algorithms.errors import AlgorithmError, CustomerError
from loopwright.algorithms.xgboost_channels import Table
from loopwright.algorithms.xgboost_hyperparameters import Settings
from loopwright.runtime import archives
from loopwright.runtime.environment import Environment, cpu_count, gpu_count
from loopwright.runtime.paths import Tree

MODEL_NAME = "xgboost-model"
# Time and place in XGBoost's source, before what it has to say.
_WHERE = re.compile(r"^\[[\d:]+\] \S+: (Check failed: [^:]*: )?")
# What XGBoost says when labels or parameters do not fit: the user's to mend.
_CUSTOMER_WORDS = (
    "label must be",
    "num_class",
    "feature_names mismatch",
    "preds.size()",
    "pos or neg samples",
    "base_score must be",
    "must be nonnegative",
    "Parameter reg_lambda",
    "Label contains NaN",
    "Invalid Parameter",
    "Invalid parameter",
    "contains NaN, infinity",
    "Number of columns",
    "average='binary'",
)


def train(environment: Environment) -> None:
    """Train and write the model.

    Args:
        environment: Hyperparameters and channels of this job.
    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
        AlgorithmError: XGBoost failed for another reason; its traceback is on stderr.
    """
    tree = environment.tree
    given = environment.user_hyperparameters
    if (metric := environment.hyperparameters.get("_tuning_objective_metric")) is not None:
        given = {**given, "_tuning_objective_metric": metric}
    settings = hyperparameters.validate(given)
    if len(environment.hosts) > 1:
        raise CustomerError(
            f"InstanceCount is {len(environment.hosts)}; this runtime trains XGBoost on one host."
        )
    tables = _read_channels(environment, settings)
    columns = max(table.features.shape[1] for table in tables.values())
    _check_labels(tables, settings)
    sys.stdout.write(f"Train matrix has {len(tables['train'].labels)} rows and {columns} columns\n")
    try:
        matrices = [(table.matrix(columns), name) for name, table in tables.items()]
        booster = _boost(matrices, settings, environment)
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        first = _WHERE.sub("", str(error).partition("Stack trace:")[0].strip())
        if any(words in first for words in _CUSTOMER_WORDS):
            raise CustomerError(first) from error
        traceback.print_exc()
        raise AlgorithmError(f"XGB train call failed with exception: {first}") from error
    checkpoints.write_model(booster, tree.model / MODEL_NAME)


def _read_channels(environment: Environment, settings: Settings) -> dict[str, Table]:
    """The tables by channel name, `train` first; the validation channel is optional."""
    given = environment.channels
    if "train" not in given:
        named = ", ".join(sorted(given)) or "none"
        raise CustomerError(f"The channel train is missing; the job has {named}.")
    unknown = sorted(set(given) - {"train", "validation", "model", "code"})
    if unknown:
        raise CustomerError(
            f"The channel {unknown[0]} is unknown; XGBoost takes train, validation and model."
        )
    tables: dict[str, Table] = {}
    for name in ("train", "validation"):
        if name in given:
            kind = channels.content_kind(name, given[name])
            folder = environment.tree.channel(name)
            tables[name] = channels.read(name, folder, kind, weighted=settings.csv_weights)
    widths = {name: table.features.shape[1] for name, table in tables.items()}
    dense = all(not hasattr(table.features, "indptr") for table in tables.values())
    if dense and len(set(widths.values())) > 1:
        raise CustomerError(
            f"The channel train has {widths['train']} features, validation {widths['validation']}."
        )
    return tables


def _check_labels(tables: dict[str, Table], settings: Settings) -> None:
    """Labels must be what the objective takes; XGBoost itself would complain of base_score."""
    objective = settings.parameters.get("objective", "")
    if objective.startswith("multi:"):
        high, rule = settings.parameters["num_class"] - 1, "whole numbers from 0 to num_class - 1"
    elif objective in ("binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic"):
        high, rule = 1, "in [0,1]"
    else:
        return
    for name, table in tables.items():
        low_found, high_found = table.labels.min(), table.labels.max()
        if low_found < 0 or high_found > high:
            raise CustomerError(
                f"In the channel {name} the label must be {rule} for {objective}, but labels go "
                f"from {low_found:g} to {high_found:g}; the label is the first column."
            )


def _boost(matrices: list[tuple[Any, str]], settings: Settings, environment: Environment) -> Any:
    tree = environment.tree
    objective = settings.parameters.get("objective", "reg:squarederror")
    custom = [metric for metric in settings.metrics if metric in xgboost_metrics.NAMES]
    own = [metric for metric in settings.metrics if metric not in xgboost_metrics.NAMES]
    parameters = {"nthread": cpu_count(), **_for_devices(settings.parameters)}
    if own:
        parameters["eval_metric"] = own
    elif custom:
        parameters["disable_default_eval_metric"] = 1
    folder = _checkpoint_folder(tree)
    found, done = checkpoints.latest(folder) if folder is not None else (None, 0)
    base = _load(found) if found is not None else _earlier_model(environment)
    _check_fits(base, matrices[0][0].num_col(), "channel model" if found is None else "checkpoint")
    if found is not None:
        sys.stdout.write(f"Checkpoint loaded from {found}; resuming from iteration {done}\n")
    if done >= settings.rounds:
        return base
    return xgboost.train(
        parameters,
        matrices[0][0],
        num_boost_round=settings.rounds - done,
        evals=matrices,
        custom_metric=xgboost_metrics.function(custom, objective) if custom else None,
        callbacks=_callbacks(settings, tree, folder, done, validated=len(matrices) > 1),
        xgb_model=base,
        verbose_eval=False,
    )


def _callbacks(
    settings: Settings, tree: Tree, folder: Path | None, done: int, *, validated: bool
) -> list[xgboost.callback.TrainingCallback]:
    callbacks: list[xgboost.callback.TrainingCallback] = [checkpoints.Rounds(done)]
    if folder is not None:
        callbacks.append(checkpoints.Checkpoints(folder, done))
    if settings.save_on_termination:
        callbacks.append(checkpoints.IntermediateModel(tree.model / MODEL_NAME))
        # The newest complete model is in place, so there is nothing left to do.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    if settings.early_stopping_rounds and not validated:
        sys.stdout.write("Early stopping needs the channel validation; training all rounds\n")
    elif settings.early_stopping_rounds:
        metric = settings.objective_metric or (settings.metrics[-1] if settings.metrics else None)
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=settings.early_stopping_rounds,
                data_name="validation",
                metric_name=metric,
                maximize=None if metric is None else _maximized(metric),
                save_best=True,
            )
        )
    return callbacks


def _maximized(metric: str) -> bool:
    return metric.partition("@")[0] in hyperparameters.MAXIMIZED


def _for_devices(parameters: dict[str, Any]) -> dict[str, Any]:
    """gpu_hist is XGBoost 1's way to ask for a GPU."""
    if parameters.get("tree_method") != "gpu_hist":
        return parameters
    if gpu_count() == 0:
        raise CustomerError("tree_method is gpu_hist, but this job has no GPU; use hist.")
    return {**parameters, "tree_method": "hist", "device": "cuda"}


def _checkpoint_folder(tree: Tree) -> Path | None:
    """Where checkpoints go if the job asked for them, which the platform says in a file."""
    described = tree.config / "checkpointconfig.json"
    if not described.is_file():
        return tree.checkpoints if tree.checkpoints.is_dir() else None
    local = json.loads(described.read_text(encoding="utf-8")).get("LocalPath")
    if not local or Path(local) == Path("/opt/ml/checkpoints"):
        return tree.checkpoints
    return Path(local)


def _earlier_model(environment: Environment) -> Any:
    """The booster of the channel `model`, to go on from; None without such a channel."""
    if "model" not in environment.channels:
        return None
    folder = environment.tree.channel("model")
    for path in sorted(folder.rglob("*")):
        if path.name == MODEL_NAME and path.is_file():
            return _load(path)
        if path.name.endswith((".tar.gz", ".tgz")):
            unpacked = environment.tree.base / ".loopwright" / "earlier-model"
            if not unpacked.exists():
                try:
                    archives.unpack(path, unpacked)
                except archives.ArchiveError as error:
                    raise CustomerError(f"The channel model has a bad archive: {error}") from error
            if (unpacked / MODEL_NAME).is_file():
                return _load(unpacked / MODEL_NAME)
    raise CustomerError(f"The channel model holds neither {MODEL_NAME} nor a model.tar.gz with it.")


def _check_fits(base: Any, columns: int, where: str) -> None:
    """Refuse to boost on from a model of other features."""
    if base is not None and base.num_features() != columns:
        raise CustomerError(
            f"The model of the {where} has {base.num_features()} features, but the channel train "
            f"has {columns}."
        )


def _load(path: Path) -> Any:
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except xgboost.core.XGBoostError as error:
        raise CustomerError(f"{path} is not an XGBoost model.") from error
    return booster
