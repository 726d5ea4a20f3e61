"""Application Auto Scaling's operations, of variants' instance counts."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

from loopwright.hosting.scaling.plan import alarm_specs, plan_target
from loopwright.hosting.scaling.schedule import Malformed, following, zone_of
from loopwright.kernel.kinds import DELETING, Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query, Taken, new_uid
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError

DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
RESOURCE: Final = re.compile(r"endpoint/([A-Za-z0-9-]+)/variant/([A-Za-z0-9-]+)")
PREDEFINED: Final = "SageMakerVariantInvocationsPerInstance"
PAGE_MAX: Final = 50
TARGET_KIND: Final = Kind(
    "ScalableTarget",
    arn="scalable-target",
    planner=plan_target,
    service="application-autoscaling",
)


def scaling_operations() -> dict[str, Operation]:
    """By operation name."""
    return {
        "RegisterScalableTarget": _register,
        "DescribeScalableTargets": _describe_targets,
        "DeregisterScalableTarget": _deregister,
        "PutScalingPolicy": _put_policy,
        "DescribeScalingPolicies": _describe_policies,
        "DeleteScalingPolicy": _delete_policy,
        "PutScheduledAction": _put_action,
        "DescribeScheduledActions": _describe_actions,
        "DeleteScheduledAction": _delete_action,
        "DescribeScalingActivities": _describe_activities,
        "TagResource": _tag,
        "UntagResource": _untag,
        "ListTagsForResource": _tags,
    }


def _bad(text: str) -> ApiError:
    return ApiError("ValidationException", text)


def _missing(text: str) -> ApiError:
    return ApiError("ObjectNotFoundException", text)


def _resource(params: Mapping[str, Any]) -> tuple[str, str]:
    """Endpoint and variant of a request."""
    namespace = params["ServiceNamespace"]
    dimension = params.get("ScalableDimension", DIMENSION)
    if namespace != "sagemaker":
        raise _bad(f"ServiceNamespace is {namespace!r}; Loopwright scales sagemaker only.")
    if dimension != DIMENSION:
        raise _bad(f"ScalableDimension is {dimension!r}; Loopwright scales {DIMENSION} only.")
    match = RESOURCE.fullmatch(params["ResourceId"])
    if match is None:
        raise _bad(
            f"ResourceId is {params['ResourceId']!r}; it must be endpoint/NAME/variant/VARIANT."
        )
    return match[1], match[2]


def _find(context: Context, params: Mapping[str, Any]) -> Record:
    _resource(params)
    record = context.store.get(context.region, "ScalableTarget", params["ResourceId"])
    if record is None or record.status.get(DELETING):
        raise _missing(
            f"No scalable target is registered for {params['ResourceId']} and {DIMENSION}; "
            "register it with RegisterScalableTarget first."
        )
    return record


def _change(
    context: Context,
    params: Mapping[str, Any],
    change: Callable[[Record], Mapping[str, Any]],
) -> Record:
    """Replace the spec as `change` says, again when it moved underneath."""
    while True:
        record = _find(context, params)
        try:
            changed = context.store.replace_spec(record, change(record), context.clock.now())
        except Outdated:
            continue
        context.wake()
        return changed


def _register(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    endpoint, variant = _resource(params)
    name = params["ResourceId"]
    serving = context.lookup.record("Endpoint", endpoint)
    fleet = (serving.status.get("Fleet") if serving else None) or {"variants": ()}
    if not any(item["name"] == variant for item in fleet["variants"]):
        raise _bad(f"There is no variant {variant!r} of an endpoint {endpoint!r} in service.")
    now = context.clock.now()
    while True:
        record = context.store.get(context.region, "ScalableTarget", name)
        spec = _target_spec(params, {} if record is None else record.spec)
        try:
            if record is not None:
                # What a scheduled action had set gives way to what is said now.
                kept = {
                    key: value
                    for key, value in record.status.items()
                    if key not in ("MinCapacity", "MaxCapacity")
                }
                changed = context.store.change(record, kept, state="", now=now, event="")
                record = context.store.replace_spec(changed, spec, now)
            else:
                arn = context.kinds.arn(TARGET_KIND, context.region, uuid4().hex)
                record = Record(
                    context.region, "ScalableTarget", name, new_uid(), arn, spec, {}, now, now
                )
                tags = params.get("Tags", {})
                context.store.create(record, state="", tags=tags, event="Registered", due=now)
        except (Outdated, Taken):
            continue
        context.wake()
        return {"ScalableTargetARN": record.arn}


def _target_spec(params: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    spec = dict(before)
    for member in ("MinCapacity", "MaxCapacity", "RoleARN"):
        if params.get(member) is not None:
            spec[member] = params[member]
    if params.get("SuspendedState"):
        spec["SuspendedState"] = {**spec.get("SuspendedState", {}), **params["SuspendedState"]}
    for member in ("MinCapacity", "MaxCapacity"):
        if member not in spec:
            raise _bad(f"{member} is missing; a new scalable target needs it.")
    if spec["MinCapacity"] > spec["MaxCapacity"]:
        raise _bad(
            f"MinCapacity is {spec['MinCapacity']}, above MaxCapacity, {spec['MaxCapacity']}."
        )
    if spec["MinCapacity"] < 1:
        raise _bad(
            f"MinCapacity is {spec['MinCapacity']}; a real-time variant keeps at least 1 instance."
        )
    return spec


def _targets(context: Context, params: Mapping[str, Any]) -> list[Record]:
    """The targets that a Describe is about."""
    if params["ServiceNamespace"] != "sagemaker":
        return []
    names = params.get("ResourceIds") or ([params["ResourceId"]] if "ResourceId" in params else [])
    found: list[Record] = []
    after = None
    while True:
        query = Query(
            region=context.region, kind="ScalableTarget", sort="name", limit=100, after=after
        )
        page, after = context.store.find(query)
        found += [
            record
            for record in page
            if (not names or record.name in names) and not record.status.get(DELETING)
        ]
        if after is None:
            return found


def _page(
    params: Mapping[str, Any], member: str, items: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    listed = list(items)
    start = int(params.get("NextToken") or 0)
    end = start + min(params.get("MaxResults") or PAGE_MAX, PAGE_MAX)
    return {member: listed[start:end], "NextToken": str(end) if end < len(listed) else None}


def _named(record: Record) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": record.name,
        "ScalableDimension": DIMENSION,
    }


def _describe_targets(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    suspended = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended",
                 "ScheduledScalingSuspended")  # fmt: skip
    return _page(
        params,
        "ScalableTargets",
        (
            {
                **_named(record),
                "MinCapacity": record.status.get("MinCapacity", record.spec["MinCapacity"]),
                "MaxCapacity": record.status.get("MaxCapacity", record.spec["MaxCapacity"]),
                "RoleARN": record.spec.get("RoleARN", ""),
                "CreationTime": record.created,
                "SuspendedState": {
                    name: record.spec.get("SuspendedState", {}).get(name, False)
                    for name in suspended
                },
                "ScalableTargetARN": record.arn,
            }
            for record in _targets(context, params)
        ),
    )


def _deregister(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    while True:
        record = _find(context, params)
        status = {**record.status, DELETING: True}
        try:
            now = context.clock.now()
            context.store.change(record, status, state="", now=now, event="Deregistered")
        except Outdated:
            continue
        context.wake()
        return {}


def _put_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    name = params["PolicyName"]
    kind = params.get("PolicyType", "StepScaling")
    now = context.clock.now()

    def change(record: Record) -> dict[str, Any]:
        policies = dict(record.spec.get("Policies", {}))
        before = policies.get(name, {})
        if before and before["PolicyType"] != kind:
            raise _bad(f"PolicyType is {kind!r}, but {name} is of type {before['PolicyType']}.")
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

    record = _change(context, params, change)
    policy = record.spec["Policies"][name]
    return {"PolicyARN": policy["PolicyARN"], "Alarms": _alarms_of(context, record, policy)}


def _configuration(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a policy that its type needs.

    Raises:
        ApiError: `ValidationException`.
    """
    if kind == "TargetTrackingScaling":
        config = params.get("TargetTrackingScalingPolicyConfiguration")
        if not config:
            raise _bad("TargetTrackingScaling needs TargetTrackingScalingPolicyConfiguration.")
        _check_tracking(config)
        return {"TargetTrackingScalingPolicyConfiguration": config}
    if kind == "StepScaling":
        config = params.get("StepScalingPolicyConfiguration")
        if not config:
            raise _bad("StepScaling needs StepScalingPolicyConfiguration.")
        _check_steps(config)
        return {"StepScalingPolicyConfiguration": config}
    raise _bad(
        f"PolicyType is {kind!r}; SageMaker's variants take TargetTrackingScaling or StepScaling."
    )


