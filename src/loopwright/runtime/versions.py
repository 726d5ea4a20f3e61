"""The first lines of a unit's log: what runs here instead of the image's versions, and that a job
goes on when nobody watches it: a client that is interrupted while it waits (the SDK's `fit`) stops
watching, not the job.
"""

import importlib.metadata
import os
import re
import sys
from typing import Final

IMAGE: Final = "LOOPWRIGHT_IMAGE"
"""The variable with the image's URI."""
PACKAGES: Final = {
    "sklearn": ("scikit-learn", ("scikit-learn",)),
    "xgboost": ("XGBoost", ("xgboost", "xgboost-cpu")),
    "pytorch": ("PyTorch", ("torch",)),
}
"""By runtime: the framework's name, and the packages that may bring it."""
MARK: Final = "Loopwright: "
"""How these lines begin: they are no words of the unit's own."""
JOBS: Final = ("TRAINING_JOB_NAME", "PROCESSING_JOB_NAME")
TAG: Final = re.compile(r"(\d+)\.(\d+)(?:\.\d+)*(?:-|$)")
PYTHON: Final = re.compile(r"-py(3)(\d+)(?:-|$)")


def note(image: str, runtime: str) -> str:
    """What runs instead of the image's versions; empty when they are the same or not known.

    Versions are compared by their first two numbers.

    Args:
        image: The URI, such as `…/sagemaker-scikit-learn:1.2-1-cpu-py3`.
        runtime: What it stands for, such as `sklearn`.
    """
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    wanted, found = [], []
    title, names = PACKAGES.get(runtime, ("", ()))
    asked, here = TAG.match(tag), _installed(names)
    if asked is not None and here and here.split(".")[:2] != list(asked.groups()):
        wanted.append(f"{title} {asked[1]}.{asked[2]}")
        found.append(f"{title} {here}")
    python = PYTHON.search(tag)
    if python is not None and (int(python[1]), int(python[2])) != sys.version_info[:2]:
        wanted.append(f"Python {python[1]}.{python[2]}")
        found.append(f"Python {sys.version_info[0]}.{sys.version_info[1]}")
    if not wanted:
        return ""
    return f"The image asks for {' and '.join(wanted)}; here runs {' and '.join(found)}."


def say() -> None:
    """Write these lines to the log."""
    text = note(os.environ.get(IMAGE, ""), os.environ.get("LOOPWRIGHT_RUNTIME", ""))
    if text:
        sys.stderr.write(f"{MARK}{text}\n")
    job = next((os.environ[name] for name in JOBS if os.environ.get(name)), "")
    if job:
        sys.stderr.write(
            f"{MARK}{job} goes on when you stop watching it; `loopwright stop {job}` ends it.\n"
        )


def _installed(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
