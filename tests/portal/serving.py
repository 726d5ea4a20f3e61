"""Serves the elements and tasks as the portal does: sandboxed frame, opaque origin, content security policy."""

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATIC = Path(__file__).parents[2] / "src" / "loopwright" / "portal" / "static"
SCRIPT = '<script type="module" src="/static/crowd/crowd-html-elements.js"></script>'
SANDBOX = "allow-scripts allow-forms allow-popups"
HOST = """<!doctype html><html lang="en"><body style="margin:0"><script>
window.messages = [];
addEventListener("message", (event) => {
  if (event.data && event.data.loopwright === 1) window.messages.push(event.data);
});
window.tell = (message) => frame.contentWindow.postMessage({loopwright: 1, ...message}, "*");
</script><iframe id="frame" name="task" sandbox="SANDBOX" src="/task" style="border:0;width:100vw;height:100vh">
</iframe></body></html>"""
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".png": "image/png",
    ".json": "application/json",
}


def png(width: int, height: int, rgb: bytes | tuple[int, int, int] = (210, 220, 230)) -> bytes:
    """A picture: of one colour, or of the given pixels (three bytes each)."""
    pixels = rgb if isinstance(rgb, bytes) else bytes(rgb) * (width * height)
    rows = b"".join(b"\0" + pixels[y * width * 3 : (y + 1) * width * 3] for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class Site:
    """What the server shows; a test sets the task and further files."""

    def __init__(self) -> None:
        self.task = ""
        self.files: dict[str, bytes] = {}
        self.url = ""

    def answer(self, path: str) -> tuple[bytes, str] | None:
        if path in self.files:
            return self.files[path], TYPES.get(Path(path).suffix, "application/octet-stream")
        if path == "/host":
            return HOST.replace("SANDBOX", SANDBOX).encode(), "text/html; charset=utf-8"
        if path == "/task":
            return self.task.encode(), "text/html; charset=utf-8"
        if path.startswith("/static/"):
            file = (STATIC / path.removeprefix("/static/")).resolve()
            if file.is_file() and STATIC in file.parents:
                return file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream")
        return None

    def policy(self) -> str:
        own = self.url
        return (
            f"default-src 'none'; script-src 'unsafe-inline' {own}; style-src 'unsafe-inline' {own}; "
            f"img-src {own} data: blob:; media-src {own} data: blob:; connect-src {own}; font-src {own}"
        )


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = site.answer(path)
            body, kind = found or (b"not here", "text/plain")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Access-Control-Allow-Origin", "*")
            if path == "/task":
                self.send_header("Content-Security-Policy", site.policy())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
