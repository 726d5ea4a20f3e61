"""Local models for pictures, as a program of its own: text of documents, and what to moderate.

Reads requests from standard input and writes answers to standard output, until the input ends: a
line of JSON (`{"ask": "document" | "moderation", "bytes": N}`) and N bytes of a picture; the answer
is a line of JSON. It runs apart from the server, which must not die of a picture. The models come
with their packages (RapidOCR: PP-OCRv4 of PaddleOCR, Apache-2.0; NudeNet 320n, MIT).
"""

import importlib
import json
import sys
from typing import Any, Final

PIXELS_MAX: Final = 100_000_000
GAP: Final = 0.28
"""Columns without ink, in heights of the line, that part two words."""


class Models:
    """The models, each loaded when it is first asked."""

    def __init__(self) -> None:
        self._reader: Any = None
        self._detector: Any = None

    def answer(self, ask: str, content: bytes) -> dict[str, Any]:
        """What a model sees in a picture.

        Raises:
            ValueError: the bytes are no picture that can be read.
        """
        picture = _picture(content)
        if ask == "document":
            return self._document(picture)
        return self._moderation(picture)

    def _document(self, picture: Any) -> dict[str, Any]:
        """`width`, `height`, and `lines` with `box` (4 corners) and `words` (text, score, box)."""
        if self._reader is None:
            self._reader = importlib.import_module("rapidocr_onnxruntime").RapidOCR()
        height, width = picture.shape[:2]
        found, _ = self._reader(picture)
        lines = [self._line(picture, corners, text, score) for corners, text, score in found or ()]
        kept = [line for line in lines if line["words"]]
        return {"width": width, "height": height, "lines": kept}

    def _line(self, picture: Any, corners: Any, text: str, score: float) -> dict[str, Any]:
        """A line with its words. The reader loses spaces at times: each word is read by itself."""
        box = [[float(x), float(y)] for x, y in corners]
        left, top = (int(min(point[i] for point in box)) for i in (0, 1))
        right, bottom = (int(max(point[i] for point in box)) + 1 for i in (0, 1))
        crop = picture[max(top, 0) : bottom, max(left, 0) : right]
        words = []
        for start, end in _spans(crop):
            read, _ = self._reader(crop[:, start:end], use_det=False, use_cls=False)
            if read and str(read[0][0]).strip():
                x, y = max(left, 0), max(top, 0)
                place = [x + start, y, x + end, y + crop.shape[0]]
                words.append({"text": read[0][0].strip(), "score": float(read[0][1]), "box": place})
        if len(words) < 2:
            words = [{"text": text, "score": float(score), "box": [left, top, right, bottom]}]
        return {"box": box, "words": words}

    def _moderation(self, picture: Any) -> dict[str, Any]:
        """`found`: a list of `class` and `score`."""
        if self._detector is None:
            self._detector = importlib.import_module("nudenet").NudeDetector()
        seen = self._detector.detect(picture)
        return {"found": [{"class": item["class"], "score": float(item["score"])} for item in seen]}


def _picture(content: bytes) -> Any:
    """Rows, columns, blue-green-red."""
    vision = importlib.import_module("cv2")
    numbers = importlib.import_module("numpy")
    picture = vision.imdecode(numbers.frombuffer(content, numbers.uint8), vision.IMREAD_COLOR)
    if picture is None or picture.shape[0] * picture.shape[1] > PIXELS_MAX:
        raise ValueError("the bytes are no picture that can be read")
    return picture


def _spans(crop: Any) -> list[tuple[int, int]]:
    """Columns (start, end) of the words of a line."""
    vision = importlib.import_module("cv2")
    if min(crop.shape[:2]) < 4:
        return []
    grey = vision.cvtColor(crop, vision.COLOR_BGR2GRAY)
    _, ink = vision.threshold(grey, 0, 1, vision.THRESH_BINARY_INV + vision.THRESH_OTSU)
    if ink.mean() > 0.5:
        ink = 1 - ink
    columns = ink.sum(axis=0) > 0
    gap = max(3, int(GAP * crop.shape[0]))
    spans: list[tuple[int, int]] = []
    start = last = -1
    for at, inked in enumerate(columns):
        if not inked:
            continue
        if start >= 0 and at - last > gap:
            spans.append((max(0, start - 2), min(crop.shape[1], last + 3)))
            start = at
        start = at if start < 0 else start
        last = at
    if start >= 0:
        spans.append((max(0, start - 2), min(crop.shape[1], last + 3)))
    return spans


def main() -> None:
    """Answer until the input ends."""
    models = Models()
    answers, sys.stdout = sys.stdout, sys.stderr
    while header := sys.stdin.buffer.readline():
        asked = json.loads(header)
        content = sys.stdin.buffer.read(asked["bytes"])
        try:
            answer = models.answer(asked["ask"], content)
        except ImportError as error:
            answer = {"missing": str(error)}
        except Exception as error:  # noqa: BLE001 - a picture that a model dies of is an answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
