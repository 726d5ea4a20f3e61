"""What follows an answered invocation: captured, told to the control plane, copied to shadows.

Nothing here can fail or delay a client's answer, but for the one write that makes it durable
before the client has it (`journal.py`).
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

from loopwright.contract.frames import CAPTURED, COMPARED, OBSERVED, REVIEWED, Part, frame
from loopwright.router.heads import Body, Head
from loopwright.router.journal import Journal
from loopwright.router.routes import Capture, Instance, Route, Shadow, Variant
from loopwright.router.upstream import NeverAccepted, Pool

SHADOWS_MAX: Final = 64
COMPARED_BYTES_MAX: Final = 262_144
REPEATED_BYTES_MAX: Final = 1024
"""A shadow's captured record repeats requests up to here; to point at them would save nothing."""
MICROSECONDS: Final = 1e6
UNANSWERED: Final = 0
DROPPED: Final = -1


class Asked(Protocol):
    """An invocation, as `invoke.Exchange` is."""

    body: Body
    began: float
    place: float | None
    free: bool

    @property
    def model_time(self) -> float: ...
    @property
    def inference_id(self) -> str: ...
    @property
    def attributes(self) -> str: ...
    @property
    def content_type(self) -> str: ...


@dataclass(frozen=True)
class Written:
    """A captured request in the journal: the number of its file, and its first byte there."""

    capture: Capture
    number: int
    start: int


@dataclass(frozen=True)
class Live:
    """The answer that the client got, kept for the comparison with a shadow's."""

    status: int
    micros: float
    content_type: str
    body: bytes


class Watch:
    """Belongs to one event loop."""

    def __init__(self, pool: Pool, journal: Journal) -> None:
        self._pool = pool
        self._journal = journal
        self._in_flight: dict[str, int] = {}

    def answered(
        self,
        asked: Asked,
        head_sent: Callable[[], bytes],
        route: Route,
        variant: Variant,
        answer: tuple[Head, bytes],
        finish: Callable[[], None],
    ) -> None:
        """A model server answered. `finish` gives the client its answer and is called once."""
        head, body = answer
        seconds = perf_counter() - asked.began
        frames: list[Part] = []
        captured = route.capture
        told = captured is not None or route.reviewed
        event = f"{random.getrandbits(128):032x}" if told else ""
        if captured is not None and head.status < 400 and random.random() < captured.share:
            frames += _capture(asked, captured, variant.name, (head, body), event)
            number, start = self._journal.next
            written = Written(captured, number, start + len(frames[0]))
        else:
            written = None
        if route.observed:
            frames += _observation(asked, route, variant, head.status, seconds)
        if frames:
            self._journal.post(frames, finish)
        else:
            finish()
        if route.reviewed and head.status < 400:
            # After the answer: a review may be lost with a killed gateway, but costs nobody time.
            self._journal.post(_review(asked, route, variant, (head, body), event))
        for shadow in route.shadows:
            if shadow.of == variant.name and random.random() < shadow.share:
                live = Live(head.status, seconds * MICROSECONDS, _text(head.content_type), body)
                self._copy(asked, head_sent(), route, shadow, live, written)

    def unanswered(self, asked: Asked, route: Route, variant: Variant) -> None:
        """No answer came to a request that a model server had."""
        if route.observed:
            seconds = perf_counter() - asked.began
            self._journal.post(_observation(asked, route, variant, UNANSWERED, seconds))

    def _copy(
        self,
        asked: Asked,
        head: bytes,
        route: Route,
        shadow: Shadow,
        live: Live,
        written: "Written | None",
    ) -> None:
        """Send a copy, unless the shadow is too slow to take more."""
        copy = Copy(self, asked, route, shadow, live, written)
        instance = shadow.variant.choose()
        key = shadow.variant.name
        if instance is None or self._in_flight.get(key, 0) >= SHADOWS_MAX:
            copy.over(DROPPED)
            return
        self._in_flight[key] = self._in_flight.get(key, 0) + 1
        copy.instance = instance
        instance.outstanding += 1
        connection = self._pool.kept(instance.address)
        if connection is not None:
            connection.send(head, asked.body, copy, copy.due(self._pool.loop))
        else:
            task = self._pool.loop.create_task(self._connect(head, copy, instance))
            copy.task = task

    async def _connect(self, head: bytes, copy: "Copy", instance: Instance) -> None:
        try:
            connection = await self._pool.take(instance.address)
        except NeverAccepted as error:
            copy.failed(error)
            return
        connection.send(head, copy.asked.body, copy, copy.due(self._pool.loop))

    def left(self, shadow: str) -> None:
        """A copy is answered or given up."""
        self._in_flight[shadow] -= 1

    def tell(self, parts: list[Part]) -> None:
        """Write a frame that no client waits for."""
        self._journal.post(parts)

    def holds(self, written: "Written") -> bool:
        """Whether the next frame stands in the same file as a captured request."""
        return self._journal.next[0] == written.number


