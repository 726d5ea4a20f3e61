"""The gateway process: the public port, invocations answered here, all else passed on.

Run as `python -m loopwright.router.gateway HOME HOST PORT ACCOUNT [NUMBER]`: one of several
workers on one port, who know of each other only what they have counted. It reads routes and keys
from files, so it serves while the control plane is away. Requests for the control plane wait a few
seconds for its return before they are refused.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

import orjson
import uvloop

from loopwright.keys import KeyFile
from loopwright.router.client import Client, Door
from loopwright.router.invoke import Invoker
from loopwright.router.journal import Journal
from loopwright.router.publishing import Reader
from loopwright.router.routes import Routes
from loopwright.router.tallies import Tallies
from loopwright.router.upstream import Pool
from loopwright.router.watch import Watch

REFRESH_S: Final = 0.1
ALONE_S: Final = 120.0
DRAIN_S: Final = 30.0
# Of <malloc.h>.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 33_554_432


class Gateway:
    """The process: listens, keeps routes and keys fresh, drains on SIGTERM."""

    def __init__(self, home: Path, account: str, number: int = 0) -> None:
        self.home = home
        self._number = number
        self._reader = Reader(home)
        self.loop = asyncio.get_running_loop()
        self.control = "run/control.sock"
        self._keys = KeyFile(home / "keys.json")
        self.tallies = Tallies(home / "run", number)
        self.routes = Routes(home / "routes", self.tallies)
        self.pool = Pool(self.loop)
        self._journal = Journal(home, self.loop)
        watch = Watch(self.pool, self._journal)
        self.invoker = Invoker(self.routes, self._keys.read(), self.pool, watch, account)
        self.door = Door(self.loop, self.invoker, self.control)
        self._alone_since = time.monotonic()

    async def run(self, host: str, port: int) -> None:
        """Serve until SIGTERM, then finish what is under way."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, stopping.set)
        self.refresh()
        server = await self.loop.create_server(
            lambda: Client(self.door), host, port, backlog=1024, reuse_address=True,
            reuse_port=hasattr(socket, "SO_REUSEPORT"),
        )  # fmt: skip
        actual = server.sockets[0].getsockname()[1]
        state = {"pid": os.getpid(), "host": host, "port": actual}
        state |= {"number": self._number, "python": sys.executable}
        name = "gateway.json" if self._number == 0 else f"gateway-{self._number}.json"
        temporary = self.home / "run" / f".{name}"
        temporary.write_bytes(orjson.dumps(state))
        temporary.rename(self.home / "run" / name)
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), REFRESH_S)
            self.refresh()
            now = self.loop.time()
            for client in list(self.door.clients):
                client.check(now)
            self.pool.sweep(now)
            self._flush()
            if self._is_useless():
                break
        server.close()
        deadline = time.monotonic() + DRAIN_S
        while any(not client.idle for client in self.door.clients) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            self.refresh()
        for client in self.door.clients:
            client.stop()
        # What that has written leaves in the loop's next turns.
        await asyncio.sleep(0.05)
        self._journal.flush()
        self._flush(last=True)
        (self.home / "run" / name).unlink(missing_ok=True)
        self._reader.close()

    def _flush(self, last: bool = False) -> None:
        """Write down what was counted; a full disk must not end the gateway."""
        try:
            self.tallies.flush(last)
        except OSError as error:
            self.report(error)

    def refresh(self) -> None:
        """Look whether routes or keys changed."""
        try:
            if self.routes.refresh():
                self.pool.keep_only(
                    {
                        instance.address
                        for route in self.routes._routes.values()
                        for variant in (*route.variants, *(s.variant for s in route.shadows))
                        for instance in variant.instances
                    }
                )
            self._reader.tell(self.routes.versions)
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


async def _main(home: Path, argv: list[str]) -> None:
    host, port, account, *number = argv
    await Gateway(home, account, int(number[0]) if number else 0).run(host, int(port))


def keep_memory() -> None:
    """Let the C library keep what bodies free: else it gives the top of the heap back and asks
    for it again, page fault by page fault, with every larger body. A no-op where it cannot."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 2)


def main(argv: list[str]) -> None:
    """Run the gateway in its home folder: addresses of units are relative to it."""
    home = Path(argv[0])
    os.chdir(home)
    # What is there now stays: no collection need look at it again, nor often at what comes.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    keep_memory()
    uvloop.run(_main(home, argv[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
