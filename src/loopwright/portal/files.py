"""Files for pages: our own, and objects by their short-lived addresses."""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from loopwright.objects.base import ObjectSummary
from loopwright.pages import BASE_STYLE
from loopwright.portal.desk import Desk
from loopwright.portal.web import FOLDER, HEADERS, Refused
from loopwright.wire.errors import ApiError

STATIC: Final = FOLDER / "static"
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
SHOWN: Final = ("image/", "video/", "audio/", "text/plain", "text/csv", "application/json",
                "application/pdf")  # fmt: skip
RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
UNKNOWN: Final = "binary/octet-stream"
OBJECT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
# The frame's origin is none, so every file that a script of it reads must be open to any.
OPEN: Final = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


class FileRoutes:
    """What pages load."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def static(self, request: Request) -> Response:
        """One of our own files; the browser asks each time whether it changed."""
        name = request.path_params["path"]
        path = BASE_STYLE if name == BASE_STYLE.name else (STATIC / name).resolve()
        inside = path == BASE_STYLE or STATIC.resolve() in path.parents
        if not inside or path.suffix not in TYPES:
            raise Refused(404, "There is no such file.")
        content = await run_in_threadpool(_read, path)
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            **OPEN, "ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }  # fmt: skip
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            content = _packed(content)
        return Response(content, headers=headers, media_type=TYPES[path.suffix])

    async def template(self, request: Request) -> Response:
        """A template's text, by its SHA-256, which only who knows it can ask for."""
        content = await run_in_threadpool(self._desk.templates.get, request.path_params["sha"])
        if content is None:
            raise Refused(404, "There is no such template.")
        return PlainTextResponse(
            content, headers={**HEADERS, "Content-Security-Policy": OBJECT_POLICY}
        )

    async def stored(self, request: Request) -> Response:
        """An object, whole or a part of it."""
        found = self._desk.links.read(request.path_params["token"])
        if found is None:
            raise Refused(404, "This address has ended, or it was never one of ours.")
        summary = await run_in_threadpool(self._desk.objects.head, *found)
        if summary is None:
            raise Refused(404, f"There is no object s3://{found[0]}/{found[1]}.")
        start, end, status = _range(request.headers.get("range", ""), summary.size)
        headers = {
            **OPEN, "Content-Length": str(end - start), "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": OBJECT_POLICY, "Referrer-Policy": "no-referrer",
        }  # fmt: skip
        kind = _type(summary)
        if not kind.startswith(SHOWN):
            headers["Content-Disposition"] = "attachment"
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{summary.size}"

        def open_object() -> Iterator[bytes]:
            return self._desk.objects.open(*found, start, end)

        try:
            chunks = await run_in_threadpool(open_object)
        except ApiError as error:
            raise Refused(404, error.message) from None
        return StreamingResponse(chunks, status, headers, media_type=kind)


@lru_cache(maxsize=128)
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 6)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise Refused(404, "There is no such file.") from None


def _type(summary: ObjectSummary) -> str:
    """What to call an object: never a page, which a browser would run."""
    kind = summary.content_type
    if kind in (UNKNOWN, "application/octet-stream", ""):
        kind = mimetypes.guess_type(summary.key)[0] or UNKNOWN
    if kind.startswith("text/") and not kind.startswith("text/csv"):
        return "text/plain; charset=utf-8"
    return kind


def _range(given: str, size: int) -> tuple[int, int, int]:
    """Start, end (exclusive) and status of a request for a part.

    Raises:
        Refused: the part is beyond the end (416).
    """
    match = RANGE.fullmatch(given.strip())
    if match is None or match[1] == match[2] == "" or not size:
        return 0, size, 200
    if match[1] == "":
        return max(0, size - int(match[2])), size, 206
    start = int(match[1])
    end = min(size, int(match[2]) + 1) if match[2] else size
    if start >= size or end <= start:
        raise Refused(416, "The object has no such part.")
    return start, end, 206
