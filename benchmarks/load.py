"""The load client: keeps connections busy and checks every answer; started by `common.load`.

Takes a pickled plan on stdin, gives a pickled result on stdout. Uses nothing but the standard
library, so that it starts in some milliseconds, and blocking sockets under epoll, which cost less
than an event loop: on a small machine the client takes its CPU from the server that it measures.
"""

import contextlib
import json
import os
import pickle
import re
import select
import socket
import sys
import time
from typing import Any

WARM_S = 0.25
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Wire:
    """One connection, with the request that is under way."""

    def __init__(self, address: str | int, first: int) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(("127.0.0.1", address))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.turn = first
        self.sent_at = 0.0
        self.held = b""


class Client:
    """All connections, and the answers that are known to be right."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._requests = [request for request, _ in plan["requests"]]
        self._wanted = [answer for _, answer in plan["requests"]]
        self._right: list[bytes | None] = [None] * len(self._requests)
        self._poll = select.epoll()
        self._wires: dict[int, Wire] = {}
        self.latencies: list[float] = []
        for index in range(plan["connections"]):
            wire = Wire(plan["address"], index)
            self._wires[wire.socket.fileno()] = wire
            self._poll.register(wire.socket, select.EPOLLIN)
            self._send(wire)

    def run_until(self, deadline: float) -> None:
        """Answer after answer, request after request."""
        while (now := time.perf_counter()) < deadline:
            for number, _ in self._poll.poll(deadline - now + 0.001):
                wire = self._wires[number]
                wire.held += wire.socket.recv(262144)
                if self._take(wire):
                    self.latencies.append(time.perf_counter() - wire.sent_at)
                    self._send(wire)

    def _send(self, wire: Wire) -> None:
        wire.turn = (wire.turn + 1) % len(self._requests)
        wire.sent_at = time.perf_counter()
        wire.socket.sendall(self._requests[wire.turn])

    def _take(self, wire: Wire) -> bool:
        """Whether the answer is complete; it must be right."""
        held = wire.held
        if not held:
            raise SystemExit("The server closed a connection.")
        end = held.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(held, 0, end)
        body = held[end + 4 :]
        if length is None:
            if CHUNKED.search(held, 0, end) is None:
                raise SystemExit(f"An answer without length: {held[:300]!r}")
            if not body.endswith(b"0\r\n\r\n"):
                return False
            body = unchunked(body)
        elif len(body) < int(length[1]):
            return False
        if body != self._right[wire.turn]:
            self._first(wire.turn, held, body)
        wire.held = b""
        return True

    def _first(self, turn: int, whole: bytes, body: bytes) -> None:
        """Check by value what is compared as bytes from now on."""
        wanted = self._wanted[turn]
        if not whole.startswith(b"HTTP/1.1 200") or json.loads(body) != wanted:
            raise SystemExit(f"Wanted {wanted!r}, but the answer is {whole[:600]!r}")
        self._right[turn] = body


def unchunked(body: bytes) -> bytes:
    """The content of a chunked body that is complete."""
    content, at = b"", 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            return content
        content += body[end + 2 : end + 2 + size]
        at = end + 4 + size


def cpu_s(pids: list[int]) -> float:
    """CPU time of processes: by the nanosecond, since a tick of /proc/PID/stat has 10 ms."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with (
                    contextlib.suppress(OSError),
                    open(f"/proc/{pid}/task/{task}/schedstat") as text,
                ):
                    total += int(text.read().split()[0])
    return total / 1e9


def main() -> None:
    plan = pickle.load(sys.stdin.buffer)
    client = Client(plan)
    client.run_until(time.perf_counter() + WARM_S)
    client.latencies.clear()
    used, started = cpu_s(plan["pids"]), time.perf_counter()
    client.run_until(started + plan["seconds"])
    used, took = cpu_s(plan["pids"]) - used, time.perf_counter() - started
    times = sorted(client.latencies)
    if not times:
        raise SystemExit("No request was answered in time.")
    result = {
        "requests": len(times),
        "per_s": len(times) / took,
        "cpu_us": used / len(times) * 1e6,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
    }
    sys.stdout.buffer.write(pickle.dumps(result))


if __name__ == "__main__":
    main()
