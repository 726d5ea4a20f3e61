"""One invocation: signature, route, instance, answer, in SageMaker's words.

Nearly all go the short way, by plain calls: the request is verified and written to a kept
connection in the very call that read it, and answered in the call that reads the answer. Where
something must be waited for (a new connection, a route, another instance) a task takes over.

Limits and codes: the developer guide on InvokeEndpoint: 6 MB of body, 60 s of model time,
`ModelError` 424 with the model's own status. Answers of the stream call: `streamed.py`.
"""

import asyncio
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter
from typing import ClassVar, Final, Protocol
from urllib.parse import unquote
from uuid import uuid4

from loopwright.router.answers import error_response, model_error, success
from loopwright.router.heads import Body, Head
from loopwright.router.routes import Instance, Route, Routes, Variant, position
from loopwright.router.tries import NoInstance, Tries
from loopwright.router.upstream import NEVER, Broken, Connection, Late, NeverAccepted, Pool
from loopwright.router.waiting import why_not_found
from loopwright.router.watch import Watch
from loopwright.wire.errors import ApiError
from loopwright.wire.sigv4 import SignatureError, verify

BODY_BYTES_MAX: Final = 6_291_456
MODEL_TIME_S: Final = 60.0
ROUTE_WAIT_S: Final = 0.5
STREAM_SUFFIX: Final = "/invocations-response-stream"
CUSTOM_ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
CUSTOM_ATTRIBUTES_MAX: Final = 1024
INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
TARGET_VARIANT: Final = "x-amzn-sagemaker-target-variant"
SESSION_ID: Final = "x-amzn-sagemaker-session-id"
NEW_SESSION: Final = "NEW_SESSION"
SESSION_S: Final = 86_400
SESSION_MAX: Final = 256
INFERENCE_ID_MAX: Final = 64
REFUSED: Final = (
    ("x-amzn-sagemaker-target-model", "TargetModel", "the endpoint serves one model"),
    ("x-amzn-sagemaker-target-container-hostname", "TargetContainerHostname",
     "the endpoint serves one container"),
    ("x-amzn-sagemaker-inference-component", "InferenceComponentName",
     "inference components are not served"),
    ("x-amzn-sagemaker-enable-explanations", "EnableExplanations",
     "the endpoint has no explainer"),
    ("x-amzn-sagemaker-prefix-aware-id", "PrefixAwareId",
     "requests are not routed by their prefixes"),
)  # fmt: skip
_SESSION: Final = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
REFUSED_NAMES: Final = frozenset(header for header, _, _ in REFUSED)


class Asker(Protocol):
    """The client's connection, as an exchange sees it."""

    def answered(self, exchange: "Exchange") -> None: ...


