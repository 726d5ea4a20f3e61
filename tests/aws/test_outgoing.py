"""Requests that the server makes of others: redirects, proxies, certificates, limits."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from loopwright import outgoing
from loopwright.outgoing import ask, proxy_of
from tests.real.certificates import certified

SECRET = {"X-Api-Key": "secret", "Authorization": "Basic x", "Content-Type": "text/plain"}


class Site:
    """A server that tells what it was asked; a path names what it does."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.asked: list[dict[str, Any]] = []
        self.elsewhere = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): text for name, text in self.headers.items()}
                site.asked.append(
                    {"method": self.command, "path": self.path, "headers": headers, "body": body}
                )
                self.close_connection = True
                if self.path == "/silent":
                    self.connection.recv(1)  # Until the other side has had enough.
                    return
                step = self.path.split("/")
                status = int(step[1]) if step[1].isdigit() else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", site.elsewhere or "/" + "/".join(step[2:]))
                content = b"x" * 5000
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

            def log_message(self, *_: Any) -> None:
                return

        class Listener(ThreadingHTTPServer):
            address_family = family

        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.server = Listener((host, 0), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.port = self.server.server_address[1]
        self.url = f"http://{shown}:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def test_a_request_is_sent_as_it_was_given(site: Site) -> None:
    headers = {"Content-Type": "application/json", "content-type": "text/csv", "X-One": "é"}
    answer = ask(f"{site.url}/a?b=1#c", "PUT", headers, b"body", timeout_s=5, bytes_max=10)
    assert (answer.status, answer.content) == (200, b"x" * 10)
    (asked,) = site.asked
    assert (asked["method"], asked["path"], asked["body"]) == ("PUT", "/a?b=1", b"body")
    assert asked["headers"]["content-type"] == "text/csv"
    assert asked["headers"]["x-one"] == "é"
    assert asked["headers"]["connection"] == "close"


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("PUT", 303, "GET"),
        ("HEAD", 302, "HEAD"),
        ("GET", 307, "GET"),
        ("GET", 308, "GET"),
        ("POST", 307, None),
        ("DELETE", 308, None),
        ("GET", 304, None),
    ],
)
def test_redirects(site: Site, method: str, status: int, then: str | None) -> None:
    answer = ask(f"{site.url}/{status}/end", method, SECRET, b"secret", timeout_s=5)
    assert answer.status == (200 if then else status)
    steps = [(step["method"], step["path"]) for step in site.asked]
    assert steps == [(method, f"/{status}/end"), *([(then, "/end")] if then else [])]
    if then:
        assert site.asked[1]["body"] == b""
        assert site.asked[1]["headers"]["x-api-key"] == "secret", "the same origin"


def test_another_origin_gets_nothing_that_is_secret(site: Site, other: Site) -> None:
    site.elsewhere = f"{other.url}/there"
    assert ask(f"{site.url}/302/x", "POST", SECRET, b"p", timeout_s=5).status == 200
    (asked,) = other.asked
    assert asked["path"] == "/there" and asked["headers"]["content-type"] == "text/plain"
    assert "secret" not in json.dumps(asked["headers"]) and "authorization" not in asked["headers"]


def test_redirects_end(site: Site) -> None:
    site.elsewhere = f"{site.url}/302/again"
    with pytest.raises(OSError, match="more than 10 redirects"):
        ask(f"{site.url}/302/again", timeout_s=5)
    assert len(site.asked) == 11


def test_who_is_silent_or_absent_is_an_error(site: Site) -> None:
    with pytest.raises(OSError, match="timed out"):
        ask(f"{site.url}/silent", timeout_s=0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            ask(f"http://127.0.0.1:{taken.getsockname()[1]}/", timeout_s=5)


@pytest.mark.parametrize(
    ("address", "headers", "match"),
    [
        ("ftp://127.0.0.1/", {}, "no http or https"),
        ("http:///path", {}, "no http or https"),
        ("http://[bad", {}, "."),
        ("http://ana:secret@127.0.0.1/", {}, "use a header"),
        ("http://127.0.0.1:1/", {"X": "a\r\nY: b"}, "header"),
        ("http://127.0.0.1:99999/", {}, "."),
    ],
)
def test_what_no_request_can_be_made_of(address: str, headers: dict[str, str], match: str) -> None:
    with pytest.raises((ValueError, OSError), match=match) as caught:
        ask(address, headers=headers, timeout_s=5)
    assert "secret" not in str(caught.value)


def test_proxies_are_the_environment_s_but_not_for_this_machine(
    site: Site, other: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://ana:p%40ss@127.0.0.1:{other.port}")
    ask(f"{site.url}/here", timeout_s=5)
    assert (len(site.asked), len(other.asked)) == (1, 0)
    ask("http://hooks.example/there", "POST", body=b"x", timeout_s=5)
    (asked,) = other.asked
    assert asked["path"] == "http://hooks.example/there"
    assert asked["headers"]["proxy-authorization"] == "Basic YW5hOnBAc3M="
    for here in (
        "http://localhost/",
        "http://a.localhost:1/",
        "http://[::1]:1/",
        "http://127.9.0.1/",
    ):
        assert proxy_of(urlsplit(here)) == ""
    monkeypatch.setenv("no_proxy", "hooks.example")
    assert proxy_of(urlsplit("http://hooks.example/")) == ""
    assert proxy_of(urlsplit("http://other.example/")) != ""


def test_names_in_other_letters_and_addresses_of_six(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outgoing._checked("http://bücher.example:8080/a")
    assert found.netloc == "xn--bcher-kva.example:8080"
    six = Site(socket.AF_INET6)
    assert ask(f"{six.url}/six", timeout_s=5).status == 200
    assert six.asked[0]["headers"]["host"] == f"[::1]:{six.port}"
    six.close()


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = certified(tmp_path)
    context.load_cert_chain(made.certificate, made.key_file)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    url = site.url.replace("http:", "https:")
    outgoing._trusted.cache_clear()
    with pytest.raises(OSError, match="certificate verify failed"):
        ask(url, timeout_s=5)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    outgoing._trusted.cache_clear()
    assert ask(url, timeout_s=5).status == 200
    site.elsewhere = site.url  # Plain http.
    with pytest.raises(OSError, match="from https to http"):
        ask(f"{url}/302/x", timeout_s=5)
    outgoing._trusted.cache_clear()
    site.close()
