"""Traffic moves in equal steps."""

import math
from collections.abc import Mapping
from typing import Any

from loopwright.hosting.deploy.steps import Step, part


def steps(policy: Mapping[str, Any], counts: Mapping[str, int]) -> list[Step]:
    """Steps of `LinearStepSize`; the last is what is left."""
    size = part(policy["TrafficRoutingConfiguration"]["LinearStepSize"], counts)
    count = math.ceil(1.0 / size - 1e-9)
    return [Step(min(1.0, (index + 1) * size)) for index in range(count)]
