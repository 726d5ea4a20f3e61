"""What a client gets back: a prediction or an error as a whole, an event stream in pieces.

The parts of a head that are alike from answer to answer are made once.
"""

import itertools
import random
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import Any, Final
from uuid import UUID, uuid4

import orjson

from loopwright.router.heads import Head
from loopwright.router.routes import Route
from loopwright.wire import eventstream
from loopwright.wire.errors import ApiError

AWAY_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5"><title>Loopwright is away</title>
<style>:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 32rem;
  margin: 15vh auto; padding: 0 1rem }}</style>
</head><body><main><h1>Loopwright is away</h1><p>{}</p>
<p>This page looks again every five seconds.</p></main></body></html>
"""
PART_BYTES_MAX: Final = 65_536
_OCTETS: Final = b"application/octet-stream"
# Request ids: a UUID's first 80 bits of this process, then the number of the answer.
_PROCESS: Final = str(UUID(int=random.getrandbits(128), version=4))[:24].encode()
_numbers: Final = itertools.count(random.getrandbits(40))


def success(head: Head, body: bytes, variant: str) -> bytes:
    """A model's answer to InvokeEndpoint."""
    start = _start(head.content_type, head.custom_attributes, len(body), variant)
    return b"%bx-amzn-RequestId: %b%012x\r\n\r\n%b" % (start, _PROCESS, next(_numbers), body)


@lru_cache(maxsize=512)
def _start(content_type: bytes, attributes: bytes, length: int, variant: str) -> bytes:
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: " + (content_type or _OCTETS),
        b"x-Amzn-Invoked-Production-Variant: " + variant.encode(),
        b"Content-Length: %d" % length,
    ]
    if attributes:
        lines.append(b"X-Amzn-SageMaker-Custom-Attributes: " + attributes)
    return b"\r\n".join(lines) + b"\r\n"


def stream_head(head: Head, variant: str, chunked: bool) -> bytes:
    """The head of an answer to InvokeEndpointWithResponseStream.

    Args:
        chunked: Whether what follows is in `chunk`s; else it ends with the connection (HTTP/1.0).
    """
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: " + eventstream.CONTENT_TYPE.encode(),
        b"X-Amzn-SageMaker-Content-Type: " + (head.content_type or _OCTETS),
        b"x-Amzn-Invoked-Production-Variant: " + variant.encode(),
        b"x-amzn-RequestId: %b%012x" % (_PROCESS, next(_numbers)),
    ]
    if head.custom_attributes:
        lines.append(b"X-Amzn-SageMaker-Custom-Attributes: " + head.custom_attributes)
    lines.append(b"Transfer-Encoding: chunked" if chunked else b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def payload_parts(pieces: list[bytes]) -> bytes:
    """Pieces of a model's answer as `PayloadPart` events, of at most 64 KiB each."""
    return b"".join(
        eventstream.event("PayloadPart", piece[start : start + PART_BYTES_MAX])
        for piece in pieces
        for start in range(0, len(piece), PART_BYTES_MAX)
    )


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked answer; nothing of nothing, which would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def model_stream_error(code: str, text: str) -> bytes:
    """The event that ends a stream by the model's fault.

    Args:
        code: `ModelInvocationTimeExceeded` or `StreamBroken`.
    """
    body = orjson.dumps({"Message": text, "ErrorCode": code})
    return eventstream.exception("ModelStreamError", body)


def internal_stream_failure(text: str) -> bytes:
    """The event that ends a stream by the gateway's fault."""
    return eventstream.exception("InternalStreamFailure", orjson.dumps({"Message": text}))


def model_error(route: Route, status: int, text: str) -> ApiError:
    """`ModelError` 424: the model answered with `status`, or with nothing at all (0)."""
    name = route.endpoint
    region, account = route.region, route.arn.split(":")[4]
    group = f"/aws/sagemaker/Endpoints/{name}"
    return ApiError(
        "ModelError",
        f"Received {'client' if 400 <= status < 500 else 'server'} error ({status}) from primary "
        f'with message "{text[:4096]}". See the log group {group} for more information.',
        424,
        OriginalStatusCode=status,
        OriginalMessage=text[:65536],
        LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
    )


def error_response(error: ApiError) -> bytes:
    """An error in rest-json, as the whole HTTP response."""
    members: Mapping[str, Any] = error.members
    body = orjson.dumps(
        {"__type": error.code, "Message": error.message, "message": error.message, **members}
    )
    head = (
        f"HTTP/1.1 {error.status or 400} {error.code}\r\nContent-Type: application/json\r\n"
        f"x-amzn-ErrorType: {error.code}\r\nx-amzn-RequestId: {uuid4()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def text_response(text: str, content_type: str) -> bytes:
    """A page, as the whole HTTP response; the connection ends with it."""
    body = text.encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def away_health(reason: str) -> bytes:
    """The answer to `GET /health` while the control plane is away, as the whole HTTP response."""
    return _away(
        orjson.dumps({"alive": True, "ready": False, "reason": reason}), "application/json"
    )


def away_page(text: str) -> bytes:
    """What a browser is shown while the control plane is away; it looks again by itself."""
    return _away(AWAY_PAGE.format(escape(text)).encode(), "text/html; charset=utf-8")


def _away(body: bytes, content_type: str) -> bytes:
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {content_type}\r\n"
        "Cache-Control: no-store\r\nRetry-After: 5\r\nX-Content-Type-Options: nosniff\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
