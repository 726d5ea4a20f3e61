"""A variant that a request names and that is not there."""

import pytest

from loopwright.router.routes import route_of
from loopwright.wire.errors import ApiError


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("alltrafic", "it has AllTraffic, Canary. Did you mean 'AllTraffic'?"),
        ("X", "it has AllTraffic, Canary."),
    ],
)
def test_the_nearest_variant_is_named(target: str, said: str) -> None:
    variants = [
        {"name": name, "config": "c", "strategy": "RANDOM", "weight": 1.0, "instances": []}
        for name in ("AllTraffic", "Canary")
    ]
    route = route_of(
        {"endpoint": "e", "region": "r", "arn": "a", "config": "c", "variants": variants,
         "shadows": []},
        {},
    )  # fmt: skip
    with pytest.raises(ApiError) as caught:
        route.choose(target)
    assert caught.value.code == "ValidationError"
    assert caught.value.message == f"Variant {target} not found for endpoint e; {said}"
