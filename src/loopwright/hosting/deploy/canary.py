"""A small part of the traffic first, all the rest after its time of baking."""

from collections.abc import Mapping
from typing import Any

from loopwright.hosting.deploy.steps import Step, part


def steps(policy: Mapping[str, Any], counts: Mapping[str, int]) -> list[Step]:
    """Two steps: `CanarySize`, then all."""
    size = policy["TrafficRoutingConfiguration"]["CanarySize"]
    return [Step(part(size, counts)), Step(1.0)]
