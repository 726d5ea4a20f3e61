"""The generic verbs: Create, Describe, List, Stop, Delete and tags of every kind, by the model.

Nothing is spelled twice: what Describe and List show are the spec and the status seen through the
operation's output shape, and what List filters and sorts by are the members of its input shape.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import orjson
from botocore.model import OperationModel, ServiceModel, Shape

from loopwright.kernel.clock import Clock
from loopwright.kernel.kinds import DELETING, STOPPING, Kind, Kinds, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query, Store, Taken, new_uid
from loopwright.wire.errors import ApiError, validation

PAGE_DEFAULT: Final = 10
TAGS_MAX: Final = 50
_OFFSET: Final = re.compile(r"[0-9]{1,12}")
PLAIN_TIMES: Final = orjson.OPT_PASSTHROUGH_DATETIME
"""Times of requests are kept as seconds since the epoch, as all other times are."""
SORTS: Final = {"Name": "name", "CreationTime": "created", "Status": "state"}
SORTS_MORE: Final = {"LastModifiedTime": "modified"}
KNOWN_FILTERS: Final = frozenset(
    "NextToken MaxResults SortBy SortOrder NameContains StatusEquals CreationTimeAfter "
    "CreationTimeBefore LastModifiedTimeAfter LastModifiedTimeBefore".split()
)


@dataclass(frozen=True)
class Context:
    """What an operation runs with.

    Attributes:
        region: Of the caller's credential scope.
        wake: Tell the engine that something changed.
    """

    region: str
    store: Store
    kinds: Kinds
    clock: Clock
    lookup: Lookup
    wake: Callable[[], None]


Operation = Callable[[Context, dict[str, Any]], dict[str, Any]]


def generic_operations(kinds: Iterable[Kind], model: ServiceModel) -> dict[str, Operation]:
    """Every operation of the model that follows from the kinds, by its name."""
    names = set(model.operation_names)
    found: dict[str, Operation] = {}
    for kind in kinds:
        plural = kind.plural or f"{kind.name}s"
        for name, verb in (
            (f"Create{kind.name}", _create),
            (f"Describe{kind.name}", _describe),
            (f"List{plural}", _list),
            (f"Delete{kind.name}", _delete),
        ):
            if name in names:
                found[name] = _bound(verb, kind, model.operation_model(name))
        if f"Stop{kind.name}" in names and kind.stop_when:
            found[f"Stop{kind.name}"] = _bound(
                _stop, kind, model.operation_model(f"Stop{kind.name}")
            )
    found |= {"AddTags": _add_tags, "ListTags": _list_tags, "DeleteTags": _delete_tags}
    return found


def _bound(verb: Callable[..., dict[str, Any]], kind: Kind, model: OperationModel) -> Operation:
    def operation(context: Context, params: dict[str, Any]) -> dict[str, Any]:
        return verb(context, kind, model, params)

    return operation


def _create(
    context: Context, kind: Kind, _model: OperationModel, params: dict[str, Any]
) -> dict[str, Any]:
    return create(context, kind, params)


def create(context: Context, kind: Kind, params: dict[str, Any]) -> dict[str, Any]:
    """Add a record of a kind; its ARN.

    Raises:
        ApiError: the name is taken, or the kind's check refuses the request.
    """
    name = params[kind.name_member]
    spec = kind.filled({k: v for k, v in params.items() if k != "Tags"})
    spec = orjson.loads(orjson.dumps(spec, default=_plain, option=PLAIN_TIMES))
    tags = tags_of(params.get("Tags", []))
    arn = context.kinds.arn(kind, context.region, name)
    if context.store.get(context.region, kind.name, name) is not None:
        raise _taken(kind, name, arn)
    if kind.check is not None:
        kind.check(spec, context.lookup)
    now = context.clock.now()
    status = dict(kind.initial_status(spec, now))
    record = Record(context.region, kind.name, name, new_uid(), arn, spec, status, now, now)
    try:
        context.store.create(
            record,
            state=kind.state_of(status),
            tags=tags,
            event="Created",
            due=now if kind.planner is not None else None,
        )
    except Taken:
        raise _taken(kind, name, arn) from None
    context.wake()
    return {kind.arn_member: arn}


def find(context: Context, kind: Kind, name: str) -> Record:
    """The record of this name.

    Raises:
        ApiError: with the code that the service uses for this kind.
    """
    record = context.store.get(context.region, kind.name, name)
    if record is None:
        code, message = kind.missing
        arn = context.kinds.arn(kind, context.region, name)
        raise ApiError(code, message.format(kind=kind.name, name=name, arn=arn), 400)
    return record


def describe(context: Context, kind: Kind, record: Record) -> dict[str, Any]:
    """All that Describe may show of a record, before the output shape."""
    extra = kind.present(record, context.lookup) if kind.present is not None else {}
    return {
        # Filled again: a record of an older version of Loopwright may lack newer defaults.
        **kind.filled(record.spec),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        **record.status,
        **extra,
        kind.name_member: record.name,
        kind.arn_member: record.arn,
    }


def _describe(
    context: Context, kind: Kind, model: OperationModel, params: dict[str, Any]
) -> dict[str, Any]:
    record = find(context, kind, params[kind.name_member])
    shown = project(model.output_shape, describe(context, kind, record))
    assert isinstance(shown, dict)
    return shown


def _list(
    context: Context, kind: Kind, model: OperationModel, params: dict[str, Any]
) -> dict[str, Any]:
    # A filter that can only name one value leaves nothing out: all have it.
    shape = model.input_shape
    only = {name for name in params if len(getattr(shape.members[name], "enum", None) or ()) == 1}
    unknown = set(params) - KNOWN_FILTERS - only
    if unknown:
        names = ", ".join(sorted(unknown))
        raise validation(f"{model.name} does not support the filter {names} here; leave it out.")
    sort_by = params.get("SortBy") or list_default(model, "SortBy", "CreationTime")
    sort = (SORTS | SORTS_MORE).get(sort_by)
    if sort is None:
        raise validation(f"{model.name} cannot sort by {sort_by!r}; use {', '.join(SORTS)}.")
    order = params.get("SortOrder") or list_default(model, "SortOrder", "Ascending")
    descending = order == "Descending"
    fingerprint = [model.name, sort, descending, context.region]
    records, following = context.store.find(
        Query(
            context.region,
            kind.name,
            sort=sort,
            descending=descending,
            limit=params.get("MaxResults") or PAGE_DEFAULT,
            after=read_token(params.get("NextToken"), fingerprint),
            name_contains=params.get("NameContains"),
            state=params.get("StatusEquals"),
            created=(
                seconds(params.get("CreationTimeAfter")),
                seconds(params.get("CreationTimeBefore")),
            ),
            modified=(
                seconds(params.get("LastModifiedTimeAfter")),
                seconds(params.get("LastModifiedTimeBefore")),
            ),
        )
    )
    member, summary = list_member(model)
    items = [project(summary, _summary(kind, record)) for record in records]
    return {member: items, "NextToken": make_token(following, fingerprint)}


def _summary(kind: Kind, record: Record) -> dict[str, Any]:
    return {
        **record.spec,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        **record.status,
        kind.name_member: record.name,
        kind.arn_member: record.arn,
    }


def _stop(
    context: Context, kind: Kind, _model: OperationModel, params: dict[str, Any]
) -> dict[str, Any]:
    def change(record: Record) -> Mapping[str, Any] | None:
        state = kind.state_of(record.status)
        if record.status.get(STOPPING) and state not in kind.finished:
            return None
        if state not in kind.stop_when:
            raise validation(
                f"{kind.name} {record.name} is {state}; only one that is "
                f"{' or '.join(sorted(kind.stop_when))} can be stopped."
            )
        assert kind.state is not None
        return {**record.status, STOPPING: True, kind.state: "Stopping"}

    mutate(context, kind, params[kind.name_member], change, "Stop requested")
    return {}


def mutate(
    context: Context,
    kind: Kind,
    name: str,
    change: Callable[[Record], Mapping[str, Any] | None],
    event: str,
) -> Record:
    """Change a record's status as `change` says, again when it moved underneath; None: leave it."""
    while True:
        record = find(context, kind, name)
        status = change(record)
        if status is None:
            return record
        try:
            changed = context.store.change(
                record,
                status,
                state=kind.state_of(status),
                now=context.clock.now(),
                event=event,
            )
        except Outdated:
            continue
        context.wake()
        return changed


