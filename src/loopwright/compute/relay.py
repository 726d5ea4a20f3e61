"""Connections into and out of a container's network, without a route between the two.

A thread may enter another process's network namespace by itself (setns(2)); the sockets that it
makes there belong to it. So a server in a container that has no network is reached by a Unix
socket of this machine, and this machine's loopback address by a container on a bridge.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from loopwright.compute.sandbox import NEWNET

PIECE_BYTES: Final = 256 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Open = Callable[[], Awaitable[Streams]]


class RelayError(Exception):
    """The container's network cannot be entered; the text says why."""


def reach(pid: int, port: int, path: Path) -> None:
    """Let a Unix socket at `path`, whose folder is the working folder, lead to a container's port.

    Raises:
        RelayError: this process may not enter the container's network.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path.name)
    listener.listen(256)
    _in_thread(lambda: _serve(listener, lambda: asyncio.open_connection("127.0.0.1", port)), pid)


def lend(pid: int, port: int) -> None:
    """Let the container reach a port of this machine's loopback address at the same port.

    Raises:
        RelayError: this process may not enter the container's network.
    """
    made: list[socket.socket] = []

    def listen() -> None:
        made.append(socket.create_server(("127.0.0.1", port)))

    _in_thread(listen, pid).join()
    if not made:
        raise RelayError(f"port {port} of the container's network is taken")
    _in_thread(lambda: _serve(made[0], lambda: asyncio.open_connection("127.0.0.1", port)), None)


def _in_thread(work: Callable[[], None], pid: int | None) -> threading.Thread:
    """Run something in a thread of its own, inside the network of a process if one is given."""
    entered = threading.Event()
    failed: list[str] = []

    def run() -> None:
        try:
            if pid is not None:
                _enter(pid)
        except OSError as error:
            failed.append(str(error))
            return
        finally:
            entered.set()
        work()

    thread = threading.Thread(target=run, daemon=True, name="relay")
    thread.start()
    entered.wait()
    if failed:
        raise RelayError(f"the container's network cannot be entered: {failed[0]}")
    return thread


def _enter(pid: int) -> None:
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(handle)


def _serve(listener: socket.socket, there: Open) -> None:
    """Relay every connection, until the process ends."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                far_reader, far_writer = await there()
            except OSError:
                return
            with contextlib.closing(far_writer):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async def run() -> None:
        unix = listener.family == socket.AF_UNIX
        start = asyncio.start_unix_server if unix else asyncio.start_server
        server = await start(relay, sock=listener)
        async with server:
            await server.serve_forever()

    asyncio.run(run())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