def _check_tracking(config: Mapping[str, Any]) -> None:
    predefined = config.get("PredefinedMetricSpecification")
    custom = config.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise _bad("Give PredefinedMetricSpecification or CustomizedMetricSpecification.")
    if config["TargetValue"] <= 0:
        raise _bad(f"TargetValue is {config['TargetValue']}; it must be above 0.")
    if predefined and predefined["PredefinedMetricType"] != PREDEFINED:
        raise _bad(
            f"PredefinedMetricType is {predefined['PredefinedMetricType']!r}; Loopwright counts "
            f"{PREDEFINED}. Use that, or CustomizedMetricSpecification."
        )
    if custom and custom.get("Metrics"):
        raise _bad("CustomizedMetricSpecification.Metrics is not supported; give MetricName.")
    if custom:
        for member in ("MetricName", "Namespace", "Statistic"):
            if not custom.get(member):
                raise _bad(f"CustomizedMetricSpecification.{member} is missing.")


def _check_steps(config: Mapping[str, Any]) -> None:
    if not config.get("AdjustmentType"):
        raise _bad("StepScalingPolicyConfiguration.AdjustmentType is missing.")
    steps = config.get("StepAdjustments") or []
    if not steps:
        raise _bad("StepScalingPolicyConfiguration.StepAdjustments is empty.")
    spans = []
    for step in steps:
        low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
        if low is None and high is None and len(steps) > 1:
            raise _bad("A step without bounds must be the only one.")
        span = (float("-inf") if low is None else low, float("inf") if high is None else high)
        if span[0] >= span[1]:
            raise _bad(f"A step's lower bound, {low}, must be below its upper bound, {high}.")
        spans.append(span)
    spans.sort()
    for one, other in pairwise(spans):
        if one[1] != other[0]:
            raise _bad(f"Steps must meet without gap or overlap; {one} and {other} do not.")


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


