"""The control plane's ASGI application: every AWS service behind one door.

A request is matched, its signature verified, its parameters read and validated by the model, its
operation run, its result written by the model. S3 goes to the object store's own face, whose
bodies are streamed.
"""

import asyncio
import errno
import gzip
import logging
import time
import zlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import orjson
from botocore.model import OperationModel, ServiceModel

from loopwright.database import is_away
from loopwright.kernel.verbs import Context, Operation
from loopwright.keys import KeyFile
from loopwright.objects.face import S3Face
from loopwright.portal.app import is_page
from loopwright.wire.dispatch import S3, find_target
from loopwright.wire.errors import ApiError, validation
from loopwright.wire.foreign import foreign_service, model_of, no_service
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import (
    parse_request,
    protocol_of,
    serialize_error,
    serialize_response,
)
from loopwright.wire.services import service
from loopwright.wire.sigv4 import SignatureError, Signed, verify
from loopwright.wire.validate import unknown_members, validate

LOG = logging.getLogger(__name__)
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
ELSEWHERE: Final = ("s3", "sagemaker-runtime")
"""Services that are answered by others than the operations."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Disconnected(Exception):
    """The client went away."""


class Api:
    """The application.

    Args:
        operations: By service, then by operation name.
        context: Makes the context of a call in a region.
        own: Operations of ours that are no AWS service, by path; each gets the signed request.
        pages: The worker portal, an ASGI application.
    """

    def __init__(
        self,
        operations: Mapping[str, Mapping[str, Operation]],
        context: Callable[[str], Context],
        face: S3Face | None,
        keys: KeyFile,
        own: Mapping[str, Callable[[], dict[str, Any]]],
        pages: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._operations = operations
        self._context = context
        self._face = face
        self._keys = keys
        self._own = own
        self._pages = pages
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = _request(scope)
        if is_page(request):
            await self._pages(scope, receive, send)
            return
        request_id = str(uuid4())
        model: ServiceModel | None = None
        operation: OperationModel | None = None
        try:
            foreign = foreign_service(request)
            if foreign is not None:
                model = model_of(foreign, request)
                raise no_service(foreign, model, [*self._operations, *ELSEWHERE])
            if _is_streamed(request):
                model = service(S3)
                response = await self._s3(request, receive)
            else:
                request = replace(request, body=await _whole_body(receive))
                if request.path in self._own:
                    response = await self._own_operation(request)
                else:
                    target = find_target(request)
                    model = service(target.service)
                    operation = target.operation
                    if operation is None:
                        response = await self._s3(request, None)
                    else:
                        response = await self._operation(operation, request)
            response.headers.setdefault("x-amzn-RequestId", request_id)
        except Disconnected:
            return
        except ApiError as error:
            response = _error(model, operation, error, request_id, request)
            if self._face is not None and model is not None and model.service_name == S3:
                response.headers |= await self._face.cors_headers(request)
        except Exception as error:
            LOG.exception("request %s failed", request_id)
            response = _error(model, operation, _failure(error, request_id), request_id, request)
        await _send(response, request, send)

    async def _operation(self, operation: OperationModel, request: Request) -> Response:
        signed = self._verified(request, operation.service_model)
        name = operation.service_model.service_name
        run = self._operations.get(name, {}).get(operation.name)
        if run is None:
            raise ApiError(
                "UnknownOperationException",
                f"Loopwright does not implement {name}:{operation.name} yet; "
                "docs/operations.md lists what works.",
                501 if name == "lambda" else 400,
            )
        if request.headers.get("content-encoding") == "gzip":
            request = replace(request, body=_gunzip(request.body))
        protocol = protocol_of(operation.service_model, request)
        params = parse_request(operation, request, protocol)
        if protocol == "json" and request.body:
            _refuse_unknown(operation, request.body)
        validate(operation, params)
        context = self._context(signed.region)
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, _run, run, context, params)
        return serialize_response(operation, result, protocol)

    def _verified(self, request: Request, model: ServiceModel) -> Signed:
        try:
            # Clients sign with the real clock, whatever the platform's time scale.
            return verify(request, self._keys.read(), time.time())
        except SignatureError as error:
            raise error.as_api_error(protocol_of(model, request)) from None

    async def _own_operation(self, request: Request) -> Response:
        self._verified(request, service("sagemaker"))
        if request.method != "POST":
            raise ApiError("MethodNotAllowed", f"{request.path} takes POST only.", 405)
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, self._own[request.path])
        return Response(200, {"Content-Type": "application/json"}, orjson.dumps(result))

    async def _s3(self, request: Request, receive: Receive | None) -> Response:
        if self._face is None:
            raise ApiError(
                "NotImplemented",
                "Objects are kept in an external S3 here; clients go there by AWS_ENDPOINT_URL_S3, "
                "which `loopwright env` sets.",
                501,
            )
        signed = None
        if request.method != "OPTIONS":
            signed = self._verified(request, service(S3))
        body = _stream(receive) if receive is not None else _once(request.body)
        return await self._face(replace(request, body=b""), signed, body)


def _request(scope: Scope) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path = scope.get("raw_path") or scope["path"].encode()
    return Request(
        scope["method"],
        path.decode("latin-1").partition("?")[0],
        scope["query_string"].decode("latin-1"),
        headers,
    )


def _is_streamed(request: Request) -> bool:
    """Whether this is S3: everything that has no target header, no form and no known path."""
    if "x-amz-target" in request.headers or request.path.startswith("/loopwright/"):
        return False
    form = "form-urlencoded" in request.headers.get("content-type", "")
    if request.method == "POST" and request.path == "/" and (form or "Action=" in request.query):
        return False
    if request.path.startswith("/service/"):
        return False
    return find_target(request).service == S3


async def _whole_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in _stream(receive):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise ApiError(
                "RequestEntityTooLarge",
                f"The body has more than {BODY_BYTES_MAX} bytes, the most for an API call.",
                413,
            )
        parts.append(chunk)
    return b"".join(parts)


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _gunzip(body: bytes) -> bytes:
    try:
        plain = zlib.decompressobj(wbits=31).decompress(body, BODY_BYTES_MAX + 1)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ApiError("SerializationException", f"The body is no gzip: {error}.") from None
    if len(plain) > BODY_BYTES_MAX:
        raise ApiError(
            "RequestEntityTooLarge", f"The body unpacks to over {BODY_BYTES_MAX} bytes.", 413
        )
    return plain


def _refuse_unknown(operation: OperationModel, body: bytes) -> None:
    found = unknown_members(operation, orjson.loads(body))
    if found:
        raise validation(
            f"{operation.name} has no member {', '.join(found[:5])} in this version of the API; "
            "leave it out."
        )


def _failure(error: Exception, request_id: str) -> ApiError:
    """What a caller is told of a fault of ours."""
    if getattr(error, "errno", 0) in FULL or "disk is full" in str(error):
        text = (
            "The disk of Loopwright's home is full, so nothing can be stored; make room there, and "
            "send the request again."
        )
        return ApiError("ServiceUnavailable", text, 503)
    if is_away(error):
        text = "Loopwright's database does not answer; send the request again once it does."
        return ApiError("ServiceUnavailable", text, 503)
    text = f"An internal error occurred; the server's log has request {request_id}."
    return ApiError("InternalFailure", text, 500)


def _run(operation: Operation, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Run an operation in a thread; a StopIteration would leave its future without a result, and
    so the request without an answer."""
    try:
        return operation(context, params)
    except StopIteration as error:
        raise RuntimeError("an operation ran out of items") from error


def _error(
    model: ServiceModel | None,
    operation: OperationModel | None,
    error: ApiError,
    request_id: str,
    request: Request,
) -> Response:
    known = model or service("sagemaker" if "x-amz-target" in request.headers else S3)
    return serialize_error(known, operation, error, request_id, request)


async def _send(response: Response, request: Request, send: Send) -> None:
    names = {name.lower() for name in response.headers}
    body = response.body
    if isinstance(body, bytes) and "content-length" not in names and response.status != 304:
        response.headers["Content-Length"] = str(len(body))
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(body, bytes):
        shown = b"" if request.method == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})
        return
    try:
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        # A client that went away must not keep the object's file open.
        if isinstance(body, AsyncGenerator):
            await body.aclose()
    await send({"type": "http.response.body", "body": b""})
