"""Captured records: from a gateway's frames to the objects that SageMaker would write.

Lines and keys as the developer guide documents them: `DESTINATION/ENDPOINT/VARIANT/yyyy/mm/dd/hh/
MM-SS-mmm-UUID.jsonl`, a JSON line a request.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from loopwright.contract.frames import CAPTURED

SPACE: Final = UUID("5d7f0f5e-6f0c-4b8e-9a55-6f3a3a0f7d11")
Frame = tuple[list[Any], bytes, bytes]


def captured_objects(frames: Iterable[Frame], origin: str) -> Iterator[tuple[str, bytes, float]]:
    """(URI, content, time of the first record) of the objects that hold these frames.

    Args:
        origin: Names where the frames come from. The same frames from there give the same URIs,
            and more of them the same URIs with more content, so writing them again is safe.
    """
    lines: dict[tuple[str, str, str], list[bytes]] = {}
    times: dict[tuple[str, str, str], float] = {}
    for head, request, answer in frames:
        if head[0] != CAPTURED:
            continue
        told, variant, at = head[1], head[2], head[3]
        key = (told["uri"], told["endpoint"], variant)
        times.setdefault(key, at)
        lines.setdefault(key, []).append(_line(head, request, answer))
    for key, found in lines.items():
        uri, endpoint, variant = key
        moment = datetime.fromtimestamp(times[key], UTC)
        name = uuid5(SPACE, "/".join((origin, *key)))
        path = f"{endpoint}/{variant}/{moment:%Y/%m/%d/%H/%M-%S}-{moment.microsecond // 1000:03d}"
        yield f"{uri.rstrip('/')}/{path}-{name}.jsonl", b"".join(found), times[key]


def _line(head: list[Any], request: bytes, answer: bytes) -> bytes:
    (_, told, _, at, event, inference, attributes, returned, sent, received, has_request,
     has_answer, *_) = head  # fmt: skip
    data: dict[str, Any] = {}
    if has_request:
        data["endpointInput"] = _side("INPUT", sent, request, told)
    if has_answer:
        data["endpointOutput"] = _side("OUTPUT", received, answer, told)
    metadata: dict[str, Any] = {"eventId": str(UUID(event))}
    given = [value for value in (attributes, returned) if value]
    if given:
        metadata["customAttributes"] = given
    if inference:
        metadata["inferenceId"] = inference
    moment = datetime.fromtimestamp(at, UTC)
    metadata["inferenceTime"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return orjson.dumps(
        {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"},
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _side(mode: str, content_type: str, body: bytes, told: Mapping[str, Any]) -> dict[str, Any]:
    """One direction; what is not of a listed type, or no text, is kept in base64."""
    bare = content_type.partition(";")[0].strip().lower()
    encoding = "BASE64"
    for name, listed in (("CSV", told["csv"]), ("JSON", told["json"])):
        if any(bare == item.lower() for item in listed):
            encoding = name
    try:
        text = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        encoding, text = "BASE64", base64.b64encode(body).decode()
    return {
        "observedContentType": content_type,
        "mode": mode,
        "data": text,
        "encoding": encoding,
    }
