"""The verb `train`: script mode, or a built-in algorithm of the framework's image."""

import importlib
import os
from collections.abc import Callable

from loopwright.runtime import environment as environments
from loopwright.runtime import paths, script
from loopwright.runtime.environment import Environment
from loopwright.runtime.failure import UnitFailure

# framework -> the module whose train(environment) is the image's own algorithm.
BUILT_IN = {
    "xgboost": "loopwright.algorithms.xgboost_train",
    "linear-learner": "loopwright.algorithms.linear_train",
    "kmeans": "loopwright.algorithms.kmeans_train",
    "pca": "loopwright.algorithms.pca_train",
    "knn": "loopwright.algorithms.knn_train",
    "randomcutforest": "loopwright.algorithms.forest_train",
    "blazingtext": "loopwright.algorithms.text_train",
}


def train(argv: list[str]) -> int:
    """Train once.

    Args:
        argv: Must be empty; hyperparameters come from input/config/hyperparameters.json.
    Returns:
        The exit code 0.
    Raises:
        UnitFailure: with the reason for output/failure.
    """
    environment = environments.read(paths.tree())
    if argv:
        raise UnitFailure(f"`train` takes no arguments, but got {argv}.", 2)
    if environment.program:
        return script.run(environment, environment.program)
    framework = os.environ.get("LOOPWRIGHT_RUNTIME", "")
    if framework not in BUILT_IN:
        raise UnitFailure(
            "There is no hyperparameter sagemaker_program and no variable SAGEMAKER_PROGRAM, and "
            f"the runtime {framework or 'python'!r} has no built-in algorithm; "
            "give the estimator an entry_point."
        )
    built_in: Callable[[Environment], None] = importlib.import_module(BUILT_IN[framework]).train
    os.environ.update(environments.variables(environment))
    built_in(environment)
    return 0
