"""The first process of a unit: goes into its sandbox, starts the job, passes signals on."""

import contextlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from loopwright.compute import sandbox
from loopwright.compute.folder import UnitFolder
from loopwright.runtime.failure import flush
from loopwright.runtime.main import main as runtime_main
from loopwright.runtime.pipes import feed


def run_job(folder: UnitFolder, program: dict[str, Any]) -> NoReturn:
    """Become the unit. Never returns: the process ends with the job's exit code."""
    code = 1
    try:
        if program.get("container"):
            _become_driver(folder, program)
        elif program.get("sandbox"):
            code = _sandboxed(folder, program)
        else:
            os.setpgid(0, 0)
            for pipe in program.get("pipes", ()):
                _feeder(folder.base, pipe)
            _environment(folder, program)
            code = _job(program)
    except BaseException:  # noqa: BLE001 - the process must end here, whatever happened.
        sys.stderr.write(traceback.format_exc())
        sys.stderr.flush()
    os._exit(code)


def _become_driver(folder: UnitFolder, program: dict[str, Any]) -> NoReturn:
    """Become the driver of the unit's container, with the feeders of its channels as children."""
    os.setpgid(0, 0)
    # By a relative path, as an ordinary user: what a container did to its folder must not lead
    # this machine's root anywhere else.
    os.chdir(folder.base)
    drop = sandbox.drop_privileges if os.getuid() == 0 else lambda: None
    for pipe in program.get("pipes", ()):
        _feeder(Path("."), pipe, drop)
    os.chdir("/")
    words = [sys.executable, "-m", "loopwright.compute.driver", str(folder.path)]
    os.execv(sys.executable, words)


def _sandboxed(folder: UnitFolder, program: dict[str, Any]) -> int:
    """As process 1 of the sandbox: start the job, reap, pass SIGTERM on, end with its code."""
    hidden, visible = program["hidden"], program["visible"]
    sandbox.enter(
        sandbox.Box(
            base=folder.base,
            scratch=folder.path / "tmp",
            hidden=tuple(Path(path) for path in hidden),
            visible=tuple(Path(path) for path in visible),
            hostname=program.get("hostname", "algo-1"),
            hosts=folder.path / "hosts",
            network=bool(program.get("network", True)),
        )
    )
    for pipe in program.get("pipes", ()):
        _feeder(Path("/opt/ml"), pipe, sandbox.drop_privileges)
    job = os.fork()
    if job == 0:
        code = 1
        try:
            sandbox.drop_privileges()
            _environment(folder, program)
            code = _job(program)
        except BaseException:  # noqa: BLE001 - as above.
            sys.stderr.write(traceback.format_exc())
            sys.stderr.flush()
        os._exit(code)

    def forward(number: int, _frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(job, number)

    signal.signal(signal.SIGTERM, forward)
    while True:
        pid, status = os.wait()
        if pid == job:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _feeder(base: Path, pipe: dict[str, Any], drop: Callable[[], None] = lambda: None) -> None:
    """Fork the process that feeds one channel; it ends with the one that forked it."""
    if os.fork() != 0:
        return
    code = 1
    try:
        drop()
        # After it: who changes its user is no longer told of the other's end.
        sandbox.die_with_parent()
        feed(base, pipe)
    except BaseException:  # noqa: BLE001 - the fork must end here, whatever happened.
        sys.stderr.write(f"Pipe mode of channel {pipe['channel']!r}:\n{traceback.format_exc()}")
        sys.stderr.flush()
    os._exit(code)


def _environment(folder: UnitFolder, program: dict[str, Any]) -> None:
    base = "/opt/ml" if program.get("sandbox") else str(folder.base)
    scratch = "/tmp" if program.get("sandbox") else str(folder.path / "tmp")
    os.environ.clear()
    os.environ.update(
        {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:"
            "/usr/bin:/sbin:/bin",
            "HOME": scratch,
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_BASE_DIR": base,
        }
    )
    for name, value in program.get("environment", {}).items():
        os.environ[name] = str(value)
    for name, value in program.get("places", {}).items():
        os.environ[name] = value.replace("{base}", base)
    os.umask(0o022)
    os.chdir(base)


def _job(program: dict[str, Any]) -> int:
    """Run the runtime's verb in this interpreter and end as an interpreter would."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _reseed()
    # New text layers: the forked ones belong to the interpreter that this one came from.
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    try:
        code = runtime_main([program["verb"], *program.get("arguments", ())])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    _finish()
    return code


def _reseed() -> None:
    """Forked interpreters share the state of their random generators; a job must not."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _finish() -> None:
    """Wait for the user's threads and run the exit functions, as an ending interpreter does."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit = sys.modules.get("atexit")
    if atexit is not None:
        atexit._run_exitfuncs()
    flush()
