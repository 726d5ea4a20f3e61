"""The hyperparameters of the XGBoost algorithm: names, kinds and bounds as AWS documents them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html and
algorithm_mode/hyperparameter_validation.py of the public sagemaker-xgboost-container.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.parameters import bounded, one_of, text_of, wrong

MAXIMIZED = frozenset(
    "accuracy auc aucpr balanced_accuracy f1 f1_binary f1_macro map ndcg precision r2 recall "
    "precision_macro precision_micro recall_macro recall_micro".split()
)
MINIMIZED = frozenset(
    "aft-nloglik cox-nloglik error gamma-deviance gamma-nloglik interval-regression-accuracy "
    "logloss mae mape merror mlogloss mphe mse poisson-nloglik rmse rmsle tweedie-nloglik".split()
)
_WITH_THRESHOLD = ("error", "ndcg", "map")
_ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
}
_REFUSED = {
    "_kfold": "cross validation inside a job is not supported by this runtime",
    "_num_cv_round": "cross validation inside a job is not supported by this runtime",
}
_OBJECTIVES = (
    "binary:logistic binary:logitraw binary:hinge count:poisson multi:softmax multi:softprob "
    "rank:pairwise rank:ndcg rank:map reg:linear reg:squarederror reg:logistic reg:gamma "
    "reg:pseudohubererror reg:squaredlogerror reg:absoluteerror reg:tweedie survival:aft "
    "survival:cox"
).split()


@dataclass(frozen=True)
class Settings:
    """Validated hyperparameters.

    Attributes:
        rounds: num_round, the number of trees (rounds) in the whole model.
        parameters: What xgboost.train takes as params, without eval_metric.
        metrics: Evaluation metrics in the order asked for; empty for the objective's own.
        objective_metric: The tuning job's metric, the last name of `validation:rmse`, or None.
        early_stopping_rounds: None for no early stopping.
        csv_weights: Whether the second CSV column holds instance weights.
        save_on_termination: Whether the model is written after every round.
    """

    rounds: int
    parameters: dict[str, Any]
    metrics: list[str] = field(default_factory=list)
    objective_metric: str | None = None
    early_stopping_rounds: int | None = None
    csv_weights: bool = False
    save_on_termination: bool = False


def _updater(name: str, value: Any) -> Any:
    known = (
        "grow_colmaker distcol grow_histmaker grow_skmaker grow_quantile_histmaker sync refresh "
        "prune shotgun coord_descent"
    ).split()
    for part in text_of(value).split(","):
        if part.strip() not in known:
            raise wrong(name, value, f"must be a comma-separated list of {', '.join(known)}")
    return text_of(value)


def _metrics(name: str, value: Any) -> Any:
    metrics = [part.strip() for part in text_of(value).split(",")]
    for metric in metrics:
        base, at, threshold = metric.partition("@")
        if at:
            if base not in _WITH_THRESHOLD or not _is_number(threshold.removesuffix("-")):
                rule = f"takes a threshold only as {', '.join(_WITH_THRESHOLD)} @ number"
                raise wrong(name, metric, rule)
        elif metric not in MAXIMIZED | MINIMIZED:
            raise wrong(name, metric, f"must be one of {', '.join(sorted(MAXIMIZED | MINIMIZED))}")
    return metrics


def _monotone(name: str, value: Any) -> Any:
    found = _literal(name, value)
    if not all(part in (-1, 0, 1) for part in found):
        raise wrong(name, value, "must be a tuple of -1, 0 and 1, one for each feature")
    return "(" + ",".join(str(part) for part in found) + ")"


def _interactions(name: str, value: Any) -> Any:
    found = _literal(name, value)
    if not all(isinstance(group, list | tuple) for group in found) or not all(
        isinstance(index, int) and index >= 0 for group in found for index in group
    ):
        raise wrong(name, value, "must be a list of lists of feature indices")
    return str([list(group) for group in found])


def _literal(name: str, value: Any) -> list[Any] | tuple[Any, ...]:
    found = value
    if isinstance(value, str):
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found = None
    if not isinstance(found, list | tuple):
        raise wrong(name, value, "must be a list or tuple")
    return found


_FLAG = one_of("true", "false")
_SHARE = bounded(float, "(0,1]")
_UNIT = bounded(float, "[0,1]")
_POSITIVE = bounded(float, "[0,)")
_COUNT = bounded(int, "[1,)")
_WHOLE = bounded(int, "[0,)")
_BIT = bounded(int, "[0,1]")

# name -> parser, which raises CustomerError.
RULES: dict[str, Callable[[str, Any], Any]] = {
    "num_round": _COUNT,
    "csv_weights": _BIT,
    "early_stopping_rounds": _COUNT,
    "booster": one_of("gbtree", "gblinear", "dart"),
    "verbosity": bounded(int, "[0,3]"),
    "nthread": _COUNT,
    "eta": _UNIT,
    "gamma": _POSITIVE,
    "max_depth": _WHOLE,
    "min_child_weight": _POSITIVE,
    "max_delta_step": _POSITIVE,
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "colsample_bylevel": _SHARE,
    "colsample_bynode": _SHARE,
    "lambda": _POSITIVE,
    "alpha": _POSITIVE,
    "tree_method": one_of("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": bounded(float, "(0,1)"),
    "scale_pos_weight": bounded(float, "(0,)"),
    "updater": _updater,
    "dsplit": one_of("row", "col"),
    "refresh_leaf": _BIT,
    "process_type": one_of("default", "update"),
    "grow_policy": one_of("depthwise", "lossguide"),
    "max_leaves": _WHOLE,
    "max_bin": _WHOLE,
    "predictor": one_of("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": _monotone,
    "interaction_constraints": _interactions,
    "sample_type": one_of("uniform", "weighted"),
    "normalize_type": one_of("tree", "forest"),
    "rate_drop": _UNIT,
    "one_drop": _BIT,
    "skip_drop": _UNIT,
    "lambda_bias": _UNIT,
    "tweedie_variance_power": bounded(float, "(1,2)"),
    "objective": one_of(*_OBJECTIVES),
    "num_class": bounded(int, "[2,)"),
    "base_score": _POSITIVE,
    "eval_metric": _metrics,
    "seed": bounded(int, "(-2147483648,2147483647)"),
    "num_parallel_tree": _COUNT,
    "save_model_on_termination": _FLAG,
    "aft_loss_distribution": one_of("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": _POSITIVE,
    "deterministic_histogram": _FLAG,
    "sampling_method": one_of("uniform", "gradient_based"),
    "prob_buffer_row": bounded(float, "(1,)"),
    "use_dask_gpu_training": _FLAG,
}


def validate(given: dict[str, Any]) -> Settings:
    """Check all hyperparameters.

    Args:
        given: Decoded values by name; those of the platform (sagemaker_...) already removed.
    Raises:
        CustomerError: one is missing, unknown, out of its bounds or contradicts another.
    """
    objective_metric = given.get("_tuning_objective_metric")
    named = {_ALIASES.get(name, name): value for name, value in given.items()}
    named.pop("_tuning_objective_metric", None)
    for name in named:
        if name in _REFUSED:
            raise CustomerError(f"The hyperparameter {name} is refused: {_REFUSED[name]}.")
        if name not in RULES:
            raise CustomerError(f"There is no hyperparameter {name}; check its spelling.")
    if "num_round" not in named:
        raise CustomerError("The hyperparameter num_round is required: the number of trees.")
    parsed = {name: RULES[name](name, value) for name, value in named.items()}
    _check_together(parsed)
    metrics = parsed.pop("eval_metric", [])
    parsed.pop("use_dask_gpu_training", None)
    metric = None if objective_metric is None else _tuned(str(objective_metric))
    return Settings(
        rounds=parsed.pop("num_round"),
        early_stopping_rounds=parsed.pop("early_stopping_rounds", None),
        csv_weights=parsed.pop("csv_weights", 0) == 1,
        save_on_termination=parsed.pop("save_model_on_termination", "false") == "true",
        # The tuned metric must be on the log, whether asked for or not.
        metrics=metrics if metric is None or metric in metrics else [*metrics, metric],
        objective_metric=metric,
        parameters=parsed,
    )


def _check_together(parsed: dict[str, Any]) -> None:
    objective = parsed.get("objective", "reg:squarederror")
    classes = parsed.get("num_class")
    if objective.startswith("multi:") and classes is None:
        raise CustomerError(f"The hyperparameter num_class is required for objective {objective}.")
    if not objective.startswith("multi:") and classes is not None:
        raise CustomerError(f"num_class is {classes}, but objective {objective} has no classes.")
    metrics = parsed.get("eval_metric", [])
    if "auc" in metrics and not objective.startswith(("binary:", "multi:", "rank:")):
        raise CustomerError(
            f"eval_metric auc needs a classification or ranking objective, not {objective}."
        )
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise CustomerError(f"eval_metric aft-nloglik needs survival:aft, not {objective}.")
    if parsed.get("process_type") == "update":
        # XGBoost would ignore anything but these two when it only revises existing trees.
        updaters = set(parsed.get("updater", "").split(","))
        if not updaters <= {"refresh", "prune"}:
            raise CustomerError(
                "process_type update needs the hyperparameter updater refresh,prune."
            )
    if parsed.get("use_dask_gpu_training") == "true":
        raise CustomerError("use_dask_gpu_training is not supported by this runtime; remove it.")


def _tuned(text: str) -> str:
    segment, colon, metric = text.partition(":")
    if not colon or segment not in ("validation", "train"):
        raise wrong("_tuning_objective_metric", text, "must be validation:METRIC")
    _metrics("_tuning_objective_metric", metric)
    return metric


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
