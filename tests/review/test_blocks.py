"""Textract's blocks: how a form's lines become pairs, and blocks that refer to one another."""

from typing import Any

from loopwright.review.builtin.blocks import blocks_of, find_pairs
from loopwright.review.builtin.labels import moderation_labels


def line(top: float, *found: tuple[str, float]) -> dict[str, Any]:
    """A line of words at their left edges, 20 high, 10 a letter."""
    words = [
        {"text": text, "score": 0.9, "box": [left, top, left + 10 * len(text), top + 20]}
        for text, left in found
    ]
    return {"words": words}


def pairs(*lines: dict[str, Any]) -> list[tuple[str, str | None]]:
    found = find_pairs([item["words"] for item in lines])
    return [(key.text, value.text if value else None) for key, value in found]


def test_pairs_are_found_by_colons_gaps_and_places() -> None:
    assert pairs(line(0, ("Name:", 0), ("Ada", 60))) == [("Name:", "Ada")]
    assert pairs(line(0, ("Phone", 0), ("555", 300))) == [("Phone", "555")]
    assert pairs(line(0, ("Name:", 0)), line(30, ("Ada", 0))) == [("Name:", "Ada")]
    assert pairs(line(0, ("Name:", 0)), line(200, ("Ada", 0))) == [("Name:", None)]
    assert pairs(line(0, ("Name:", 0)), line(30, ("Town:", 0))) == [
        ("Name:", None), ("Town:", None)
    ]  # fmt: skip
    assert pairs(line(0, ("A:", 0), ("1", 30)), line(1, ("B:", 300), ("2", 330))) == [
        ("A:", "1"), ("B:", "2"),
    ]  # fmt: skip
    long = line(0, *((f"w{number}", number * 30.0) for number in range(9)))
    assert pairs(long) == []
    assert pairs() == []


def test_blocks_refer_to_blocks_that_are_there() -> None:
    document = {
        "width": 1000, "height": 100,
        "lines": [line(0, ("Name:", 0), ("Ada", 60)), line(50, ("Fax:", 0))],
    }  # fmt: skip
    blocks = blocks_of(document, forms=True)
    assert blocks == blocks_of(document, forms=True)
    ids = {block["Id"] for block in blocks}
    assert len(ids) == len(blocks)
    named = {
        item for block in blocks for relation in block.get("Relationships", ())
        for item in relation["Ids"]
    }  # fmt: skip
    assert named <= ids
    assert ids - named == {blocks[0]["Id"]}
    kinds = [block["BlockType"] for block in blocks]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "PAGE": 1, "LINE": 2, "WORD": 3, "KEY_VALUE_SET": 4,
    }  # fmt: skip
    plain = blocks_of(document, forms=False)
    assert not [block for block in plain if block["BlockType"] == "KEY_VALUE_SET"]
    box = blocks[0]["Geometry"]["BoundingBox"]
    assert box == {"Left": 0.0, "Top": 0.0, "Width": 1.0, "Height": 1.0}
    assert len(blocks_of({"width": 10, "height": 10, "lines": []}, forms=True)) == 1


def test_labels_bring_their_parents_and_count_the_best_sight() -> None:
    seen = [
        {"class": "BELLY_EXPOSED", "score": 0.6}, {"class": "BELLY_EXPOSED", "score": 0.8},
        {"class": "FACE_FEMALE", "score": 0.99}, {"class": "BUTTOCKS_EXPOSED", "score": 0.3},
    ]  # fmt: skip
    found = [
        (item["Name"], item["ParentName"], item["Confidence"]) for item in moderation_labels(seen)
    ]
    assert found == [("Revealing Clothes", "Suggestive", 80.0), ("Suggestive", "", 80.0)]
    assert len(moderation_labels(seen, 20.0)) == 4
    assert moderation_labels([]) == []
