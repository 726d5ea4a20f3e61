"""What the gateway counts: distributions of latencies, and Prometheus' buckets out of them."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from loopwright.contract.buckets import ZERO, bucket_of, unpacked
from loopwright.router.tallies import BUCKETS, Tallies, Tally

KEY = ("r", "e", "c", "v")


@given(some.lists(some.floats(0, 1e5), max_size=50), some.lists(some.floats(0, 1e5), max_size=50))
def test_each_latency_is_in_its_bucket_and_in_prometheus_buckets(
    before: list[float], after: list[float]
) -> None:
    tally = Tally()
    for seconds in before:
        tally.answered(200, seconds, seconds / 2)
    tally.clear()
    assert not tally.of_model
    assert not tally.of_overhead
    for seconds in after:
        tally.answered(200, seconds, seconds / 2)
    wanted: dict[int, int] = {}
    for seconds in after:
        bucket = bucket_of(seconds * 1e6)
        wanted[bucket] = wanted.get(bucket, 0) + 1
    assert tally.of_model == wanted
    assert sum(tally.of_overhead.values()) == len(after)
    found = tally.buckets_now()
    assert sum(found) == len(before) + len(after)
    for power in range(BUCKETS - 1):
        # Bounds are powers of two in microseconds, and belong to their bucket; a hair is rounding.
        reached = sum(found[: power + 1])
        below, upto = (
            sum(seconds * 1e6 <= 2.0**power * (1 + hair) for seconds in (*before, *after))
            for hair in (-1e-9, 1e-9)
        )
        assert below <= reached <= upto


def test_lines_carry_distributions_of_latencies_only(tmp_path: Path) -> None:
    tallies = Tallies(tmp_path)
    tally = tallies.of(KEY, 1)
    for seconds, overhead in ((0.001, 0.0), (0.001, 0.0001), (0.5, 0.0001)):
        tally.answered(200, seconds, overhead)
    tally.failed()
    tallies.flush(at_once=True)
    (file,) = tmp_path.glob("invocations-*.jsonl")
    points = orjson.loads(file.read_bytes())[6]
    assert points["Invocations"] == [4.0, 4.0, 1.0, 1.0]
    *told, packed = points["ModelLatency"]
    assert told == pytest.approx([3.0, 502_000.0, 1000.0, 500_000.0])
    assert dict(unpacked(packed)) == {bucket_of(1000.0): 2, bucket_of(500_000.0): 1}
    *_, packed = points["OverheadLatency"]
    assert dict(unpacked(packed)) == {ZERO: 1, bucket_of(100.0): 2}


def test_the_same_process_id_makes_no_name_twice(tmp_path: Path) -> None:
    for _ in range(2):
        tallies = Tallies(tmp_path)
        tallies.of(KEY, 1).answered(200, 0.001)
        tallies.flush(at_once=True)
    assert len(list(tmp_path.glob("invocations-*.jsonl"))) == 2


def test_counts_of_several_workers_are_summed(tmp_path: Path) -> None:
    workers = [Tallies(tmp_path, number) for number in range(2)]
    for tallies, seconds in zip(workers, (0.001, 0.002), strict=True):
        tallies.of(KEY, 1).answered(200, seconds)
        tallies.flush()
        tallies.of(KEY, 1).answered(200, seconds)
    ((_, counted),) = workers[1].all()
    # Of the other worker only what it has shared.
    assert sum(counted.buckets) == 3
    assert (counted.buckets[10], counted.buckets[11]) == (1, 2)


def test_workers_that_join_or_leave_later_are_counted_too(tmp_path: Path) -> None:
    first = Tallies(tmp_path)
    first.of(KEY, 1).answered(200, 0.001)
    first.flush()
    # The server starts again with more workers, and takes over the one that runs.
    second = Tallies(tmp_path, 1)
    second.of(KEY, 1).answered(200, 0.001)
    second.flush()
    for tallies in (first, second):
        ((_, counted),) = tallies.all()
        assert counted.ever[0] == 2
    # The second is ended; one that is killed goes on with its counts.
    again = Tallies(tmp_path)
    ((_, counted),) = again.all()
    assert counted.ever[0] == 2
