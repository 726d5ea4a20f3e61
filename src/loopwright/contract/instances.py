"""Instance types as requests against the machine's capacity.

A type's CPUs follow from its size and its memory from its family, as AWS builds them; what is
larger than the machine is cut down to it, so that a notebook written for a big instance runs.
"""

import re
from dataclasses import dataclass
from typing import Final

from loopwright.wire.errors import ApiError

GIB: Final = 2**30
SIZES: Final = {
    "medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "3xlarge": 12, "4xlarge": 16,
    "6xlarge": 24, "8xlarge": 32, "9xlarge": 36, "10xlarge": 40, "12xlarge": 48, "16xlarge": 64,
    "18xlarge": 72, "24xlarge": 96, "32xlarge": 128, "48xlarge": 192,
}  # fmt: skip
MEMORY_PER_CPU: Final = {"c": 2, "m": 4, "t": 4, "r": 8, "g": 4, "p": 8, "x": 16, "i": 8}
INSTANCES_MAX: Final = 1000
HOSTING_MEMORY_BYTES: Final = GIB // 2


@dataclass(frozen=True)
class Size:
    """What an instance occupies: CPUs, bytes of memory."""

    cpus: float
    memory_bytes: int


def check_count(what: str, count: int) -> None:
    """Refuse a count that only a slip can mean: its units alone would take all memory.

    Raises:
        ApiError: `ResourceLimitExceeded`, as of an account's service limits.
    """
    if count > INSTANCES_MAX:
        raise ApiError(
            "ResourceLimitExceeded",
            f"{what} would have {count} instances; the limit is {INSTANCES_MAX}. Ask for fewer.",
        )


def size_of(instance_type: str) -> Size:
    """The nominal size of a type such as `ml.m5.xlarge`; `local` types count as 2 CPUs."""
    match = re.fullmatch(r"ml\.([a-z]+)\w*(?:-\w+)?\.(\w+)", instance_type)
    if match is None:
        return Size(2.0, 8 * GIB)
    cpus = SIZES.get(match[2], 2)
    memory_bytes = cpus * MEMORY_PER_CPU.get(match[1][0], 4) * GIB
    if match[1] == "t" and match[2] == "medium":
        cpus = 2  # With the memory of one: 4 GiB.
    return Size(float(cpus), memory_bytes)


@dataclass(frozen=True)
class Machine:
    """What one machine has; the rooms' planners size their units by it."""

    cpus: float
    memory_bytes: int

    def job(self, instance_type: str, count: int = 1) -> Size:
        """What one of `count` hosts of a job occupies: the type's size, cut to the machine."""
        wanted = size_of(instance_type)
        return Size(
            min(wanted.cpus, self.cpus / count),
            int(min(wanted.memory_bytes, self.memory_bytes / count)),
        )

    def hosting(self, _instance_type: str) -> Size:
        """What an endpoint's instance occupies: memory, and no CPU of its own.

        A server waits most of its time. If it held whole CPUs, one endpoint would keep every
        training job of a laptop waiting for ever.
        """
        return Size(0.0, int(min(HOSTING_MEMORY_BYTES, self.memory_bytes / 8)))
