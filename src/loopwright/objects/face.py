"""The S3 face: a request with a verified head in, a response out; bodies stream both ways.

Whatever takes time (files, rows, hashes, documents) runs in the face's own threads, so that one
large upload neither blocks the event loop nor waits behind other users of the default pool.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

from botocore.model import OperationModel

from loopwright.objects import bucket_calls, fixed, lists, multipart, reads, writes
from loopwright.objects.attributes import refuse_unsupported
from loopwright.objects.call import Call, check_owner
from loopwright.objects.cors import preflight, response_headers
from loopwright.objects.intake import Document, Incoming, Intake, pour
from loopwright.objects.names import invalid_argument, make_readable
from loopwright.objects.routes import bucket_and_key, find_route, path_style
from loopwright.objects.store import LocalObjects
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import parse_request
from loopwright.wire.services import operation
from loopwright.wire.sigv4 import Signed

T = TypeVar("T")

THREADS: Final = 16
OPERATIONS: Final[dict[str, Callable[[Call], Response]]] = (
    bucket_calls.OPERATIONS
    | fixed.OPERATIONS
    | lists.OPERATIONS
    | multipart.OPERATIONS
    | reads.OPERATIONS
    | writes.OPERATIONS
)
BODY_OPERATIONS: Final = writes.BODY_OPERATIONS | multipart.BODY_OPERATIONS
# Read here from the headers themselves: S3 takes any text for the first and ignores unreadable
# dates in the others, where the model's parser would refuse the request.
NOT_MODELLED: Final = frozenset(
    {
        "expires",
        "if-modified-since",
        "if-unmodified-since",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-unmodified-since",
    }
)


class S3Face:
    """Answers S3 requests over a store. Safe for any number of concurrent requests.

    Args:
        objects: The store; the face does not close it.
    """

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    async def __call__(
        self, request: Request, signed: Signed | None, body: AsyncIterator[bytes]
    ) -> Response:
        """Answer one request.

        Args:
            request: Without its body.
            signed: What `sigv4.verify` returned; None only for an OPTIONS preflight.
            body: The body's chunks as they arrive.

        A body of a refused request is read to its end when it is short: a client that waits for
        `100 Continue` would otherwise send its next request where this body belongs. A caller
        closes the connection after a response that came before the end of a longer body.

        Returns:
            A response whose body may be an async iterator: the caller awaits its `aclose` when the
            client goes away.

        Raises:
            ApiError: S3's codes; the caller serializes them.
        """
        if request.method == "OPTIONS":
            return preflight(request, await self._hop(self._cors_rules, request))
        if signed is None:
            raise ApiError("AccessDenied", "Access Denied", 403)
        incoming = Incoming(body)
        try:
            response = await self._answer(request, signed, incoming)
        except ApiError as error:
            make_readable(error)
            raise
        finally:
            await incoming.drain(request)
        response.headers |= await self.cors_headers(request)
        return response

    async def cors_headers(self, request: Request) -> dict[str, str]:
        """The cross-origin headers of a request's response, for errors too; none without Origin."""
        if "origin" not in request.headers:
            return {}
        return response_headers(request, await self._hop(self._cors_rules, request))

    def close(self) -> None:
        """End the face's threads, after what they do now."""
        self._executor.shutdown()

    async def _answer(
        self, request: Request, signed: Signed, body: AsyncIterator[bytes]
    ) -> Response:
        route = find_route(request)
        refuse_unsupported(route.request.headers)
        call = Call(route, self._objects, self._executor)
        with_body = BODY_OPERATIONS.get(route.operation)
        if with_body is not None:
            if _names_owner(route.request):
                await self._hop(check_owner, call)
            return await with_body(call, signed, body, self._hop)
        model = operation("s3", route.operation)
        if route.operation not in OPERATIONS:
            raise ApiError(
                "NotImplemented",
                f"The operation {route.operation} is not implemented by Loopwright.",
                501,
            )
        content = await self._document(call, model, signed, body)
        return await self._hop(_run, call, model, content)

    async def _document(
        self, call: Call, model: OperationModel, signed: Signed, body: AsyncIterator[bytes]
    ) -> bytes:
        """The whole body of an operation that takes a document; else nothing is read."""
        if not _takes_document(model):
            return b""
        document = Document()
        speaks_of_body = call.route.operation != "CompleteMultipartUpload"
        intake = Intake(call.request, signed, document, speaks_of_body)
        last = await pour(body, intake, self._hop)
        intake.feed(last)
        intake.finish()
        return bytes(document.content)

    def _cors_rules(self, request: Request) -> list[dict[str, Any]]:
        bucket, _ = bucket_and_key(path_style(request).path)
        try:
            return self._objects.buckets.get(bucket).cors
        except ApiError:
            return []  # A bucket that does not exist allows no origin.

    async def _hop(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run in a thread. A cancelled caller stops waiting; the function runs to its end."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)


def _run(call: Call, model: OperationModel, content: bytes) -> Response:
    """Read the modelled parameters and answer; runs in a thread."""
    check_owner(call)
    headers = {k: v for k, v in call.headers.items() if k not in NOT_MODELLED}
    request = replace(call.request, headers=headers, body=content)
    try:
        call.params = parse_request(model, request)
    except ApiError as error:
        if content:
            raise
        raise invalid_argument("query", call.request.query, error.message) from error
    return OPERATIONS[call.route.operation](call)


def _names_owner(request: Request) -> bool:
    return "x-amz-expected-bucket-owner" in request.headers


def _takes_document(model: OperationModel) -> bool:
    """Whether the operation's body is a document of the model."""
    shape = model.input_shape
    payload = None if shape is None else shape.serialization.get("payload")
    return payload is not None and shape.members[payload].type_name == "structure"
