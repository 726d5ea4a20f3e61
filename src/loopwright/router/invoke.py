"""One invocation: signature, route, instance, answer, in SageMaker's words.

Limits and codes: the developer guide on InvokeEndpoint: 6 MB of body, 60 s of model time,
`ModelError` 424 with the model's own status.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote
from uuid import uuid4

import orjson

from loopwright.router.routes import Route, Routes, Variant
from loopwright.router.upstream import Answer, Broken, NeverAccepted, Pool
from loopwright.wire import eventstream
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.sigv4 import SignatureError, verify

BODY_BYTES_MAX: Final = 6_291_456
MODEL_TIME_S: Final = 60.0
ROUTE_WAIT_S: Final = 0.5
STREAM_SUFFIX: Final = "/invocations-response-stream"
PART_BYTES_MAX: Final = 65_536
CUSTOM_ATTRIBUTES_MAX: Final = 1024
PASSED_ON: Final = (
    ("content-type", "Content-Type"),
    ("accept", "Accept"),
    ("x-amzn-sagemaker-custom-attributes", "X-Amzn-SageMaker-Custom-Attributes"),
    ("x-amzn-sagemaker-inference-id", "X-Amzn-SageMaker-Inference-Id"),
)
REFUSED: Final = (
    ("x-amzn-sagemaker-target-model", "TargetModel", "the endpoint serves one model"),
    ("x-amzn-sagemaker-target-container-hostname", "TargetContainerHostname",
     "the endpoint serves one container"),
    ("x-amzn-sagemaker-inference-component", "InferenceComponentName",
     "inference components are not served"),
    ("x-amzn-sagemaker-enable-explanations", "EnableExplanations",
     "the endpoint has no explainer"),
    ("x-amzn-sagemaker-session-id", "SessionId", "stateful sessions are not served"),
)  # fmt: skip

REFUSED_NAMES: Final = frozenset(header for header, _, _ in REFUSED)


def _request_id() -> bytes:
    """A random id in the form of a UUID; uuid4 itself costs as much as the routing."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


class NoInstance(ApiError):
    """No instance took the request, so it is safe to ask again."""


class Invoker:
    """Answers invocations. Belongs to one event loop."""

    def __init__(self, routes: Routes, keys: Mapping[str, str], pool: Pool, account: str) -> None:
        self.account = account
        self.routes = routes
        self.keys = keys
        self.pool = pool

    async def answer(self, request: Request) -> bytes:
        """The whole HTTP response to `POST /endpoints/NAME/invocations`."""
        try:
            route = await self._route(request)
            return await self._patiently(request, route)
        except SignatureError as error:
            return error_response(error.as_api_error("rest-json"))
        except ApiError as error:
            return error_response(error)

    async def _route(self, request: Request) -> Route:
        region = verify(request, self.keys, time.time()).region
        name = unquote(request.path.split("/")[2])
        route = self.routes.get(region, name)
        deadline = time.monotonic() + ROUTE_WAIT_S
        # An endpoint may have come into service this very moment.
        while (route is None or not any(v.instances for v in route.variants)) and (
            time.monotonic() < deadline
        ):
            await asyncio.sleep(0.02)
            self.routes.refresh()
            route = self.routes.get(region, name)
        if route is None:
            raise ApiError(
                "ValidationError", f"Endpoint {name} of account {self.account} not found.", 400
            )
        return route

    async def _patiently(self, request: Request, route: Route) -> bytes:
        """Invoke; when the instances have just changed, ask those of the new route once more."""
        deadline = time.monotonic() + ROUTE_WAIT_S
        while True:
            try:
                return await self._invoke(request, route)
            except NoInstance:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)
                self.routes.refresh()
                route = self.routes.get(route.region, route.endpoint) or route
            except Broken as error:
                changed = await self._changed(route) if error.silent else None
                if changed is None or time.monotonic() > deadline + ROUTE_WAIT_S:
                    raise _model_error(route, 0, f"Worker died: {error}.") from None
                route = changed

    async def _changed(self, route: Route) -> Route | None:
        """A route to other instances than this one's, if it comes soon."""
        before = _instance_ids(route)
        deadline = time.monotonic() + ROUTE_WAIT_S
        while time.monotonic() < deadline:
            self.routes.refresh()
            found = self.routes.get(route.region, route.endpoint)
            if found is not None and _instance_ids(found) - before:
                return found
            await asyncio.sleep(0.02)
        return None

    async def _invoke(self, request: Request, route: Route) -> bytes:
        headers = request.headers
        if not REFUSED_NAMES.isdisjoint(headers):
            for header, member, why in REFUSED:
                if header not in headers:
                    continue
                raise ApiError(
                    "ValidationError", f"{member} is {headers[header]!r}: {why}; leave it out."
                )
        attributes = headers.get("x-amzn-sagemaker-custom-attributes", "")
        if len(attributes) > CUSTOM_ATTRIBUTES_MAX or not attributes.isascii():
            raise ApiError(
                "ValidationError",
                f"CustomAttributes must be at most {CUSTOM_ATTRIBUTES_MAX} ASCII characters.",
            )
        variant = route.choose(headers.get("x-amzn-sagemaker-target-variant"))
        head = _head(request)
        try:
            answer = await asyncio.wait_for(self._ask(variant, head, request.body), MODEL_TIME_S)
        except TimeoutError:
            raise _model_error(
                route, 0, f"Your invocation timed out: the model took more than {MODEL_TIME_S:g} s."
            ) from None
        if answer.status >= 400:
            text = answer.body.decode("utf-8", "replace")
            raise _model_error(route, answer.status, text)
        if request.path.endswith(STREAM_SUFFIX):
            return _streamed(answer, variant)
        return _success(answer, variant, headers)

    async def _ask(self, variant: Variant, head: bytes, body: bytes) -> Answer:
        """Ask one instance; another one while none has taken the request."""
        tried: set[str] = set()
        broken = 0
        lost = False
        while True:
            instance = variant.choose(frozenset(tried))
            if instance is None and lost:
                raise Broken("the model server ended while it had the request")
            if instance is None:
                raise NoInstance(
                    "ServiceUnavailable",
                    f"No instance of variant {variant.name} is ready; try again shortly.",
                    503,
                )
            instance.outstanding += 1
            try:
                connection = await self.pool.take(instance.address)
                try:
                    return await connection.send(head, body)
                except asyncio.CancelledError:
                    self.pool.forget(connection)
                    raise
                except NeverAccepted:
                    # Only the kept connection may be stale; the instance itself may be well.
                    self.pool.forget(connection)
                    lost = True
                except Broken as error:
                    # No byte came back: another instance may compute the answer, once.
                    self.pool.forget(connection)
                    broken += 1
                    tried.add(instance.unit_id)
                    if broken > 1 or len(variant.instances) == 1 or not error.silent:
                        raise
            except NeverAccepted:
                tried.add(instance.unit_id)
            finally:
                instance.outstanding -= 1