class Exchange:
    """One invocation, from its last byte to its answer. Reads as a request for `sigv4.verify`.

    Attributes:
        path, query, headers, body: As sent; names of headers in lower case.
        wire: The answer's bytes, None until there are some.
        began: When it was sent to a model server, by `perf_counter`.
        due: The loop's time at which the model's time is over.
        arrived: When it was whole, by `perf_counter`.
        session: The id of its session, if it has one.
        opened: Whether the session begins with it.
        place: Where its user stands on the line of all weights, if users are told apart.
        free: Whether its variant was chosen by weights alone.
        streams: Whether its answer is passed on while it comes (`streamed.py`).
    """

    __slots__ = (
        "_asker",
        "_connection",
        "_instance",
        "_invoker",
        "_route",
        "_task",
        "_variant",
        "arrived",
        "began",
        "body",
        "due",
        "free",
        "headers",
        "opened",
        "path",
        "place",
        "query",
        "session",
        "wire",
    )
    method: ClassVar[str] = "POST"
    streams: ClassVar[bool] = False

    def __init__(
        self, asker: Asker, path: str, query: str, headers: Mapping[str, str], body: Body
    ) -> None:
        self._asker = asker
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.arrived = perf_counter()
        self.began = self.arrived
        self.session: str | None = None
        self.opened = False
        self.place: float | None = None
        self.free = True
        self.wire: bytes | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def inference_id(self) -> str:
        """As the caller gave it, or empty."""
        return self.headers.get(INFERENCE_ID, "")

    @property
    def attributes(self) -> str:
        """The custom attributes, or empty."""
        return self.headers.get(CUSTOM_ATTRIBUTES, "")

    @property
    def content_type(self) -> str:
        """Of the request, or empty."""
        return self.headers.get("content-type", "")

    @property
    def model_time(self) -> float:
        """How many seconds the model may take for its whole answer."""
        return MODEL_TIME_S

    def finish(self, wire: bytes) -> None:
        """This is the answer."""
        self.wire = wire
        self._asker.answered(self)

    def leave(self) -> None:
        """The client is gone: nobody wants the answer."""
        if self._task is not None:
            self._task.cancel()
        elif self._connection is not None:
            self._instance.outstanding -= 1
            self._connection.leave()
            self._connection = None

    def go_on(self, task: "asyncio.Task[None]") -> None:
        """A task takes care of this exchange from now on."""
        self._task = task

    def send(
        self,
        invoker: "Invoker",
        route: Route,
        variant: Variant,
        instance: Instance,
        connection: Connection,
    ) -> None:
        """The short way, see the module; `answered` or `failed` follows."""
        self._invoker, self._route, self._variant = invoker, route, variant
        self._instance, self._connection = instance, connection
        instance.outstanding += 1
        self.began = perf_counter()
        self.due = due = invoker.loop.time() + MODEL_TIME_S
        connection.send(head_of(self), self.body, self, due)

    def waiter(self, connection: Connection, instance: Instance) -> "Waiter":
        """What takes the answer to a request that a task sends."""
        return Waiter(self, connection)

    def conclude(
        self, invoker: "Invoker", route: Route, variant: Variant, head: Head, body: bytes
    ) -> None:
        """Go on with an answer for which a task has waited."""
        invoker.conclude(self, route, variant, head, body)

    def flow(self) -> None:
        """The answers before it are sent, and the client takes more."""

    def hold(self) -> None:
        """The client takes no more for now."""

    def stop(self) -> None:
        """The gateway ends; see `streamed.StreamExchange.stop`."""

    def answered(self, head: Head, body: bytes) -> None:
        """The model server's answer to what `send` sent."""
        self._instance.outstanding -= 1
        self._connection = None
        self._invoker.conclude(self, self._route, self._variant, head, body)

    def failed(self, error: Exception) -> None:
        """No answer to what `send` sent."""
        self._instance.outstanding -= 1
        self._connection = None
        if isinstance(error, Late):
            self._invoker.lost(self, self._route, self._variant)
            self.finish(error_response(_late(self._route, self.model_time)))
            return
        tries = self._invoker.tries(self, self._route, self._variant, (self._instance, error))
        self._invoker.resume(self, self._route, tries)


