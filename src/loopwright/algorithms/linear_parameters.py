"""The hyperparameters of the Linear Learner, as AWS documents them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/ll_hyperparameters.html.
"""

from typing import Any, Final

from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.parameters import (
    AUTO,
    BELOW_ONE,
    INSIDE_UNIT,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    POSITIVE_INTEGER,
    Parameter,
    bounded,
    flag,
    one_of,
    or_auto,
    text_of,
    validate,
    wrong,
)

BINARY: Final = "binary_classifier"
MULTICLASS: Final = "multiclass_classifier"
REGRESSOR: Final = "regressor"
LOSSES: Final = {
    BINARY: ("logistic", "hinge_loss"),
    MULTICLASS: ("softmax_loss",),
    REGRESSOR: (
        "squared_loss",
        "absolute_loss",
        "eps_insensitive_squared_loss",
        "eps_insensitive_absolute_loss",
        "quantile_loss",
        "huber_loss",
    ),
}
CRITERIA: Final = (
    "accuracy",
    "f_beta",
    "precision_at_target_recall",
    "recall_at_target_precision",
    "loss_function",
)


def _positive_weight(name: str, value: Any) -> Any:
    return "balanced" if text_of(value) == "balanced" else or_auto(POSITIVE)(name, value)


_FLAG_OR_AUTO = or_auto(flag)
_ALL_LOSSES = tuple(loss for losses in LOSSES.values() for loss in losses)

SCHEMA: Final[dict[str, Parameter]] = {
    "predictor_type": Parameter(one_of(BINARY, MULTICLASS, REGRESSOR), required=True),
    "feature_dim": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "num_classes": Parameter(bounded(int, "[1,1000000]")),
    "accuracy_top_k": Parameter(bounded(int, "[1,1000000]"), 3),
    "balance_multiclass_weights": Parameter(flag, False),
    "beta_1": Parameter(or_auto(BELOW_ONE), AUTO),
    "beta_2": Parameter(or_auto(BELOW_ONE), AUTO),
    "bias_lr_mult": Parameter(or_auto(POSITIVE), AUTO),
    "bias_wd_mult": Parameter(or_auto(NOT_NEGATIVE), AUTO),
    "binary_classifier_model_selection_criteria": Parameter(one_of(*CRITERIA), "accuracy"),
    "early_stopping_patience": Parameter(POSITIVE_INTEGER, 3),
    "early_stopping_tolerance": Parameter(POSITIVE, 0.001),
    "epochs": Parameter(POSITIVE_INTEGER, 15),
    "f_beta": Parameter(POSITIVE, 1.0),
    "huber_delta": Parameter(POSITIVE, 1.0),
    "init_bias": Parameter(NUMBER, 0.0),
    "init_method": Parameter(one_of("uniform", "normal"), "uniform"),
    "init_scale": Parameter(POSITIVE, 0.07),
    "init_sigma": Parameter(POSITIVE, 0.01),
    "l1": Parameter(or_auto(NOT_NEGATIVE), AUTO),
    "learning_rate": Parameter(or_auto(POSITIVE), AUTO),
    "loss": Parameter(one_of(AUTO, *_ALL_LOSSES), AUTO),
    "loss_insensitivity": Parameter(POSITIVE, 0.01),
    "lr_scheduler_factor": Parameter(or_auto(INSIDE_UNIT), AUTO),
    "lr_scheduler_minimum_lr": Parameter(or_auto(POSITIVE), AUTO),
    "lr_scheduler_step": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "margin": Parameter(POSITIVE, 1.0),
    "mini_batch_size": Parameter(POSITIVE_INTEGER, 1000),
    "momentum": Parameter(or_auto(BELOW_ONE), AUTO),
    "normalize_data": Parameter(_FLAG_OR_AUTO, True),
    "normalize_label": Parameter(_FLAG_OR_AUTO, AUTO),
    "num_calibration_samples": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "num_models": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "num_point_for_scaler": Parameter(POSITIVE_INTEGER, 10_000),
    "optimizer": Parameter(one_of(AUTO, "sgd", "adam", "rmsprop"), AUTO),
    "positive_example_weight_mult": Parameter(_positive_weight, 1.0),
    "quantile": Parameter(INSIDE_UNIT, 0.5),
    "target_precision": Parameter(INSIDE_UNIT, 0.8),
    "target_recall": Parameter(INSIDE_UNIT, 0.8),
    "unbias_data": Parameter(_FLAG_OR_AUTO, AUTO),
    "unbias_label": Parameter(_FLAG_OR_AUTO, AUTO),
    "use_bias": Parameter(flag, True),
    "use_lr_scheduler": Parameter(flag, True),
    "wd": Parameter(or_auto(NOT_NEGATIVE), AUTO),
}


def check(given: dict[str, Any]) -> dict[str, Any]:
    """All settings, with `loss` resolved and `num_classes` None unless there are classes.

    Raises:
        CustomerError: one is missing, unknown, out of its bounds or contradicts another.
    """
    settings = validate(SCHEMA, given)
    kind, loss = settings["predictor_type"], settings["loss"]
    if loss == AUTO:
        settings["loss"] = LOSSES[kind][0]
    elif loss not in LOSSES[kind]:
        raise wrong("loss", loss, f"must be auto or one of {', '.join(LOSSES[kind])} for {kind}")
    if kind != MULTICLASS:
        # Documented: the algorithm ignores it.
        settings["num_classes"] = None
    elif settings["num_classes"] is None:
        raise CustomerError(
            f"The hyperparameter num_classes is required for predictor_type {kind}."
        )
    elif settings["num_classes"] < 3:
        raise wrong(
            "num_classes",
            settings["num_classes"],
            "must be in [3,1000000]; use the binary_classifier for two classes",
        )
    return settings
