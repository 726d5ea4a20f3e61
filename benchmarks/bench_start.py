"""From the start of `loopwright serve` to its first answer, against the imports that it needs.

The floor is a Python process that imports botocore, SQLAlchemy and uvicorn and ends. The server
is measured on a new home and on one that it has used before.
"""

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import client, connected, folder, free_port, ratio, remark, sent_by, table, timed

from loopwright.keys import KeyFile

ROUNDS = 5
FLOOR = "import botocore.session, sqlalchemy, uvicorn"
TIMEOUT_S = 60.0


def main() -> None:
    found: dict[str, list[float]] = {"imports alone": [], "new home": [], "used home": []}
    with folder() as used:
        started(used)
        for _ in range(ROUNDS):
            floor = [sys.executable, "-c", FLOOR]
            found["imports alone"].append(timed(lambda floor=floor: subprocess.check_call(floor)))
            with folder() as new:
                found["new home"].append(started(new))
            found["used home"].append(started(used))
    rows = [
        [
            name,
            f"{statistics.median(values):.2f}",
            f"{min(values):.2f}",
            f"{ratio(values, found['imports alone']):.2f}",
        ]
        for name, values in found.items()
    ]
    table(
        "Start of `loopwright serve` until a signed ListTrainingJobs is answered",
        ["", "s (median)", "s (least)", "x imports"],
        rows,
    )
    remark()


def started(home: Path) -> float:
    """Seconds from the start of a server on this home to its first answer; it is stopped then."""
    port = free_port()
    key = KeyFile(home / "keys.json").ensure()
    sagemaker = client("sagemaker", f"http://127.0.0.1:{port}", key)
    request = sent_by(sagemaker, "list_training_jobs")
    command = [sys.executable, "-m", "loopwright.cli"]
    options = ["--home", str(home)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "serve", *options, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while not _answers(port, request):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {process.communicate()[1].decode()[-2000:]}")
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError(f"the server did not answer within {TIMEOUT_S:g} s")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        subprocess.run([*command, "stop", *options], check=True, stdout=subprocess.DEVNULL)
        process.communicate(timeout=60)


def _answers(port: int, request: bytes) -> bool:
    """Whether this signed request is answered with 200 now."""
    with contextlib.suppress(OSError), connected(port) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(request)
        return _status(connection) == b"200"
    return False


def _status(connection: socket.socket) -> bytes:
    return connection.recv(65536).partition(b" ")[2][:3]


if __name__ == "__main__":
    main()
