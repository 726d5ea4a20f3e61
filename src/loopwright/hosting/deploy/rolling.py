"""Batch by batch: a part of the new fleet starts, gets its traffic, and as much of the old ends."""

import math
from collections.abc import Mapping
from typing import Any

from loopwright.hosting.deploy.steps import Step, part


def steps(policy: Mapping[str, Any], counts: Mapping[str, int]) -> list[Step]:
    """Steps of `MaximumBatchSize`; the last is what is left."""
    size = part(policy["MaximumBatchSize"], counts)
    count = math.ceil(1.0 / size - 1e-9)
    done = [min(1.0, (index + 1) * size) for index in range(count)]
    return [Step(share, share, 1.0 - share) for share in done]


def back(policy: Mapping[str, Any], counts: Mapping[str, int], at: Step) -> list[Step]:
    """The steps from where an update stands to the old fleet, by `RollbackMaximumBatchSize`."""
    given = policy.get("RollbackMaximumBatchSize")
    size = part(given, counts) if given else 1.0
    count = max(1, math.ceil(at.green / size - 1e-9))
    left = [max(0.0, at.green - (index + 1) * size) for index in range(count)]
    return [Step(share, share, 1.0 - share) for share in left]
