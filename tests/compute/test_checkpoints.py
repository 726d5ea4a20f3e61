"""Checkpoints are published whole, at once, or not at all."""

import os
import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from loopwright.compute.checkpoints import CheckpointSync, Watched, collect_checkpoints
from loopwright.compute.folder import unit_folder

JOB = Watched(("TrainingJob/j/1#0.0",), "checkpoints", "s3://bucket/ck/")


class Shelf:
    """A store that shows what it was given, in steps."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.steps = 0

    def replace_files(self, bucket: str, files: Mapping[str, Path], gone: Sequence[str]) -> None:
        found = {key: path.read_bytes() for key, path in files.items()}
        self.objects = {k: v for k, v in self.objects.items() if k not in gone} | found
        self.steps += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = unit_folder(tmp_path, JOB.units[0]).base / "checkpoints"
    root.mkdir(parents=True)
    return root


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def sync(tmp_path: Path, shelf: Shelf) -> CheckpointSync:
    return CheckpointSync(tmp_path, shelf)


def test_a_file_that_is_written_to_waits(folder: Path, sync: CheckpointSync, shelf: Shelf) -> None:
    with (folder / "model.bin").open("wb") as stream:
        stream.write(b"half")
        stream.flush()
        for _ in range(3):
            sync.round([JOB])
        assert shelf.objects == {}
        stream.write(b" and whole")
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {"ck/model.bin": b"half and whole"}


def test_a_temporary_file_is_published_once_it_was_renamed(
    folder: Path, sync: CheckpointSync, shelf: Shelf
) -> None:
    part = folder / "state.json.part"
    part.write_text("1")
    sync.round([JOB])
    part.rename(folder / "state.json")
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {"ck/state.json": b"1"}
    sync.round([JOB])
    assert shelf.steps == 1


def test_files_of_a_folder_come_together(folder: Path, sync: CheckpointSync, shelf: Shelf) -> None:
    (folder / "step-1").mkdir()
    (folder / "step-1" / "model").write_text("m1")
    sync.round([JOB])
    (folder / "step-1" / "optimizer").write_text("o1")
    sync.round([JOB])
    assert shelf.objects == {}
    sync.round([JOB])
    assert shelf.objects == {"ck/step-1/model": b"m1", "ck/step-1/optimizer": b"o1"}
    assert shelf.steps == 1


def test_an_old_checkpoint_goes_only_with_a_new_one(
    folder: Path, sync: CheckpointSync, shelf: Shelf
) -> None:
    (folder / "step-1").mkdir()
    (folder / "step-1" / "model").write_text("m1")
    for _ in range(2):
        sync.round([JOB])
    (folder / "step-1" / "model").unlink()
    (folder / "step-1").rmdir()
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {"ck/step-1/model": b"m1"}
    (folder / "step-2").mkdir()
    (folder / "step-2" / "model").write_text("m2")
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {"ck/step-2/model": b"m2"}


def test_links_out_of_the_folder_are_not_followed(
    folder: Path, sync: CheckpointSync, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {}


@pytest.mark.parametrize("clean", [True, False])
def test_what_a_killed_unit_wrote_in_place_does_not_count(
    folder: Path, shelf: Shelf, tmp_path: Path, clean: bool
) -> None:
    (folder / "torn.bin").write_bytes(b"ha")
    (folder / "step-3.part").mkdir()
    (folder / "step-3.part" / "model").write_text("m3")
    # The clock of files may be coarse: without this the rename could bear the same time.
    for path in (folder / "step-3.part" / "model", folder / "step-3.part"):
        os.utime(path, (1.0, 1.0))
    (folder / "step-3.part").rename(folder / "step-3")
    end = {"exit_code": 0} if clean else {"exit_code": 137}
    unit_folder(tmp_path, JOB.units[0]).write("exit.json", end)
    assert collect_checkpoints(tmp_path, shelf, JOB)
    assert ("ck/torn.bin" in shelf.objects) == clean
    assert shelf.objects["ck/step-3/model"] == b"m3"


def test_the_same_file_of_two_hosts_is_the_first_hosts(tmp_path: Path, shelf: Shelf) -> None:
    job = Watched(("TrainingJob/j/1#0.0", "TrainingJob/j/1#0.1"), "checkpoints", "s3://bucket/ck")
    for rank, unit_id in enumerate(job.units):
        root = unit_folder(tmp_path, unit_id).base / "checkpoints"
        root.mkdir(parents=True)
        (root / "model").write_text(str(rank))
        (root / f"rank-{rank}").write_text("own")
    sync = CheckpointSync(tmp_path, shelf)
    for _ in range(2):
        sync.round([job])
    assert shelf.objects == {"ck/model": b"0", "ck/rank-0": b"own", "ck/rank-1": b"own"}


def test_a_busy_writer_is_never_seen_torn(folder: Path, sync: CheckpointSync, shelf: Shelf) -> None:
    """Pairs of files of one step, written by rename of their folder, under constant change."""
    stop = threading.Event()

    def write() -> None:
        chooser = random.Random(1)
        step = 0
        while not stop.is_set():
            step += 1
            part = folder / f"step-{step}.part"
            part.mkdir()
            body = bytes([step % 251]) * chooser.randrange(1, 50_000)
            for name in ("model", "optimizer"):
                (part / name).write_bytes(body)
            part.rename(folder / f"step-{step}")
            if step > 3:
                old = folder / f"step-{step - 3}"
                old.rename(folder / "old.part")
                for path in (folder / "old.part").iterdir():
                    path.unlink()
                os.rmdir(folder / "old.part")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while shelf.steps < 25:
            sync.round([JOB])
            steps: dict[str, dict[str, bytes]] = {}
            for key, body in shelf.objects.items():
                _, step, name = key.split("/")
                steps.setdefault(step, {})[name] = body
            for step, found in steps.items():
                assert set(found) == {"model", "optimizer"}, step
                assert found["model"] == found["optimizer"], step
    finally:
        stop.set()
        writer.join()