class Waiter:
    """The taker of an answer for which a task waits."""

    __slots__ = ("_connection", "_exchange", "future")

    def __init__(self, exchange: Exchange, connection: Connection) -> None:
        self._exchange = exchange
        self._connection = connection
        self.future: asyncio.Future[tuple[Head, bytes]]
        self.future = asyncio.get_running_loop().create_future()

    def send(self) -> None:
        """Send the request; the task sees to the time."""
        exchange = self._exchange
        self._connection.send(head_of(exchange), exchange.body, self, NEVER)

    def leave(self) -> None:
        """The task waits no more."""
        # An answer that has come has freed the connection, which may have another request.
        if self.future.cancelled():
            self._connection.leave()

    def answered(self, head: Head, body: bytes) -> None:
        if not self.future.done():
            self.future.set_result((head, body))

    def failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Invoker:
    """Answers invocations. Belongs to one event loop."""

    def __init__(
        self, routes: Routes, keys: Mapping[str, str], pool: Pool, watch: Watch, account: str
    ) -> None:
        self.account = account
        self.routes = routes
        self.keys = keys
        self.pool = pool
        self.watch = watch
        self.loop = pool.loop

    def begin(self, exchange: Exchange) -> None:
        """Answer an invocation: `exchange.finish` is called now or later."""
        try:
            region = verify(exchange, self.keys, time.time()).region
            route = self.routes.get(region, endpoint_of(exchange.path))
            if route is None or not self._shortly(exchange, route):
                exchange.go_on(self.loop.create_task(self._slowly(exchange, region)))
        except SignatureError as error:
            exchange.finish(error_response(error.as_api_error("rest-json")))
        except ApiError as error:
            exchange.finish(error_response(error))
        except Exception as error:  # noqa: BLE001  # the log has it, the client its due answer
            exchange.finish(internal(error))

    def _shortly(self, exchange: Exchange, route: Route) -> bool:
        """Send on a kept connection; False if there is none."""
        variant = _variant(exchange, route)
        instance = variant.choose(session=exchange.session)
        if instance is None:
            return False
        connection = self.pool.kept(instance.address)
        if connection is None:
            return False
        exchange.send(self, route, variant, instance, connection)
        return True

    def resume(self, exchange: Exchange, route: Route, tries: Tries) -> None:
        """The short way failed: go on by a task, with what was met."""
        exchange.go_on(self.loop.create_task(self._slowly(exchange, route.region, route, tries)))

    def tries(
        self,
        exchange: Exchange,
        route: Route,
        variant: Variant,
        first: tuple[Instance, Exception] | None = None,
    ) -> Tries:
        """The instances to ask, beginning with the variant's; `first` was asked already."""
        return Tries(
            lambda broken: self.lost(exchange, route, broken), exchange, route, variant, first
        )

    def conclude(
        self, exchange: Exchange, route: Route, variant: Variant, head: Head, body: bytes
    ) -> None:
        """Give the client the answer of a model server, and do what else follows from it."""
        try:
            wire = response(exchange, route, variant, head, body)
        except ApiError as error:
            wire = error_response(error)
        if exchange.opened:
            wire = with_session(wire, exchange.session or "")
        if route.plain:
            exchange.finish(wire)
        else:
            self.watched(exchange, route, variant, (head, body), wire)

    def watched(
        self,
        exchange: Exchange,
        route: Route,
        variant: Variant,
        answer: tuple[Head, bytes],
        wire: bytes,
    ) -> None:
        """Give the client the (end of the) answer once what must be written of it is written."""
        self.watch.answered(
            exchange,
            lambda: head_of(exchange),
            route,
            variant,
            answer,
            lambda: exchange.finish(wire),
        )

    def lost(self, exchange: Exchange, route: Route, variant: Variant) -> None:
        """A variant had a request and will never answer it."""
        variant.tally.failed()
        self.watch.unanswered(exchange, route, variant)

    async def _slowly(
        self,
        exchange: Exchange,
        region: str,
        route: Route | None = None,
        tries: Tries | None = None,
    ) -> None:
        try:
            if route is None:
                route = await self._route(exchange, region)
            answer = await self._patiently(exchange, route, tries)
        except ApiError as error:
            exchange.finish(error_response(error))
        except Exception as error:  # noqa: BLE001  # the log has it, the client its due answer
            exchange.finish(internal(error))
        else:
            exchange.conclude(self, *answer)

    async def _route(self, exchange: Exchange, region: str) -> Route:
        name = endpoint_of(exchange.path)
        route = self.routes.get(region, name)
        if route is None:
            self.routes.refresh()
            route = self.routes.get(region, name)
        deadline = time.monotonic() + ROUTE_WAIT_S
        # Another instance may answer this very moment.
        while (
            route is not None
            and not any(v.instances for v in route.variants)
            and time.monotonic() < deadline
        ):
            await asyncio.sleep(0.02)
            self.routes.refresh()
            route = self.routes.get(region, name)
        if route is None:
            more = why_not_found(self.routes.folder.parent, region, name)
            text = f"Endpoint {name} of account {self.account} not found.{more}"
            raise ApiError("ValidationError", text, 400)
        return route

    async def _patiently(
        self, exchange: Exchange, route: Route, tries: Tries | None
    ) -> tuple[Route, Variant, Head, bytes]:
        """Invoke; when the instances have just changed, ask those of the new route once more."""
        deadline = time.monotonic() + ROUTE_WAIT_S
        while True:
            if tries is None:
                tries = self.tries(exchange, route, _variant(exchange, route))
                exchange.began = perf_counter()
                exchange.due = self.loop.time() + exchange.model_time
            try:
                return (route, *await self._invoke(exchange, route, tries))
            except NoInstance:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)
                self.routes.refresh()
                route = self.routes.get(route.region, route.endpoint) or route
            except Broken as error:
                changed = await self._changed(route) if error.silent else None
                if changed is None or time.monotonic() > deadline + ROUTE_WAIT_S:
                    self.lost(exchange, route, tries.variant)
                    raise model_error(route, 0, f"Worker died: {error}.") from None
                route = changed
            tries = None

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

    async def _invoke(
        self, exchange: Exchange, route: Route, tries: Tries
    ) -> tuple[Variant, Head, bytes]:
        try:
            async with asyncio.timeout_at(exchange.due):
                head, body = await self._ask(exchange, tries)
        except TimeoutError:
            self.lost(exchange, route, tries.variant)
            raise _late(route, exchange.model_time) from None
        return tries.variant, head, body

    async def _ask(self, exchange: Exchange, tries: Tries) -> tuple[Head, bytes]:
        """Ask one instance; another one while none has taken the request."""
        tries.begin()
        while True:
            instance = tries.next()
            instance.outstanding += 1
            try:
                connection = await self.pool.take(instance.address)
                waiter = exchange.waiter(connection, instance)
                waiter.send()
                try:
                    return await waiter.future
                except asyncio.CancelledError:
                    waiter.leave()
                    raise
            except (NeverAccepted, Broken) as error:
                tries.failed(instance, error)
            finally:
                instance.outstanding -= 1


