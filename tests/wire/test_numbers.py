"""Numbers that no SageMaker could keep: a list of one member of each width."""

import math
from typing import Any

import pytest

from loopwright.wire.errors import ApiError
from loopwright.wire.services import operation
from loopwright.wire.validate import validate

WEIGHTS = "DesiredWeightsAndCapacities"


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("DesiredWeight", 1e39, "32 bits"),
        ("DesiredWeight", math.nan, "32 bits"),
        ("DesiredWeight", math.inf, "32 bits"),
        ("DesiredInstanceCount", 2**31, "32 bits"),
    ],
)
def test_a_number_beyond_its_width_is_refused(member: str, value: Any, words: str) -> None:
    change = {"VariantName": "A", member: value}
    with pytest.raises(ApiError, match=words):
        validate(
            operation("sagemaker", "UpdateEndpointWeightsAndCapacities"),
            {"EndpointName": "e", WEIGHTS: [change]},
        )
