"""What is said about interruptions, without a server."""

import statistics

import pytest

from loopwright.training.spot import Schedule, frequency


def _advice(cost_s: float, interval_s: float, ran_s: float, interruptions: int) -> str:
    collected = {"value": {"checkpoints": {"cost_s": cost_s, "interval_s": interval_s}}}
    return frequency({"PriorSeconds": ran_s, "Interruptions": interruptions}, collected)


def test_youngs_interval_is_advised_where_the_jobs_own_is_far_from_it() -> None:
    rarely = _advice(cost_s=2.0, interval_s=600, ran_s=1800, interruptions=2)
    assert "more often, about every 60 s" in rarely
    assert "less often, about every 60 s" in _advice(2.0, 5, 1800, 2)
    assert _advice(2.0, 70, 1800, 2) == ""
    assert frequency({"PriorSeconds": 10.0, "Interruptions": 1}, {"value": {}}) == ""
    assert frequency({"PriorSeconds": 10.0, "Interruptions": 1}, None) == ""


def test_a_schedule_is_the_same_for_the_same_seed_and_has_its_mean() -> None:
    times = [Schedule(7, 30.0).after_s(f"job-{n}", 0) for n in range(4000)]
    assert times == [Schedule(7, 30.0).after_s(f"job-{n}", 0) for n in range(4000)]
    assert statistics.mean(times) == pytest.approx(30, rel=0.1)
    assert Schedule(7, 30.0).after_s("job", 0) != Schedule(7, 30.0).after_s("job", 1)
    assert Schedule(8, 30.0).after_s("job", 0) != Schedule(7, 30.0).after_s("job", 0)