def _describe_policies(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    wanted = params.get("PolicyNames")
    return _page(
        params,
        "ScalingPolicies",
        (
            {**_named(record), **policy, "Alarms": _alarms_of(context, record, policy)}
            for record in _targets(context, params)
            for policy in record.spec.get("Policies", {}).values()
            if not wanted or policy["PolicyName"] in wanted
        ),
    )


def _delete_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    _without(context, params, "Policies", params["PolicyName"])
    return {}


def _without(context: Context, params: Mapping[str, Any], member: str, name: str) -> None:
    def change(record: Record) -> dict[str, Any]:
        held = dict(record.spec.get(member, {}))
        if name not in held:
            raise _missing(f"{record.name} has no {name!r} among its {member}.")
        del held[name]
        return {**record.spec, member: held}

    _change(context, params, change)


def _put_action(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    name = params["ScheduledActionName"]
    now = context.clock.now()

    def change(record: Record) -> dict[str, Any]:
        actions = dict(record.spec.get("ScheduledActions", {}))
        before = actions.get(name, {})
        action = {**before, "ScheduledActionName": name, "CreationTime": now}
        for member in ("Schedule", "Timezone", "ScalableTargetAction"):
            if params.get(member):
                action[member] = params[member]
        for member in ("StartTime", "EndTime"):
            if params.get(member) is not None:
                action[member] = _seconds(params[member])
        _check_action(action)
        action.setdefault("ScheduledActionARN", _action_arn(context, record, name))
        actions[name] = action
        return {**record.spec, "ScheduledActions": actions}

    _change(context, params, change)
    return {}


def _action_arn(context: Context, record: Record, name: str) -> str:
    return (
        f"arn:aws:autoscaling:{context.region}:{context.kinds.account}:scheduledAction:{uuid4()}:"
        f"resource/sagemaker/{record.name}:scheduledActionName/{name}"
    )


def _check_action(action: Mapping[str, Any]) -> None:
    for member in ("Schedule", "ScalableTargetAction"):
        if not action.get(member):
            raise _bad(f"{member} is missing; a new scheduled action needs it.")
    given = action["ScalableTargetAction"]
    least, most = given.get("MinCapacity"), given.get("MaxCapacity")
    if least is None and most is None:
        raise _bad("ScalableTargetAction needs MinCapacity, MaxCapacity or both.")
    if least is not None and most is not None and least > most:
        raise _bad(f"MinCapacity is {least}, above MaxCapacity, {most}.")
    try:
        zone = zone_of(action.get("Timezone"))
        following(action["Schedule"], zone, action["CreationTime"], action["CreationTime"])
    except Malformed as error:
        raise _bad(f"{error}.") from None


def _describe_actions(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    wanted = params.get("ScheduledActionNames")
    return _page(
        params,
        "ScheduledActions",
        (
            {**_named(record), **action}
            for record in _targets(context, params)
            for action in record.spec.get("ScheduledActions", {}).values()
            if not wanted or action["ScheduledActionName"] in wanted
        ),
    )


def _delete_action(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    _without(context, params, "ScheduledActions", params["ScheduledActionName"])
    return {}


def _describe_activities(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Newest first; those that did nothing only when asked for."""
    all_of_them = params.get("IncludeNotScaledActivities", False)
    hidden = ("before", "after")
    found = [
        {**_named(record), **{key: value for key, value in item.items() if key not in hidden}}
        for record in _targets(context, params)
        for item in record.status.get("Activities", ())
        if all_of_them or not item.get("NotScaledReasons")
    ]
    found.sort(key=lambda item: -float(item["StartTime"]))
    return _page(params, "ScalingActivities", found)


def _by_arn(context: Context, params: Mapping[str, Any]) -> Record:
    record = context.store.by_arn(params["ResourceARN"])
    if record is None or record.kind != "ScalableTarget":
        raise ApiError(
            "ResourceNotFoundException", f"There is no scalable target {params['ResourceARN']}."
        )
    return record


def _tag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    context.store.add_tags(_by_arn(context, params).arn, params["Tags"])
    return {}


def _untag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    context.store.delete_tags(_by_arn(context, params).arn, params["TagKeys"])
    return {}


def _tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": context.store.tags(_by_arn(context, params).arn)}


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
