"""The units of tests/runtime, jobs in this process, and the SDK without its notice."""

import os
from pathlib import Path

import pytest

from tests.algorithms.jobs import Job
from tests.runtime.conftest import module_unit, unit

# Before any test module imports the SDK.
os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"

__all__ = ["module_unit", "unit"]


@pytest.fixture
def job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Job:
    return Job(tmp_path, capsys)
