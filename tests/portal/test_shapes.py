"""Boxes, polygons, polylines, lines and keypoints, by mouse and by keyboard."""

from typing import Any

import pytest

from tests.portal.conftest import Opener

SIZE = {"width": 200, "height": 100}


def task_of(kind: str, more: str = "") -> str:
    return (
        f'<crowd-form><crowd-{kind} name="answer" src="/picture.png" labels="[\'Cat\', \'Dog\']" '
        f'header="Mark" {more}></crowd-{kind}></crowd-form>'
    )


def vertices(*points: tuple[int, int]) -> list[dict[str, int]]:
    return [{"x": x, "y": y} for x, y in points]


CANVAS = "canvas.upper-canvas"
LINES = [{"label": "Cat", "vertices": vertices((20, 20), (120, 60))}]
BOX = {"label": "Cat", "left": 20, "top": 10, "width": 60, "height": 40}
DOG = {"label": "Dog", "left": 100, "top": 20, "width": 50, "height": 30}


def test_boxes_by_mouse(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"))
    task.drag((20, 10), (80, 50))
    task.keys("2")
    task.drag((150, 50), (100, 20))
    assert task.submit() == {"answer": {"boundingBoxes": [BOX, DOG], "inputImageProperties": SIZE}}


def test_boxes_by_keyboard(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"))
    task.focus(CANVAS)
    # The cross begins in the middle: two corners make a box.
    task.keys("ArrowLeft", "ArrowRight", "Space", "Shift+ArrowRight*2", "Shift+ArrowDown", "Space")
    task.keys("Tab", "Tab")
    task.focus(CANVAS)
    task.keys("Tab", "ArrowLeft*3", "ArrowUp", "Control+ArrowRight*5", "2")
    box = {"label": "Dog", "left": 97, "top": 49, "width": 25, "height": 10}
    assert task.submit()["answer"]["boundingBoxes"] == [box]


def test_boxes_move_resize_relabel_and_delete(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"))
    task.drag((20, 10), (80, 50))
    task.drag((50, 30), (70, 40))
    task.drag((100, 60), (120, 90))
    value = "() => document.querySelector('crowd-bounding-box').value.boundingBoxes"
    moved = {"label": "Cat", "left": 40, "top": 20, "width": 80, "height": 70}
    assert task.js(value) == [moved]
    task.click((80, 50))
    task.keys("2")
    assert task.js(value) == [{**moved, "label": "Dog"}]
    task.keys("Delete")
    assert task.js(value) == []
    task.keys("Control+z")
    assert task.js(value) == [{**moved, "label": "Dog"}]
    task.keys("Control+z", "Control+z", "Control+z", "Control+z")
    assert task.js(value) == []
    task.keys("Control+Shift+z", "Control+y", "Control+y")
    assert task.js(value) == [moved]


def test_boxes_stay_inside_and_zoom_keeps_pixels(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"))
    x, y = task.at(100, 50)
    task.page.mouse.move(x, y)
    task.page.mouse.wheel(0, -400)
    task.until("() => document.querySelector('crowd-bounding-box').view.zoom > 1.5")
    task.drag((80, 40), (110, 60))
    task.frame.get_by_role("button", name="Fit the picture").click()
    task.drag((150, 70), (205, 105))
    boxes = task.submit()["answer"]["boundingBoxes"]
    assert boxes[0] == {"label": "Cat", "left": 80, "top": 40, "width": 30, "height": 20}
    assert boxes[1] == {"label": "Cat", "left": 150, "top": 70, "width": 50, "height": 30}


def test_panning_draws_nothing(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"))
    task.focus(CANVAS)
    task.keys("+", "+", "+")
    before = task.at(0, 0)
    task.page.keyboard.down("Space")
    task.drag((90, 40), (110, 50))
    task.page.keyboard.up("Space")
    assert task.at(0, 0) != before
    between = task.at(0, 0)
    task.page.mouse.move(*task.at(90, 40))
    task.page.mouse.down(button="middle")
    task.page.mouse.move(*task.at(70, 30))
    task.page.mouse.up(button="middle")
    assert task.at(0, 0) != between
    assert task.submit()["answer"]["boundingBoxes"] == []


@pytest.mark.parametrize(
    ("kind", "key", "points"),
    [
        ("polygon", "polygons", [(20, 20), (80, 20), (60, 60), (20, 20)]),
        ("polyline", "polylines", [(20, 20), (80, 20), (60, 60), (60, 60)]),
        ("line", "lines", [(20, 20), (80, 20)]),
    ],
)
def test_points_by_mouse(
    open_task: Opener, kind: str, key: str, points: list[tuple[int, int]]
) -> None:
    task = open_task(task_of(kind))
    task.click(*points)
    shown = vertices(*points[:3] if kind != "line" else points)
    expected: dict[str, Any] = {key: [{"label": "Cat", "vertices": shown}]}
    assert task.submit() == {"answer": {**expected, "inputImageProperties": SIZE}}


@pytest.mark.parametrize(
    ("kind", "key", "count"),
    [("polygon", "polygons", 3), ("polyline", "polylines", 3), ("line", "lines", 2)],
)
def test_points_by_keyboard(open_task: Opener, kind: str, key: str, count: int) -> None:
    task = open_task(task_of(kind))
    task.focus(CANVAS)
    task.keys("2", "ArrowRight", "Space", "Shift+ArrowRight", "Space")
    if count == 3:
        task.keys("Shift+ArrowDown", "Space", "Enter")
    points = [(101, 50), (111, 50), (111, 60)][:count]
    assert task.submit()["answer"][key] == [{"label": "Dog", "vertices": vertices(*points)}]


def test_points_of_a_polygon_can_be_moved_added_and_deleted(open_task: Opener) -> None:
    task = open_task(task_of("polygon"))
    task.click((20, 20), (80, 20), (80, 80), (20, 80), (20, 20))
    task.drag((80, 80), (90, 90))
    task.drag((50, 20), (50, 5))
    task.focus(CANVAS)
    task.keys("Escape", "[", "Delete")
    points = vertices((20, 20), (50, 5), (80, 20), (90, 90))
    assert task.submit()["answer"]["polygons"] == [{"label": "Cat", "vertices": points}]


def test_undo_takes_back_points_of_what_is_drawn(open_task: Opener) -> None:
    task = open_task(task_of("polygon"))
    task.click((20, 20), (80, 20), (199, 1))
    task.keys("Control+z")
    task.click((80, 80), (40, 60))
    task.keys("Backspace", "Enter")
    points = vertices((20, 20), (80, 20), (80, 80))
    assert task.submit()["answer"]["polygons"] == [{"label": "Cat", "vertices": points}]


def test_keypoints(open_task: Opener) -> None:
    task = open_task(task_of("keypoint"))
    task.click((20, 30))
    task.drag((20, 30), (40, 50))
    task.focus(CANVAS)
    task.keys("Escape", "2", "ArrowRight", "Space", "Tab")
    points = [{"label": "Cat", "x": 40, "y": 50}, {"label": "Dog", "x": 101, "y": 50}]
    assert task.submit() == {"answer": {"keypoints": points, "inputImageProperties": SIZE}}


@pytest.mark.parametrize("is_moved", [False, True])
def test_initial_boxes_tell_whether_they_were_changed(open_task: Opener, is_moved: bool) -> None:
    task = open_task(
        task_of(
            "bounding-box", "initial-value=\"[{label:'Dog',left:100,top:20,width:50,height:30}]\""
        )
    )
    task.focus(CANVAS)
    if is_moved:
        task.keys("Tab", "ArrowRight")
    expected = {"boundingBoxes": [{**DOG, "left": 100 + is_moved}], "inputImageProperties": SIZE}
    assert task.submit() == {"answer": {**expected, "initialValueModified": is_moved}}


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("keypoint", "[{label:'Cat',x:5,y:6}]", {"keypoints": [{"label": "Cat", "x": 5, "y": 6}]}),
        (
            "line",
            "{lines:[{label:'Cat',vertices:[{x:20,y:20},{x:120,y:60}]}]}",
            {"lines": LINES},
        ),
        (
            "polyline",
            "{polylines:[{label:'Cat',vertices:[{x:20,y:20},{x:120,y:60}]}]}",
            {"polylines": LINES},
        ),
    ],
)
def test_initial_values(open_task: Opener, kind: str, given: str, shown: dict[str, Any]) -> None:
    task = open_task(task_of(kind, f'initial-value="{given}" label-colors="[\'#112233\']"'))
    assert task.js(f"() => document.querySelector('crowd-{kind}').colorOf('Cat')") == "#112233"
    assert task.submit() == {"answer": {**shown, "inputImageProperties": SIZE}}


def test_two_fingers_zoom(open_task: Opener) -> None:
    task = open_task(task_of("bounding-box"), has_touch=True)
    touch = task.page.context.new_cdp_session(task.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [task.at(*point) for point in points]
        fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    send("touchStart", (90, 50))
    send("touchStart", (90, 50), (110, 50))
    send("touchMove", (60, 50), (140, 50))
    send("touchEnd")
    task.until("() => document.querySelector('crowd-bounding-box').view.zoom > 1.2")
    assert task.submit()["answer"]["boundingBoxes"] == []