class Copy:
    """A copy of a request at a shadow: takes its answer."""

    __slots__ = ("_live", "_route", "_shadow", "_watch", "_written", "asked", "began", "instance",
                 "task")  # fmt: skip

    def __init__(
        self,
        watch: Watch,
        asked: Asked,
        route: Route,
        shadow: Shadow,
        live: Live,
        written: Written | None,
    ) -> None:
        self._watch = watch
        self._route = route
        self._shadow = shadow
        self._live = live
        self._written = written
        self.asked = asked
        self.began = perf_counter()
        self.instance: Instance | None = None
        self.task: asyncio.Task[None] | None = None

    def due(self, loop: asyncio.AbstractEventLoop) -> float:
        """When a shadow's time is over: the live variant's limit."""
        return loop.time() + self.asked.model_time

    def answered(self, head: Head, body: bytes) -> None:
        seconds = perf_counter() - self.began
        self._leave()
        self._shadow.variant.tally.answered(head.status, seconds)
        live = self._live
        same = head.status == live.status and body == live.body
        kept = max(len(body), len(live.body)) <= COMPARED_BYTES_MAX
        data = frame(
            [
                *self._told(head.status, seconds * MICROSECONDS, same),
                live.content_type,
                _text(head.content_type),
            ],
            live.body if kept else b"",
            body if kept else b"",
        )
        written = self._written
        if written is not None and head.status < 400:
            name = self._shadow.variant.name
            event = f"{random.getrandbits(128):032x}"
            start = written.start if self._watch.holds(written) else None
            data += _capture(self.asked, written.capture, name, (head, body), event, start)
        self._watch.tell(data)

    def failed(self, error: Exception) -> None:
        self._leave()
        self._shadow.variant.tally.failed()
        self.over(UNANSWERED)

    def over(self, status: int) -> None:
        """There is no answer to compare."""
        self._watch.tell(frame([*self._told(status, 0.0, False), self._live.content_type, ""]))

    def _leave(self) -> None:
        assert self.instance is not None
        self.instance.outstanding -= 1
        self._watch.left(self._shadow.variant.name)

    def _told(self, status: int, micros: float, same: bool) -> list[object]:
        route, shadow, live = self._route, self._shadow, self._live
        return [
            COMPARED, route.region, route.endpoint, shadow.variant.config, shadow.of,
            shadow.variant.name, live.status, status, round(live.micros), round(micros),
            time.time(), same,
        ]  # fmt: skip


def _capture(
    asked: Asked,
    capture: Capture,
    variant: str,
    answer: tuple[Head, bytes],
    event: str,
    start: int | None = None,
) -> list[Part]:
    """A captured record; from byte `start` of the journal's file it does not repeat the request."""
    head, body = answer
    request = asked.body if capture.requests else b""
    place = None
    if start is not None and len(request) > REPEATED_BYTES_MAX:
        place = (start, len(request))
    told = [
        CAPTURED, capture.told, variant, time.time(), event, asked.inference_id, asked.attributes,
        _text(head.custom_attributes), asked.content_type, _text(head.content_type),
        capture.requests, capture.answers, place,
    ]  # fmt: skip
    return frame(told, b"" if place else request, body if capture.answers else b"")


def _review(
    asked: Asked, route: Route, variant: Variant, answer: tuple[Head, bytes], event: str
) -> list[Part]:
    head, body = answer
    told = [
        REVIEWED, route.region, route.endpoint, variant.name, time.time(), event,
        asked.inference_id, asked.content_type, _text(head.content_type),
    ]  # fmt: skip
    return frame(told, asked.body, body)


def _observation(
    asked: Asked, route: Route, variant: Variant, status: int, seconds: float
) -> list[Part]:
    chances = route.chances if asked.free else None
    return frame(
        [
            OBSERVED,
            route.region,
            route.endpoint,
            variant.config,
            variant.name,
            chances,
            status,
            round(seconds * MICROSECONDS),
            time.time(),
            asked.inference_id,
            asked.place,
        ]
    )


def _text(value: bytes) -> str:
    return value.decode("latin-1")
