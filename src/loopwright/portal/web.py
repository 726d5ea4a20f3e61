"""What every page needs: headers, cookies, the checks of a form, the looks of a page."""

import hmac
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from loopwright.wire.http import PEER

COOKIE: Final = "loopwright_work"
FORM_COOKIE: Final = "loopwright_form"
FOLDER: Final = Path(__file__).parent
FORM_BYTES_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 12 * 1024 * 1024
HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?")
PAGE_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
PAGES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Refused(Exception):
    """A request that is answered by a page saying why not."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of ours, by its template."""
    content = PAGES.get_template(f"{template}.html").render(
        {"title": "Work", "worker": None, "csrf": "", **values}
    )
    return HTMLResponse(content, status, {**HEADERS, "Content-Security-Policy": PAGE_POLICY})


def to(path: str) -> Response:
    """Go there."""
    return Response(status_code=303, headers={**HEADERS, "Location": path})


def as_json(value: Mapping[str, Any], status: int = 200) -> Response:
    """An answer to a page's own call."""
    return Response(orjson.dumps(value), status, {**HEADERS, "Content-Type": "application/json"})


def origin(request: Request) -> str:
    """Scheme and host under which the browser knows us.

    Raises:
        Refused: the host is no host.
    """
    host = request.headers.get("host", "")
    if HOST.fullmatch(host) is None:
        raise Refused(400, "The Host header is no host name.")
    scheme = request.headers.get("x-forwarded-proto", "http")
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


def check_origin(request: Request) -> None:
    """Refuse what another site's page had the browser send.

    Raises:
        Refused: the browser says so by Origin or Sec-Fetch-Site.
    """
    given = request.headers.get("origin")
    if given is not None and given != origin(request):
        raise Refused(403, "This request came from another site.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "This request came from another site.")


def check_csrf(given: str, wanted: str) -> None:
    """Refuse a form that was not made for this session.

    Raises:
        Refused: the token is another.
    """
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused(403, "This page is out of date. Go back, load it again, and try once more.")


async def form(request: Request) -> dict[str, str]:
    """The fields of a submitted form.

    Raises:
        Refused: too large, or no form.
    """
    body = await limited(request, FORM_BYTES_MAX)
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "This address takes a form.")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
        # A zero byte is in no text that every database takes.
        return {
            name: value.replace("\0", "\N{REPLACEMENT CHARACTER}") for name, value in fields.items()
        }
    except ValueError:
        raise Refused(400, "The form cannot be read.") from None


async def limited(request: Request, bytes_max: int) -> bytes:
    """The body.

    Raises:
        Refused: it has more bytes than allowed.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise Refused(413, f"This is larger than {bytes_max} bytes.")
        parts.append(chunk)
    return b"".join(parts)


def peer(request: Request) -> str:
    """Where the request came from, as the gateway says."""
    return request.headers.get(PEER, "")


def set_cookie(response: Response, request: Request, name: str, value: str, lasts_s: int) -> None:
    """A cookie that no script reads and no other site sends along."""
    response.set_cookie(
        name, value, max_age=lasts_s, path="/work", httponly=True, samesite="lax",
        secure=origin(request).startswith("https"),
    )  # fmt: skip


def with_form_token(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page with a form for somebody who is not signed in, bound to this browser by a cookie."""
    token = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    response = page(template, status, csrf=token, **values)
    set_cookie(response, request, FORM_COOKIE, token, 3600)
    return response


def real_now() -> float:
    """Seconds since the epoch, by which sessions and links live."""
    return time.time()
