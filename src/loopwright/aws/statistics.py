"""Statistics of a period: what their names mean, and their values.

Names and rules: CloudWatch's user guide, "CloudWatch statistics definitions". Where it leaves open
what happens to parts of a value, whole values are kept: of n values, `a%` and `b%` bound those from
place floor(a n) + 1 to place ceil(b n), and a percentile is the smallest value that at least that
share does not exceed.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from loopwright.contract.buckets import middle_of, unpacked

SIMPLE: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
KNOWN: Final = (
    f"{', '.join(SIMPLE)}, pNN.NN, tmNN, tcNN, tsNN, wmNN, IQM, TM(a:b), TC(a:b), TS(a:b), "
    "WM(a:b) with values or percentages, or PR(a:b) with values"
)
_NUMBER: Final = r"\d+(?:\.\d{1,10})?"
_SHORT: Final = re.compile(rf"(p|tm|tc|ts|wm)({_NUMBER})")
_RANGE: Final = re.compile(rf"(TM|TC|TS|WM|PR)\(({_NUMBER}%?)?:({_NUMBER}%?)?\)")
DAY_S: Final = 86_400.0
_ALMOST: Final = 1e-12
"""Of a rank: what floating point adds to or takes from a product of count and share."""


@dataclass(frozen=True)
class Watched:
    """A metric and the statistic of it that someone watches, by its name."""

    namespace: str
    name: str
    dimensions: tuple[dict[str, str], ...]
    statistic: str
    unit: str | None


def whole_periods(window: tuple[float, float], period_s: int, now: float) -> tuple[float, float]:
    """What a request's times mean for datapoints of a period.

    The start is rounded down as the API documents it: to the period where that is less than a
    minute, else to the minute, to five of them from 15 days ago on and to the hour from 63 days
    ago on. The end excludes the datapoints that begin there or later, and parts none.
    """
    start, end = window
    age_s = now - start
    step = float(period_s)
    if period_s >= 60:
        step = 60.0 if age_s < 15 * DAY_S else 300.0 if age_s < 63 * DAY_S else 3600.0
    return math.floor(start / step) * step, math.ceil(end / period_s) * float(period_s)


class Unknown(ValueError):
    """No statistic; the text says why and names those that there are."""


@dataclass(frozen=True)
class Statistic:
    """A statistic that was read.

    Attributes:
        kind: One of `SIMPLE`, or `p`, `TM`, `TC`, `TS`, `WM`, `PR`.
        low, high: Its bounds, shares from 0 to 1 or values; None: there is none. A percentile has
            its share as `high`.
        shares: Whether the bounds are shares of the count.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    shares: bool = True

    @property
    def needs_spread(self) -> bool:
        """Whether it can be told only from the distribution of the values."""
        return self.kind not in SIMPLE

    @property
    def samples_needed(self) -> float | None:
        """How many values make a percentile significant; None: it is none.

        User guide, "Percentile-based alarms and low data samples". The ends, p0 and p100, are
        always known.
        """
        if self.kind != "p" or self.high is None:
            return None
        if self.high in (0.0, 1.0):
            return 0.0
        return 10 / (1 - self.high) if self.high >= 0.5 else 10 / self.high


def read_statistic(name: str) -> Statistic:
    """Read the name of a statistic.

    Raises:
        Unknown: CloudWatch documents none of this name.
    """
    if name in SIMPLE:
        return Statistic(name, name)
    if name.upper() == "IQM":
        return Statistic(name, "TM", 0.25, 0.75)
    short = _SHORT.fullmatch(name)
    if short is not None and float(short[2]) <= 100:
        kind = "p" if short[1] == "p" else short[1].upper()
        return Statistic(name, kind, None, float(short[2]) / 100)
    ranged = _RANGE.fullmatch(name)
    if ranged is None:
        raise Unknown(f"{name!r} is no statistic; it must be {KNOWN}.")
    kind, low, high = ranged[1], ranged[2], ranged[3]
    given = [bound for bound in (low, high) if bound is not None]
    shares = any(bound.endswith("%") for bound in given)
    bounds = [float(bound.rstrip("%")) for bound in given]
    if not given or (shares and not all(bound.endswith("%") for bound in given)):
        raise Unknown(f"{name!r} needs one or two bounds, both values or both percentages.")
    if bounds != sorted(bounds) or (shares and bounds[-1] > 100):
        raise Unknown(f"{name!r} has bounds that are not in order from 0 on, at most 100 %.")
    if kind == "PR" and shares:
        raise Unknown(f"{name!r} has percentages; bounds of PR are values, e.g. PR(:300).")
    scale = 100 if shares else 1
    return Statistic(
        name,
        kind,
        None if low is None else float(low.rstrip("%")) / scale,
        None if high is None else float(high.rstrip("%")) / scale,
        shares,
    )


