"""From points to instances on a virtual clock: hand-worked minutes, and crashes on the way."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa

from loopwright.aws.alarm_records import ALARM_KIND
from loopwright.aws.alarm_rounds import AlarmRounds
from loopwright.aws.alarm_rules import check_alarm
from loopwright.aws.alarms import alarm_operations
from loopwright.aws.metrics import Metrics, announce_variant
from loopwright.aws.quiet import Serving
from loopwright.aws.tables import ALARM_HISTORY, METADATA
from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.hosting.scaling.operations import TARGET_KIND, scaling_operations
from loopwright.hosting.scaling.triggers import breach, scaling_functions
from loopwright.kernel.store import Store
from loopwright.testing.simulation import Effects, SimulatedWorld
from loopwright.wire.errors import ApiError
from tests.hosting.test_scaling import NAMED, Scaled
from tests.simulation.scenarios import MACHINE, script_of

DIMENSIONS = [
    {"Name": "EndpointName", "Value": "e"},
    {"Name": "VariantName", "Value": "A"},
]


MEMORY_DISK = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as name:
        yield Path(name)


class Watched(Scaled):
    """A scaled endpoint whose alarms are evaluated; a step is five seconds."""

    def _make(self, folder: Path, effects: Effects) -> SimulatedWorld:
        def rounds(store: Store) -> Callable[[], None]:
            def act(*told: Any) -> str:
                return breach(store, *told)

            alarms = AlarmRounds(store, Metrics(store.database), self, act)
            serving = Serving(store.database, announce_variant)

            def step() -> None:
                shown = store.documents("route/")
                serving.show(route for _, route in shown.values())
                serving.note(self.now())
                alarms.round()

            return step

        simulated = SimulatedWorld(
            folder,
            [*hosting_kinds(MACHINE), ALARM_KIND, TARGET_KIND],
            effects,
            collected=lambda arguments: None,
            more_operations={
                **hosting_operations(),
                **scaling_operations(check_alarm),
                **{
                    name: operation
                    for name, operation in alarm_operations(None).items()  # type: ignore[arg-type]
                    if name not in ("TagResource", "UntagResource", "ListTagsForResource")
                },
            },
            more_functions=lambda store: scaling_functions(store, self),
            more_rounds=rounds,
        )
        METADATA.create_all(simulated.store.database.engine)
        simulated.backend.script_of = script_of
        return simulated

    def start(self, **cooldowns: Any) -> None:
        """Serving one instance, with a policy at 100 a minute, at the start of a minute."""
        self.config("one", {"A": 1})
        self.serve("one")
        self.register()
        self.policy(**cooldowns)
        self.run_until(lambda: len(self.alarms()) == 2)
        self.simulated.clock.advance(60 - self.now() % 60)

    def minutes(self, *loads: float | None) -> list[int]:
        """Minutes with so many invocations each, None for no point; the wanted count after each."""
        counts = []
        for load in loads:
            if load is not None:
                self.point("InvocationsPerInstance", load / self.count(), "AWS/SageMaker")
            for _ in range(12):
                self.simulated.step(5.0)
            counts.append(self.count())
        return counts

    def point(self, name: str, value: float, namespace: str = "Own") -> None:
        """A metric's value at this moment."""
        with self.simulated.undisturbed():
            Metrics(self.simulated.store.database).put(
                self.simulated._context(),
                {
                    "Namespace": namespace,
                    "MetricData": [{"MetricName": name, "Value": value, "Dimensions": DIMENSIONS}],
                },
            )

    def told(self, kind: str, part: str) -> list[str]:
        """The alarms' history, oldest first."""
        table = ALARM_HISTORY
        statement = sa.select(table).where(table.c.type == kind, table.c.alarm.contains(part))
        with self.simulated.store.reading() as connection:
            rows = connection.execute(statement.order_by(table.c.id)).all()
        return [row.summary for row in rows]


