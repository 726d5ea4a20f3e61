"""MPI over the hosts of a job: what stands in for ssh between mpirun and the other hosts.

`mpirun` on the first host starts a daemon of Open MPI on each other one by a "remote shell"
(`plm_rsh_agent`). Here that is `agent HOST COMMAND…`, which hands the command to the process that
waits on that host (`wait`), and ends as the command does there. The two prove to each other that
they know the job's key (HMAC-SHA256 over fresh random bytes of both), so that no other job of the
machine can have anything run. The waiting process runs one command, then ends with its exit code.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from typing import Final, Protocol

from loopwright.runtime.paths import tree
from loopwright.runtime.rank import HOST_FILE, JOIN, JOIN_S, tell

KEY: Final = ".loopwright/gang.key"
"""Below the unit's base: what all hosts of a job know and nobody else does."""
PORT: Final = 7778
NONCE_BYTES: Final = 32
LINE_BYTES_MAX: Final = 1_048_576
RETRY_S: Final = 0.2
REASON_BYTES_MAX: Final = 4096


class Stream(Protocol):
    """A connection as a file."""

    def write(self, content: bytes, /) -> int: ...
    def flush(self) -> None: ...
    def readline(self, size: int, /) -> bytes: ...


class Stranger(Exception):
    """The other side does not know the job's key."""


def agent(host: str, command: list[str]) -> int:
    """Have a command run on another host of the job; its exit code."""
    deadline = time.monotonic() + _join_s()
    while True:
        try:
            with socket.create_connection((host, PORT), timeout=RETRY_S) as connection:
                connection.settimeout(None)
                return _ask(connection, " ".join(command))
        except OSError as error:
            if time.monotonic() >= deadline:
                sys.stderr.write(f"{host} did not join within {_join_s():g} s: {error}\n")
                return 1
            time.sleep(RETRY_S)


def _ask(connection: socket.socket, command: str) -> int:
    with connection.makefile("rwb") as stream:
        _prove(stream, first=True)
        _write(stream, {"command": command})
        ended = _read(stream)
    if ended["reason"]:
        tell(str(ended["reason"]))
    return int(str(ended["code"]))


def wait(host: str) -> int:
    """Wait for the command of the first host and run it; its exit code."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, PORT))
        listener.listen(4)
        deadline = time.monotonic() + _join_s()
        while True:
            listener.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                sys.stderr.write(f"the first host did not ask within {_join_s():g} s\n")
                return 1
            with connection, contextlib.suppress(Stranger, ValueError, KeyError):
                connection.settimeout(10.0)
                return _serve(connection)


def _serve(connection: socket.socket) -> int:
    with connection.makefile("rwb") as stream:
        _prove(stream, first=False)
        command = str(_read(stream)["command"])
        connection.settimeout(None)
        code = subprocess.run(["/bin/sh", "-c", command], check=False).returncode
        reason = _told()
        with contextlib.suppress(OSError):
            _write(stream, {"code": code, "reason": reason})
    return code or int(bool(reason))


def _told() -> str:
    """Why the first rank of this host failed that did; empty: none."""
    try:
        with open(os.environ[HOST_FILE], encoding="utf-8", errors="replace") as stream:
            return stream.read(REASON_BYTES_MAX)
    except (OSError, KeyError):
        return ""


def _prove(stream: Stream, *, first: bool) -> None:
    """Both sides show that they know the key, each over the other's fresh bytes.

    Raises:
        Stranger: the other side does not.
    """
    own = secrets.token_hex(NONCE_BYTES)
    _write(stream, {"nonce": own})
    other = str(_read(stream)["nonce"])
    sides = ("asks", "runs") if first else ("runs", "asks")
    _write(stream, {"proof": _mark(f"{sides[0]}/{other}/{own}")})
    wanted = _mark(f"{sides[1]}/{own}/{other}")
    if not hmac.compare_digest(str(_read(stream)["proof"]), wanted):
        raise Stranger


def _mark(text: str) -> str:
    key = (tree().base / KEY).read_bytes()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _write(stream: Stream, document: dict[str, object]) -> None:
    stream.write(json.dumps(document).encode() + b"\n")
    stream.flush()


def _read(stream: Stream) -> dict[str, object]:
    line = stream.readline(LINE_BYTES_MAX)
    return dict(json.loads(line))


def _join_s() -> float:
    return float(os.environ.get(JOIN, JOIN_S))


def command(mpirun: str, hosts: list[str], per_host: int, interface: str) -> list[str]:
    """mpirun over several hosts, from the first of them."""
    shell = f"{sys.executable} -m loopwright.runtime.mpi agent"
    settings = {
        "plm_rsh_agent": shell,
        "plm_rsh_no_tree_spawn": "1",
        # Else the daemons leave their parents, whose end would end them here.
        "orte_leave_session_attached": "1",
        "orte_keep_fqdn_hostnames": "1",
        "oob_tcp_if_include": interface,
        "btl": "tcp,self",
        "btl_tcp_if_include": interface,
    }
    given = [word for name, value in settings.items() for word in ("--mca", name, value)]
    places = ",".join(f"{host}:{per_host}" for host in hosts)
    return [mpirun, *given, "-H", places, "-np", str(per_host * len(hosts))]


def main(argv: list[str]) -> int:
    """`agent HOST COMMAND…` or `wait HOST`."""
    verb, host, *rest = argv
    return agent(host, rest) if verb == "agent" else wait(host)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
