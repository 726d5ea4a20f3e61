"""The process with the models for pictures: started when asked, started again when it died."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Final

from loopwright.wire.errors import ApiError

TIMEOUT_S: Final = 60.0
MISSING: Final = (
    "The local models for pictures are not installed ({what}); install them with "
    "`pip install 'loopwright[review]'`."
)
NO_RELEASE: Final = " Text recognition has no release for Python 3.13 and newer: use 3.11 or 3.12."


class BadPicture(Exception):
    """The bytes are no picture that a model can read."""


class Vision:
    """One per control plane. Thread-safe; one question at a time.

    The process ends with its input, so with this process, however that ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, what: str, content: bytes) -> dict[str, Any]:
        """What a model says of a picture.

        Raises:
            BadPicture: it cannot be read.
            ApiError: the models are not installed, or do not answer.
        """
        with self._lock:
            answer = self._answer(what, content)
        if "missing" in answer:
            text = MISSING.format(what=answer["missing"])
            if sys.version_info >= (3, 13) and "rapidocr" in answer["missing"]:
                text += NO_RELEASE
            raise ApiError("InternalServerError", text, 500)
        if "error" in answer:
            raise BadPicture(answer["error"])
        return answer

    def _answer(self, what: str, content: bytes) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(TIMEOUT_S, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps({"ask": what, "bytes": len(content)}).encode() + b"\n")
            process.stdin.write(content)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if not line:
            self._end()
            raise BadPicture("the model died of it, or took longer than a minute")
        return dict(json.loads(line))

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loopwright.algorithms.vision"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the process."""
        with self._lock, suppress(OSError):
            self._end()