def _delete(
    context: Context, kind: Kind, _model: OperationModel, params: dict[str, Any]
) -> dict[str, Any]:
    record = find(context, kind, params[kind.name_member])
    state = kind.state_of(record.status)
    if kind.delete_when is not None and state not in kind.delete_when:
        raise validation(
            f"{kind.name} {record.name} is {state}; only one that is "
            f"{' or '.join(sorted(kind.delete_when))} can be deleted: stop it first."
        )
    if kind.planner is None or kind.delete_when is not None:
        context.store.delete(record)
        context.wake()
        return {}

    def change(current: Record) -> Mapping[str, Any] | None:
        if current.status.get(DELETING):
            return None
        changed = {**current.status, DELETING: True}
        if kind.state is not None:
            changed[kind.state] = "Deleting"
        return changed

    mutate(context, kind, record.name, change, "Deletion requested")
    return {}


# Tags


def tags_of(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags by key.

    Raises:
        ApiError: a key given twice, or more than 50 tags.
    """
    found: dict[str, str] = {}
    for tag in tags:
        if tag["Key"] in found:
            raise validation(f"The tag key {tag['Key']!r} is given twice; keys must be unique.")
        found[tag["Key"]] = tag["Value"]
    if len(found) > TAGS_MAX:
        raise validation(f"{len(found)} tags are given; a resource can have {TAGS_MAX}.")
    return found


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tagged(context: Context, params: dict[str, Any]) -> str:
    arn = str(params["ResourceArn"])
    if context.store.by_arn(arn) is None:
        raise validation(f"The resource {arn} does not exist; check the ARN.")
    return arn


def _add_tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    arn = _tagged(context, params)
    merged = context.store.tags(arn) | tags_of(params["Tags"])
    tags_of(_tag_list(merged))
    context.store.add_tags(arn, tags_of(params["Tags"]))
    return {"Tags": _tag_list(context.store.tags(arn))}


def _list_tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    arn = _tagged(context, params)
    tags = _tag_list(context.store.tags(arn))
    fingerprint = ["ListTags", arn]
    after = read_token(params.get("NextToken"), fingerprint)
    start = int(after[0]) if after is not None else 0
    end = start + (params.get("MaxResults") or TAGS_MAX)
    following = (end, 0) if end < len(tags) else None
    return {"Tags": tags[start:end], "NextToken": make_token(following, fingerprint)}


def _delete_tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    context.store.delete_tags(_tagged(context, params), params["TagKeys"])
    return {}


# Shapes


def projected(model: ServiceModel, operations: Mapping[str, Operation]) -> dict[str, Operation]:
    """Operations whose results may hold more than their output shapes, which then cut them."""

    def cut(operation: Operation, shape: Shape | None) -> Operation:
        def run(context: Context, params: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = project(shape, operation(context, params))
            return found

        return run

    return {
        name: cut(operation, model.operation_model(name).output_shape)
        for name, operation in operations.items()
    }


def project(shape: Shape | None, value: Any) -> Any:
    """`value` seen through a shape: members it does not have and absent values are left out."""
    if shape is None or value is None:
        return {} if shape is None else None
    if shape.type_name == "structure" and isinstance(value, Mapping):
        found = {}
        for name, member in shape.members.items():
            item = project(member, value.get(name)) if value.get(name) is not None else None
            if item is not None:
                found[name] = item
        return found
    if shape.type_name == "list" and isinstance(value, list | tuple):
        return [project(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: project(shape.value, item) for key, item in value.items()}
    return value


@cache
def _list_member(service: str, name: str, model: OperationModel) -> tuple[str, Shape]:
    for member, shape in model.output_shape.members.items():
        if shape.type_name == "list":
            return member, shape.member
    raise LookupError(f"{name} of {service} lists nothing")


def list_member(model: OperationModel) -> tuple[str, Shape]:
    """The output member that holds a List's items, and their shape."""
    return _list_member(model.service_model.service_name, model.name, model)


@cache
def _default(model: OperationModel, member: str) -> str | None:
    shape = model.input_shape.members.get(member)
    text = re.sub(r"<[^>]+>", "", shape.documentation) if shape is not None else ""
    match = re.search(r"default(?: value)? is (\w+)", text)
    return match[1] if match else None


def list_default(model: OperationModel, member: str, fallback: str) -> str:
    """The documented default of `SortBy` or `SortOrder`, read from the model's own text."""
    return _default(model, member) or fallback


def make_token(after: tuple[Any, int] | None, fingerprint: list[Any]) -> str | None:
    """A `NextToken` that only the same query takes back; None at the end."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([list(after), fingerprint])).decode()


def read_token(token: str | None, fingerprint: list[Any]) -> tuple[Any, int] | None:
    """Where a page starts.

    Raises:
        ApiError: a token that this query did not give out.
    """
    if token is None:
        return None
    try:
        after, given = orjson.loads(base64.urlsafe_b64decode(token.encode()))
        if given == fingerprint:
            return after[0], int(after[1])
    except (ValueError, TypeError, LookupError):
        # The token is not ours; the refusal below says so.
        after = None
    raise validation("NextToken is not one of this query; repeat the call without it.")


def seconds(moment: datetime | float | None) -> float | None:
    """A time of a request as seconds since the epoch."""
    return moment.timestamp() if isinstance(moment, datetime) else moment


def offset_of(token: str | None, code: str) -> int:
    """Where a page begins, of a list whose tokens are numbers of items.

    Args:
        code: Of the refusal, in the service's words.
    """
    if token and not _OFFSET.fullmatch(token):
        text = f"NextToken is {token[:100]!r}; give what the page before answered."
        raise ApiError(code, text)
    return int(token or 0)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _taken(kind: Kind, name: str, arn: str) -> ApiError:
    code, message = kind.taken
    return ApiError(code, message.format(kind=kind.name, name=name, arn=arn), 400)
