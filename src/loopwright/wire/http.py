"""The two values every protocol module speaks: a request as it arrived, a response to send."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

PEER: Final = "x-loopwright-peer"
"""The header by which the gateway tells the control plane the client's address."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request with nothing decoded.

    Attributes:
        method: Upper case.
        path: The raw path as sent, percent-encoding untouched, without the query.
        query: The raw query string, without the question mark.
        headers: Names in lower case; repeated headers joined by a comma and a space.
        body: The whole body; empty for operations whose body is streamed past this layer.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def arguments(self) -> dict[str, str]:
        """The query string decoded; of a repeated name the last value."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """An HTTP response. `body` may be an async iterator of chunks for bodies of any size."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
