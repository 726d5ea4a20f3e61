"""The journal on a disk that has little room."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from loopwright.contract.frames import frame, read_frames
from loopwright.router import journal as module
from loopwright.router.journal import Journal


def test_what_is_captured_leaves_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    free = 1000
    disk = lambda _: SimpleNamespace(f_bavail=free, f_frsize=4096, f_blocks=10**6)  # noqa: E731
    monkeypatch.setattr(os, "statvfs", disk)
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 100)
    told: list[str] = []
    loop = asyncio.new_event_loop()
    journal = Journal(tmp_path, loop)
    places = []

    def post(name: str) -> None:
        places.append((name, *journal.next))
        journal.post(frame([name], b"x" * 200), lambda: told.append(name))
        journal.flush()

    for name in "abc":
        post(name)
    # Clients have their answers all the same, and the log one line of it.
    assert told == ["a", "b", "c"]
    assert not list((tmp_path / "journal").iterdir())
    assert capfd.readouterr().err.count("left to other state") == 1
    free = 10**6
    for name in "de":
        post(name)
    free = 1000
    post("f")
    free = 10**6
    post("g")
    kept = {}
    for path in (tmp_path / "journal").glob("*.frames"):
        for end, head, _, _ in read_frames(path.read_bytes()):
            kept[head[0], int(path.stem.rpartition("-")[2])] = end
    assert sorted(name for name, _ in kept) == ["d", "e", "g"]
    # Nobody finds another frame where a lost one should have been.
    files = {number for _, number in kept}
    for name, number, start in places:
        if name in "deg":
            assert (name, number) in kept and start == 0
        else:
            assert number not in files
    loop.close()


def test_the_same_process_id_makes_no_name_twice(tmp_path: Path) -> None:
    """What was taken of a file is known by its name, and may outlive it by a moment."""
    loop = asyncio.new_event_loop()
    names = set()
    for _ in range(2):
        journal = Journal(tmp_path, loop)
        journal.post(frame(["a"], b"x"))
        journal.flush()
        (path,) = (tmp_path / "journal").glob("*.frames")
        names.add(path.name)
        path.unlink()
    loop.close()
    assert len(names) == 2
