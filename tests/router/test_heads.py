"""What is read without the parser must mean the same to the parser, and nothing else is read."""

from typing import Any

import httptools
import pytest

from loopwright.router.heads import read_answer, read_invocation

PLAIN = (
    b"POST /endpoints/one%20two/invocations?a=b HTTP/1.1\r\nHost: h:1\r\n"
    b"X-Amz-Date:  20260101T000000Z \r\nContent-Type: text/csv; charset=utf-8\r\n"
    b"content-LENGTH: 3\r\nConnection: Keep-Alive\r\n\r\nabc"
)


class Seen:
    """What the full parser sees."""

    def __init__(self, data: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        parser: Any = httptools.HttpRequestParser(self)
        parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode().strip()

    def on_body(self, body: bytes) -> None:
        self.body += body


def test_a_plain_head_is_read_as_the_parser_reads_it() -> None:
    asked = read_invocation(PLAIN)
    seen = Seen(PLAIN)
    assert asked is not None
    path, query, headers, length, start = asked
    assert f"{path}?{query}" == seen.url
    assert headers == seen.headers
    assert PLAIN[start : start + length] == seen.body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET"),
        (b"POST", b"post"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/invocations?", b"/other?"),
        (b"?a=b", b"#a"),
        (b"Host: h:1", b"Host : h:1"),
        (b"Host: h:1", b"Host:h:1"),
        (b"Host: h:1", b"Host: h\x00:1"),
        (b"Host: h:1", b"Host: h\n:1"),
        (b"Host: h:1", b"Host: h\r:1"),
        (b"Host: h:1", b"Host: \xc3\xa4"),
        (b"Host: h:1", b"Host: h\r\n folded"),
        (b"Host: h:1", b"Host: h\r\nhost: i"),
        (b"Host: h:1", b"Expect: 100-continue"),
        (b"Host: h:1", b"Transfer-Encoding: chunked"),
        (b"Host: h:1", b"Upgrade: h2c"),
        (b"Host: h:1", b"(name): value"),
        (b"LENGTH: 3", b"LENGTH: +3"),
        (b"LENGTH: 3", b"LENGTH: 3, 3"),
        (b"LENGTH: 3", b"LENGTH: "),
        (b"content-LENGTH: 3\r\n", b""),
        (b"Keep-Alive", b"close"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n", b"\n"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(old: bytes, new: bytes) -> None:
    assert read_invocation(PLAIN.replace(old, new)) is None


def test_a_plain_answer_is_read() -> None:
    head = read_answer(
        b"HTTP/1.1 404 Not Found\r\nContent-Type:text/plain\r\nConnection: keep-alive\r\n"
        b"X-Amzn-SageMaker-Custom-Attributes: a=1 \r\ncontent-length: 12"
    )
    assert head == (404, b"text/plain", b"a=1", 12)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\ncontent-length: 1",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 1",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 1",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n folded",
        b"HTTP/1.1 200 OK\ncontent-length: 1",
        b"HTTP/1.1 200 OK\r\ncontent-length : 1",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1",
    ],
)
def test_other_answers_are_left_to_the_parser(raw: bytes) -> None:
    assert read_answer(raw) is None
