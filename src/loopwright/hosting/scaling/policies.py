"""Operations of scaling policies, and what they refuse."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

from loopwright.hosting.scaling.finding import (
    bad,
    change_target,
    named,
    page_of,
    targets_of,
    too_many,
    without,
)
from loopwright.hosting.scaling.targets import alarm_specs
from loopwright.kernel.records import Record
from loopwright.kernel.store import Query
from loopwright.kernel.verbs import Context
from loopwright.wire.errors import ApiError

PREDEFINED: Final = "SageMakerVariantInvocationsPerInstance"
POLICIES_MAX: Final = 50
TARGETS: Final = (8.515920e-109, 1.174271e108)
"""The service's limits of a target; beyond them a proportion may overflow."""
STEPS_MAX: Final = 20
OF_A_METRIC: Final = ("MetricName", "Namespace", "Dimensions", "Statistic", "Unit")
CheckAlarm = Callable[[Mapping[str, Any], str], Any]
"""Refuses the settings of an alarm, as PutMetricAlarm does; the second argument is the account."""
AGGREGATIONS: Final = ("Average", "Minimum", "Maximum")


def put_policy(check: CheckAlarm, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """PutScalingPolicy: its alarms follow in the target's next pass."""
    name = params["PolicyName"]
    kind = params.get("PolicyType") or "StepScaling"
    if params.get("PredictiveScalingPolicyConfiguration"):
        raise bad("PredictiveScalingPolicyConfiguration is given; SageMaker's variants take none.")
    now = context.clock.now()

    def change(record: Record) -> dict[str, Any]:
        policies = dict(record.spec.get("Policies", {}))
        before = policies.get(name, {})
        if not before and len(policies) >= POLICIES_MAX:
            raise too_many("scaling policies of the scalable target", POLICIES_MAX)
        if before and before["PolicyType"] != kind:
            raise bad(f"PolicyType is {kind!r}, but {name} is of type {before['PolicyType']}.")
        account = context.kinds.account
        arn = before.get("PolicyARN") or (
            f"arn:aws:autoscaling:{context.region}:{account}:scalingPolicy:{uuid4()}:"
            f"resource/sagemaker/{record.name}:policyName/{name}"
        )
        policies[name] = {
            "PolicyARN": arn,
            "PolicyName": name,
            "PolicyType": kind,
            "CreationTime": before.get("CreationTime", now),
            **_configuration(kind, params),
        }
        return {**record.spec, "Policies": policies}

    def checked(record: Record) -> dict[str, Any]:
        spec = change(record)
        policy = spec["Policies"][name]
        if policy["PolicyType"] == "TargetTrackingScaling":
            for alarm in alarm_specs(record, policy).values():
                _check_alarm(context, alarm, check)
        return spec

    record = change_target(context, params, checked)
    policy = record.spec["Policies"][name]
    return {"PolicyARN": policy["PolicyARN"], "Alarms": _alarms_of(context, record, policy)}


def _configuration(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a policy that its type needs.

    Raises:
        ApiError: `ValidationException`.
    """
    other = {
        "TargetTrackingScaling": "StepScalingPolicyConfiguration",
        "StepScaling": "TargetTrackingScalingPolicyConfiguration",
    }.get(kind, "")
    if params.get(other):
        raise bad(f"{other} is given, but PolicyType is {kind}; leave it out.")
    if kind == "TargetTrackingScaling":
        config = params.get("TargetTrackingScalingPolicyConfiguration")
        if not config:
            raise bad("TargetTrackingScaling needs TargetTrackingScalingPolicyConfiguration.")
        _check_tracking(config)
        return {"TargetTrackingScalingPolicyConfiguration": config}
    if kind == "StepScaling":
        config = params.get("StepScalingPolicyConfiguration")
        if not config:
            raise bad("StepScaling needs StepScalingPolicyConfiguration.")
        _check_steps(config)
        return {"StepScalingPolicyConfiguration": config}
    raise bad(
        f"PolicyType is {kind!r}; SageMaker's variants take TargetTrackingScaling or StepScaling."
    )


def _check_tracking(config: Mapping[str, Any]) -> None:
    predefined = config.get("PredefinedMetricSpecification")
    custom = config.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise bad("Give PredefinedMetricSpecification or CustomizedMetricSpecification.")
    least, most = TARGETS
    if not least <= config["TargetValue"] <= most:
        raise bad(f"TargetValue is {config['TargetValue']}; it must be from {least} to {most}.")
    for member in ("ScaleInCooldown", "ScaleOutCooldown"):
        _check_cooldown(config, member)
    if predefined and predefined.get("ResourceLabel"):
        raise bad("ResourceLabel is given, but SageMaker's variants have none; leave it out.")
    if predefined and predefined["PredefinedMetricType"] != PREDEFINED:
        raise bad(
            f"PredefinedMetricType is {predefined['PredefinedMetricType']!r}; Loopwright counts "
            f"{PREDEFINED}. Use that, or CustomizedMetricSpecification."
        )
    if custom and custom.get("Metrics"):
        both = [member for member in OF_A_METRIC if custom.get(member)]
        if both:
            raise bad(f"Give CustomizedMetricSpecification.Metrics or {both[0]}, not both.")
    elif custom:
        for member in ("MetricName", "Namespace", "Statistic"):
            if not custom.get(member):
                raise bad(f"CustomizedMetricSpecification.{member} is missing.")


def _check_alarm(context: Context, alarm: Mapping[str, Any], check: CheckAlarm) -> None:
    """Refuse a metric that no alarm could watch: its expression, its statistic."""
    given = {k: v for k, v in alarm.items() if k != "Period" or "Metrics" not in alarm}
    try:
        check(given, context.kinds.account)
    except ApiError as error:
        raise bad(f"CustomizedMetricSpecification: {error.message}") from None


def _check_cooldown(config: Mapping[str, Any], member: str) -> None:
    if config.get(member, 0) < 0:
        raise bad(f"{member} is {config[member]}; it must be 0 or more seconds.")


def _check_steps(config: Mapping[str, Any]) -> None:
    _check_cooldown(config, "Cooldown")
    if not config.get("AdjustmentType"):
        raise bad("StepScalingPolicyConfiguration.AdjustmentType is missing.")
    steps = config.get("StepAdjustments") or []
    if len(steps) > STEPS_MAX:
        raise too_many("step adjustments of the policy", STEPS_MAX)
    aggregation = config.get("MetricAggregationType", "Average")
    if aggregation not in AGGREGATIONS:
        raise bad(
            f"MetricAggregationType is {aggregation!r}; it must be one of "
            f"{', '.join(AGGREGATIONS)}."
        )
    if not steps:
        raise bad("StepScalingPolicyConfiguration.StepAdjustments is empty.")
    spans = []
    for step in steps:
        low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
        if low is None and high is None and len(steps) > 1:
            raise bad("A step without bounds must be the only one.")
        span = (float("-inf") if low is None else low, float("inf") if high is None else high)
        if span[0] >= span[1]:
            raise bad(f"A step's lower bound, {low}, must be below its upper bound, {high}.")
        spans.append(span)
    spans.sort()
    for one, other in pairwise(spans):
        if one[1] != other[0]:
            raise bad(f"Steps must meet without gap or overlap; {one} and {other} do not.")


def _alarms_of(context: Context, record: Record, policy: Mapping[str, Any]) -> list[dict[str, str]]:
    """Alarms that act by a policy: its own two, or those that name it."""
    if policy["PolicyType"] == "TargetTrackingScaling":
        names = list(alarm_specs(record, policy))
    else:
        names = _naming(context, policy["PolicyARN"])
    account = context.kinds.account
    head = f"arn:aws:cloudwatch:{context.region}:{account}:alarm:"
    return [{"AlarmName": name, "AlarmARN": head + name} for name in names]


def _naming(context: Context, arn: str) -> list[str]:
    found = []
    after = None
    while True:
        query = Query(region=context.region, kind="Alarm", sort="name", limit=100, after=after)
        page, after = context.store.find(query)
        found += [item.name for item in page if arn in item.spec.get("AlarmActions", ())]
        if after is None:
            return found


def describe_policies(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """DescribeScalingPolicies."""
    wanted = params.get("PolicyNames")
    return page_of(
        params,
        "ScalingPolicies",
        (
            {**named(record), **policy, "Alarms": _alarms_of(context, record, policy)}
            for record in targets_of(context, params)
            for policy in record.spec.get("Policies", {}).values()
            if not wanted or policy["PolicyName"] in wanted
        ),
        lambda item: [item["ResourceId"], item["PolicyName"]],
    )


def delete_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """DeleteScalingPolicy; its alarms go with it."""
    without(context, params, "Policies", params["PolicyName"])
    return {}
