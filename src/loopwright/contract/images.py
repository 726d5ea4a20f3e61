"""Image URIs: those of the AWS catalogue are mapped to runtimes, all others run as containers.

Account and region of a URI do not matter: on ECR's hosts the repository's name decides, and so it
does without a host. Source of the names: the image URI files of the sagemaker SDK.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loopwright.wire.errors import ApiError

URI: Final = re.compile(
    r"(?:(?P<host>[A-Za-z0-9.-]+(?::\d+)?)/)?(?P<repository>[a-z0-9._/-]+)"
    r"(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True)
class Runtime:
    """What an image of the catalogue runs on here.

    Attributes:
        name: Of the runtime: `sklearn`, `xgboost`, `pytorch`, `python`, or a built-in algorithm's.
        builtin: Whether the image has an algorithm of its own.
        module: What must be importable; a missing one is named in the refusal.
        note: One line for `loopwright images`.
        beside: What scripts for AWS's image import besides; jobs that do fail without it.
    """

    name: str
    builtin: bool
    module: str
    note: str
    beside: tuple[str, ...] = ()


SKLEARN: Final = Runtime("sklearn", False, "sklearn", "script mode", ("pandas",))
XGBOOST: Final = Runtime(
    "xgboost", True, "xgboost", "built-in algorithm and script mode", ("pandas",)
)
PYTORCH: Final = Runtime("pytorch", False, "torch", "script mode")
CONTAINER: Final = Runtime("container", False, "docker", "an image of one's own")
"""What is in no catalogue; it runs in a container engine and is in `catalogue` neither."""
CATALOGUE_HOST: Final = re.compile(r"\d+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
PYTHON: Final = Runtime("python", False, "numpy", "script mode and processing", ("pandas",))
# Built-in algorithms: the repository's name is the runtime's.
ALGORITHMS: Final = {
    name: Runtime(name, True, module, f"built-in algorithm: {what}")
    for name, module, what in (
        ("linear-learner", "sklearn", "linear classification and regression"),
        ("kmeans", "sklearn", "clusters"),
        ("pca", "sklearn", "principal components"),
        ("knn", "sklearn", "nearest neighbours"),
        ("randomcutforest", "sklearn", "anomaly scores"),
        ("blazingtext", "scipy", "text classification"),
    )
}

REPOSITORIES: Final[dict[str, Runtime]] = {
    "sagemaker-scikit-learn": SKLEARN,
    "sagemaker-xgboost": XGBOOST,
    "xgboost": XGBOOST,
    "pytorch-training": PYTORCH,
    "pytorch-inference": PYTORCH,
    "sagemaker-pytorch": PYTORCH,
    "sagemaker-base-python": PYTHON,
    "sagemaker-data-science": PYTHON,
    **ALGORITHMS,
}


def runtime_of(image: str, member: str) -> Runtime:
    """The runtime that an image URI maps to.

    Args:
        member: The request member that holds the URI, for the refusal.

    Returns:
        `CONTAINER` for an image that is not in the catalogue.

    Raises:
        ApiError: `ValidationException` for a URI that is none.
    """
    match = URI.fullmatch(image)
    if match is None:
        raise ApiError(
            "ValidationException",
            f"{member} is {image!r}; it must be an image URI such as "
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3.",
        )
    host = match["host"]
    if host is not None and CATALOGUE_HOST.fullmatch(host) is None:
        return CONTAINER
    return REPOSITORIES.get(match["repository"], CONTAINER)


def catalogue() -> Iterator[tuple[str, Runtime]]:
    """Every repository name with its runtime, for `loopwright images`."""
    yield from sorted(REPOSITORIES.items())
