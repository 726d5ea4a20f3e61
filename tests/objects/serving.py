"""The face in a real server on a free loopback port, and clients of it."""

import asyncio
import hashlib
import http.client
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
import uvicorn
from botocore.config import Config
from starlette.requests import ClientDisconnect

from loopwright.objects.face import S3Face
from loopwright.objects.intake import Incoming
from loopwright.objects.store import LocalObjects
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import serialize_error
from loopwright.wire.services import service
from loopwright.wire.sigv4 import (
    SignatureError,
    Signed,
    _canonical,
    _signature,
    signing_key,
    verify,
)

KEYS = {"AKIALOOPWRIGHTTEST01": "secret/of+the=tests"}
ACCESS_KEY, SECRET = next(iter(KEYS.items()))


class Application:
    """The least ASGI application around a face: heads verified, errors serialized."""

    def __init__(self, face: S3Face) -> None:
        self.face = face

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = _request(scope)
        body = Incoming(_body(receive))
        try:
            signed = self._verify(request)
            response = await self.face(request, signed, body)
        except ApiError as error:
            response = serialize_error(service("s3"), None, error, uuid4().hex, request)
            response.headers |= await self.face.cors_headers(request)
        if "expect" in request.headers and not body._is_ended:
            response.headers["connection"] = "close"
        await _send(response, send)

    def _verify(self, request: Request) -> Signed | None:
        if request.method == "OPTIONS":
            return None
        try:
            return verify(request, KEYS, time.time())
        except SignatureError as error:
            raise error.as_api_error("rest-xml") from error


def _request(scope: Any) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raw_path = scope["raw_path"].decode("latin-1").partition("?")[0]
    return Request(scope["method"], raw_path, scope["query_string"].decode("latin-1"), headers)


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _send(response: Response, send: Any) -> None:
    body = response.body
    names = {name.lower() for name in response.headers}
    if isinstance(body, bytes) and "content-length" not in names and response.status != 304:
        response.headers["content-length"] = str(len(body))
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
        return
    try:
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        await body.aclose()  # type: ignore[attr-defined]
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(objects: LocalObjects) -> Iterator[str]:
    """A running server over a store; yields its URL."""
    face = S3Face(objects)
    config = uvicorn.Config(
        Application(face), host="127.0.0.1", port=0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    started = threading.Event()
    ports: list[int] = []

    async def run() -> None:
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0)
        ports.extend(s.sockets[0].getsockname()[1] for s in server.servers)
        started.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(30)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        server.should_exit = True
        thread.join(30)
        face.close()


def client(url: str, **settings: Any) -> Any:
    """A boto3 client with the tests' key pair."""
    arguments: dict[str, Any] = {
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET,
        "region_name": "us-east-1",
    }
    arguments |= {k: v for k, v in settings.items() if k in arguments}
    config = {k: v for k, v in settings.items() if k not in arguments}
    config.setdefault("retries", {"max_attempts": 1})
    return boto3.session.Session().client(
        "s3", endpoint_url=url, config=Config(max_pool_connections=40, **config), **arguments
    )


@dataclass
class Reply:
    """A response as it stood on the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 code of an error's document."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found[1].decode() if found else ""


def send(
    url: str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    payload: str | None = None,
    encode: Callable[[Signed], bytes] | None = None,
) -> Reply:
    """Send a request that is signed by hand, its path exactly as given.

    Args:
        payload: `x-amz-content-sha256`; None is the body's hash.
        encode: Makes the body from the head's signature, for signed chunks.
    """
    host = url.removeprefix("http://")
    bare_path, _, query = path.partition("?")
    sent = {"host": host} | {k.lower(): v for k, v in (headers or {}).items()}
    now = time.gmtime()
    sent["x-amz-date"] = time.strftime("%Y%m%dT%H%M%SZ", now)
    sent["x-amz-content-sha256"] = payload or hashlib.sha256(body).hexdigest()
    date = time.strftime("%Y%m%d", now)
    names = ";".join(sorted(sent))
    request = Request(method, bare_path, query, sent)
    canonical = _canonical(request, query, names, sent["x-amz-content-sha256"], "s3")
    key = signing_key(SECRET, date, "us-east-1", "s3")
    scope = f"{date}/us-east-1/s3/aws4_request"
    signature = _signature(key, sent["x-amz-date"], scope, canonical)
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    if encode is not None:
        body = encode(
            Signed(
                ACCESS_KEY,
                "us-east-1",
                "s3",
                sent["x-amz-content-sha256"],
                key,
                signature,
                sent["x-amz-date"],
                scope,
            )
        )
    return bare(url, method, path, body, sent)


def bare(
    url: str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send a request exactly as given."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.putrequest(
            method,
            path,
            skip_host="host" in (headers or {}),
            skip_accept_encoding=True,
        )
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if "content-length" not in (headers or {}):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        lower = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, lower, answer.read())
    finally:
        connection.close()


def eventually(holds: Callable[[], bool], limit_s: float = 20) -> None:
    """Wait until a condition holds; one that never does is a failure."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.005)
