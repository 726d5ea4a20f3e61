"""What no service could keep: numbers beyond their width, times of no calendar, U+0000."""

import math
from typing import Any

import pytest

from loopwright.kernel.verbs import offset_of
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.protocols import parse_request
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


@pytest.mark.parametrize("value", ["9223372036854775808", "1e308", "-1e308", "1e13", "NaN"])
def test_a_time_that_no_calendar_has_is_refused(value: str) -> None:
    body = b'{"CreationTimeBefore": %b}' % value.encode()
    with pytest.raises(ApiError, match="could not be read") as caught:
        parse_request(operation("sagemaker", "ListEndpoints"), Request("POST", "/", "", {}, body))
    assert caught.value.code == "SerializationException"


def test_a_text_with_u_0000_is_refused() -> None:
    # SQLite would keep it, PostgreSQL does not.
    with pytest.raises(ApiError, match=r"U\+0000"):
        validate(operation("cloudwatch", "DeleteAlarms"), {"AlarmNames": ["a\0b"]})


@pytest.mark.parametrize("token", ["x", "-1", "\N{SUPERSCRIPT TWO}", "1" * 5000, "1e3", " 1"])
def test_a_token_that_no_page_answered_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="give what the page before answered") as caught:
        offset_of(token, "InvalidNextToken")
    assert caught.value.code == "InvalidNextToken"
    assert (offset_of(None, ""), offset_of("40", "")) == (0, 40)
