"""Checkpoints are published whole, at once, or not at all."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
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
    return made(tmp_path, JOB)


def made(home: Path, job: Watched) -> Path:
    """The checkpoint folder of the last of a job's units; they run as this very process."""
    for unit_id in job.units:
        root = unit_folder(home, unit_id).base / "checkpoints"
        root.mkdir(parents=True)
        unit_folder(home, unit_id).write("started", {"pid": os.getpid()})
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
    made(tmp_path, job)
    for rank, unit_id in enumerate(job.units):
        root = unit_folder(tmp_path, unit_id).base / "checkpoints"
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


HALF = """\
import os, sys, time
with open(sys.argv[1], "wb") as stream:
    stream.write(b"half of it")
    stream.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_of_a_living_unit_wrote_is_never_shown(
    folder: Path, sync: CheckpointSync, shelf: Shelf
) -> None:
    sync.round([JOB])
    with subprocess.Popen(
        [sys.executable, "-c", HALF, str(folder / "model.bin")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        sync.round([JOB])
        writer.kill()
    for _ in range(4):
        sync.round([JOB])
    assert shelf.objects == {}
    (folder / "model.bin").write_bytes(b"all of it")
    for _ in range(2):
        sync.round([JOB])
    assert shelf.objects == {"ck/model.bin": b"all of it"}


def _steps(folder: Path, chooser: random.Random) -> Iterator[None]:
    """A script that writes checkpoints in all ways; every step is a moment of its possible end.

    The body of checkpoint N is N, written twice with something in between.
    """
    for number in range(1, 12):
        body = [f"{number}:".encode(), b"x" * chooser.randrange(1, 20_000), f":{number}".encode()]
        way = chooser.choice(("in place", "file", "folder"))
        if way == "folder":
            part = folder / f"step-{number}.part"
            part.mkdir()
            for name in ("model", "optimizer"):
                with (part / name).open("wb") as stream:
                    for piece in body:
                        stream.write(piece)
                        yield
            os.utime(part, (1.0, 1.0))
            part.rename(folder / f"step-{number}")
        else:
            name = folder / ("state.part" if way == "file" else "state")
            with name.open("wb") as stream:
                for piece in body:
                    stream.write(piece)
                    stream.flush()
                    yield
            if way == "file":
                name.rename(folder / "state")
        yield


@pytest.fixture
def memory_disk() -> Iterator[Path]:
    """A folder that needs no disk to be flushed, where there is one."""
    parent = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=parent if parent.is_dir() else None) as name:
        yield Path(name)


def test_a_thousand_histories_show_no_torn_checkpoint(memory_disk: Path) -> None:
    published = 0
    for seed in range(1000):
        chooser = random.Random(seed)
        home = memory_disk / str(seed)
        root = made(home, JOB)
        shelf = Shelf()
        sync = CheckpointSync(home, shelf)
        steps = _steps(root, chooser)
        for _ in range(chooser.randrange(1, 60)):
            if next(steps, steps) is steps:
                break
            if chooser.random() < 0.4:
                sync.round([JOB])
                _whole(shelf, seed)
        # The end of the process closes what it was writing.
        steps.close()
        unit_folder(home, JOB.units[0]).write("exit.json", {"exit_code": 137})
        for _ in range(2):
            sync.round([JOB])
        collect_checkpoints(home, shelf, JOB)
        _whole(shelf, seed)
        published += shelf.steps
        shutil.rmtree(home)
    assert published > 1000


def _whole(shelf: Shelf, seed: int) -> None:
    groups: dict[str, dict[str, bytes]] = {}
    for key, body in shelf.objects.items():
        number = body.partition(b":")[0]
        assert body.endswith(b":" + number), (seed, key)
        group, _, name = key.removeprefix("ck/").rpartition("/")
        groups.setdefault(group, {})[name] = body
    for group, found in groups.items():
        if group:
            assert set(found) == {"model", "optimizer"}, (seed, group)
            assert found["model"] == found["optimizer"], (seed, group)
