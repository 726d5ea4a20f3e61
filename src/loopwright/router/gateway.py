"""The gateway process: the public port, invocations answered here, all else passed on.

Run as `python -m loopwright.router.gateway HOME HOST PORT ACCOUNT`. It reads routes and keys from
files, so it serves while the control plane is away. Requests for the control plane wait a few
seconds for its return before they are refused.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import httptools
import orjson
import uvloop

from loopwright.keys import KeyFile
from loopwright.router.invoke import BODY_BYTES_MAX, Invoker, error_response
from loopwright.router.passing import Passing
from loopwright.router.routes import Routes
from loopwright.router.upstream import Pool
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request

HEAD_BYTES_MAX: Final = 65_536
HEAD_TIMEOUT_S: Final = 30.0
BODY_TIMEOUT_S: Final = 60.0
IDLE_TIMEOUT_S: Final = 120.0
PIPELINE_MAX: Final = 64
REFRESH_S: Final = 0.1
ALONE_S: Final = 120.0
DRAIN_S: Final = 30.0
INVOCATIONS: Final = (b"/invocations", b"/invocations-response-stream")


class Client(asyncio.Protocol):
    """One client's connection: requests are answered in the order in which they came."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[asyncio.Future[bytes]] = deque()
        self._passing: Passing | None = None
        self._due = 0.0
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._held = b""
        self._last = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._too_large = False
        self._invocation = False

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, but not its class.
        self._transport = cast(asyncio.Transport, transport)
        self._gateway.clients.add(self)
        self._expect(IDLE_TIMEOUT_S)

    def connection_lost(self, error: Exception | None) -> None:
        self._gateway.clients.discard(self)
        self._cancel_timer()
        self._writable.set()
        if self._passing is not None:
            self._passing.client_gone()
        for future in self._queue:
            future.cancel()
        self._queue.clear()

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._passing is not None:
            self._passing.pause_answer()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._passing is not None:
            self._passing.resume_answer()

    def eof_received(self) -> bool:
        # A client that ends within its body is gone; one that has sent all may half-close.
        passed_whole = self._passing is not None and self._passing.request_done
        return bool(self._queue) or passed_whole

    def data_received(self, data: bytes) -> None:
        if self._passing is not None and self._passing.request_done:
            self._held += data  # A pipelined request waits until the passed one is answered.
            if len(self._held) > HEAD_BYTES_MAX:
                self.pause()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(ApiError("ValidationError", "Upgrade is not served here.", 400))
        except httptools.HttpParserError as error:
            self._refuse(ApiError("BadRequest", f"The request is no HTTP/1.1: {error}.", 400))

    # httptools

    def on_url(self, url: bytes) -> None:
        self._begin()
        self._url = url
        self._expect(HEAD_TIMEOUT_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(ApiError("RequestHeaderSectionTooLarge", "The head is over 64 KiB.", 431))
            return
        key = _lower(name)
        text = value.decode("latin-1")
        held = self._headers.get(key)
        self._headers[key] = text if held is None else f"{held}, {text}"

    def on_headers_complete(self) -> None:
        method = self._parser.get_method().decode()
        path = self._url.partition(b"?")[0]
        self._invocation = (
            method == "POST" and path.startswith(b"/endpoints/") and path.endswith(INVOCATIONS)
        )
        self._expect(BODY_TIMEOUT_S)
        if self._invocation:
            length = self._headers.get("content-length", "0")
            self._too_large = length.isdigit() and int(length) > BODY_BYTES_MAX
            if self._headers.get("expect", "").lower() == "100-continue" and not self._too_large:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._too_large:
                self._refuse(_too_large(int(length)))
            return
        self._passing = Passing(self, self._gateway.control, method, self._url, self._headers)
        if self._queue:
            self.pause()

    def on_body(self, body: bytes) -> None:
        if self._passing is not None:
            self._passing.body(body)
            return
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refuse(_too_large(self._body_bytes))
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._cancel_timer()
        keep = self._parser.should_keep_alive()
        if self._passing is not None:
            self._passing.end(keep)
            return
        if self._last:
            return
        self._last = not keep
        raw_path, _, query = self._url.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request("POST", raw_path.decode(), query.decode(), self._headers, body)
        task = self._gateway.loop.create_task(self._gateway.invoker.answer(request))
        self._queue.append(task)
        task.add_done_callback(self._flush)
        if len(self._queue) >= PIPELINE_MAX:
            self.pause()

    # Answers

    def _flush(self, _done: "asyncio.Future[bytes]") -> None:
        """Write what is answered, in order."""
        while self._queue and self._queue[0].done():
            task = self._queue.popleft()
            if task.cancelled():
                continue
            failure = task.exception()
            if failure is not None:
                self._gateway.report(failure)
                text = "An internal error occurred; the gateway's log has it."
                self.write(error_response(ApiError("InternalFailure", text, 500)))
            else:
                self.write(task.result())
        if not self._queue:
            if self._last:
                self.close()
                return
            self._expect(IDLE_TIMEOUT_S)
            self.resume()

    def passed(self, keep: bool) -> None:
        """The control plane's answer is complete."""
        self._passing = None
        if not keep:
            self.close()
            return
        self._expect(IDLE_TIMEOUT_S)
        self.resume()
        if self._held:
            held, self._held = self._held, b""
            self.data_received(held)

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close: what follows on the connection cannot be trusted."""
        if self._last:
            return
        self._last = True
        self.write(error_response(error))
        self.close()

    def write(self, chunk: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(chunk)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = True
        self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        return not self._queue and self._passing is None

    def _expect(self, seconds: float) -> None:
        """Close the connection when the next step takes longer than this."""
        self._due = self._gateway.loop.time() + seconds

    def _cancel_timer(self) -> None:
        self._due = float("inf")

    def check(self, now: float) -> None:
        """Called now and then: a timer for each step would cost more than the step."""
        if now > self._due:
            self._due = float("inf")
            self._slow()

    def _slow(self) -> None:
        if self._passing is not None:
            self._expect(BODY_TIMEOUT_S)
        elif self._url and not self._queue:
            self._refuse(ApiError("RequestTimeout", "The request came too slowly.", 408))
        else:
            self.close()


class Gateway:
    """The process: listens, keeps routes and keys fresh, drains on SIGTERM."""

    def __init__(self, home: Path, account: str) -> None:
        self.home = home
        self.loop = asyncio.get_running_loop()
        self.clients: set[Client] = set()
        self.control = "run/control.sock"
        self._keys = KeyFile(home / "keys.json")
        self.routes = Routes(home / "routes")
        self.pool = Pool(self.loop)
        self.invoker = Invoker(self.routes, self._keys.read(), self.pool, account)
        self._alone_since = time.monotonic()

    async def run(self, host: str, port: int) -> None:
        """Serve until SIGTERM, then finish what is under way."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, stopping.set)
        self.refresh()
        server = await self.loop.create_server(
            lambda: Client(self), host, port, backlog=1024, reuse_address=True
        )
        actual = server.sockets[0].getsockname()[1]
        state = {"pid": os.getpid(), "host": host, "port": actual, "python": sys.executable}
        temporary = self.home / "run" / ".gateway.json"
        temporary.write_bytes(orjson.dumps(state))
        temporary.rename(self.home / "run" / "gateway.json")
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), REFRESH_S)
            self.refresh()
            now = self.loop.time()
            for client in list(self.clients):
                client.check(now)
            if self._is_useless():
                break
        server.close()
        deadline = time.monotonic() + DRAIN_S
        while any(not client.idle for client in self.clients) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        (self.home / "run" / "gateway.json").unlink(missing_ok=True)

    def refresh(self) -> None:
        """Look whether routes or keys changed."""
        try:
            if self.routes.refresh():
                self.pool.keep_only(
                    {
                        instance.address
                        for route in self.routes._routes.values()
                        for variant in route.variants
                        for instance in variant.instances
                    }
                )
            self.invoker.keys = self._keys.read()
        except (OSError, ValueError) as error:
            self.report(error)

    def _is_useless(self) -> bool:
        """Whether there is nothing to serve and has been no control plane for a while."""
        if len(self.routes) or (self.home / self.control).exists():
            self._alone_since = time.monotonic()
        return time.monotonic() - self._alone_since > ALONE_S

    def report(self, error: BaseException) -> None:
        sys.stderr.write(f"{time.strftime('%FT%T')} {type(error).__name__}: {error}\n")
        sys.stderr.flush()


@lru_cache(maxsize=512)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _too_large(size: int) -> ApiError:
    return ApiError(
        "ValidationError",
        f"The body has {size} bytes or more; the most is {BODY_BYTES_MAX}.",
        413,
    )


async def _main(home: Path, host: str, port: int, account: str) -> None:
    await Gateway(home, account).run(host, port)


def main(argv: list[str]) -> None:
    """Run the gateway in its home folder: addresses of units are relative to it."""
    home = Path(argv[0])
    os.chdir(home)
    # What is there now stays: no collection need look at it again, nor often at what comes.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uvloop.run(_main(home, argv[1], int(argv[2]), argv[3]))


if __name__ == "__main__":
    main(sys.argv[1:])
