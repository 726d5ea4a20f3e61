"""A steady load of kept connections on one endpoint, which knows each of its connections.

Requests are signed once, so that the load costs little beside what it is put on.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.server import Server, await_that

SIGNED_S = 120.0
PAUSE_S = 0.01


@dataclass
class Failure:
    """A request without its answer: the client's port, and what came instead."""

    port: int
    text: str


def signed(server: Server, endpoint: str, body: str) -> tuple[str, dict[str, str]]:
    """Path and headers of an invocation."""
    keys = json.loads((server.home / "keys.json").read_text())
    path = f"/endpoints/{endpoint}/invocations"
    made = AWSRequest(
        "POST", server.url + path, data=body, headers={"Content-Type": "application/json"}
    )
    SigV4Auth(Credentials(*next(iter(keys.items()))), "sagemaker", "us-east-1").add_auth(made)
    return path, {**dict(made.headers), "Content-Length": str(len(body))}


class Steady:
    """So many connections that invoke an endpoint until the end of the `with` block."""

    def __init__(self, server: Server, endpoint: str, body: str, connections: int = 32) -> None:
        self._server, self._endpoint, self._body = server, endpoint, body
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(connections)]
        self.failures: list[Failure] = []
        self.answers: list[dict[str, Any]] = []
        self.ports: dict[int, int] = {}

    def _run(self) -> None:
        place = urlsplit(self._server.url)
        me = threading.get_ident()
        path, headers, until = "", {}, 0.0
        connection: http.client.HTTPConnection | None = None
        while not self._stopping.is_set():
            if time.monotonic() > until:
                path, headers = signed(self._server, self._endpoint, self._body)
                until = time.monotonic() + SIGNED_S
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(place.hostname or "", place.port, 60)
                    connection.connect()
                    self.ports[me] = connection.sock.getsockname()[1]
                sent = time.monotonic()
                connection.request("POST", path, self._body, headers)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    self.failures.append(Failure(self.ports[me], content.decode()))
                else:
                    variant = answer.headers["x-Amzn-Invoked-Production-Variant"]
                    told = {"variant": variant, "sent": sent}
                    self.answers.append({**json.loads(content), **told})
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(Failure(self.ports.get(me, 0), repr(error)))
                if connection is not None:
                    connection.close()
                connection = None
            time.sleep(PAUSE_S)
        if connection is not None:
            connection.close()

    def __enter__(self) -> "Steady":
        for thread in self._threads:
            thread.start()
        self.more(1)
        return self

    def more(self, count: int, member: str = "by") -> Counter[str]:
        """So many answers from now on, by what they say of who gave them."""
        before = len(self.answers)
        await_that(lambda: len(self.answers) >= before + count or None, "answers")
        return Counter(answer[member] for answer in self.answers[before:])

    def all_by(self, value: str, member: str = "by") -> None:
        """All requests that are sent from now on are answered from there."""
        began, place = time.monotonic(), len(self.answers)

        def later() -> list[str] | None:
            found = [item[member] for item in self.answers[place:] if item["sent"] > began]
            return found if len(found) >= 300 else None

        assert Counter(await_that(later, "answers")).keys() == {value}

    @contextmanager
    def lossless(self) -> Iterator[None]:
        """No request fails within the block, nor shortly after it."""
        before = len(self.failures)
        yield
        self.more(100)
        assert self.failures[before:] == []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)


def ports_of(pid: int) -> set[int]:
    """The other sides' ports of a process's TCP connections."""
    links = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    inodes = {str(link)[8:-1] for link in links if str(link).startswith("socket:[")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes}
