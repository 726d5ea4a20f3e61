"""Services that are not here, misspelt names, and what callers of both are told."""

from typing import Any

import pytest

from loopwright.wire.dispatch import FORM_VERSIONS, REST_PATHS, TARGETS
from loopwright.wire.foreign import SIGNED_FOR, foreign_service
from loopwright.wire.http import Request
from loopwright.wire.near import did_you_mean
from loopwright.wire.services import service


def test_the_names_in_signatures_are_those_of_the_models() -> None:
    names = {*TARGETS.values(), *FORM_VERSIONS.values(), "s3"}
    names |= {name for _, name in REST_PATHS}
    assert {service(name).signing_name for name in names} == SIGNED_FOR


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/sns/aws4_request, "
          "SignedHeaders=host, Signature=x"}, "", "sns"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request,"},
         "", None),
        ({"authorization": "AWS AK:signature"}, "", None),
        ({}, "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fbatch%2Faws4_request", "batch"),
        ({}, "", None),
    ],
)  # fmt: skip
def test_what_a_request_is_signed_for(
    headers: dict[str, str], query: str, found: str | None
) -> None:
    assert foreign_service(Request("GET", "/", query, headers)) == found


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("ml.m5.larg", ["ml.m5.large", "ml.m5.xlarge", "ml.c5.large"], "'ml.m5.large'"),
        ("ML.M5.LARGE", ["ml.m5.large"], "'ml.m5.large'"),
        ("alltraffic", ["AllTraffic", "Shadow"], "'AllTraffic'"),
        ("nothing", ["AllTraffic"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_name(name: str, names: list[str], said: str) -> None:
    assert did_you_mean(name, names) == (f" Did you mean {said}?" if said else "")


def test_a_long_list_is_no_trouble() -> None:
    allowed: Any = service("sagemaker").shape_for("TrainingInstanceType").enum
    assert did_you_mean("ml.g5.2xlrge", allowed) == " Did you mean 'ml.g5.2xlarge'?"
