"""Online experiments and bandits as records, and what is refused of them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from loopwright.kernel.kinds import Kind, Lookup
from loopwright.wire.errors import validation
from loopwright.wire.near import did_you_mean

ALPHA_LEAST: Final = 1e-12
MISSING: Final = ("ResourceNotFound", "There is no {kind} {name!r}.")


def _running(_spec: Mapping[str, Any], _now: float) -> Mapping[str, Any]:
    return {"Status": "Running"}


def check_variants(spec: Mapping[str, Any], names: list[str], lookup: Lookup) -> None:
    """Refuse what is no variant of an endpoint in service.

    Raises:
        ApiError: `ValidationException`.
    """
    endpoint = lookup.record("Endpoint", spec["EndpointName"])
    fleet = (endpoint.status.get("Fleet") if endpoint is not None else None) or {}
    there = [variant["name"] for variant in fleet.get("variants", ())]
    over = endpoint is not None and endpoint.status["EndpointStatus"] in ("Failed", "Deleting")
    if not there or over:
        raise validation(f"There is no endpoint {spec['EndpointName']!r} in service.")
    for name in names:
        if name not in there:
            raise validation(
                f"Endpoint {spec['EndpointName']} has no variant {name!r}; it has "
                f"{', '.join(there)}.{did_you_mean(name, there)}"
            )
    if len(set(names)) != len(names) or len(names) < 2:
        raise validation(f"Give at least two different variants, not {', '.join(names)}.")


def check_bounds(spec: Mapping[str, Any], member: str) -> None:
    """Refuse numeric outcomes without bounds."""
    given = spec.get(member, {})
    low, high = given.get("Minimum"), given.get("Maximum")
    if given.get("Type", "Binary") == "Binary":
        if low is not None or high is not None:
            raise validation(
                f"{member} of type Binary takes no Minimum and Maximum; leave them out, or give "
                "Type Numeric."
            )
        return
    if low is None or high is None or low >= high or high - low == math.inf:
        raise validation(
            f"{member} of type Numeric needs Minimum below Maximum: values outside count as them."
        )


def _check_experiment(spec: Mapping[str, Any], lookup: Lookup) -> None:
    names = [spec["ControlVariantName"], *spec["TreatmentVariantNames"]]
    check_variants(spec, names, lookup)
    check_bounds(spec, "Outcome")
    alpha = spec.get("Alpha", 0.05)
    if not ALPHA_LEAST <= alpha < 0.5:
        raise validation(f"Alpha is {alpha}; it must be from {ALPHA_LEAST}, and below 0.5.")


def _check_bandit(spec: Mapping[str, Any], lookup: Lookup) -> None:
    names = list(spec["VariantNames"])
    check_variants(spec, names, lookup)
    check_bounds(spec, "Reward")
    floor = spec.get("FloorShare", 0.0)
    if not 0 <= floor <= 1 / len(names):
        raise validation(
            f"FloorShare is {floor}; with {len(names)} variants it must be from 0 to "
            f"{1 / len(names):.4g}."
        )
    discount = spec.get("Discount", 1.0)
    if not 0.5 <= discount <= 1:
        raise validation(f"Discount is {discount}; it must be from 0.5 to 1.")
    epsilon = spec.get("Epsilon", 0.1)
    if not 0 <= epsilon <= 1:
        raise validation(f"Epsilon is {epsilon}; it must be from 0 to 1.")


EXPERIMENT_KIND: Final = Kind(
    "OnlineExperiment",
    arn="online-experiment",
    state="Status",
    initial_status=_running,
    check=_check_experiment,
    missing=MISSING,
    service="loopwright",
)
BANDIT_KIND: Final = Kind(
    "Bandit",
    arn="bandit",
    state="Status",
    initial_status=_running,
    check=_check_bandit,
    missing=MISSING,
    service="loopwright",
)
