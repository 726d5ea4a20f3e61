"""`ListEvents` of our own service model: the history of any resource."""

from typing import Any, Final

from loopwright.kernel.verbs import Context, Operation, make_token, read_token
from loopwright.wire.errors import ApiError

PAGE_DEFAULT: Final = 100


def history_operations() -> dict[str, Operation]:
    """By operation name."""
    return {"ListEvents": _list_events}


def _list_events(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """What happened to a resource, oldest first.

    Raises:
        ApiError: `ResourceNotFound` for an ARN that no resource has.
    """
    record = context.store.by_arn(params["ResourceArn"])
    if record is None:
        raise ApiError(
            "ResourceNotFound",
            f"There is no resource {params['ResourceArn']}; Describe and List tell ARNs.",
            400,
        )
    events = context.store.events(record.uid)
    fingerprint = ["events", record.uid]
    after = read_token(params.get("NextToken"), fingerprint)
    start = int(after[0]) if after is not None else 0
    end = start + (params.get("MaxResults") or PAGE_DEFAULT)
    following = (end, 0) if end < len(events) else None
    return {
        "Events": [{"Time": event.at, "Text": event.what} for event in events[start:end]],
        "NextToken": make_token(following, fingerprint),
    }
