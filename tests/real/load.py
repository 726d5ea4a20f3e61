"""A steady load of many connections on one endpoint, and what came back."""

import json
import threading
from collections import Counter
from types import TracebackType
from typing import Any

from tests.server import Server, await_that


class Load:
    """Threads that invoke an endpoint until the end of the `with` block."""

    def __init__(self, server: Server, endpoint: str, body: str, threads: int = 8) -> None:
        self._stopping = threading.Event()
        self._clients = [server.client("sagemaker-runtime") for _ in range(threads)]
        self._endpoint = endpoint
        self._body = body
        self._threads = [
            threading.Thread(target=self._run, args=(client,)) for client in self._clients
        ]
        self.failures: list[Exception] = []
        self.answers: list[Any] = []

    def _run(self, client: Any) -> None:
        while not self._stopping.is_set():
            try:
                answer = client.invoke_endpoint(
                    EndpointName=self._endpoint,
                    Body=self._body,
                    ContentType="application/json",
                )
                self.answers.append(json.loads(answer["Body"].read()))
            except Exception as error:  # noqa: BLE001 - any failure is what the test is about.
                self.failures.append(error)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.more(1)
        return self

    def more(self, count: int) -> Counter[str]:
        """So many answers from now on, by the model that gave them."""
        before = len(self.answers)
        await_that(lambda: len(self.answers) >= before + count or None, "answers")
        return Counter(answer["by"] for answer in self.answers[before:])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
