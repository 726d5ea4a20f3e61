"""Percentiles and their like: against numpy and scipy, and by CloudWatch's own examples."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from loopwright.aws.statistics import Total, Unknown, read_statistic
from loopwright.contract.buckets import (
    GROWTH,
    RELATIVE_ERROR,
    bucket_of,
    middle_of,
    packed,
    unpacked,
)

LATENCIES = some.lists(
    some.one_of(some.just(0.0), some.floats(1e-6, 1e10)), min_size=1, max_size=400
)
SHARES = some.integers(0, 1000).map(lambda number: number / 10)


def counted(values: list[float]) -> list[int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    return packed(counts)


def told(values: list[float]) -> list[float]:
    return [float(len(values)), math.fsum(values), min(values), max(values)]


def exactly(*values: float) -> Total:
    total = Total([1.0, values[0], values[0], values[0]])
    for value in values[1:]:
        total.add([1.0, value, value, value])
    return total


def of(total: Total, name: str) -> float | None:
    return total.value(read_statistic(name))


@settings(max_examples=300)
@given(LATENCIES, LATENCIES, SHARES)
def test_percentiles_of_merged_buckets_are_within_one_percent_of_numpy_s(
    one: list[float], other: list[float], percent: float
) -> None:
    total = Total(told(one), counted(one))
    total.add(told(other), counted(other))
    found = of(total, f"p{percent}")
    assert found is not None
    # A hair to both sides: at the very border of two ranks either is right.
    low, high = (
        float(
            np.percentile([*one, *other], min(max(percent + hair, 0), 100), method="inverted_cdf")
        )
        for hair in (-1e-9, 1e-9)
    )
    assert low * (1 - 0.01) <= found <= high * (1 + 0.01)


@given(some.floats(1e-300, 1e300))
def test_a_bucket_s_middle_is_near_all_of_its_values(value: float) -> None:
    bucket = bucket_of(value)
    assert abs(middle_of(bucket) - value) <= value * (RELATIVE_ERROR + 1e-9)
    assert RELATIVE_ERROR < 0.01
    assert middle_of(bucket_of(value * GROWTH * 1.001)) > middle_of(bucket)


@given(some.dictionaries(some.integers(-5000, 5000), some.integers(1, 10**9)))
def test_counts_are_packed_and_unpacked(counts: dict[int, int]) -> None:
    assert dict(unpacked(packed(counts))) == counts


@given(some.lists(some.integers(0, 1000), min_size=3, max_size=200), some.integers(0, 40))
def test_trimming_and_winsorizing_as_scipy_does(numbers: list[int], percent: int) -> None:
    values = [float(number) for number in numbers]
    total = exactly(*values)
    cut = len(values) * percent // 100
    kept = sorted(values)[cut : len(values) - cut]
    bounds = f"({percent}%:{100 - percent}%)"
    trimmed = stats.trim_mean(values, cut / len(values) + 1e-12)
    assert of(total, f"TM{bounds}") == pytest.approx(trimmed)
    assert of(total, f"TC{bounds}") == len(kept)
    assert of(total, f"TS{bounds}") == pytest.approx(sum(kept))
    moved = [min(max(value, kept[0]), kept[-1]) for value in values]
    assert of(total, f"WM{bounds}") == pytest.approx(np.mean(moved))
    assert of(total, "IQM") == of(total, "TM(25%:75%)")


HUNDRED = [float(number) for number in range(1, 101)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        # Of 1, 2, …, 100.
        ("p0", 1.0), ("p50", 50.0), ("p99", 99.0), ("p99.5", 100.0), ("p100", 100.0),
        ("tm90", 45.5), ("TM(:90%)", 45.5), ("TM(2%:98%)", 50.5), ("TM(10%:)", 55.5),
        ("tc90", 90.0), ("TC(80:95)", 15.0), ("TC(:50)", 50.0), ("TC(0.5:1.5)", 1.0),
        ("ts90", 4095.0), ("TS(80%:)", 1810.0), ("TM(97:99)", 98.5),
        # The highest 2 are 98; the lowest 10 are 11 and the highest 10 are 90.
        ("wm98", (98 * 99 / 2 + 2 * 98) / 100), ("WM(10%:90%)", (10 * 11 + 4040 + 10 * 90) / 100),
        ("WM(50:80)", (50 * 50 + sum(range(51, 81)) + 20 * 80) / 100),
        ("PR(:30)", 30.0), ("PR(10:20)", 10.0), ("PR(20:)", 80.0), ("PR(500:)", 0.0),
        ("IQM", 50.5), ("iqm", 50.5),
        ("SampleCount", 100.0), ("Sum", 5050.0), ("Average", 50.5), ("Minimum", 1.0),
        ("TM(500:600)", None), ("TC(500:600)", 0.0), ("TS(500:600)", 0.0),
    ],
)  # fmt: skip
def test_statistics_by_hand(name: str, wanted: float | None) -> None:
    found = of(exactly(*HUNDRED), name)
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_one_value_is_every_percentile() -> None:
    for name in ("p1", "p99.9", "tm99", "TM(10%:90%)", "wm10", "IQM"):
        assert of(exactly(7.0), name) == 7.0


@pytest.mark.parametrize(
    "name",
    [
        "p101", "p", "P99", "p99%", "p-1", "p1.12345678901", "tm", "TM90", "tm(10%:90%)", "TM(:)",
        "TM(10%:90)", "TM(90%:10%)", "TM(5%:101%)", "PR(10%:20%)", "pr90", "Median", "avg", "",
    ],
)  # fmt: skip
def test_what_is_no_statistic(name: str) -> None:
    with pytest.raises(Unknown, match=r"statistic|bounds|percentages"):
        read_statistic(name)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        # A statistic set tells its values only if they are equal, or if it is one.
        ([(4.0, 20.0, 5.0, 5.0)], 5.0),
        ([(1.0, 5.0, 5.0, 5.0)], 5.0),
        ([(4.0, 20.0, 1.0, 9.0)], None),
        ([(1.0, 5.0, 5.0, 5.0), (4.0, 20.0, 1.0, 9.0)], None),
        # No percentiles where a value is negative.
        ([(1.0, 5.0, 5.0, 5.0), (1.0, -1.0, -1.0, -1.0)], None),
    ],
)
def test_where_there_is_no_percentile(parts: list[Any], wanted: float | None) -> None:
    total = Total(parts[0])
    for part in parts[1:]:
        total.add(part)
    assert of(total, "p50") == wanted
    assert of(total, "Sum") == sum(part[1] for part in parts)


def test_how_many_samples_a_percentile_needs() -> None:
    assert read_statistic("p99").samples_needed == pytest.approx(1000)
    assert read_statistic("p50").samples_needed == 20
    assert read_statistic("p10").samples_needed == 100
    assert read_statistic("p100").samples_needed == 0
    assert read_statistic("tm99").samples_needed is None
