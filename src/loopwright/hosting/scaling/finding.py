"""What all operations of Application Auto Scaling share: finding targets, pages, refusals."""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query
from loopwright.kernel.verbs import Context
from loopwright.wire.errors import ApiError

DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
RESOURCE: Final = re.compile(r"endpoint/([A-Za-z0-9-]+)/variant/([A-Za-z0-9-]+)")
PAGE_MAX: Final = 50
Key = Callable[[Mapping[str, Any]], list[Any]]
"""Of an item, no two have the same."""


def bad(text: str) -> ApiError:
    """A refusal."""
    return ApiError("ValidationException", text)


def too_many(what: str, most: int) -> ApiError:
    """A refusal of more than the service allows."""
    text = f"There would be more than {most} {what}; delete some first."
    return ApiError("LimitExceededException", text)


def missing(text: str) -> ApiError:
    """What was named is not there."""
    return ApiError("ObjectNotFoundException", text)


def resource_of(params: Mapping[str, Any]) -> tuple[str, str]:
    """Endpoint and variant of a request."""
    namespace = params["ServiceNamespace"]
    dimension = params.get("ScalableDimension", DIMENSION)
    if namespace != "sagemaker":
        raise bad(f"ServiceNamespace is {namespace!r}; Loopwright scales sagemaker only.")
    if dimension != DIMENSION:
        raise bad(f"ScalableDimension is {dimension!r}; Loopwright scales {DIMENSION} only.")
    match = RESOURCE.fullmatch(params["ResourceId"])
    if match is None:
        raise bad(
            f"ResourceId is {params['ResourceId']!r}; it must be endpoint/NAME/variant/VARIANT."
        )
    return match[1], match[2]


def find_target(context: Context, params: Mapping[str, Any]) -> Record:
    """The scalable target of a request."""
    resource_of(params)
    record = context.store.get(context.region, "ScalableTarget", params["ResourceId"])
    if record is None or record.status.get(DELETING):
        raise missing(
            f"No scalable target is registered for {params['ResourceId']} and {DIMENSION}; "
            "register it with RegisterScalableTarget first."
        )
    return record


def change_target(
    context: Context,
    params: Mapping[str, Any],
    change: Callable[[Record], Mapping[str, Any]],
) -> Record:
    """Replace the spec as `change` says, again when it moved underneath."""
    while True:
        record = find_target(context, params)
        try:
            changed = context.store.replace_spec(record, change(record), context.clock.now())
        except Outdated:
            continue
        context.wake()
        return changed


def without(context: Context, params: Mapping[str, Any], member: str, name: str) -> None:
    """Take a policy or a scheduled action out of a target."""

    def change(record: Record) -> dict[str, Any]:
        held = dict(record.spec.get(member, {}))
        if name not in held:
            raise missing(f"{record.name} has no {name!r} among its {member}.")
        del held[name]
        return {**record.spec, member: held}

    change_target(context, params, change)


def targets_of(context: Context, params: Mapping[str, Any]) -> list[Record]:
    """The targets that a Describe is about."""
    if params["ServiceNamespace"] != "sagemaker":
        return []
    if params.get("ScalableDimension", DIMENSION) != DIMENSION:
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


def page_of(
    params: Mapping[str, Any], member: str, items: Iterable[dict[str, Any]], key: Key
) -> dict[str, Any]:
    """A page of what a Describe found, by the items' keys.

    A token is the key of a page's last item, so that what comes or goes between two pages moves
    no other item.
    """
    listed = sorted(items, key=key)
    try:
        after = orjson.loads(base64.urlsafe_b64decode(params.get("NextToken") or "W10="))
        left = [item for item in listed if key(item) > after]
    except (ValueError, TypeError) as error:
        raise ApiError(
            "InvalidNextTokenException",
            f"NextToken is {params['NextToken'][:100]!r}; give what the page before answered.",
        ) from error
    page = left[: min(params.get("MaxResults") or PAGE_MAX, PAGE_MAX)]
    token = base64.urlsafe_b64encode(orjson.dumps(key(page[-1]))).decode() if page else ""
    return {member: page, "NextToken": token if len(page) < len(left) else None}


def named(record: Record) -> dict[str, Any]:
    """The members that name a target."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": record.name,
        "ScalableDimension": DIMENSION,
    }
