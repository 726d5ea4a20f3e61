"""Linear models of scikit-learn by numpy alone, with the same predictions.

Only exact types, since a subclass may predict in another way. Whenever the input is not a clean
table of the right width, the estimator itself is asked, so its error messages are kept.
"""

from typing import Any

import numpy as np

from loopwright.runtime.server.frameworks.base import Array, RowPredict

_CLASSIFIERS = frozenset(
    {
        "LogisticRegression",
        "LogisticRegressionCV",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "SGDClassifier",
        "Perceptron",
        "PassiveAggressiveClassifier",
        "LinearSVC",
    }
)
_REGRESSORS = frozenset(
    {
        "LinearRegression",
        "Ridge",
        "RidgeCV",
        "Lasso",
        "LassoCV",
        "ElasticNet",
        "ElasticNetCV",
        "BayesianRidge",
        "ARDRegression",
        "HuberRegressor",
        "Lars",
        "LassoLars",
        "OrthogonalMatchingPursuit",
        "SGDRegressor",
        "LinearSVR",
    }
)
_HOMES = ("sklearn.linear_model._", "sklearn.svm._classes")


def shortcut(model: Any) -> RowPredict | None:
    """A function equal to model.predict on float tables, or None if the type is not known."""
    kind = type(model)
    if not kind.__module__.startswith(_HOMES) or not hasattr(model, "coef_"):
        return None
    if kind.__name__ in _CLASSIFIERS:
        return None if _multi_label(model) else _classifier(model)
    if kind.__name__ in _REGRESSORS:
        return _regressor(model)
    return None


def _multi_label(model: Any) -> bool:
    binarizer = getattr(model, "_label_binarizer", None)
    return binarizer is not None and binarizer.y_type_.startswith("multilabel")


def _weights(model: Any) -> tuple[Array, Any, int]:
    """The transposed weights, laid out as scikit-learn's own product has them; intercept; width."""
    coefficients = np.asarray(model.coef_)
    return coefficients.T, model.intercept_, coefficients.shape[-1]


def _classifier(model: Any) -> RowPredict:
    weights, intercept, width = _weights(model)
    classes = model.classes_
    binary = weights.ndim == 1 or weights.shape[1] == 1

    def predict(rows: Array) -> Any:
        if rows.shape[1] != width:
            return model.predict(rows)
        scores = rows @ weights + intercept
        # A nan or inf among the inputs reaches the scores; the estimator has its own words then.
        if not np.isfinite(scores).all():
            return model.predict(rows)
        if binary:
            return classes[(scores.ravel() > 0).astype(np.intp)]
        return classes[scores.argmax(axis=1)]

    return predict


def _regressor(model: Any) -> RowPredict:
    weights, intercept, width = _weights(model)

    def predict(rows: Array) -> Any:
        if rows.shape[1] != width:
            return model.predict(rows)
        values = rows @ weights + intercept
        if not np.isfinite(values).all():
            return model.predict(rows)
        return values

    return predict
