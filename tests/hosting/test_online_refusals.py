"""What experiments, bandits and advice refuse instead of failing later."""

from typing import Any
from unittest.mock import Mock

import pytest

from loopwright.hosting.experiments.kinds import check_bounds
from loopwright.hosting.experiments.operations import experiment_operations
from loopwright.wire.errors import ApiError


@pytest.mark.parametrize(
    "request_",
    [
        {"BaselineRate": 0.5, "MinimumEffect": 1e-170},
        {"BaselineRate": 1e-300, "MinimumEffect": 0.1},
        {"BaselineRate": 0.1, "MinimumEffect": 0.1, "TreatmentShare": 1e-320},
        {"BaselineRate": 0.1, "MinimumEffect": 0.1, "Alpha": 1e-320},
    ],
)
def test_advice_that_nobody_could_follow_is_refused(request_: dict[str, Any]) -> None:
    advise = experiment_operations(Mock(), Mock())["AdviseSampleSize"]
    with pytest.raises(ApiError, match="1e-09"):
        advise(Mock(), request_)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"Type": "Numeric", "Minimum": -1e308, "Maximum": 1e308}, "needs Minimum below Maximum"),
        ({"Type": "Binary", "Minimum": 1, "Maximum": 5}, "takes no Minimum"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(outcome: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        check_bounds({"Outcome": outcome}, "Outcome")