class Total:
    """What is known of the values of a metric in a period.

    Args:
        told: Count, sum, minimum and maximum of the first part of it.
        packed: As of `add`.
        spread: Whether the distribution is wanted; without it there are no percentiles.
    """

    def __init__(
        self, told: Sequence[float], packed: Sequence[int] | None = None, spread: bool = True
    ) -> None:
        self.count, self.sum, self.minimum, self.maximum = 0.0, 0.0, told[2], told[3]
        self._exact: dict[float, float] = {}
        self._buckets: dict[int, float] = {}
        self._whole = spread
        self.add(told, packed)

    def add(self, told: Sequence[float], packed: Sequence[int] | None = None) -> None:
        """Add a part.

        Args:
            told: Its count, sum, minimum and maximum.
            packed: How its values are distributed (`contract.buckets`), if that was counted.
        """
        count, value_sum, minimum, maximum = told
        self.count += count
        self.sum += value_sum
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)
        if not self._whole:
            return
        if minimum == maximum or count == 1:
            value = minimum if minimum == maximum else value_sum
            self._exact[value] = self._exact.get(value, 0.0) + count
        elif packed is not None:
            held = self._buckets
            for bucket, number in unpacked(packed):
                held[bucket] = held.get(bucket, 0.0) + number
        else:
            self._whole = False

    def value(self, statistic: Statistic) -> float | None:
        """The statistic's value; None if there is no datapoint.

        There is none of a percentile and its like where the distribution is not known (statistic
        sets with several values), or where a value is negative, as CloudWatch documents.
        """
        if not statistic.needs_spread:
            found = self._simple(statistic.kind)
        elif not self._whole or self.minimum < 0 or self.count <= 0:
            return None
        else:
            found = self._sorted.value(statistic)
        # What scripts print may be so large that its sum is no number any more.
        return found if found is not None and math.isfinite(found) else None

    def _simple(self, name: str) -> float | None:
        if name == "Average":
            return self.sum / self.count if self.count else None
        known = {
            "SampleCount": self.count,
            "Sum": self.sum,
            "Minimum": self.minimum,
            "Maximum": self.maximum,
        }
        return known[name]

    @cached_property
    def _sorted(self) -> "_Sorted":
        held = list(self._exact.items())
        for bucket, count in self._buckets.items():
            held.append((min(max(middle_of(bucket), self.minimum), self.maximum), count))
        return _Sorted(held, self.minimum, self.maximum)


class _Sorted:
    """Values in their order, each with how many there are up to it.

    Args:
        minimum, maximum: Known exactly, also where buckets stand for values.
    """

    def __init__(self, held: Sequence[tuple[float, float]], minimum: float, maximum: float) -> None:
        ordered = sorted((value, count) for value, count in held if count > 0)
        self.minimum, self.maximum = minimum, maximum
        self.values = [value for value, _ in ordered]
        self.upto = list(accumulate(count for _, count in ordered))
        self.sums = list(accumulate(value * count for value, count in ordered))

    def value(self, statistic: Statistic) -> float | None:
        """None: no value is within the bounds, and so there is no mean of them."""
        if statistic.kind == "p":
            if statistic.high in (0.0, 1.0):
                return self.maximum if statistic.high else self.minimum
            return self.at_rank((statistic.high or 0.0) * self.upto[-1])
        low, high = self._ranks(statistic)
        count = max(0.0, high - low)
        if statistic.kind == "PR":
            return 100.0 * count / self.upto[-1]
        if statistic.kind == "TC":
            return count
        total = self._sum_to(high) - self._sum_to(low) if count else 0.0
        if statistic.kind == "TS":
            return total
        if statistic.kind == "WM":
            return self._winsorized(statistic, low, high, total)
        return total / count if count else None

    def at_rank(self, rank: float) -> float:
        """The smallest value that so many do not exceed."""
        place = bisect_left(self.upto, rank - rank * _ALMOST)
        return self.values[min(place, len(self.values) - 1)]

    def _ranks(self, statistic: Statistic) -> tuple[float, float]:
        """How many values lie below those within the bounds, and how many up to their last."""
        count = self.upto[-1]
        if statistic.shares:
            almost = _ALMOST * count
            low = math.floor((statistic.low or 0.0) * count + almost)
            if statistic.high is None:
                return low, count
            return low, min(math.ceil(statistic.high * count - almost), count)
        return self._count_to(statistic.low, 0.0), self._count_to(statistic.high, count)

    def _count_to(self, bound: float | None, otherwise: float) -> float:
        """How many values there are up to a bound, which belongs to them."""
        if bound is None:
            return otherwise
        place = bisect_right(self.values, bound)
        return self.upto[place - 1] if place else 0.0

    def _sum_to(self, rank: float) -> float:
        """The sum of the smallest values, so many of them."""
        place = bisect_left(self.upto, rank)
        if place == len(self.upto):
            return self.sums[-1]
        before = self.upto[place - 1] if place else 0.0
        return (self.sums[place - 1] if place else 0.0) + (rank - before) * self.values[place]

    def _winsorized(self, statistic: Statistic, low: float, high: float, total: float) -> float:
        """The mean with all values outside of the bounds moved onto them."""
        count = self.upto[-1]
        if statistic.shares:
            bottom, top = self.at_rank(min(low + 1, count)), self.at_rank(high)
        else:
            bottom = statistic.low or 0.0
            top = self.maximum if statistic.high is None else statistic.high
        return (low * bottom + total + (count - high) * top) / count
