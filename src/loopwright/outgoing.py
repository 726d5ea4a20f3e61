"""Requests that the server itself makes of others' addresses: webhooks, sign-in providers.

By urllib3, which botocore brings and loads anyway. It checks certificates against the system's
authorities, or those of `SSL_CERT_FILE`. Proxies are those of the environment, as in the standard
library, but none is asked for an address of this machine. Redirects are followed here: urllib3
would send a payload, and what is secret in its headers, again to wherever an answer points.
"""

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

REDIRECTS_MAX: Final = 10
AS_GET: Final = (301, 302, 303)
SAME: Final = (307, 308)
HARMLESS: Final = ("accept", "content-type", "user-agent")
"""Headers that may go on to another origin."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status that is no followed redirect, and the first bytes of the body."""

    status: int
    content: bytes


def ask(
    address: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    timeout_s: float,
    bytes_max: int = 0,
) -> Answer:
    """Make one request, once.

    Of a redirect (301, 302, 303) a GET without the body follows, or a HEAD; 307 and 308 are
    followed for these two only. Another origin gets no header that may be secret, and nothing goes
    from https to http.

    Args:
        address: http or https.
        timeout_s: For connecting, and for each wait for bytes.
        bytes_max: How much of the body is read.

    Raises:
        OSError: no answer: unreachable, too slow, a wrong certificate, no HTTP, too many redirects.
        ValueError: the address or a header is none that a request can be made of.
    """
    given = HTTPHeaderDict()
    for name, text in (headers or {}).items():
        given[name] = text  # Of one name in other letters the later counts.
    for _ in range(REDIRECTS_MAX + 1):
        answer, place = _once(address, method, given, body, (timeout_s, bytes_max))
        follows = answer.status in AS_GET or (answer.status in SAME and method in ("GET", "HEAD"))
        if not follows or not place:
            return answer
        before, now = urlsplit(address), urlsplit(urljoin(address, place))
        if (before.scheme, now.scheme) == ("https", "http"):
            raise OSError(f"{address} leads from https to {now.geturl()}")
        if (before.scheme, before.netloc) != (now.scheme, now.netloc):
            given = HTTPHeaderDict(
                {name: text for name, text in given.items() if name.lower() in HARMLESS}
            )
        address, body = now.geturl(), None
        method = "HEAD" if method == "HEAD" else "GET"
    raise OSError(f"{address} is the end of more than {REDIRECTS_MAX} redirects")


def _once(
    address: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    limits: tuple[float, int],
) -> tuple[Answer, str]:
    """An answer and where it points."""
    parts = _checked(address)
    timeout_s, bytes_max = limits
    try:
        with _manager(parts) as manager:
            found = manager.request(
                method, urlunsplit(parts), body=body, headers={"Connection": "close", **headers},
                timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
                retries=False, redirect=False, preload_content=False,
            )  # fmt: skip
            content = found.read(bytes_max, decode_content=False) if bytes_max else b""
            place = found.headers.get("Location", "")
            found.close()
    except HTTPError as error:
        if isinstance(error, ValueError):
            raise
        raise OSError(str(error)) from None
    return Answer(found.status, content), place


def _checked(address: str) -> SplitResult:
    """The parts of an address, its host in the letters that DNS knows."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address} is no http or https address")
    if "@" in parts.netloc:
        raise ValueError(f"{parts.hostname}: a user in an address is not sent; use a header")
    if not parts.netloc.isascii():
        host = parts.hostname.encode("idna").decode()
        parts = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host)
    return parts


def _manager(parts: SplitResult) -> urllib3.PoolManager:
    proxy = proxy_of(parts)
    if not proxy:
        return urllib3.PoolManager(ssl_context=_trusted())
    at = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = None
    if at.username:
        headers = make_headers(
            proxy_basic_auth=f"{unquote(at.username)}:{unquote(at.password or '')}"
        )
    bare = urlunsplit(at._replace(netloc=at.netloc.rpartition("@")[2]))
    return urllib3.ProxyManager(bare, proxy_headers=headers, ssl_context=_trusted())


def proxy_of(parts: SplitResult) -> str:
    """The environment's proxy for an address; empty for none."""
    host = parts.hostname or ""
    if _is_here(host) or proxy_bypass(parts.netloc):
        return ""
    return getproxies().get(parts.scheme, "")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@lru_cache(1)
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()