def _variant(exchange: Exchange, route: Route) -> Variant:
    """The variant that shall answer.

    Raises:
        ApiError: the request asks for what is not served.
    """
    headers = exchange.headers
    if not REFUSED_NAMES.isdisjoint(headers):
        for header, member, why in REFUSED:
            if header in headers:
                raise ApiError(
                    "ValidationError", f"{member} is {headers[header]!r}: {why}; leave it out."
                )
    attributes = headers.get(CUSTOM_ATTRIBUTES)
    if attributes and (len(attributes) > CUSTOM_ATTRIBUTES_MAX or not attributes.isascii()):
        raise ApiError(
            "ValidationError",
            f"CustomAttributes must be at most {CUSTOM_ATTRIBUTES_MAX} ASCII characters.",
        )
    inference = headers.get(INFERENCE_ID)
    if inference and (len(inference) > INFERENCE_ID_MAX or not inference.isascii()):
        raise ApiError(
            "ValidationError", f"InferenceId must be at most {INFERENCE_ID_MAX} ASCII characters."
        )
    target = headers.get(TARGET_VARIANT)
    if target is not None:
        exchange.free = False
    if SESSION_ID in headers or route.sticky or route.groups:
        return _users_variant(exchange, route, target, attributes or "")
    return route.choose(target)


