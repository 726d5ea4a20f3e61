"""The steps of an update, whatever its policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """Where an update stands.

    Attributes:
        share: Of the traffic that the new fleet gets, 0 to 1.
        green, blue: How much of the new and of the old fleet is there, 0 to 1.
    """

    share: float
    green: float = 1.0
    blue: float = 1.0


def part(size: Mapping[str, Any], counts: Mapping[str, int]) -> float:
    """A `CapacitySize` as a part of the fleet, 0 to 1."""
    value = float(size["Value"])
    if size["Type"] == "CAPACITY_PERCENT":
        return min(1.0, value / 100.0)
    return min(1.0, value / max(1, *counts.values()))
