"""Segmentation: exact colours, brush, eraser, polygon, instances, earlier masks."""

import base64
import struct
import zlib
from typing import Any

import pytest

from tests.portal.conftest import Opener
from tests.portal.serving import Site, png

CANVAS = "canvas.upper-canvas"
RED, BLUE = "#ff0000", "#0000ff"
SIZE = {"width": 200, "height": 100}


def task_of(kind: str, more: str = "") -> str:
    return (
        f'<crowd-form><crowd-{kind}-segmentation name="answer" src="/picture.png" '
        f"labels=\"['Cat', 'Dog']\" label-colors=\"['{RED}', '{BLUE}']\" {more}>"
        f"</crowd-{kind}-segmentation></crowd-form>"
    )


def pixels(text: str) -> tuple[int, int, list[str]]:
    """What is in a PNG with a palette: width, height, and a colour a pixel; "" where it is clear."""
    data = base64.b64decode(text)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert (
            zlib.crc32(kind + body)
            == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        )
        chunks[kind] = body
        at += 12 + length
    width, height, depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, color, chunks[b"tRNS"]) == (8, 3, b"\0")
    raw, palette, rows = zlib.decompress(chunks[b"IDAT"]), chunks[b"PLTE"], []
    above = bytes(width)
    for y in range(height):
        row = raw[y * (width + 1) : (y + 1) * (width + 1)]
        above = bytes((row[x + 1] + (above[x] if row[0] == 2 else 0)) & 255 for x in range(width))
        rows.append(above)
    names = ["", *(f"#{palette[i : i + 3].hex()}" for i in range(3, len(palette), 3))]
    return width, height, [names[value] for row in rows for value in row]


def read(answer: dict[str, Any]) -> list[str]:
    width, height, found = pixels(answer["labeledImage"]["pngImageData"])
    assert (width, height) == (200, 100)
    return found


def test_semantic_by_mouse(open_task: Opener) -> None:
    task = open_task(task_of("semantic"))
    task.drag((30, 30), (60, 30))
    task.keys("2", "p")
    task.click((100, 20), (150, 20), (150, 70), (100, 70), (100, 20))
    answer = task.submit()["answer"]
    mappings = {"Cat": {"color": RED}, "Dog": {"color": BLUE}}
    assert answer["labelMappings"] == mappings and answer["inputImageProperties"] == SIZE
    assert set(answer) == {"labelMappings", "labeledImage", "inputImageProperties"}
    found = read(answer)
    assert set(found) == {"", RED, BLUE}
    assert found.count(BLUE) == 50 * 50
    assert found[30 * 200 + 45] == RED and found[60 * 200 + 45] == ""


def test_semantic_by_keyboard_with_undo_and_eraser(open_task: Opener) -> None:
    task = open_task(task_of("semantic"))
    task.focus(CANVAS)
    task.keys("2", "[*4", "ArrowRight", "Space", "Control+z", "Control+y")
    task.keys("d", "Shift+ArrowRight*2", "d", "e", "Space")
    found = read(task.submit()["answer"])
    assert set(found) == {"", BLUE}
    assert found[50 * 200 + 105] == BLUE and found[50 * 200 + 121] == ""
    task.tell({"type": "refused", "message": "again"})
    task.focus(CANVAS)
    task.keys("Control+z*5")
    assert set(read(task.submit()["answer"])) == {""}


def test_instances(open_task: Opener) -> None:
    task = open_task(task_of("instance"))
    task.drag((30, 30), (60, 30))
    task.keys("n")
    task.drag((100, 70), (120, 70))
    task.keys("2")
    task.drag((160, 30), (170, 30))
    answer = task.submit()["answer"]
    assert [item["label"] for item in answer["instances"]] == ["Cat", "Cat", "Dog"]
    colors = [item["color"] for item in answer["instances"]]
    assert set(read(answer)) == {"", *colors} and len(set(colors)) == 3
    task.tell({"type": "refused", "message": "again"})
    task.frame.get_by_role("button", name="Delete Cat 2").click()
    answer = task.submit()["answer"]
    assert [item["label"] for item in answer["instances"]] == ["Cat", "Dog"]
    assert set(read(answer)) == {"", colors[0], colors[2]}


def test_instances_by_keyboard(open_task: Opener) -> None:
    task = open_task(task_of("instance"))
    task.focus(CANVAS)
    task.keys(
        "2", "p", "ArrowRight", "Space", "Shift+ArrowRight", "Space", "Shift+ArrowDown", "Space"
    )
    task.keys("Enter")
    answer = task.submit()["answer"]
    assert [item["label"] for item in answer["instances"]] == ["Dog"]
    assert 40 < read(answer).count(answer["instances"][0]["color"]) < 60


@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_earlier_masks(open_task: Opener, site: Site, kind: str) -> None:
    green, pink = (0, 128, 0), (255, 0, 255)
    rows = [bytes(green) * 100 + bytes((255, 255, 255)) * 60 + bytes(pink) * 40] * 100
    site.files["/mask.png"] = png(200, 100, b"".join(rows))
    legend = (
        "labelMappings:{Cat:{color:'#008000'},Bird:{color:'#ff00ff'}}"
        if kind == "semantic"
        else "instances:[{color:'#008000',label:'Cat'},{color:'#ff00ff',label:'Bird'}]"
    )
    initial = f"initial-value=\"{{src:'/mask.png',{legend}}}\""
    task = open_task(task_of(kind, initial))
    answer = task.submit()["answer"]
    found = read(answer)
    assert found[:200] == ["#008000"] * 100 + [""] * 60 + ["#ff00ff"] * 40
    if kind == "semantic":
        assert answer["labelMappings"]["Bird"] == {"color": "#ff00ff"}
        assert answer["labelMappings"]["Dog"] == {"color": BLUE}
    else:
        pairs = [("Cat", "#008000"), ("Bird", "#ff00ff")]
        assert answer["instances"] == [{"label": label, "color": color} for label, color in pairs]
