"""Points of units' files are read once, whatever was taken of them."""

from pathlib import Path

from loopwright.compute.points import PointFiles


def _add(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path, files = tmp_path / "metrics.jsonl", PointFiles()
    assert files.read(path, 0) == []
    _add(path, '["a", 1.0, 10.0]\n["a", null, 11.0, 3]\n["b", 2')
    assert files.read(path, 0) == [("a", 1.0, 10.0), ("a", None, 11.0)]
    # Nothing was taken of it, so it is read again; then half a line becomes a whole one.
    assert files.read(path, 0) == [("a", 1.0, 10.0), ("a", None, 11.0)]
    _add(path, ".5, 12.0]\n")
    assert files.read(path, 2) == [("b", 2.5, 12.0)]
    assert files.read(path, 3) == []
    _add(path, '["c", 3.0, 13.0]\n')
    # A new control plane begins with what the database has.
    assert PointFiles().read(path, 3) == files.read(path, 3) == [("c", 3.0, 13.0)]
    files.keep([])
    assert files.read(path, 4) == []
    assert files.read(path, 1)[0] == ("a", None, 11.0)
