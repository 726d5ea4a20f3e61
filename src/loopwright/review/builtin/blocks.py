"""Textract's blocks from the lines that a reader found: page, lines, words, and key-value pairs.

Pairs are found by how forms are laid out: a text that ends with a colon, or is followed by a wide
gap in its row, is a key; its value is the rest of its row, else the line right below it. Pure.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDE: Final = 1.5
"""A gap, in heights of a line, that parts a key from its value."""
BELOW: Final = 1.5
"""How far below its key, in heights of a line, a value may stand."""
KEY_WORDS_MAX: Final = 6
Word = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """Words of one line that stand together."""

    words: tuple[Word, ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, pixels."""
        boxes = [word["box"] for word in self.words]
        return (
            min(box[0] for box in boxes), min(box[1] for box in boxes),
            max(box[2] for box in boxes), max(box[3] for box in boxes),
        )  # fmt: skip

    @property
    def text(self) -> str:
        return " ".join(word["text"] for word in self.words)

    @property
    def height(self) -> float:
        return float(self.box[3] - self.box[1])


def blocks_of(document: Mapping[str, Any], *, forms: bool) -> list[dict[str, Any]]:
    """The blocks of a document of one page.

    Args:
        document: `width`, `height`, `lines` as `loopwright.algorithms.vision` answers.
        forms: Whether key-value pairs are wanted.
    """
    return _Page(document).blocks(forms)


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._width, self._height = document["width"], document["height"]
        self._lines = [list(line["words"]) for line in document["lines"]]
        self._count = 0
        self._ids: dict[int, str] = {}

    def blocks(self, forms: bool) -> list[dict[str, Any]]:
        lines = [self._line(words) for words in self._lines]
        words = [block for line in lines for block in line[1:]]
        pairs = self._pairs() if forms else []
        below = [line[0]["Id"] for line in lines]
        below += [pair["Id"] for pair in pairs]
        page = {
            "BlockType": "PAGE",
            "Geometry": self._geometry((0, 0, self._width, self._height)),
            "Id": self._id("page"),
            "Page": 1,
        }
        if below:
            page["Relationships"] = [{"Type": "CHILD", "Ids": below}]
        return [page, *(line[0] for line in lines), *words, *pairs]

    def _id(self, what: str) -> str:
        """A stable id in UUID form."""
        self._count += 1
        digest = hashlib.sha256(f"{what}/{self._count}".encode()).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"

    def _line(self, words: list[Word]) -> list[dict[str, Any]]:
        found = [self._word(word) for word in words]
        cell = Cell(tuple(words))
        line = {
            "BlockType": "LINE",
            "Confidence": min(block["Confidence"] for block in found),
            "Text": cell.text,
            "Geometry": self._geometry(cell.box),
            "Id": self._id("line"),
            "Relationships": [{"Type": "CHILD", "Ids": [block["Id"] for block in found]}],
            "Page": 1,
        }
        return [line, *found]

    def _word(self, word: Word) -> dict[str, Any]:
        block = {
            "BlockType": "WORD",
            "Confidence": round(word["score"] * 100, 4),
            "Text": word["text"],
            "TextType": "PRINTED",
            "Geometry": self._geometry(word["box"]),
            "Id": self._id("word"),
            "Page": 1,
        }
        self._ids[id(word)] = block["Id"]
        return block

    def _geometry(self, box: Sequence[float]) -> dict[str, Any]:
        left, top, right, bottom = (
            box[0] / self._width, box[1] / self._height, box[2] / self._width,
            box[3] / self._height,
        )  # fmt: skip
        return {
            "BoundingBox": {
                "Left": left,
                "Top": top,
                "Width": right - left,
                "Height": bottom - top,
            },
            "Polygon": [
                {"X": x, "Y": y}
                for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
            ],
        }

    # Pairs

    def _pairs(self) -> list[dict[str, Any]]:
        found = []
        for key, value in find_pairs(self._lines):
            value_id = self._id("value")
            confidence = min(
                100 * word["score"] for word in (*key.words, *(value.words if value else ()))
            )
            found.append(self._set("KEY", self._id("key"), key, confidence, [value_id]))
            found.append(self._set("VALUE", value_id, value, confidence, [], beside=key))
        return found

    def _set(
        self,
        entity: str,
        block_id: str,
        cell: Cell | None,
        confidence: float,
        values: list[str],
        beside: Cell | None = None,
    ) -> dict[str, Any]:
        place = cell or beside
        assert place is not None
        relations = []
        if values:
            relations.append({"Type": "VALUE", "Ids": values})
        if cell is not None:
            ids = [self._ids[id(word)] for word in cell.words]
            relations.append({"Type": "CHILD", "Ids": ids})
        return {
            "BlockType": "KEY_VALUE_SET",
            "EntityTypes": [entity],
            "Confidence": round(confidence, 4),
            "Geometry": self._geometry(place.box),
            "Id": block_id,
            "Relationships": relations,
            "Page": 1,
        }


def find_pairs(lines: Sequence[Sequence[Word]]) -> list[tuple[Cell, Cell | None]]:
    """Keys with their values; None: the key has an empty value."""
    rows = _rows([cell for words in lines for cell in _cells(words)])
    used: set[int] = set()
    found: list[tuple[Cell, Cell | None]] = []
    for number, row in enumerate(rows):
        at = 0
        while at < len(row):
            cell = row[at]
            following = row[at + 1] if at + 1 < len(row) else None
            at += 1
            if id(cell) in used or len(cell.words) > KEY_WORDS_MAX:
                continue
            ends = cell.text.rstrip().endswith(":")
            if following is not None and not following.text.rstrip().endswith(":"):
                used |= {id(cell), id(following)}
                found.append((cell, following))
                at += 1
            elif ends:
                value = _below(cell, rows[number + 1 :])
                used |= {id(cell), id(value)}
                found.append((cell, value))
    return found


def _cells(words: Sequence[Word]) -> list[Cell]:
    """The words of a line in groups: parted by wide gaps and after a colon."""
    groups: list[list[Word]] = []
    for word in sorted(words, key=lambda item: item["box"][0]):
        before = groups[-1][-1] if groups else None
        if before is not None:
            height = before["box"][3] - before["box"][1]
            gap = word["box"][0] - before["box"][2]
            if gap <= WIDE * height and not before["text"].endswith(":"):
                groups[-1].append(word)
                continue
        groups.append([word])
    return [Cell(tuple(group)) for group in groups]


def _rows(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells by row: those whose middles lie within half a height."""
    rows: list[list[Cell]] = []
    for cell in sorted(cells, key=lambda item: item.box[1] + item.height / 2):
        middle = cell.box[1] + cell.height / 2
        if rows:
            last = rows[-1][0]
            if abs(middle - (last.box[1] + last.height / 2)) < last.height / 2:
                rows[-1].append(cell)
                continue
        rows.append([cell])
    return [sorted(row, key=lambda item: item.box[0]) for row in rows]


def _below(key: Cell, rows: Sequence[Sequence[Cell]]) -> Cell | None:
    """The cell right below a key, if it is alone there and no key itself."""
    for row in rows[:1]:
        for cell in row:
            near = cell.box[1] - key.box[3] <= BELOW * key.height
            under = cell.box[0] < key.box[2] and cell.box[2] > key.box[0]
            if near and under and not cell.text.rstrip().endswith(":"):
                return cell
    return None
