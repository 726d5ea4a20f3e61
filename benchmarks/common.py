"""What the benchmarks share: servers, signed requests, load, CPU time of processes, tables.

Figures of wall time depend on what else the machine does; the CPU time of the servers depends on
it much less. So every benchmark measures its peers in the same run, in rounds that take turns, and
shows the median of the rounds' ratios.
"""

import contextlib
import os
import pickle
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
from tests.server import Server  # noqa: E402 - found only with the path above.

REGION = "us-east-1"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder with a short path, because Unix sockets lie below it."""
    path = Path(tempfile.mkdtemp(prefix="lw-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def loopwright(*options: str) -> Iterator[Server]:
    """A running `loopwright serve` on a new home."""
    with folder() as path:
        server = Server(path / "home", cpus=2, options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def spawned(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block; what it said is shown when it ended by itself."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield process
        finally:
            if process.poll() is not None:
                output.seek(0)
                sys.stderr.write(output.read().decode("utf-8", "replace")[-3000:])
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_listening(
    address: str | int, process: subprocess.Popen[bytes], seconds: float = 30
) -> None:
    """Return once a TCP port (int) or a Unix socket (str) takes connections.

    Raises:
        RuntimeError: the process ended.
        TimeoutError: nobody listens in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with code {process.returncode}")
        try:
            connected(address).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nobody listens at {address} after {seconds:g} s")


def connected(address: str | int) -> socket.socket:
    """A blocking connection to a port of 127.0.0.1 or to a Unix socket."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        return connection
    return socket.create_connection(("127.0.0.1", address))


def client(service: str, url: str, key: tuple[str, str]) -> Any:
    """A boto3 client that asks once."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=Config(retries={"max_attempts": 0}),
    )


def sent_by(client: Any, operation: str, **parameters: Any) -> bytes:
    """The bytes that boto3 sends for a call, with all its headers and its signature."""
    kept: list[bytes] = []

    def keep(request: Any, **_: Any) -> AWSResponse:
        path = "/" + request.url.split("/", 3)[3]
        body = request.body or b""
        lines = [f"{request.method} {path} HTTP/1.1", f"Host: {request.url.split('/')[2]}"]
        for name, value in request.headers.items():
            text = value.decode() if isinstance(value, bytes) else value
            lines.append(f"{name}: {text}")
        kept.append("\r\n".join(lines).encode() + b"\r\n\r\n" + bytes(body))
        return AWSResponse(request.url, 200, {"Content-Type": "application/json"}, _Nothing())

    name = f"before-send.{client.meta.service_model.service_id.hyphenize()}"
    client.meta.events.register_first(name, keep)
    try:
        getattr(client, operation)(**parameters)
    finally:
        client.meta.events.unregister(name, keep)
    return kept[0]


class _Nothing:
    """The body of an answer that never came, as botocore reads it."""

    def read(self, *_: Any) -> bytes:
        return b""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        return iter((b"{}",))


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces, so count the fields behind it.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found, grown = [], [pid]
    while grown:
        found.append(grown.pop())
        grown += parents.get(found[-1], [])
    return found


@dataclass(frozen=True)
class Load:
    """What a load of some seconds showed.

    Attributes:
        cpu_us: CPU time of the watched processes a request.
        p50_ms, p99_ms: Of the time from sending to the whole answer.
    """

    requests: int
    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def load(
    address: str | int,
    connections: int,
    seconds: float,
    requests: Sequence[tuple[bytes, Any]],
    pids: Sequence[int],
) -> Load:
    """Keep connections busy from a process of its own; every answer must be right.

    Args:
        requests: (bytes to send, JSON value of the right answer), sent in turn.
        pids: Processes whose CPU time is watched.

    Raises:
        RuntimeError: a wrong answer or a closed connection.
    """
    plan = {
        "address": address, "connections": connections, "seconds": seconds,
        "requests": list(requests), "pids": list(pids),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(HERE / "load.py")],
        input=pickle.dumps(plan),
        capture_output=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError(f"the load on {address} failed: {done.stderr.decode()[-2000:]}")
    return Load(**pickle.loads(done.stdout))


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their heads, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print(f"\n{title}")
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip())


def goal(what: str, value: float, most: float, unit: str = "x") -> None:
    """Print a goal with what was measured. A missed goal is a finding, not a failure."""
    word = "met" if value <= most else "MISSED"
    print(f"  goal: {what} <= {most:g}{unit}: {value:.2f}{unit}, {word}")


def remark() -> None:
    """Print how busy the machine was, since that bends every figure of wall time."""
    busy = os.getloadavg()[0]
    print(f"\n({os.cpu_count()} CPUs, load average {busy:.1f} at the end)")
