"""Distributions as counts of logarithmic buckets: what the gateway counts and statistics read.

Bucket i holds the values above g**(i-1) and up to g**i with g = 2**(1/35), so each is known to
within 1 %: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees" (VLDB 2019), section 2. Every 35th bound is a power of two. Distributions
of one metric are merged by adding counts; the unit of the values is the metric's.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil, log2
from typing import Final

PER_DOUBLING: Final = 35
GROWTH: Final = 2.0 ** (1 / PER_DOUBLING)
RELATIVE_ERROR: Final = (GROWTH - 1) / (GROWTH + 1)
"""0.0099: how far, in parts of a value, the middle of its bucket is from it at most."""
ZERO: Final = -(1 << 20)
"""The bucket of 0, below that of the smallest number that there is."""


def bucket_of(value: float) -> int:
    """The bucket of a value that is not negative."""
    return ceil(log2(value) * PER_DOUBLING) if value > 0.0 else ZERO


def middle_of(bucket: int) -> float:
    """The value that is at most `RELATIVE_ERROR` away from all of the bucket's; 0 of `ZERO`."""
    return float(2.0 ** (bucket / PER_DOUBLING)) * 2.0 / (GROWTH + 1.0)


def packed(counts: Mapping[int, int]) -> list[int]:
    """Counts by bucket as a flat list: each bucket as its distance to the one before, its count."""
    found: list[int] = []
    before = 0
    for bucket in sorted(counts):
        found += (bucket - before, counts[bucket])
        before = bucket
    return found


def unpacked(flat: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(bucket, count) of what `packed` made."""
    return zip(accumulate(flat[::2]), flat[1::2], strict=True)
