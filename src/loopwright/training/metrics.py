"""Metric definitions that built-in algorithms bring along, as their documentation lists them."""

from typing import Final

NUMBER: Final = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
XGBOOST_METRICS: Final = (
    "accuracy accuracy_topk aft-nloglik auc aucpr balanced_accuracy binary_f1 cox-nloglik error "
    "f1 f1_binary f1_macro gamma-deviance gamma-nloglik interval-regression-accuracy logloss mae "
    "map mape merror mlogloss mphe mse ndcg poisson-nloglik pre precision precision_macro "
    "precision_micro r2 recall recall_macro recall_micro rmse rmsle tweedie-nloglik"
).split()


def built_in(runtime: str) -> list[dict[str, str]]:
    """The definitions of a runtime's own algorithm: `train:METRIC` and `validation:METRIC`."""
    if runtime != "xgboost":
        return []
    return [
        {
            "Name": f"{channel}:{metric}",
            "Regex": rf".*\[[0-9]+\].*#011{channel}-{metric}:{NUMBER}.*",
        }
        for channel in ("train", "validation")
        for metric in XGBOOST_METRICS
    ]
