"""`kill -9` at any instant: what was acknowledged is whole, and nothing half is visible."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopwright.objects import files
from loopwright.objects.store import LocalObjects
from tests.objects.crashing import BUCKET, content, opened

ROUNDS = 6
ROOT = Path(__file__).parents[2]

State = dict[str, set[tuple[int, int] | None]]


def run_and_kill(folder: Path, seed: int, lines: int) -> list[str]:
    """The lines of a writer that is killed after so many."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.objects.crashing", str(folder), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        text=True,
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        assert all(seen), "the writer ended by itself"
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
    return [line for line in seen if line.endswith("\n")]


def after(lines: list[str], state: State) -> State:
    """What each key may hold: a try adds a possibility, an acknowledgement leaves only it."""
    for line in lines:
        verb, key, version, size = line.split()
        value = (int(version), int(size)) if verb.endswith("put") else None
        if verb.startswith("try-"):
            state.setdefault(key, {None}).add(value)
        else:
            state[key] = {value}
    return state


def check(store: LocalObjects, state: State) -> State:
    """Every key holds one of its possibilities, whole; returns what it was."""
    listed = {found.key: found for found in store.list(BUCKET, "")}
    assert listed.keys() <= state.keys()
    now: State = {}
    for key, possible in state.items():
        held: tuple[int, int] | None = None
        if key in listed:
            body = b"".join(store.open(BUCKET, key))
            assert len(body) == listed[key].size
            matches = [
                value
                for value in possible
                if value is not None and b"".join(content(key, *value)) == body
            ]
            assert matches or (body == b"" and any(v and v[1] == 0 for v in possible)), key
            held = matches[0] if matches else None
        else:
            assert None in possible, f"{key} was acknowledged and is gone"
        now[key] = {held}
    return now


def test_kills_lose_nothing_and_show_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: State = {}
    for seed in range(ROUNDS):
        state = after(run_and_kill(tmp_path, seed, 40 + 37 * seed), state)
        store = opened(tmp_path)
        state = check(store, state)
        store.close()
        store.database.close()
    store = opened(tmp_path)
    monkeypatch.setattr(files, "ORPHAN_AGE_S", -1)
    before = time.monotonic()
    store.sweep()
    assert time.monotonic() - before < 5
    assert [path.name for path in store.files.folder.glob("incoming/*/*")] == ["lock"]
    unfinished = sum(len(store.uploads.parts(name)) for name in _uploads(store))
    contents = list(store.files.folder.glob("[0-9a-f][0-9a-f]/*"))
    assert len(contents) == len(list(store.list(BUCKET, ""))) + unfinished
    check(store, state)
    store.close()
    store.database.close()


def _uploads(store: LocalObjects) -> list[str]:
    with store.database.read() as connection:
        return list(connection.exec_driver_sql("SELECT id FROM object_uploads").scalars())


def test_a_sweep_spares_the_living(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.create_bucket(BUCKET)
    writing = one.files.begin()
    writing.write(b"half")
    orphan = other.files.begin()
    orphan.place()
    assert other.sweep() == 0
    writing.write(b" and half")
    writing.place()
    assert one.files.path(writing.id).read_bytes() == b"half and half"
    leaving = other.files.begin()
    leaving.write(b"left")
    other.files._lock_file.close()
    assert one.sweep() == 1
    one.close()
    one.database.close()
    other.database.close()
    leaving.discard()
