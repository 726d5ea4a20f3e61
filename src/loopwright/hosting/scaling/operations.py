"""Application Auto Scaling's operations, of variants' instance counts."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import uuid4

from loopwright.hosting.scaling.finding import (
    bad,
    find_target,
    named,
    page_of,
    resource_of,
    targets_of,
)
from loopwright.hosting.scaling.plan import plan_target
from loopwright.hosting.scaling.policies import (
    CheckAlarm,
    delete_policy,
    describe_policies,
    put_policy,
)
from loopwright.hosting.scaling.scheduled import delete_action, describe_actions, put_action
from loopwright.hosting.scaling.targets import OWN_MEMBERS
from loopwright.kernel.kinds import DELETING, Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Taken, new_uid
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError
from loopwright.wire.near import did_you_mean

TAGS_MAX: Final = 50
TARGET_KIND: Final = Kind(
    "ScalableTarget",
    arn="scalable-target",
    planner=plan_target,
    missing=("ObjectNotFoundException", "There is no scalable target {name}."),
    service="application-autoscaling",
)


def _anything(_alarm: Mapping[str, Any], _account: str) -> None:
    """For worlds without alarms."""


def scaling_operations(check: CheckAlarm = _anything) -> dict[str, Operation]:
    """By operation name; `check` refuses alarms that cannot be."""
    return {
        "RegisterScalableTarget": _register,
        "DescribeScalableTargets": _describe_targets,
        "DeregisterScalableTarget": _deregister,
        "PutScalingPolicy": partial(put_policy, check),
        "DescribeScalingPolicies": describe_policies,
        "DeleteScalingPolicy": delete_policy,
        "PutScheduledAction": put_action,
        "DescribeScheduledActions": describe_actions,
        "DeleteScheduledAction": delete_action,
        "DescribeScalingActivities": _describe_activities,
        "TagResource": _tag,
        "UntagResource": _untag,
        "ListTagsForResource": _tags,
    }


def _register(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    endpoint, variant = resource_of(params)
    name = params["ResourceId"]
    serving = context.lookup.record("Endpoint", endpoint)
    fleet = (serving.status.get("Fleet") if serving else None) or {"variants": ()}
    leaving = serving is not None and serving.status.get(DELETING)
    if leaving or not any(item["name"] == variant for item in fleet["variants"]):
        near = did_you_mean(variant, [item["name"] for item in fleet["variants"]])
        raise bad(f"There is no variant {variant!r} of an endpoint {endpoint!r} in service.{near}")
    tags = _merged_tags({}, params.get("Tags", {}))
    now = context.clock.now()
    while True:
        record = context.store.get(context.region, "ScalableTarget", name)
        try:
            if record is None:
                spec = _target_spec(params, {})
                arn = context.kinds.arn(TARGET_KIND, context.region, uuid4().hex)
                record = Record(
                    context.region, "ScalableTarget", name, new_uid(), arn, spec, {}, now, now
                )
                context.store.create(record, state="", tags=tags, event="Registered", due=now)
            else:
                spec, status = _registered_again(params, record)
                record = context.store.replace_spec(record, spec, now, status)
        except (Outdated, Taken):
            continue
        context.wake()
        return {"ScalableTargetARN": record.arn}


def _registered_again(
    params: Mapping[str, Any], record: Record
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spec and status of a target that exists; one that is about to go begins anew.

    What a scheduled action had set gives way to what is said now, and else stays.
    """
    limits = ("MinCapacity", "MaxCapacity")
    if record.status.get(DELETING):
        kept = {"Activities": record.status.get("Activities", [])}
        return _target_spec(params, {}), kept
    before = {**record.spec, **{key: record.status[key] for key in limits if key in record.status}}
    status = {key: value for key, value in record.status.items() if key not in limits}
    return _target_spec(params, before), status


def _target_spec(params: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    spec = dict(before)
    for member in ("MinCapacity", "MaxCapacity", "RoleARN"):
        if params.get(member) is not None:
            spec[member] = params[member]
    if params.get("SuspendedState"):
        spec["SuspendedState"] = {**spec.get("SuspendedState", {}), **params["SuspendedState"]}
    for member in ("MinCapacity", "MaxCapacity"):
        if member not in spec:
            raise bad(f"{member} is missing; a new scalable target needs it.")
    if spec["MinCapacity"] > spec["MaxCapacity"]:
        raise bad(
            f"MinCapacity is {spec['MinCapacity']}, above MaxCapacity, {spec['MaxCapacity']}."
        )
    if spec["MinCapacity"] < 1:
        raise bad(
            f"MinCapacity is {spec['MinCapacity']}; a real-time variant keeps at least 1 instance."
        )
    return spec


def _describe_targets(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    suspended = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended",
                 "ScheduledScalingSuspended")  # fmt: skip
    return page_of(
        params,
        "ScalableTargets",
        (
            {
                **named(record),
                "MinCapacity": record.status.get("MinCapacity", record.spec["MinCapacity"]),
                "MaxCapacity": record.status.get("MaxCapacity", record.spec["MaxCapacity"]),
                "RoleARN": record.spec.get("RoleARN") or _role(context),
                "CreationTime": record.created,
                "SuspendedState": {
                    name: record.spec.get("SuspendedState", {}).get(name, False)
                    for name in suspended
                },
                "ScalableTargetARN": record.arn,
            }
            for record in targets_of(context, params)
        ),
        lambda item: [item["ResourceId"]],
    )


def _role(context: Context) -> str:
    """The role that the service makes for itself."""
    return (
        f"arn:aws:iam::{context.kinds.account}:role/aws-service-role/sagemaker.application-"
        "autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    )


def _deregister(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    while True:
        record = find_target(context, params)
        status = {**record.status, DELETING: True}
        try:
            now = context.clock.now()
            context.store.change(record, status, state="", now=now, event="Deregistered")
        except Outdated:
            continue
        context.wake()
        return {}


def _describe_activities(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Newest first; those that did nothing only when asked for."""
    all_of_them = params.get("IncludeNotScaledActivities", False)
    found = [
        {**named(record), **{key: value for key, value in item.items() if key not in OWN_MEMBERS}}
        for record in targets_of(context, params)
        for item in record.status.get("Activities", ())
        if all_of_them or not item.get("NotScaledReasons")
    ]
    places: dict[str, int] = {}
    noted: Counter[tuple[str, float]] = Counter()
    for item in found:
        moment = item["ResourceId"], float(item["StartTime"])
        places[item["ActivityId"]] = noted[moment]
        noted[moment] += 1
    return page_of(
        params,
        "ScalingActivities",
        found,
        lambda item: [-float(item["StartTime"]), places[item["ActivityId"]], item["ActivityId"]],
    )


def _by_arn(context: Context, params: Mapping[str, Any]) -> Record:
    record = context.store.by_arn(params["ResourceARN"])
    if record is None or record.kind != "ScalableTarget":
        raise ApiError(
            "ResourceNotFoundException", f"There is no scalable target {params['ResourceARN']}."
        )
    return record


def _tag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    arn = _by_arn(context, params).arn
    _merged_tags(context.store.tags(arn), params["Tags"])
    context.store.add_tags(arn, params["Tags"])
    return {}


def _merged_tags(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    merged = {**before, **given}
    if len(merged) > TAGS_MAX:
        text = f"The target would have {len(merged)} tags; the most is {TAGS_MAX}."
        raise ApiError("TooManyTagsException", text)
    return merged


def _untag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    context.store.delete_tags(_by_arn(context, params).arn, params["TagKeys"])
    return {}


def _tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": context.store.tags(_by_arn(context, params).arn)}
