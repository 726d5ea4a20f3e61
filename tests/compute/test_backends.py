"""The backends' contract, and what only real processes can show."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.compute import sandbox
from loopwright.compute.folder import log_path, unit_folder, write_once
from loopwright.compute.points import PointFiles
from loopwright.compute.process import ProcessBackend
from loopwright.compute.simulated import Script, SimulatedBackend
from loopwright.compute.staging import StagingError, relative_name, stage
from loopwright.kernel.clock import VirtualClock
from loopwright.kernel.units import Program
from loopwright.testing.backend import BackendContract, BackendWorld
from tests.server import await_that

SCRIPTS = {
    "quick": "print('began')",
    "fails": "import sys; print('began'); sys.exit(3)",
    "endless": "import time; print('began', flush=True); time.sleep(600)",
    "unstartable": "",
}


def unit_program(kind: str, script: str = "", **more: Any) -> dict[str, Any]:
    """A `run` program of a Python script; each kind logs to a stream of its own."""
    return {
        "verb": "run",
        "arguments": ["python3", "code/x.py"],
        "files": {"code/x.py": script or SCRIPTS[kind]},
        "folders": ["model", "output"],
        "environment": {},
        "log": {"group": "g", "stream": kind},
        **more,
    }


def _stage(program: Program, base: Path) -> None:
    if program["log"]["stream"] == "unstartable":
        raise StagingError("ClientError: Data download failed: nothing there")
    stage(None, program, base)  # type: ignore[arg-type]


@pytest.fixture(params=["warm", "cold"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProcessBackend]:
    made = ProcessBackend(tmp_path / "home", _stage, warm=request.param == "warm")
    yield made
    made.close()


def _lines(backend: ProcessBackend, stream: str) -> list[str]:
    path = log_path(backend._home, "g", stream)
    if not path.exists():
        return []
    return [line.partition("\t")[2] for line in path.read_text().splitlines()]


class TestProcesses(BackendContract):
    @pytest.fixture
    def world(self, backend: ProcessBackend) -> BackendWorld:
        def program(kind: str) -> Program:
            return unit_program(kind)

        def starts(unit_id: str) -> int:
            return _lines(backend, "quick").count("began")

        return BackendWorld(
            backend,
            program,
            lambda condition: await_that(lambda: condition() or None, "it"),
            starts,
        )


class TestSimulated(BackendContract):
    @pytest.fixture
    def world(self) -> BackendWorld:
        clock = VirtualClock()
        scripts = {
            "quick": Script(5.0),
            "fails": Script(5.0, 3),
            "endless": Script(None),
        }
        backend = SimulatedBackend(
            clock, script_of=lambda unit_id, program: scripts[program["kind"]]
        )

        def wait(condition: Any) -> None:
            for _ in range(100):
                if condition():
                    return
                clock.advance(1.0)
            raise AssertionError("it did not come")

        return BackendWorld(
            backend,
            lambda kind: {"kind": kind},
            wait,
            lambda unit_id: backend.starts.count(unit_id),
        )


def _run(backend: ProcessBackend, unit_id: str, program: Program) -> Any:
    backend.start(unit_id, program)

    def over() -> Any:
        seen = backend.observe(unit_id, program)
        return seen if seen is not None and seen.over else None

    return await_that(over, "the end of the unit")


def test_only_places_are_filled_in(backend: ProcessBackend) -> None:
    program = unit_program(
        "quick",
        "import os; print(os.environ['OWN'], os.environ['PLACE'])",
        environment={"OWN": "{base}"},
        places={"PLACE": "{base}/x"},
    )
    assert _run(backend, "u#0.0", program).exit_code == 0
    own, place = _lines(backend, "quick")[-1].split()
    assert own == "{base}"
    assert place.startswith("/") and place.endswith("/x")


def test_inputs_that_cannot_be_laid_out_end_the_unit_before_its_start(
    backend: ProcessBackend,
) -> None:
    end = _run(backend, "u#0.0", unit_program("unstartable"))
    assert end.started is None
    assert end.exit_code == 1
    assert "nothing there" in end.message


def test_a_killed_shim_takes_its_unit_along_and_is_not_started_again(
    backend: ProcessBackend,
) -> None:
    program = unit_program("endless", "import os, time; print(os.getpid(), flush=True)\n"
                           "time.sleep(600)")  # fmt: skip
    backend.start("u#0.0", program)
    folder = unit_folder(backend._home, "u#0.0")
    await_that(lambda: _lines(backend, "endless") or None, "the first line")
    shim = json.loads((folder.path / "started").read_text())["pid"]
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    os.kill(shim, signal.SIGKILL)
    await_that(lambda: True if not folder.is_alive() else None, "the end of the shim")
    seen = backend.observe("u#0.0", program)
    assert seen is not None
    assert seen.state == "lost"
    await_that(
        lambda: True if not any(Path(f"/proc/{pid}").exists() for pid in children) else None,
        "the end of the unit's processes",
    )
    backend.start("u#0.0", program)
    again = backend.observe("u#0.0", program)
    assert again is not None
    assert again.state in ("lost", "preparing")
    assert len(_lines(backend, "endless")) == 1


def test_a_start_without_its_content_is_a_start(backend: ProcessBackend) -> None:
    """As a kill of an earlier version could leave it: between making the file and writing it."""
    program = unit_program("quick", "print('ran')")
    folder = unit_folder(backend._home, "u#0.0")
    backend._lay_out("u#0.0", folder, program)
    (folder.path / "started").touch()

    def seen() -> Any:
        backend.start("u#0.0", program)
        found = backend.observe("u#0.0", program)
        return found if found is not None and found.over else None

    assert await_that(seen, "the end").state == "lost"
    assert _lines(backend, "quick") == []


def test_a_start_is_written_once_and_whole(tmp_path: Path) -> None:
    write_once(tmp_path / "started", b"first")
    with pytest.raises(FileExistsError):
        write_once(tmp_path / "started", b"second")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"started": b"first"}


def test_units_live_on_without_their_control_plane(tmp_path: Path) -> None:
    first = ProcessBackend(tmp_path / "home", _stage)
    program = unit_program(
        "quick", "import time\nfor n in range(10):\n    print(n, flush=True); time.sleep(0.05)"
    )
    first.start("u#0.0", program)
    await_that(lambda: _lines(first, "quick") or None, "the first line")
    first.close()
    second = ProcessBackend(tmp_path / "home", _stage)
    end = _run(second, "u#0.0", program)
    assert end.exit_code == 0
    assert _lines(second, "quick") == [str(number) for number in range(10)]
    second.close()


def test_a_crash_while_inputs_are_laid_out_begins_anew(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / "home", _stage)
    folder = unit_folder(tmp_path / "home", "u#0.0")
    (folder.base / "code").mkdir(parents=True)
    (folder.base / "code" / "half").write_text("torn")
    script = "import os; print(sorted(os.listdir(os.environ['SAGEMAKER_BASE_DIR'] + '/code')))"
    assert _run(backend, "u#0.0", unit_program("quick", script)).exit_code == 0
    assert _lines(backend, "quick") == ["['x.py']"]
    backend.close()


def test_metrics_are_read_from_the_log(backend: ProcessBackend) -> None:
    script = "for n in range(3):\n    print(f'epoch {n} loss={1 / (n + 1):.3f}')\nprint('loss=x')"
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    end = _run(backend, "u#0.0", unit_program("quick", script, metrics=metrics))
    points = PointFiles().read(unit_folder(backend._home, "u#0.0").path / "metrics.jsonl", 0)
    assert [(name, value) for name, value, _ in points] == [
        ("loss", 1.0), ("loss", 0.5), ("loss", 0.333),
    ]  # fmt: skip
    assert end.metrics["loss"][0] == 0.333


def test_jobs_of_one_interpreter_draw_different_random_numbers(backend: ProcessBackend) -> None:
    script = "import numpy, random; print(numpy.random.rand(), random.random())"
    for number in range(3):
        assert _run(backend, f"u#{number}.0", unit_program("quick", script)).exit_code == 0
    assert len(set(_lines(backend, "quick"))) == 3


def test_memory_over_the_limit_is_named(backend: ProcessBackend) -> None:
    script = "block = bytearray(600_000_000)\nprint(len(block))"
    end = _run(backend, "u#0.0", unit_program("quick", script, memory_bytes=200_000_000))
    assert end.exit_code != 0
    assert "OutOfMemory" in end.message or "MemoryError" in end.message


def test_the_sandbox_is_there_or_says_why_not() -> None:
    reason = sandbox.available()
    assert reason is None or len(reason) > 5


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("data/train", "data/train/a.csv", "a.csv"),
        ("data/train/", "data/train/x/a.csv", "x/a.csv"),
        ("data/train.csv", "data/train.csv", "train.csv"),
        ("data/tr", "data/train/a.csv", "train/a.csv"),
        ("", "a/b", "a/b"),
    ],
)
def test_objects_lie_where_sagemaker_lays_them(prefix: str, key: str, name: str) -> None:
    assert relative_name(prefix, key) == name