def _users_variant(
    exchange: Exchange, route: Route, target: str | None, attributes: str
) -> Variant:
    """The variant of a user, who is known by a custom attribute or a session.

    A user stays at one place of the line of all weights, so a growing canary keeps those whom it
    has, and the others stay where they are.
    """
    session = exchange.headers.get(SESSION_ID)
    if session == NEW_SESSION and not exchange.opened:
        exchange.session, exchange.opened = str(uuid4()), True
    elif session is not None and not exchange.opened:
        if len(session) > SESSION_MAX or _SESSION.fullmatch(session) is None:
            raise ApiError(
                "ValidationError",
                f"SessionId must be {NEW_SESSION}, or letters and digits with hyphens between "
                f"them, {SESSION_MAX} at most; give the part of NewSessionId before its semicolon.",
            )
        exchange.session = session
    told = fields_of(attributes)
    if target is None:
        for group in route.groups:
            named = any(variant.name == group.variant for variant in route.variants)
            if named and told.get(group.attribute) in group.values:
                target, exchange.free = group.variant, False
                break
    user = told.get(route.sticky) or exchange.session
    if user is not None:
        exchange.place = position(f"{route.endpoint}/{user}")
    return route.choose(target, exchange.place)


def fields_of(attributes: str) -> dict[str, str]:
    """Custom attributes written as `name=value`, parted by commas or semicolons; others are no
    fields."""
    pairs = (item.partition("=") for item in attributes.replace(";", ",").split(","))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def with_session(wire: bytes, session: str) -> bytes:
    """The answer that tells the id of a session that began with it."""
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SESSION_S))
    line = f"\r\nX-Amzn-SageMaker-New-Session-Id: {session}; Expires={expires}\r\n".encode()
    return wire.replace(b"\r\n", line, 1)


def response(exchange: Exchange, route: Route, variant: Variant, head: Head, body: bytes) -> bytes:
    """The HTTP response for a model server's answer.

    Raises:
        ApiError: the model server answered with an error.
    """
    began = exchange.began
    variant.tally.answered(head.status, perf_counter() - began, began - exchange.arrived)
    if head.status >= 400:
        raise model_error(route, head.status, body.decode("utf-8", "replace"))
    return success(head, body, variant.name)


def head_of(exchange: Exchange) -> bytes:
    """The request's head as a container sees it: all other headers are stripped."""
    headers = exchange.headers
    # The stream call has its own header for what the model should accept.
    accept = headers.get("x-amzn-sagemaker-accept" if exchange.streams else "accept")
    start = _head_start(headers.get("content-type"), accept)
    attributes, inference = headers.get(CUSTOM_ATTRIBUTES), headers.get(INFERENCE_ID)
    if attributes is not None:
        start += f"X-Amzn-SageMaker-Custom-Attributes: {attributes}\r\n".encode("latin-1")
    if inference is not None:
        start += f"X-Amzn-SageMaker-Inference-Id: {inference}\r\n".encode("latin-1")
    if exchange.session is not None:
        start += f"X-Amzn-SageMaker-Session-Id: {exchange.session}\r\n".encode("latin-1")
    return b"%bContent-Length: %d\r\n\r\n" % (start, len(exchange.body))


@lru_cache(maxsize=256)
def _head_start(content_type: str | None, accept: str | None) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "Host: model"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if accept is not None:
        lines.append(f"Accept: {accept}")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


@lru_cache(maxsize=1024)
def endpoint_of(path: str) -> str:
    """The endpoint's name in the path of an invocation."""
    return unquote(path.split("/")[2])


def internal(error: Exception) -> bytes:
    """The answer where the gateway itself is at fault; its log has the error."""
    sys.stderr.write(f"{time.strftime('%FT%T')} {type(error).__name__}: {error}\n")
    sys.stderr.flush()
    text = "An internal error occurred; the gateway's log has it."
    return error_response(ApiError("InternalFailure", text, 500))


def _instance_ids(route: Route) -> set[str]:
    return {item.unit_id for variant in route.variants for item in variant.instances}


def _late(route: Route, seconds: float) -> ApiError:
    text = f"Your invocation timed out: the model took more than {seconds:g} s."
    return model_error(route, 0, text)
