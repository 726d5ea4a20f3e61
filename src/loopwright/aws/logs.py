"""CloudWatch Logs over the files that the shims write: nothing is copied, so nothing is lost.

A stream is a file of `MILLISECONDS TAB TEXT` lines that only grows; tokens are byte positions.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from loopwright.kernel.verbs import Context, Operation, offset_of
from loopwright.wire.errors import ApiError

STREAMS_MAX: Final = 50
EVENTS_MAX: Final = 10_000
PAGE_BYTES_MAX: Final = 1_048_576
EVENT_BYTES: Final = 26
"""What the service counts for an event besides its text."""

Event = tuple[int, int, str]
"""(position after it, milliseconds, text)."""


def logs_operations(home: Path) -> dict[str, Operation]:
    """By operation name."""
    logs = Logs(home)
    return {
        "DescribeLogGroups": logs.groups,
        "DescribeLogStreams": logs.streams,
        "GetLogEvents": logs.events,
        "FilterLogEvents": logs.filter,
    }


class Logs:
    """Reads `home/logs`."""

    def __init__(self, home: Path) -> None:
        self._root = home / "logs"

    def groups(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        prefix = params.get("logGroupNamePrefix", "")
        names = sorted(unquote(path.name) for path in _folders(self._root))
        names = [name for name in names if name.startswith(prefix)]
        page, token = _page(names, params, STREAMS_MAX)
        return {
            "logGroups": [
                {"logGroupName": name, "arn": _arn(context, name), "storedBytes": 0}
                for name in page
            ],
            "nextToken": token,
        }

    def streams(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        group = _group_name(params)
        folder = self._folder(group)
        prefix = params.get("logStreamNamePrefix", "")
        found = [path for path in folder.iterdir() if _stream_name(path).startswith(prefix)]
        if params.get("orderBy", "LogStreamName") == "LastEventTime":
            found.sort(key=lambda path: path.stat().st_mtime)
        else:
            found.sort(key=_stream_name)
        if params.get("descending"):
            found.reverse()
        page, token = _page(found, params, STREAMS_MAX)
        return {
            "logStreams": [_describe(context, group, path) for path in page],
            "nextToken": token,
        }

    def events(self, _context: Context, params: dict[str, Any]) -> dict[str, Any]:
        path = self._stream(_group_name(params), params["logStreamName"])
        limit = params.get("limit") or EVENTS_MAX
        start_ms, end_ms = params.get("startTime"), params.get("endTime")
        token = params.get("nextToken")
        forward = bool(params.get("startFromHead")) or (token or "").startswith("f/")
        if token is not None and not re.fullmatch(r"[fb]/\d+", token):
            raise ApiError("InvalidParameterException", f"nextToken {token!r} is not one of ours.")
        position = int(token[2:]) if token is not None else None
        if forward:
            found = _forward(path, position or 0, limit, start_ms, end_ms)
            first = position or 0
        else:
            found, first = _backward(path, position, limit, start_ms, end_ms)
        last = found[-1][0] if found else (position if position is not None else first)
        return {
            "events": [
                {"timestamp": at, "message": text, "ingestionTime": at} for _, at, text in found
            ],
            "nextForwardToken": f"f/{last}",
            "nextBackwardToken": f"b/{first}",
        }

    def filter(self, _context: Context, params: dict[str, Any]) -> dict[str, Any]:
        group = _group_name(params)
        folder = self._folder(group)
        names = params.get("logStreamNames")
        prefix = params.get("logStreamNamePrefix", "")
        pattern = params.get("filterPattern", "").strip()
        if pattern and re.search(r"[{}\[\]?]", pattern):
            raise ApiError(
                "InvalidParameterException",
                f"filterPattern is {pattern!r}; only plain words and quoted phrases are served.",
            )
        words = [quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', pattern)]
        found: list[dict[str, Any]] = []
        for path in sorted(folder.iterdir(), key=_stream_name):
            name = _stream_name(path)
            if (names and name not in names) or not name.startswith(prefix):
                continue
            for position, at, text in _lines(path, 0):
                if _within(at, params.get("startTime"), params.get("endTime")) and all(
                    word in text for word in words
                ):
                    identity = base64.b32encode(f"{name}{position}".encode()).decode()[-56:]
                    found.append(
                        {
                            "logStreamName": name,
                            "timestamp": at,
                            "message": text,
                            "ingestionTime": at,
                            "eventId": identity,
                        }
                    )
        found.sort(key=lambda event: event["timestamp"])
        page, token = _page(found, params, EVENTS_MAX)
        return {"events": page, "searchedLogStreams": [], "nextToken": token}

    def _folder(self, group: str) -> Path:
        folder = self._root / quote(group, safe="")
        if not folder.is_dir():
            raise ApiError("ResourceNotFoundException", "The specified log group does not exist.")
        return folder

    def _stream(self, group: str, stream: str) -> Path:
        path = self._folder(group) / (quote(stream, safe="") + ".log")
        if not path.is_file():
            raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
        return path


def _group_name(params: dict[str, Any]) -> str:
    name = params.get("logGroupName") or params.get("logGroupIdentifier")
    if not name:
        raise ApiError("InvalidParameterException", "Give logGroupName.")
    return str(name).rsplit(":log-group:", 1)[-1].removesuffix(":*")


def _stream_name(path: Path) -> str:
    return unquote(path.name.removesuffix(".log"))


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _arn(context: Context, group: str) -> str:
    return f"arn:aws:logs:{context.region}:{context.kinds.account}:log-group:{group}:*"


def _describe(context: Context, group: str, path: Path) -> dict[str, Any]:
    first = next(_lines(path, 0), None)
    at_ms = int(path.stat().st_mtime * 1000)
    name = _stream_name(path)
    created = first[1] if first is not None else at_ms
    return {
        "logStreamName": name,
        "creationTime": created,
        "firstEventTimestamp": created,
        "lastEventTimestamp": at_ms,
        "lastIngestionTime": at_ms,
        "arn": f"{_arn(context, group).removesuffix('*')}log-stream:{name}",
    }


def _lines(path: Path, position: int) -> Iterator[Event]:
    """Whole lines from a byte position on; a line that is being written is left for later."""
    with path.open("rb") as stream:
        stream.seek(position)
        for raw in stream:
            if not raw.endswith(b"\n"):
                return
            position += len(raw)
            stamp, _, text = raw[:-1].partition(b"\t")
            yield position, int(stamp), text.decode("utf-8", "replace")


def _within(at: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at >= start_ms) and (end_ms is None or at < end_ms)


def _forward(
    path: Path, position: int, limit: int, start_ms: int | None, end_ms: int | None
) -> list[Event]:
    found: list[Event] = []
    size = 0
    for event in _lines(path, position):
        if not _within(event[1], start_ms, end_ms):
            continue
        size += len(event[2].encode()) + EVENT_BYTES
        if len(found) == limit or (found and size > PAGE_BYTES_MAX):
            break
        found.append(event)
    return found


def _backward(
    path: Path, position: int | None, limit: int, start_ms: int | None, end_ms: int | None
) -> tuple[list[Event], int]:
    """The last events before a position, and the position of the first of them."""
    kept: list[tuple[int, Event]] = []
    before = 0
    for event in _lines(path, 0):
        if position is not None and event[0] > position:
            break
        if _within(event[1], start_ms, end_ms):
            kept.append((before, event))
        before = event[0]
    kept = kept[-limit:]
    first = kept[0][0] if kept else (position or 0)
    return [event for _, event in kept], first


def _page(items: list[Any], params: dict[str, Any], most: int) -> tuple[list[Any], str | None]:
    """A page by number; a token only when there really is a further page."""
    token = params.get("nextToken")
    start = offset_of(token, "InvalidParameterException")
    # The SDK asks for as many streams as there are hosts and never passes the token on, so a
    # token short of a full page would keep it asking for ever.
    size = most if token is None and len(items) <= most else min(params.get("limit") or most, most)
    end = start + size
    return items[start:end], str(end) if end < len(items) else None
