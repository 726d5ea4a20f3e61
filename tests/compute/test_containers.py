"""The backends' contract over containers, and what happens when one of a unit's watchers dies."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.compute.backends import Backends
from loopwright.compute.container import ContainerBackend, Images
from loopwright.compute.folder import UnitFolder, log_path, unit_folder
from loopwright.compute.launcher import Launcher
from loopwright.compute.process import ProcessBackend
from loopwright.compute.staging import StagingError, stage
from loopwright.kernel.units import Program
from loopwright.testing.backend import BackendContract, BackendWorld
from tests.images import Workshop
from tests.server import await_that

SCRIPTS = {
    "quick": "print('began')",
    "fails": "import sys; print('began'); sys.exit(3)",
    "endless": "import time; print('began'); time.sleep(600)",
    "unstartable": "",
}
COUNTS = "import time\nfor n in range(40): print('line', n); time.sleep(0.05)"


def _stage(program: Program, base: Path) -> None:
    if program["log"]["stream"] == "unstartable":
        raise StagingError("ClientError: Data download failed: nothing there")
    stage(None, program, base)  # type: ignore[arg-type]


class Shop:
    """A container backend of a home of its own, in the workshop's engine."""

    def __init__(self, home: Path, workshop: Workshop) -> None:
        self.home = home
        self.workshop = workshop
        self.backend = ContainerBackend(
            home, _stage, Launcher(home, False), workshop.engine, images=Images()
        )

    def program(self, kind: str, script: str = "", **more: Any) -> dict[str, Any]:
        """A program of a Python script; each kind logs to a stream of its own."""
        command = ["python3", "-c", script or SCRIPTS[kind]]
        return {
            "container": {"image": self.workshop.uri, "command": command, "entrypoint": None},
            "folders": ["model", "output"],
            "environment": {},
            "log": {"group": "g", "stream": kind},
            **more,
        }

    def lines(self, stream: str) -> list[str]:
        path = log_path(self.home, "g", stream)
        if not path.exists():
            return []
        return [line.partition("\t")[2] for line in path.read_text().splitlines()]

    def over(self, unit_id: str, program: Program) -> Any:
        """The unit's end, once it is there."""

        def found() -> Any:
            seen = self.backend.observe(unit_id, program)
            return seen if seen is not None and seen.over else None

        return await_that(found, "the end of the unit")

    def running(self, unit_id: str, stream: str) -> tuple[UnitFolder, int, int]:
        """Folder, shim and driver of a unit that has said something."""
        await_that(lambda: self.lines(stream) or None, "the first line")
        folder = unit_folder(self.home, unit_id)
        shim = int(json.loads((folder.path / "started").read_text())["pid"])
        children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
        return folder, shim, int(children[0])

    def gone(self, folder: UnitFolder) -> None:
        """Wait until the engine has no container of the unit."""
        name = folder.path.name
        await_that(
            lambda: None if any(name in one for one in self.workshop.containers()) else True,
            "the end of the container",
        )


@pytest.fixture
def shop(workshop: Workshop, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "home", workshop)
    yield made
    made.backend.close()


class TestContainers(BackendContract):
    @pytest.fixture
    def world(self, shop: Shop) -> BackendWorld:
        return BackendWorld(
            shop.backend,
            shop.program,
            lambda condition: await_that(lambda: condition() or None, "it"),
            lambda unit_id: shop.lines("quick").count("began"),
        )


def test_a_container_dies_with_its_shim(shop: Shop) -> None:
    program = shop.program("endless")
    shop.backend.start("u#0.0", program)
    folder, shim, _ = shop.running("u#0.0", "endless")
    os.kill(shim, signal.SIGKILL)
    shop.gone(folder)
    assert shop.over("u#0.0", program).state == "lost"
    shop.backend.start("u#0.0", program)
    assert shop.over("u#0.0", program).state == "lost"
    assert shop.lines("endless") == ["began"]


def test_a_container_dies_with_its_driver(shop: Shop) -> None:
    program = shop.program("endless")
    shop.backend.start("u#0.0", program)
    folder, _, driver = shop.running("u#0.0", "endless")
    os.kill(driver, signal.SIGKILL)
    assert shop.over("u#0.0", program).state == "lost"
    shop.gone(folder)


