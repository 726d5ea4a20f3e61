"""EventBridge's API: rules, targets, connections, API destinations, and one's own events."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopwright.aws.events.bus import RULE, TARGET, Bus
from loopwright.aws.events.delivery import RATE_DEFAULT
from loopwright.aws.events.pattern import matches, read_pattern
from loopwright.kernel.verbs import Context, Operation, make_token, read_token, seconds
from loopwright.wire.depth import read_json
from loopwright.wire.errors import ApiError, validation

Params = dict[str, Any]
CONNECTION: Final = "connection"
DESTINATION: Final = "destination"
TARGETS_MAX: Final = 5
PAGE: Final = 100
TARGET_MEMBERS: Final = frozenset(
    "Id Arn RoleArn Input InputPath InputTransformer HttpParameters RetryPolicy".split()
)
MORE: Final = "InvocationHttpParameters"
NEEDED: Final = {"BASIC": "BasicAuthParameters", "API_KEY": "ApiKeyAuthParameters"}
SECRETS: Final = {
    "BasicAuthParameters": "Password",
    "ApiKeyAuthParameters": "ApiKeyValue",
}


def events_operations(bus: Bus) -> dict[str, Operation]:
    """By operation name."""
    return {
        **_rule_operations(bus),
        **_target_operations(bus),
        **_connection_operations(bus),
        **_destination_operations(bus),
        "PutEvents": _put_events(bus),
        "TestEventPattern": _test_pattern,
    }


def _test_pattern(_context: Context, params: Params) -> Params:
    try:
        event = read_json(params["Event"])
    except ValueError as error:
        raise validation(f"Event is no JSON: {error}") from None
    if not isinstance(event, dict):
        raise validation("Event must be a JSON object.")
    return {"Result": matches(read_pattern(params["EventPattern"]), event)}


def _rule_operations(bus: Bus) -> dict[str, Operation]:
    def put(context: Context, params: Params) -> Params:
        _only_default(params)
        if params.get("ScheduleExpression"):
            raise validation(
                "ScheduleExpression is not offered for rules; schedules of scaling and of monitors "
                "have their own. Give EventPattern."
            )
        if not params.get("EventPattern"):
            raise validation("EventPattern is missing: which events the rule is about.")
        read_pattern(params["EventPattern"])
        name = params["Name"]
        arn = _arn(context, f"rule/{name}")
        document = {**params, "Arn": arn, "EventBusName": "default"}
        document.setdefault("State", "ENABLED")
        document.pop("Tags", None)
        bus.put_entry(RULE, context.region, name, document)
        return {"RuleArn": arn}

    def describe(context: Context, params: Params) -> Params:
        _only_default(params)
        return _rule(bus, context, params["Name"])

    def list_rules(context: Context, params: Params) -> Params:
        _only_default(params)
        found = bus.entries(RULE, context.region, params.get("NamePrefix", ""))
        return _page("Rules", found, params)

    def delete(context: Context, params: Params) -> Params:
        _only_default(params)
        name = params["Name"]
        targets = bus.entries(TARGET, context.region, f"{name}/")
        if targets:
            raise validation(
                f"Rule {name} can't be deleted since it has targets; remove them first: "
                f"{', '.join(target['Id'] for target in targets)}."
            )
        bus.remove_entry(RULE, context.region, name)
        return {}

    def switching(state: str) -> Operation:
        def switch(context: Context, params: Params) -> Params:
            _only_default(params)
            rule = _rule(bus, context, params["Name"])
            bus.put_entry(RULE, context.region, rule["Name"], {**rule, "State": state})
            return {}

        return switch

    return {
        "PutRule": put,
        "DescribeRule": describe,
        "ListRules": list_rules,
        "DeleteRule": delete,
        "EnableRule": switching("ENABLED"),
        "DisableRule": switching("DISABLED"),
    }


def _target_operations(bus: Bus) -> dict[str, Operation]:
    def put(context: Context, params: Params) -> Params:
        _only_default(params)
        rule = _rule(bus, context, params["Rule"])["Name"]
        known = {target["Id"] for target in bus.entries(TARGET, context.region, f"{rule}/")}
        wanted = known | {target["Id"] for target in params["Targets"]}
        if len(wanted) > TARGETS_MAX:
            raise ApiError(
                "LimitExceededException",
                f"A rule can have {TARGETS_MAX} targets, not {len(wanted)}.",
            )
        failed = []
        for target in params["Targets"]:
            reason = _refused(bus, context, target)
            if reason:
                failed.append(
                    {
                        "TargetId": target["Id"],
                        "ErrorCode": "ValidationException",
                        "ErrorMessage": reason,
                    }
                )
                continue
            bus.put_entry(TARGET, context.region, f"{rule}/{target['Id']}", target)
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    def list_targets(context: Context, params: Params) -> Params:
        _only_default(params)
        rule = _rule(bus, context, params["Rule"])["Name"]
        return _page("Targets", bus.entries(TARGET, context.region, f"{rule}/"), params)

    def remove(context: Context, params: Params) -> Params:
        _only_default(params)
        rule = _rule(bus, context, params["Rule"])["Name"]
        for target in params["Ids"]:
            bus.remove_entry(TARGET, context.region, f"{rule}/{target}")
        return {"FailedEntryCount": 0, "FailedEntries": []}

    return {"PutTargets": put, "ListTargetsByRule": list_targets, "RemoveTargets": remove}


def _refused(bus: Bus, context: Context, target: Mapping[str, Any]) -> str:
    """Why a target cannot be; empty: it can."""
    extra = sorted(set(target) - TARGET_MEMBERS)
    if extra:
        return f"{extra[0]} is not offered; leave it out."
    if sum(name in target for name in ("Input", "InputPath", "InputTransformer")) > 1:
        return "Give only one of Input, InputPath and InputTransformer."
    arn = target["Arn"]
    if ":lambda:" in arn and ":function:" in arn:
        return ""
    name = arn.partition(":api-destination/")[2].split("/")[0]
    known = bus.entry(DESTINATION, context.region, name) if name else None
    if known is not None and known["ApiDestinationArn"] == arn:
        return ""
    return (
        f"Arn is {arn!r}; a target is a function of Lambda's face, or an API destination that "
        "exists here."
    )


def _connection_operations(bus: Bus) -> dict[str, Operation]:
    def create(context: Context, params: Params) -> Params:
        name = params["Name"]
        if bus.entry(CONNECTION, context.region, name) is not None:
            raise ApiError("ResourceAlreadyExistsException", f"Connection {name} already exists.")
        if params["AuthorizationType"] == "OAUTH_CLIENT_CREDENTIALS":
            raise validation(
                "AuthorizationType OAUTH_CLIENT_CREDENTIALS is not offered; use API_KEY or BASIC."
            )
        _check_connection(params)
        now = context.clock.now()
        document = {
            **params,
            "ConnectionArn": _arn(context, f"connection/{name}/{uuid.uuid4()}"),
            "ConnectionState": "AUTHORIZED",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        bus.put_entry(CONNECTION, context.region, name, document)
        return document

    def describe(context: Context, params: Params) -> Params:
        return _without_secrets(_entry(bus, context, CONNECTION, params["Name"]))

    def list_connections(context: Context, params: Params) -> Params:
        found = bus.entries(CONNECTION, context.region, params.get("NamePrefix", ""))
        state = params.get("ConnectionState")
        shown = [
            _without_secrets(item) for item in found if state in (None, item["ConnectionState"])
        ]
        return _page("Connections", shown, params)

    def delete(context: Context, params: Params) -> Params:
        document = _entry(bus, context, CONNECTION, params["Name"])
        bus.remove_entry(CONNECTION, context.region, params["Name"])
        return {**_without_secrets(document), "ConnectionState": "DELETING"}

    return {
        "CreateConnection": create,
        "DescribeConnection": describe,
        "ListConnections": list_connections,
        "DeleteConnection": delete,
    }


def _check_connection(params: Mapping[str, Any]) -> None:
    given = params["AuthParameters"]
    needed = NEEDED[params["AuthorizationType"]]
    if needed not in given:
        raise validation(
            f"AuthParameters.{needed} is missing; AuthorizationType is "
            f"{params['AuthorizationType']}."
        )
    for name in ("ConnectivityParameters", "OAuthParameters"):
        if name in given:
            raise validation(f"AuthParameters.{name} is not offered; leave it out.")
    if given.get(MORE, {}).get("BodyParameters"):
        raise validation(
            f"AuthParameters.{MORE}.BodyParameters is not offered; give HeaderParameters or "
            "QueryStringParameters."
        )
    if params.get("InvocationConnectivityParameters"):
        raise validation("InvocationConnectivityParameters is not offered; leave it out.")


def _without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    given = {
        name: {key: value for key, value in part.items() if key != SECRETS.get(name)}
        for name, part in document["AuthParameters"].items()
    }
    if MORE in given:
        given[MORE] = {
            place: [_without_value(item) for item in items] for place, items in given[MORE].items()
        }
    return {**document, "AuthParameters": given}


def _without_value(item: Mapping[str, Any]) -> dict[str, Any]:
    hidden = bool(item.get("IsValueSecret"))
    return {name: value for name, value in item.items() if name != "Value" or not hidden}


def _destination_operations(bus: Bus) -> dict[str, Operation]:
    def create(context: Context, params: Params) -> Params:
        name = params["Name"]
        if bus.entry(DESTINATION, context.region, name) is not None:
            raise ApiError(
                "ResourceAlreadyExistsException", f"API destination {name} already exists."
            )
        if not params["InvocationEndpoint"].startswith(("https://", "http://")):
            raise validation(
                f"InvocationEndpoint is {params['InvocationEndpoint']!r}; it must be an http or "
                "https address."
            )
        connection = params["ConnectionArn"].partition(":connection/")[2].split("/")[0]
        _entry(bus, context, CONNECTION, connection)
        now = context.clock.now()
        document = {
            "InvocationRateLimitPerSecond": RATE_DEFAULT,
            **params,
            "ApiDestinationArn": _arn(context, f"api-destination/{name}/{uuid.uuid4()}"),
            "ApiDestinationState": "ACTIVE",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        bus.put_entry(DESTINATION, context.region, name, document)
        return document

    def describe(context: Context, params: Params) -> Params:
        return _entry(bus, context, DESTINATION, params["Name"])

    def list_destinations(context: Context, params: Params) -> Params:
        connection = params.get("ConnectionArn")
        found = [
            item
            for item in bus.entries(DESTINATION, context.region, params.get("NamePrefix", ""))
            if connection in (None, item["ConnectionArn"])
        ]
        return _page("ApiDestinations", found, params)

    def delete(context: Context, params: Params) -> Params:
        _entry(bus, context, DESTINATION, params["Name"])
        bus.remove_entry(DESTINATION, context.region, params["Name"])
        return {}

    return {
        "CreateApiDestination": create,
        "DescribeApiDestination": describe,
        "ListApiDestinations": list_destinations,
        "DeleteApiDestination": delete,
    }


def _put_events(bus: Bus) -> Operation:
    def put(context: Context, params: Params) -> Params:
        if params.get("EndpointId"):
            raise validation("EndpointId is given; there are no global endpoints: leave it out.")
        entries: list[dict[str, Any]] = []
        for item in params["Entries"]:
            try:
                entries.append({"EventId": bus.put(_own_event(context, item))})
            except ApiError as error:
                entries.append({"ErrorCode": error.code, "ErrorMessage": error.message})
        failed = sum("ErrorCode" in item for item in entries)
        return {"FailedEntryCount": failed, "Entries": entries}

    return put


def _own_event(context: Context, item: Mapping[str, Any]) -> dict[str, Any]:
    _only_default(item)
    for name in ("Source", "DetailType", "Detail"):
        if not item.get(name):
            raise ApiError("InvalidArgument", f"Parameter {name} is not valid. Reason: missing.")
    if item["Source"].startswith("aws."):
        raise ApiError("NotAuthorizedForSourceException", "Sources that begin with aws. are AWS's.")
    try:
        detail = read_json(item["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        raise ApiError("MalformedDetail", "Detail is malformed: it must be a JSON object.")
    return {
        "id": str(uuid.uuid4()),
        "region": context.region,
        "time": seconds(item.get("Time")) or context.clock.now(),
        "source": item["Source"],
        "detail-type": item["DetailType"],
        "resources": item.get("Resources", []),
        "detail": detail,
    }


def _rule(bus: Bus, context: Context, name: str) -> dict[str, Any]:
    return _entry(bus, context, RULE, name)


def _entry(bus: Bus, context: Context, kind: str, name: str) -> dict[str, Any]:
    found = bus.entry(kind, context.region, name)
    if found is None:
        raise ApiError("ResourceNotFoundException", f"{kind.capitalize()} {name} does not exist.")
    return found


def _only_default(params: Mapping[str, Any]) -> None:
    bus = params.get("EventBusName") or "default"
    if bus.rpartition("/")[2] != "default":
        raise ApiError(
            "ResourceNotFoundException", f"Event bus {bus} does not exist; there is only `default`."
        )


def _arn(context: Context, resource: str) -> str:
    return f"arn:aws:events:{context.region}:{context.kinds.account}:{resource}"


def _page(member: str, items: Sequence[dict[str, Any]], params: Params) -> Params:
    fingerprint = [member]
    after = read_token(params.get("NextToken"), fingerprint)
    start = int(after[0]) if after is not None else 0
    end = start + (params.get("Limit") or PAGE)
    following = (end, 0) if end < len(items) else None
    return {member: list(items[start:end]), "NextToken": make_token(following, fingerprint)}
