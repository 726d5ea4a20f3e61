"""A webhook of the tests' own, and a rule of EventBridge that brings events to it."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.server import Server

SECRET = "sesame"


@dataclass
class Hook:
    """Where it listens, and what it got: the header X-Secret and the body of each request."""

    address: str = ""
    got: list[tuple[str | None, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [body for _, body in self.got]


@contextmanager
def listening(refused: int = 0) -> Iterator[Hook]:
    """A webhook that answers its first `refused` requests with 500."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((self.headers.get("X-Secret"), json.loads(body)))
            self.send_response(500 if len(hook.got) <= refused else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield hook
    server.shutdown()
    server.server_close()


def destination(server: Server, hook: Hook) -> str:
    """An API destination at the hook, with its secret; the ARN."""
    events = server.client("events")
    name = f"hook-{uuid.uuid4().hex[:8]}"
    key = {"ApiKeyName": "X-Secret", "ApiKeyValue": SECRET}
    connection = events.create_connection(
        Name=name, AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
    )
    described = events.describe_connection(Name=name)
    assert described["AuthParameters"]["ApiKeyAuthParameters"] == {"ApiKeyName": "X-Secret"}
    made = events.create_api_destination(
        Name=name,
        ConnectionArn=connection["ConnectionArn"],
        InvocationEndpoint=hook.address,
        HttpMethod="POST",
    )
    return str(made["ApiDestinationArn"])


@contextmanager
def told(server: Server, pattern: dict[str, Any]) -> Iterator[Hook]:
    """A webhook that gets the events that a pattern wants, while the block lasts."""
    events = server.client("events")
    name = f"told-{uuid.uuid4().hex[:8]}"
    with listening() as hook:
        target = {"Id": "hook", "Arn": destination(server, hook)}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[target])
        yield hook
        events.remove_targets(Rule=name, Ids=["hook"])
        events.delete_rule(Name=name)
