"""What the log says of an image's versions: only where others run here."""

import importlib.metadata
import sys

import pytest

from loopwright.runtime.versions import note

SKLEARN = importlib.metadata.version("scikit-learn")
HERE = ".".join(SKLEARN.split(".")[:2])
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
HOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("image", "runtime", "said"),
    [
        (f"{HOST}/sagemaker-scikit-learn:0.23-1-cpu-py3", "sklearn",
         f"The image asks for scikit-learn 0.23; here runs scikit-learn {SKLEARN}."),
        (f"{HOST}/sagemaker-scikit-learn:{HERE}-1-cpu-py3", "sklearn", ""),
        (f"{HOST}/sagemaker-scikit-learn:{HERE}-1-cpu-py35", "sklearn",
         f"The image asks for Python 3.5; here runs Python {PYTHON}."),
        (f"{HOST}/sagemaker-scikit-learn:{HERE}-1-cpu-py{PYTHON.replace('.', '')}", "sklearn", ""),
        (f"{HOST}/sagemaker-scikit-learn:0.20.0-cpu-py36@sha256:00", "sklearn",
         f"The image asks for scikit-learn 0.20 and Python 3.6; here runs scikit-learn {SKLEARN} "
         f"and Python {PYTHON}."),
        (f"{HOST}/sagemaker-xgboost:latest", "xgboost", ""),
        (f"{HOST}/sagemaker-xgboost:1", "xgboost", ""),
        (f"{HOST}/kmeans:1", "kmeans", ""),
        ("localhost:5000/sagemaker-scikit-learn", "sklearn", ""),
        ("", "python", ""),
    ],
)  # fmt: skip
def test_the_note(image: str, runtime: str, said: str) -> None:
    assert note(image, runtime) == said
