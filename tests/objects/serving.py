"""The face in a real server on a free loopback port, and clients of it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3
import uvicorn
from botocore.config import Config
from starlette.requests import ClientDisconnect

from loopwright.objects.face import S3Face
from loopwright.objects.store import LocalObjects
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import serialize_error
from loopwright.wire.services import service
from loopwright.wire.sigv4 import SignatureError, Signed, verify

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
        try:
            signed = self._verify(request)
            response = await self.face(request, signed, _body(receive))
        except ApiError as error:
            response = serialize_error(service("s3"), None, error, uuid4().hex, request)
            response.headers |= await self.face.cors_headers(request)
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