def _instance_ids(route: Route) -> set[str]:
    return {item.unit_id for variant in route.variants for item in variant.instances}


def _head(request: Request) -> bytes:
    """The request's head as a container sees it: all other headers are stripped."""
    lines = ["POST /invocations HTTP/1.1", "Host: model"]
    streamed = request.path.endswith(STREAM_SUFFIX)
    for name, shown in PASSED_ON:
        # The stream call has its own header for what the model should accept.
        source = "x-amzn-sagemaker-accept" if streamed and name == "accept" else name
        value = request.headers.get(source)
        if value is not None:
            lines.append(f"{shown}: {value}")
    lines.append(f"Content-Length: {len(request.body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1")


def _model_error(route: Route, status: int, text: str) -> ApiError:
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


def _success(answer: Answer, variant: Variant, headers: Mapping[str, str]) -> bytes:
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: " + (answer.content_type or b"application/octet-stream"),
        b"x-Amzn-Invoked-Production-Variant: " + variant.name.encode(),
        b"x-amzn-RequestId: " + _request_id(),
    ]
    if answer.custom_attributes:
        lines.append(b"X-Amzn-SageMaker-Custom-Attributes: " + answer.custom_attributes)
    lines.append(b"Content-Length: " + str(len(answer.body)).encode() + b"\r\n\r\n")
    return b"\r\n".join(lines) + answer.body


def _streamed(answer: Answer, variant: Variant) -> bytes:
    """The answer as an event stream of `PayloadPart`s."""
    parts = [
        eventstream.event("PayloadPart", answer.body[start : start + PART_BYTES_MAX])
        for start in range(0, len(answer.body), PART_BYTES_MAX)
    ]
    body = b"".join(parts)
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: " + eventstream.CONTENT_TYPE.encode(),
        b"X-Amzn-SageMaker-Content-Type: " + (answer.content_type or b"application/octet-stream"),
        b"x-Amzn-Invoked-Production-Variant: " + variant.name.encode(),
        b"x-amzn-RequestId: " + _request_id(),
    ]
    if answer.custom_attributes:
        lines.append(b"X-Amzn-SageMaker-Custom-Attributes: " + answer.custom_attributes)
    lines.append(b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n")
    return b"\r\n".join(lines) + body


def error_response(error: ApiError) -> bytes:
    """An error in rest-json, as the whole HTTP response."""
    status = error.status or 400
    body = orjson.dumps(
        {"__type": error.code, "Message": error.message, "message": error.message, **error.members}
    )
    head = (
        f"HTTP/1.1 {status} {error.code}\r\nContent-Type: application/json\r\n"
        f"x-amzn-ErrorType: {error.code}\r\nx-amzn-RequestId: {uuid4()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
