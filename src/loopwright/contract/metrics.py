"""Metric definitions that built-in algorithms bring along, as their documentation lists them.

The expressions are those that DescribeTrainingJob shows for AWS's own images.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from loopwright.wire.errors import validation

METRICS_MAX: Final = 40
NUMBER: Final = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
XGBOOST_METRICS: Final = (
    "accuracy accuracy_topk aft-nloglik auc aucpr balanced_accuracy binary_f1 cox-nloglik error "
    "f1 f1_binary f1_macro gamma-deviance gamma-nloglik interval-regression-accuracy logloss mae "
    "map mape merror mlogloss mphe mse ndcg poisson-nloglik pre precision precision_macro "
    "precision_micro r2 recall recall_macro recall_micro rmse rmsle tweedie-nloglik"
).split()
# Algorithm -> channels, and metrics as `loss NAME` or `score NAME`; NAME* has more after it.
QUALITY_METRICS: Final[dict[str, list[tuple[str, str]]]] = {
    "linear-learner": [
        (
            "train validation test",
            "score binary_classification_accuracy, score precision, score recall, "
            "score roc_auc_score, score binary_f*beta, score multiclass_accuracy, "
            "score multiclass_top_k_accuracy*, score dcg, score macro_precision, "
            "score macro_recall, score macro_f*beta, loss mse, loss absolute_loss",
        )
    ],
    "kmeans": [("train test", "loss msd, loss ssd")],
    "knn": [("test", "score accuracy, loss mse")],
    "randomcutforest": [("test", "score accuracy, score precision, score recall, score f1")],
    "pca": [],
}


def built_in(runtime: str) -> list[dict[str, str]]:
    """The definitions of a runtime's own algorithm, such as `validation:rmse` or `test:msd`."""
    if runtime == "xgboost":
        found = _xgboost()
    elif runtime == "blazingtext":
        found = _blazingtext()
    elif runtime in QUALITY_METRICS:
        found = _quality(runtime)
    else:
        return []
    return [{"Name": name, "Regex": expression} for name, expression in found]


def check_metrics(given: Sequence[Mapping[str, str]]) -> None:
    """Refuse more definitions than a request may have beside those of a built-in algorithm.

    Raises:
        ApiError: `ValidationException` with their number and the rule.
    """
    own = [
        entry for name in (*QUALITY_METRICS, "xgboost", "blazingtext") for entry in built_in(name)
    ]
    others = [entry for entry in given if entry not in own]
    if len(given) > METRICS_MAX and len(others) > METRICS_MAX:
        raise validation(
            f"1 validation error detected: {len(others)} entries at 'algorithmSpecification."
            "metricDefinitions' failed to satisfy constraint: Member must have length less than or "
            f"equal to {METRICS_MAX} (a built-in algorithm's own are not counted)"
        )


def _xgboost() -> Iterator[tuple[str, str]]:
    for channel in ("train", "validation"):
        for metric in XGBOOST_METRICS:
            yield f"{channel}:{metric}", rf".*\[[0-9]+\].*#011{channel}-{metric}:{NUMBER}.*"


def _blazingtext() -> Iterator[tuple[str, str]]:
    yield "train:accuracy", rf"#train_accuracy: {NUMBER}"
    yield "validation:accuracy", rf"#validation_accuracy: {NUMBER}"
    yield "train:mean_rho", rf"#mean_rho: {NUMBER}"


def _quality(runtime: str) -> Iterator[tuple[str, str]]:
    prefix = r"#quality_metric: host=\S+, "
    yield "train:progress", r"#progress_metric: host=\S+, completed (\S+) %"
    throughput = r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"
    yield "train:throughput", throughput
    for channels, metrics in QUALITY_METRICS[runtime]:
        for channel in channels.split():
            for kind, metric in (entry.split() for entry in metrics.split(", ")):
                shown = _shown(metric)
                name = metric.replace("*", "_" if metric[-1] != "*" else "")
                yield f"{channel}:{name}", rf"{prefix}{channel} {shown} <{kind}>=(\S+)"
    if runtime == "linear-learner":
        yield from _objectives(prefix)


def _shown(metric: str) -> str:
    start, star, _ = metric.partition("*")
    return rf"{start}_\S+" if star else start


def _objectives(prefix: str) -> Iterator[tuple[str, str]]:
    """The objective of each epoch and of the final model."""
    for channel in ("train", "validation"):
        expression = rf"{channel} \S+_objective <loss>=(\S+)"
        yield f"{channel}:objective_loss", rf"{prefix}epoch=\S+, {expression}"
        yield f"{channel}:objective_loss:final", prefix + expression
    yield "test:objective_loss", rf"{prefix}test \S+_objective <loss>=(\S+)"
