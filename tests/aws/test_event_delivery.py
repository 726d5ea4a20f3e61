"""The outbox: an event that cannot be delivered keeps no other one waiting."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loopwright.aws.events.bus import Bus
from loopwright.aws.events.delivery import Delivery
from loopwright.aws.events.tables import METADATA
from loopwright.database import Database

REGION = "us-east-1"


@pytest.fixture
def address() -> Iterator[tuple[str, list[str]]]:
    got: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    database = Database(f"sqlite:///{tmp_path}/events.db")
    METADATA.create_all(database.engine)
    bus = Bus(database, "123456789012")
    bus.put_entry("connection", REGION, "c", {"AuthParameters": {}})
    yield bus
    database.close()


def aimed(bus: Bus, name: str, endpoint: str, headers: dict[str, str] | None = None) -> None:
    """A rule with one target."""
    arn = f"arn:aws:events:{REGION}:1:api-destination/{name}/x"
    bus.put_entry("rule", REGION, name, {"Name": name, "EventPattern": '{"source": ["shop"]}'})
    target: dict[str, Any] = {"Id": "t", "Arn": arn, "RetryPolicy": {"MaximumRetryAttempts": 1}}
    if headers:
        target["HttpParameters"] = {"HeaderParameters": headers}
    bus.put_entry("target", REGION, f"{name}/t", target)
    document = {
        "ConnectionArn": f"arn:aws:events:{REGION}:1:connection/c/x", "HttpMethod": "POST",
        "InvocationEndpoint": endpoint,
    }  # fmt: skip
    bus.put_entry("destination", REGION, name, document)


def test_targets_that_cannot_be_asked_stop_no_others(
    bus: Bus, address: tuple[str, list[str]]
) -> None:
    url, got = address
    aimed(bus, "a-header", url, {"X-Bad": "one\r\ntwo"})
    aimed(bus, "b-letters", url, {"X-Bad": "\u2603"})
    aimed(bus, "c-address", "http://[bad")
    aimed(bus, "d-good", f"{url}/good")
    event = {"id": "1", "region": REGION, "source": "shop", "detail-type": "x", "time": 0.0,
             "detail": {}}  # fmt: skip
    bus.put(event)
    bus.put(event)
    delivery = Delivery(bus, lambda *_: None)
    assert delivery.round(time.time()) == 4
    assert got == ["/good"]
    # The others are tried once more, as their policy says, and then given up.
    assert delivery.round(time.time() + 600) == 3
    assert bus.due(time.time() + 1200) == []


def test_a_destination_gets_no_more_a_second_than_it_allows(
    bus: Bus, address: tuple[str, list[str]]
) -> None:
    url, got = address
    aimed(bus, "slow", f"{url}/slow")
    slow = bus.entry("destination", REGION, "slow")
    assert slow is not None
    bus.put_entry("destination", REGION, "slow", {**slow, "InvocationRateLimitPerSecond": 2})
    aimed(bus, "other", f"{url}/other")
    for number in range(5):
        bus.put({"id": str(number), "region": REGION, "source": "shop", "detail-type": "x",
                 "time": 0.0, "detail": {}})  # fmt: skip
    delivery, start = Delivery(bus, lambda *_: None), time.time()
    counts = []
    for step in range(41):
        delivery.round(start + step / 10)
        counts.append(got.count("/slow"))
    # One every half second, while the other destination's are all sent at once.
    assert counts[0] == 1 and counts[4] == 1 and counts[5] == 2
    assert counts[10] == 3 and counts[20] == 5 and counts[-1] == 5
    assert got[:10].count("/other") == 5 and len(got) == 10