def test_three_minutes_above_the_target_scale_out(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    # The third point is whole a moment into the fourth minute: 400 / 100 = 4 at once.
    assert watched.minutes(50, 400, 400, 400, 400) == [1, 1, 1, 1, 4]
    assert watched.told("StateUpdate", "AlarmHigh")[-1].endswith("to ALARM")
    # 4 x 100 is the target itself: the alarm ends, and nothing changes.
    assert watched.minutes(400, 400, 400) == [4, 4, 4]
    assert watched.told("StateUpdate", "AlarmHigh")[-1] == "Alarm updated from ALARM to OK"


def test_a_short_peak_scales_nothing(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    assert set(watched.minutes(50, 900, 900, 50, 900, 900, 50, 50)) == {1}
    assert "ALARM" not in " ".join(watched.told("StateUpdate", "AlarmHigh"))


def test_fifteen_quiet_minutes_scale_in_one_by_one(folder: Path) -> None:
    watched = Watched(folder)
    watched.start(ScaleInCooldown=120, ScaleOutCooldown=60)
    watched.minutes(300, 300, 300)
    assert watched.minutes(300) == [3]
    # Fourteen minutes below 90 an instance are not enough.
    assert set(watched.minutes(*[150.0] * 14)) == {3}
    # The fifteenth is, and the alarm stays: 150 is 75 for two instances, which is still below 90,
    # but 2 x 75 / 100 asks for two.
    found = watched.minutes(*[150.0] * 8)
    assert found[0] == 3 and found[-1] == 2 and set(found) == {2, 3}
    # 40 a minute are enough for one; a second scaling in waits for the cooldown.
    assert watched.minutes(*[40.0] * 6)[-1] == 1


def test_a_variant_whose_requests_stop_goes_back_to_its_minimum(folder: Path) -> None:
    """The service tells of zeros then (developer guide, "Edit a scaling policy")."""
    watched = Watched(folder)
    watched.start(ScaleInCooldown=60)
    watched.minutes(300, 300, 300)
    assert watched.minutes(300) == [3]
    # Nothing is asked any more, and nobody writes a point: fourteen quiet minutes are not enough.
    assert set(watched.minutes(*[None] * 14)) == {3}
    assert watched.minutes(*[None] * 8)[-1] == 1
    assert watched.told("StateUpdate", "AlarmLow")[-1].endswith("to ALARM")
    # At the minimum it stays, and one request more does not matter.
    assert set(watched.minutes(None, None, 1, None, None)) == {1}
    done = [a["Description"] for a in watched.activities() if a["StatusCode"] == "Successful"]
    assert done == [f"Setting desired instance count to {n}." for n in (1, 2, 3)]


def test_a_variant_that_nobody_ever_asked_goes_to_its_minimum(folder: Path) -> None:
    watched = Watched(folder)
    watched.config("three", {"A": 3})
    watched.serve("three")
    watched.register(MinCapacity=2)
    watched.policy(ScaleInCooldown=60)
    assert watched.minutes(*[None] * 20)[-1] == 2
    assert set(watched.minutes(*[None] * 10)) == {2}


def test_a_metric_of_one_s_own_without_data_never_scales_in(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    _tracks(watched, [_metric("queued")], ScaleInCooldown=60)
    for _ in range(4):
        watched.point("queued", 30.0)
        watched.minutes(None)
    assert watched.count() == 3
    assert set(watched.minutes(*[None] * 30)) == {3}
    assert watched.told("StateUpdate", "AlarmLow")[-1].endswith("INSUFFICIENT_DATA")


def _metric(name: str, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "Own", "MetricName": name, "Dimensions": DIMENSIONS}
    return {"Id": name, "MetricStat": {"Metric": metric, "Stat": "Average"}, **more}


def _tracks(
    watched: Watched, metrics: list[dict[str, Any]], more: dict[str, Any] | None = None, **own: Any
) -> None:
    watched.policy(
        PredefinedMetricSpecification=None,
        CustomizedMetricSpecification={"Metrics": metrics, **(more or {})},
        TargetValue=10.0,
        **own,
    )


def test_what_metric_math_makes_is_tracked(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    hidden = {"ReturnData": False}
    backlog = [
        _metric("queued", **hidden),
        _metric("workers", **hidden),
        {"Id": "each", "Expression": "queued / workers", "Label": "of each worker"},
    ]
    _tracks(watched, backlog)
    for queued in (30.0, 30.0, 30.0, 30.0):
        watched.point("queued", queued)
        watched.point("workers", 1.0)
        watched.minutes(None)
    assert watched.count() == 3
    (high,) = (item for item in watched.alarms().values() if item.spec["Threshold"] == 10.0)
    assert [item.get("Expression") for item in high.spec["Metrics"]] == [
        None, None, "queued / workers",
    ]  # fmt: skip
    policies = watched.call("DescribeScalingPolicies", ServiceNamespace="sagemaker")
    config = policies["ScalingPolicies"][0]["TargetTrackingScalingPolicyConfiguration"]
    assert config["CustomizedMetricSpecification"]["Metrics"] == backlog
    # One metric needs no expression.
    _tracks(watched, [_metric("queued")])


@pytest.mark.parametrize(
    ("metrics", "more", "words"),
    [
        ([_metric("a"), _metric("b")], {}, "2 of Metrics have ReturnData true"),
        ([_metric("a", ReturnData=False)], {}, "0 of Metrics have ReturnData true"),
        ([{"Id": "e", "Expression": "a +"}], {}, "Error in expression 'e'"),
        ([{"Id": "e", "Expression": "a + 1"}], {}, "'a' is no Id"),
        ([_metric("a")], {"MetricName": "b"}, "Metrics or MetricName, not both"),
        ([{"Id": "a"}], {}, "needs MetricStat or Expression"),
    ],
)
def test_metric_math_that_nothing_can_be_tracked_by(
    folder: Path, metrics: list[dict[str, Any]], more: dict[str, Any], words: str
) -> None:
    watched = Watched(folder)
    watched.start()
    with pytest.raises(ApiError, match=words) as caught:
        _tracks(watched, metrics, more)
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Unit": "Fortnights"}, "enum value set"),
        ({"Dimensions": [{"Name": "", "Value": "x"}]}, "length greater than or equal to 1"),
        ({"MetricName": "a" * 300}, "length less than or equal to 255"),
    ],
)
def test_a_metric_that_no_alarm_could_watch_is_refused(
    folder: Path, more: dict[str, Any], words: str
) -> None:
    watched = Watched(folder)
    watched.start()
    metric = {"Namespace": "Own", "MetricName": "depth", "Statistic": "Average", **more}
    with pytest.raises(ApiError, match=words):
        watched.policy(PredefinedMetricSpecification=None, CustomizedMetricSpecification=metric)


def test_suspended_scaling_tells_and_does_nothing(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    suspended = {"DynamicScalingOutSuspended": True}
    watched.call("RegisterScalableTarget", **NAMED, SuspendedState=suspended)
    assert set(watched.minutes(400, 400, 400, 400, 400)) == {1}
    activity = watched.activities(IncludeNotScaledActivities=True)[0]
    assert activity["NotScaledReasons"][0]["Code"] == "DynamicScalingOutSuspended"
    watched.call(
        "RegisterScalableTarget", **NAMED, SuspendedState={"DynamicScalingOutSuspended": False}
    )
    # The same alarm acts on: it tells again each minute.
    assert watched.minutes(400, 400)[-1] == 4


STEP = {
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 2},
    ],
}


def stepped(watched: Watched, **more: Any) -> str:
    """A step policy and an alarm of ten seconds that acts by it; the policy's ARN."""
    told = watched.call(
        "PutScalingPolicy", **NAMED, PolicyName="steps", StepScalingPolicyConfiguration=STEP
    )
    watched.call(
        "PutMetricAlarm",
        AlarmName="depth",
        Namespace="Own",
        MetricName="depth",
        Dimensions=DIMENSIONS,
        Statistic="Maximum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=50.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[told["PolicyARN"]],
        **more,
    )
    return str(told["PolicyARN"])


def test_steps_by_an_alarm_of_ten_seconds(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    arn = stepped(watched)
    watched.point("depth", 65.0)
    watched.run_until(lambda: watched.count() == 3)
    assert watched.told("Action", "depth") == [f"Successfully executed action {arn}"]
    alarms = watched.call("DescribeScalingPolicies", ServiceNamespace="sagemaker",
                          PolicyNames=["steps"])["ScalingPolicies"][0]["Alarms"]  # fmt: skip
    assert [alarm["AlarmName"] for alarm in alarms] == ["depth"]


def test_a_state_set_by_hand_acts_once(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    arn = stepped(watched)
    said = {"AlarmName": "depth", "StateValue": "ALARM", "StateReason": "a test"}
    watched.call("SetAlarmState", **said)
    watched.run_until(lambda: bool(watched.told("Action", "depth")))
    assert "needs StateReasonData" in watched.told("Action", "depth")[0]
    watched.wait(30)
    assert watched.count() == 1
    data = '{"recentDatapoints": [12.0, 55.0]}'
    watched.call("SetAlarmState", **said, StateReasonData=data)
    watched.run_until(lambda: watched.count() == 2 and watched.settled())
    watched.wait(60)
    assert watched.count() == 2
    assert watched.told("Action", "depth")[1:] == [f"Successfully executed action {arn}"]
    record = watched.simulated.record("Alarm", "depth")
    assert record is not None and record.status["StateValue"] == "INSUFFICIENT_DATA"
    # Who looks only now and then still sees that it was in ALARM.
    assert record.created < record.status["AlarmedTimestamp"]
    assert record.status["AlarmedTimestamp"] < record.status["StateTransitionedTimestamp"]
    updates = watched.told("StateUpdate", "depth")
    assert updates == ["Alarm updated from INSUFFICIENT_DATA to ALARM",
                       "Alarm updated from ALARM to INSUFFICIENT_DATA"] * 2  # fmt: skip


def test_disabled_actions_wait_for_nothing(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    stepped(watched)
    watched.call("DisableAlarmActions", AlarmNames=["depth", "no such alarm"])
    for _ in range(6):
        watched.point("depth", 65.0)
        watched.wait(10)
    assert watched.count() == 1
    record = watched.simulated.record("Alarm", "depth")
    assert record is not None and record.status["StateValue"] == "ALARM"
    # Scaling acts on as long as the state lasts, so it begins once the actions are enabled.
    watched.call("EnableAlarmActions", AlarmNames=["depth"])
    watched.point("depth", 65.0)
    watched.wait(15)
    assert watched.count() == 3


def test_a_composite_alarm_follows_the_others(folder: Path) -> None:
    watched = Watched(folder)
    watched.start()
    stepped(watched)
    watched.call("PutCompositeAlarm", AlarmName="both", AlarmRule="ALARM(depth) AND NOT OK(depth)")
    watched.call("PutCompositeAlarm", AlarmName="upper", AlarmRule='ALARM("both") OR FALSE')
    states = [("depth", "INSUFFICIENT_DATA"), ("both", "OK"), ("upper", "OK")]

    def found() -> list[tuple[str, str]]:
        answer = watched.call("DescribeAlarms", AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                              AlarmNames=["depth", "both", "upper"])  # fmt: skip
        both = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
        return [(alarm["AlarmName"], alarm["StateValue"]) for alarm in both]

    watched.run_until(lambda: found() == states)
    watched.point("depth", 65.0)
    watched.run_until(lambda: {state for _, state in found()} == {"ALARM"})
    assert len(watched.told("StateUpdate", "upper")) == 2
    watched.wait(60)
    assert found() == states
    children = watched.call("DescribeAlarms", ChildrenOfAlarmName="upper")["CompositeAlarms"]
    assert [alarm["AlarmName"] for alarm in children] == ["both"]
    parents = watched.call("DescribeAlarms", ParentsOfAlarmName="depth")["CompositeAlarms"]
    assert [alarm["AlarmName"] for alarm in parents] == ["both"]


@pytest.mark.parametrize("seed", range(6))
def test_crashes_neither_lose_nor_repeat_a_scaling(folder: Path, seed: int) -> None:
    chance = random.Random(seed).choice([0.02, 0.05, 0.15])
    watched = Watched(folder, Effects(chance=chance, seed=seed))
    watched.start(ScaleInCooldown=60, ScaleOutCooldown=60)
    assert watched.minutes(50, 300, 300, 300, 300)[-1] == 3
    watched.minutes(300, 300)
    assert watched.count() == 3
    watched.minutes(*[150.0] * 20)
    watched.run_until(watched.settled)
    assert watched.count() == 2
    effects = watched.simulated.effects
    assert effects.crashes > 0
    done = [a["Description"] for a in watched.activities() if a["StatusCode"] == "Successful"]
    assert done == [f"Setting desired instance count to {n}." for n in (2, 3)]
    for side, states in (("AlarmHigh", 3), ("AlarmLow", 3)):
        updates = watched.told("StateUpdate", side)
        # Each from where the one before came to: nothing is written twice or left out.
        pairs = [text.removeprefix("Alarm updated from ").split(" to ") for text in updates]
        assert all(a[1] == b[0] for a, b in pairwise(pairs)), updates
        assert len(updates) >= states - 1
    starts = watched.simulated.backend.starts
    assert len(set(starts)) == len(starts) == 3


def test_a_crash_at_any_effect_of_an_action(folder: Path) -> None:
    """From an alarm that is put to the scaling that it causes: each effect before or after."""

    def run(home: Path, effects: Effects) -> int:
        home.mkdir()
        watched = Watched(home, Effects())
        watched.start()
        watched.simulated.effects = effects
        watched.simulated._rewire(effects)
        stepped(watched)
        watched.point("depth", 65.0)
        watched.run_until(lambda: watched.count() == 3 and watched.settled())
        watched.run_until(lambda: all(a["StatusCode"] == "Successful"
                                      for a in watched.activities()))  # fmt: skip
        assert len(watched.activities()) == 1
        assert watched.told("StateUpdate", "depth")[0].endswith("from INSUFFICIENT_DATA to ALARM")
        assert len(watched.told("Action", "depth")) >= 1
        watched.simulated.store.database.close()
        return effects.count

    count = run(folder / "calm", Effects())
    for number in range(0, count, 2):
        run(folder / f"b{number}", Effects(crash_before=frozenset({number})))
        run(folder / f"a{number}", Effects(crash_after=frozenset({number + 1})))
