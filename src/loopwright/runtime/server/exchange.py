"""One request and its answer, as the connection, the turns and the model see them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from loopwright.runtime.server.connection import Connection
    from loopwright.runtime.server.streams import Stream

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_MEDIA: dict[bytes, str] = {}
_MEDIA_MAX = 256
_log = logging.getLogger(__name__)


class RequestRefused(Exception):
    """The request cannot be answered as it is; becomes this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(slots=True)
class Answer:
    """What goes back: status, body, its type, and further headers (names in lower case)."""

    status: int
    body: bytes
    content_type: str
    headers: dict[str, str] | None = None


@dataclass(slots=True)
class Streamed(Answer):
    """An answer whose body is made while it is sent; `body` is empty."""

    parts: Iterator[bytes] = field(default_factory=lambda: iter(()))


class Exchange:
    """A request, complete, and the bytes of its answer once there are some.

    Attributes:
        connection: Where the answer goes.
        headers: By lower-case name.
        body: The request's body.
        keep_alive: Whether the connection stays open after the answer.
        wire: The answer's bytes (of a stream its last ones), None until answered.
        stream: What makes the answer, if it is made while it is sent.
    """

    __slots__ = ("body", "connection", "headers", "keep_alive", "stream", "wire")

    def __init__(
        self, connection: "Connection", headers: dict[bytes, bytes], body: bytes, keep_alive: bool
    ) -> None:
        self.connection = connection
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.wire: bytes | None = None
        self.stream: Stream | None = None

    def header(self, name: bytes) -> str:
        """One header's value, empty if it is missing."""
        return self.headers.get(name, b"").decode("latin-1")


def answer_of_failure(error: Exception) -> Answer:
    """What a request gets whose hooks raised; called while the error is handled, for its log."""
    if isinstance(error, RequestRefused):
        return Answer(error.status, error.sentence.encode(), TEXT)
    _log.exception("The request failed.")
    return Answer(500, orjson.dumps({"error": f"{type(error).__name__}: {error}"}), JSON)


def media_type(value: bytes | None) -> str:
    """The media type without parameters, in lower case: `Text/CSV; charset=x` -> `text/csv`."""
    if not value:
        return ""
    found = _MEDIA.get(value)
    if found is None:
        found = value.partition(b";")[0].strip().lower().decode("latin-1")
        # Bounded, because clients choose the keys.
        if len(_MEDIA) < _MEDIA_MAX:
            _MEDIA[value] = found
    return found


def render(answer: Answer, keep_alive: bool) -> bytes:
    """The answer as HTTP/1.1."""
    body = answer.body
    if answer.status == 200 and keep_alive and not answer.headers:
        return _usual(answer.content_type, len(body)) + body
    lines = _lines(answer)
    if not keep_alive:
        lines.append("connection: close")
    if answer.status == HTTPStatus.NO_CONTENT:
        # A 204 has neither body nor length.
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


def render_head(answer: Answer, keep_alive: bool, chunked: bool) -> bytes:
    """The head of an answer that follows in parts; without chunks it ends with the connection."""
    lines = _lines(answer)
    if not keep_alive:
        lines.append("connection: close")
    if chunked:
        lines.append("transfer-encoding: chunked")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _lines(answer: Answer) -> list[str]:
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}"]
    if answer.content_type:
        lines.append(f"content-type: {_one_line(answer.content_type)}")
    for name, value in (answer.headers or {}).items():
        lines.append(f"{_one_line(name)}: {_one_line(value)}")
    return lines


@lru_cache(maxsize=256)
def _usual(content_type: str, length: int) -> bytes:
    """The head of nearly all answers."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {_one_line(content_type)}\r\n"
    return f"{head}content-length: {length}\r\n\r\n".encode("latin-1")


def _one_line(text: str) -> str:
    # A line break in a value from user code would begin a header of its own.
    return text.replace("\r", " ").replace("\n", " ")
