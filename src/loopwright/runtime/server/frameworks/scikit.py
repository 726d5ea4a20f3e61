"""scikit-learn: the script must load the model; estimators treat rows alone, unless user code hides
inside them; linear ones are served by numpy, which costs a seventieth of their own predict.
"""

from typing import Any

from loopwright.runtime.server.frameworks import linear
from loopwright.runtime.server.frameworks.base import Framework, RowPredict

# Estimators of these packages predict row by row.
_ROOTS = frozenset({"sklearn", "xgboost", "lightgbm"})


class ScikitLearn(Framework):
    """The defaults of the scikit-learn container."""

    def rows(self, model: Any) -> RowPredict | None:
        if not (hasattr(model, "predict") and row_wise(model)):
            return None
        shortcut = linear.shortcut(model)
        predict: RowPredict = shortcut or model.predict
        return predict


def row_wise(estimator: Any) -> bool:
    """Whether the estimator and all estimators and functions inside come from known packages.

    A user's own step of a pipeline may look at all rows at once (to scale by their mean, say).
    """
    if _root(type(estimator)) not in _ROOTS:
        return False
    if not hasattr(estimator, "get_params"):
        return False
    return all(_known(part) for part in estimator.get_params(deep=True).values())


def _known(part: Any) -> bool:
    if isinstance(part, list | tuple):
        return all(_known(item) for item in part)
    if isinstance(part, dict):
        return all(_known(item) for item in part.values())
    if hasattr(part, "fit") and not isinstance(part, type):
        return _root(type(part)) in _ROOTS
    if callable(part):
        return (getattr(part, "__module__", "") or "").partition(".")[0] in {*_ROOTS, "numpy"}
    return True


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


framework = ScikitLearn()
