"""How many instances policies ask for: hand-worked examples."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loopwright.hosting.scaling.rules import (
    Limits,
    Past,
    Proposal,
    decide,
    step_of,
    stepped,
    tracked,
)
from loopwright.hosting.scaling.schedule import Malformed, due_of, following

TRACK = {"TargetValue": 100.0}


@pytest.mark.parametrize(
    ("current", "value", "low", "wanted"),
    [
        (1, 400.0, False, 4),  # Out in proportion, in one step.
        (2, 150.0, False, 3),
        (3, 101.0, False, 4),
        (4, 100.0, False, None),
        (4, 10.0, True, 3),  # In by one at a time.
        (30, 1.0, True, 27),  # By a tenth where there are many.
        (10, 85.0, True, 9),
        (1, 0.0, True, 0),  # The limits keep the last one.
        (4, 89.0, True, None),
    ],
)
def test_target_tracking(current: int, value: float, low: bool, wanted: int | None) -> None:
    assert tracked(TRACK, current, value, low) == wanted


@pytest.mark.parametrize("value", [1e308, float("inf")])
def test_what_is_beyond_all_numbers_asks_for_all(value: float) -> None:
    wanted = tracked({"TargetValue": 1e-100}, 2, value, low=False)
    assert wanted is not None and wanted >= 2**31 - 1
    assert tracked({"TargetValue": 1e-100}, 2, -value, low=True) == 1


def test_target_tracking_may_not_scale_in() -> None:
    assert tracked({**TRACK, "DisableScaleIn": True}, 4, 10.0, True) is None


# The user guide's example: alarm threshold 60, three steps out.
STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 0},
    {"MetricIntervalLowerBound": 10.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 10},
    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 30},
]
STEPS_IN = [
    {"MetricIntervalUpperBound": 0.0, "MetricIntervalLowerBound": -10.0, "ScalingAdjustment": 0},
    {"MetricIntervalUpperBound": -10.0, "MetricIntervalLowerBound": -20.0,
     "ScalingAdjustment": -10},
    {"MetricIntervalUpperBound": -20.0, "ScalingAdjustment": -30},
]  # fmt: skip


@pytest.mark.parametrize(
    ("excess", "adjustment"),
    [(0.0, 0), (9.9, 0), (10.0, 10), (19.9, 10), (20.0, 30), (900.0, 30), (-1.0, None)],
)
def test_steps_above_the_threshold(excess: float, adjustment: int | None) -> None:
    assert step_of(STEPS, excess) == adjustment


@pytest.mark.parametrize(
    ("excess", "adjustment"), [(-9.9, 0), (-10.0, -10), (-19.9, -10), (-20.0, -30), (-900.0, -30)]
)
def test_steps_below_the_threshold(excess: float, adjustment: int) -> None:
    assert step_of(STEPS_IN, excess) == adjustment


def percent(change: int, least: int = 0) -> dict[str, Any]:
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": change}
    config: dict[str, Any] = {
        "AdjustmentType": "PercentChangeInCapacity",
        "StepAdjustments": [step],
    }
    return config | ({"MinAdjustmentMagnitude": least} if least else {})


@pytest.mark.parametrize(
    ("config", "current", "wanted"),
    [
        (percent(10), 10, 11),
        (percent(10), 3, 4),  # 0.3 becomes 1.
        (percent(45), 5, 7),  # 2.25 becomes 2.
        (percent(-10), 3, 2),  # -0.3 becomes -1.
        (percent(-45), 5, 3),
        (percent(25, 2), 4, 6),  # 1 becomes the least, 2.
        ({"AdjustmentType": "ExactCapacity", "StepAdjustments": [{"ScalingAdjustment": 7}]}, 2, 7),
        ({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": -1}]},
         2, 1),
    ],
)  # fmt: skip
def test_adjustments(config: dict[str, Any], current: int, wanted: int) -> None:
    assert stepped(config, current, 70.0, 60.0) == wanted


LIMITS = Limits(1, 10)


def wish(wanted: int, before: int | None = None, policy: str = "p", **more: float) -> Proposal:
    return Proposal(policy, "a", wanted, before, more.get("out_s", 300), more.get("in_s", 300))


def test_the_largest_wish_wins_and_limits_hold() -> None:
    assert decide([wish(3), wish(5), wish(1)], 0, 2, LIMITS, None, 0).count == 5
    assert decide([wish(40)], 0, 2, LIMITS, None, 0).count == 10
    assert decide([wish(40)], 0, 10, LIMITS, None, 0).reason == "AlreadyAtMaxCapacity"
    assert decide([wish(0)], 0, 2, LIMITS, None, 0).count == 1
    assert decide([wish(0)], 0, 1, LIMITS, None, 0).reason == "AlreadyAtMinCapacity"


def test_scaling_in_needs_all_policies() -> None:
    assert decide([wish(2)], 1, 4, LIMITS, None, 0).count is None
    assert decide([wish(2), wish(3)], 0, 4, LIMITS, None, 0).count == 3
    # Steps are not held up by target tracking that is not ready.
    step = replace(wish(2), tracking=False)
    assert decide([step], 1, 4, LIMITS, None, 0).count == 2
    assert decide([step, wish(3)], 1, 4, LIMITS, None, 0).count == 2


def test_what_was_just_added_is_part_of_the_next_wish() -> None:
    # From 2 to 4 at 1000. A worse breach at 1060 wants +3 from where it began: 5.
    last = Past(1000.0, 2, 4)
    assert decide([wish(7, 5)], 0, 4, LIMITS, last, 1060.0).count == 5
    # The same breach as before wants nothing more.
    assert decide([wish(6, 4)], 0, 4, LIMITS, last, 1060.0).reason == "CooldownPeriod"
    # After the cooldown it counts anew.
    assert decide([wish(6, 4)], 0, 4, LIMITS, last, 1300.0).count == 6


def test_cooldowns_of_scaling_in() -> None:
    last = Past(1000.0, 5, 4)
    assert decide([wish(3)], 0, 4, LIMITS, last, 1299.0).reason == "CooldownPeriod"
    assert decide([wish(3)], 0, 4, LIMITS, last, 1300.0).count == 3
    # Scaling out does not wait for it.
    assert decide([wish(6, 7)], 0, 4, LIMITS, last, 1001.0).count == 6


def test_suspended_directions() -> None:
    off = Limits(1, 10, no_in=True, no_out=True)
    assert decide([wish(6)], 0, 4, off, None, 0).reason == "DynamicScalingOutSuspended"
    assert decide([wish(2)], 0, 4, off, None, 0).reason == "DynamicScalingInSuspended"


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "wanted"),
    [
        ("at(2026-11-25T12:00:00)", UTC, "2026-11-25T11:00", "2026-11-25T12:00"),
        ("at(2026-11-25T12:00:00)", UTC, "2026-11-25T12:00", None),
        ("at(2026-07-01T12:00:00)", BERLIN, "2026-06-01T00:00", "2026-07-01T10:00"),
        ("rate(5 minutes)", UTC, "2026-11-25T00:12", "2026-11-25T00:15"),
        ("rate(1 day)", UTC, "2026-11-25T00:00", "2026-11-26T00:00"),
        ("cron(0 9 * * ? *)", UTC, "2026-11-25T09:00", "2026-11-26T09:00"),
        ("cron(15 10 ? * 6L 2022-2030)", UTC, "2026-11-25T00:00", "2026-11-27T10:15"),
        ("cron(0/30 8-9 ? * MON-FRI *)", UTC, "2026-11-27T09:30", "2026-11-30T08:00"),
        ("cron(0 12 L * ? *)", UTC, "2026-02-01T00:00", "2026-02-28T12:00"),
        ("cron(0 12 1W * ? *)", UTC, "2026-08-01T00:00", "2026-08-03T12:00"),
        ("cron(0 12 LW * ? *)", UTC, "2026-05-02T00:00", "2026-05-29T12:00"),
        ("cron(0 12 ? * 3#2 *)", UTC, "2026-11-01T00:00", "2026-11-10T12:00"),
        ("cron(0 12 ? JAN,JUL SUN *)", UTC, "2026-11-01T00:00", "2027-01-03T12:00"),
        # The hour from 2 to 3 is not there on the last Sunday of March.
        ("cron(30 2 * * ? *)", BERLIN, "2026-03-28T12:00", "2026-03-30T00:30"),
        # 3 in the morning is an hour earlier in UTC from that day on.
        ("cron(0 3 * * ? *)", BERLIN, "2026-03-28T12:00", "2026-03-29T01:00"),
        ("cron(0 12 29 2 ? *)", UTC, "2026-03-01T00:00", "2028-02-29T12:00"),
        ("cron(0 12 1 1 ? 2020)", UTC, "2026-01-01T00:00", None),
    ],
)
def test_schedules(schedule: str, zone: Any, after: str, wanted: str | None) -> None:
    start = datetime.fromisoformat("2026-11-25T00:00").replace(tzinfo=UTC).timestamp()
    at = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    zone = ZoneInfo("UTC") if zone is UTC else zone
    found = following(schedule, zone, at, start)
    shown = None if found is None else datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%dT%H:%M")
    assert shown == wanted


@pytest.mark.parametrize(
    ("action", "done", "wanted"),
    [
        # A rate begins one interval after it was put, or at its start.
        ({"Schedule": "rate(5 minutes)"}, None, 1300),
        ({"Schedule": "rate(5 minutes)"}, 1301, 1600),
        ({"Schedule": "rate(5 minutes)", "StartTime": 1100}, None, 1100),
        ({"Schedule": "rate(5 minutes)", "StartTime": 1100}, 1100, 1400),
        # A start that is over: only what comes after the action was put.
        ({"Schedule": "rate(5 minutes)", "StartTime": 850}, None, 1150),
        ({"Schedule": "rate(5 minutes)", "EndTime": 1200}, None, None),
        ({"Schedule": "rate(5 minutes)", "EndTime": 1300}, None, 1300),
        ({"Schedule": "at(1970-01-01T00:20:00)"}, None, 1200),
        ({"Schedule": "at(1970-01-01T00:20:00)"}, 1203, None),
        ({"Schedule": "at(1970-01-01T00:10:00)"}, None, None),
        ({"Schedule": "cron(* * * * ? *)", "StartTime": 1140}, None, 1140),
        # The calendar ends with the year 9999.
        ({"Schedule": "cron(0 0 * * ? *)", "StartTime": 253402300799.0}, None, None),
        # What was done under an earlier schedule of the name does not bring back the past.
        ({"Schedule": "cron(0/10 * * * ? *)"}, 100, 1200),
    ],
)
def test_when_a_scheduled_action_is_due(
    action: dict[str, Any], done: float | None, wanted: float | None
) -> None:
    assert due_of({"PutTime": 1000.0, **action}, ZoneInfo("UTC"), done) == wanted


@pytest.mark.parametrize(
    "schedule",
    ["every day", "rate(0 days)", "rate(1 days)", "rate(2 day)", "cron(0 9 * * * *)",
     "cron(0 9 * * ?)", "cron(99 9 * * ? *)", "at(tomorrow)", "cron(0 9 ? * XXX *)",
     "cron(0/0 * * * ? *)", "cron(\N{SUPERSCRIPT TWO} * * * ? *)", "cron(0 0 0W * ? *)",
     "cron(0 0 40W * ? *)", "cron(0 0 ? * 8L *)", "cron(0 0 ? * 2#6 *)"],
)  # fmt: skip
def test_what_is_no_schedule(schedule: str) -> None:
    with pytest.raises(Malformed):
        following(schedule, ZoneInfo("UTC"), 0.0, 0.0)