def test_a_container_without_any_watcher_is_removed_before_it_is_called_lost(shop: Shop) -> None:
    program = shop.program("endless")
    shop.backend.start("u#0.0", program)
    folder, shim, driver = shop.running("u#0.0", "endless")
    # Stopped, it cannot hear of the shim's end.
    os.kill(driver, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    os.kill(driver, signal.SIGKILL)
    await_that(lambda: None if folder.is_alive() else True, "the end of the shim")
    assert any(folder.path.name in name for name in shop.workshop.containers())
    assert shop.over("u#0.0", program).state == "lost"
    assert not any(folder.path.name in name for name in shop.workshop.containers())


def test_a_home_s_containers_without_a_shim_are_swept(shop: Shop) -> None:
    program = shop.program("endless")
    shop.backend.start("u#0.0", program)
    folder, shim, driver = shop.running("u#0.0", "endless")
    shop.backend.sweep()
    assert any(folder.path.name in name for name in shop.workshop.containers())
    os.kill(driver, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    os.kill(driver, signal.SIGKILL)
    await_that(lambda: None if folder.is_alive() else True, "the end of the shim")
    shop.backend.sweep()
    assert not any(folder.path.name in name for name in shop.workshop.containers())


def test_an_engine_that_is_killed_costs_no_line_and_no_end(shop: Shop) -> None:
    program = shop.program("quick", COUNTS)
    shop.backend.start("u#0.0", program)
    shop.running("u#0.0", "quick")
    pid = shop.workshop.engine.daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await_that(
        lambda: None if shop.workshop.engine.daemon.pid() == pid else True, "the engine's end"
    )
    shop.workshop.engine.ensure()
    assert shop.over("u#0.0", program).exit_code == 0
    assert shop.lines("quick") == [f"line {number}" for number in range(40)]


def test_output_comes_through_whole(shop: Shop) -> None:
    script = "import sys\nsys.stdout.write('x' * 100_000 + '\\né\\nunended')"
    program = shop.program("quick", script)
    shop.backend.start("u#0.0", program)
    shop.over("u#0.0", program)
    assert shop.lines("quick") == ["x" * 100_000, "é", "unended"]


def test_memory_and_cpus_are_limited_and_a_killed_process_is_named(shop: Shop) -> None:
    # Its child dies of it, and its own exit code says nothing.
    script = (
        "import os, sys\n"
        "groups = ('cpu/cpu.cfs_quota_us', 'cpu.max')\n"
        "quotas = [f'/sys/fs/cgroup/{name}' for name in groups]\n"
        "print(*(open(path).read().split()[0] for path in quotas if os.path.exists(path)))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    block = b'x' * 400_000_000\n    os._exit(0)\n"
        "sys.exit(5 if os.waitpid(pid, 0)[1] else 0)"
    )
    program = shop.program("quick", script, memory_bytes=200_000_000, cpus=0.5)
    shop.backend.start("u#0.0", program)
    end = shop.over("u#0.0", program)
    assert (end.exit_code, end.message.partition(":")[0]) == (5, "OutOfMemory")
    assert shop.lines("quick") == ["50000"]


def test_one_router_leads_to_both(shop: Shop, tmp_path: Path) -> None:
    processes = ProcessBackend(shop.home, _stage, warm=False)
    both = Backends(shop.home, processes, shop.backend)
    inside = shop.program("endless")
    plain = {
        "verb": "run", "arguments": ["python3", "x.py"], "environment": {},
        "files": {"x.py": "import os; print(os.path.exists('/opt/program'))"},
        "log": {"group": "g", "stream": "plain"},
    }  # fmt: skip
    both.start("u#0.0", inside)
    both.start("u#0.1", plain)

    def over(unit_id: str, program: Program) -> Any:
        seen = both.observe(unit_id, program)
        return seen if seen is not None and seen.over else None

    assert await_that(lambda: over("u#0.1", plain), "the process").exit_code == 0
    folder, _, _ = shop.running("u#0.0", "endless")
    both.stop("u#0.0", 0.5)
    end = await_that(lambda: over("u#0.0", inside), "the container")
    assert (end.exit_code, end.signalled) == (137, True)
    shop.gone(folder)
    both.discard("u#0.0")
    assert not folder.path.exists()
    assert shop.lines("plain") == ["False"]
    processes.close()


def test_a_container_that_writes_much_loses_no_line(shop: Shop) -> None:
    # What podman's `logs --follow` does: it drops up to a third of such an output.
    script = "for n in range(100_000):\n    print('line', n, 'x' * 60)"
    program = shop.program("quick", script)
    shop.backend.start("u#0.0", program)
    assert shop.over("u#0.0", program).exit_code == 0
    assert shop.lines("quick") == [f"line {n} {'x' * 60}" for n in range(100_000)]
