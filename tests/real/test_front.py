"""The front page and `/health`: for browsers and operators, and while the server is away."""

import http.client
import json
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import ViewportSize

from tests.axe import axe_script
from tests.real.people import browsing
from tests.real.test_portal_access import faults
from tests.server import Server, await_that

pytestmark = pytest.mark.real
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def _get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """(status, content type, body) of an unsigned request."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, path, headers={"Accept": "*/*", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"] or "", answer.read().decode()
    finally:
        connection.close()


def _health(server: Server) -> tuple[int, dict[str, Any]]:
    status, kind, body = _get(server, "/health")
    assert kind == "application/json"
    return status, json.loads(body)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_front_page_in_a_browser(server: Server, width: int) -> None:
    with browsing() as browser:
        page = browser.new_page(viewport=ViewportSize(width=width, height=800))
        refused: list[str] = []
        page.on("console", lambda told: refused.append(told.text))
        page.goto(server.url)
        assert page.get_by_role("status").inner_text().startswith("Ready")
        assert "loopwright env" in page.inner_text("main") and server.url in page.inner_text("main")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert faults(page, axe_script()) == []
        assert refused == []
        page.get_by_role("link", name="Go to work").click()
        assert page.url.startswith(f"{server.url}/work")


def test_health_is_for_everybody_and_shadows_no_bucket(server: Server) -> None:
    status, told = _health(server)
    assert (status, told["alive"], told["ready"]) == (200, True, True)
    assert set(told) == {"alive", "ready", "version"}
    assert _get(server, "/health", "HEAD")[0] == 200
    s3 = server.client("s3")
    s3.create_bucket(Bucket="health")
    s3.put_object(Bucket="health", Key="a", Body=b"x")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="health")["Contents"]] == ["a"]
    s3.head_bucket(Bucket="health")
    link = s3.generate_presigned_url("list_objects_v2", {"Bucket": "health"})
    assert "<Key>a</Key>" in _get(server, link.removeprefix(server.url))[2]
    s3.delete_object(Bucket="health", Key="a")
    s3.delete_bucket(Bucket="health")
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="health")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [("GET", "/", {}), ("PUT", "/health", {}), ("POST", "/health", {}), ("DELETE", "/health", {}),
     ("GET", "/health/key", HTML), ("GET", "/other", HTML)],
)  # fmt: skip
def test_what_is_no_page_is_s3_s_as_before(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    status, _, body = _get(server, path, method, **headers)
    assert status == 403 and "<Code>AccessDenied</Code>" in body


def test_a_signed_request_for_html_is_s3_s(server: Server) -> None:
    s3 = server.client("s3")
    s3.meta.events.register(
        "before-sign.s3", lambda request, **_: request.headers.add_header("Accept", "text/html")
    )
    assert isinstance(s3.list_buckets()["Buckets"], list)


def test_a_server_that_is_away_or_hangs_says_so(own_server: Server) -> None:
    process = own_server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    status, told = _health(own_server)
    assert (status, told["ready"]) == (503, False)
    assert "within" in told["reason"]
    process.send_signal(signal.SIGCONT)
    await_that(lambda: _health(own_server)[0] == 200 or None, "the server to go on")
    own_server.kill()
    status, told = _health(own_server)
    assert (status, told["alive"], told["ready"]) == (503, True, False)
    assert "loopwright serve" in told["reason"]
    status, kind, body = _get(own_server, "/", **HTML)
    assert (status, kind) == (503, "text/html; charset=utf-8")
    assert "loopwright serve" in body
    # What outlived it is listed, and taken up again.
    listed = own_server.cli("ps", check=False)
    assert listed.returncode == 1
    assert listed.stdout.startswith("gateway\t") and str(own_server.port) in listed.stdout
    assert "1 gateway" in listed.stderr and "takes them up again" in listed.stderr
    shown = own_server.cli("ps", "--json", check=False)
    found = json.loads(shown.stdout)
    assert (shown.returncode, found["url"]) == (1, None)
    assert [item["what"] for item in found["processes"]] == ["gateway"]
    pid = found["processes"][0]["pid"]
    own_server.start()
    assert _health(own_server)[0] == 200
    processes = json.loads(own_server.cli("ps", "--json").stdout)["processes"]
    assert pid in [item["pid"] for item in processes if item["what"] == "gateway"]
