"""A warm interpreter that forks shims: a small job costs little more than its own work.

Imports once what most scripts import. A line with a unit's folder, from the control plane that
started it, forks its shim, which is no child of anybody. Ends with that control plane, however that
ends. Run as `python -m loopwright.compute.zygote FILE_NUMBER`.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Final

from loopwright.compute import shim

PRELOADED: Final = (
    "numpy", "scipy.sparse", "scipy.stats", "pandas", "joblib", "sklearn.base", "sklearn.datasets",
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection",
    "sklearn.neighbors", "sklearn.neural_network", "sklearn.pipeline", "sklearn.preprocessing",
    "sklearn.svm", "sklearn.tree", "xgboost", "orjson", "uvloop", "httptools", "argparse", "json",
    "loopwright.runtime.train", "loopwright.runtime.serve", "loopwright.runtime.processing",
)  # fmt: skip

DONE: Final = b"ok\n"
"""Answered once all is imported, and for each shim that was forked."""
FOLDER_BYTES_MAX: Final = 4096


def main(number: int) -> None:
    """Fork the shims that are asked for until the control plane is gone.

    Args:
        number: Of the inherited file, one of a pair of sockets whose other end the control plane
            holds and nobody else: however that ends, this end is closed.
    """
    keeper = socket.socket(fileno=number)
    keeper.set_inheritable(False)
    for name in PRELOADED:
        if _is_gone(keeper):
            return
        # A module that is not installed here is missed by the script that wants it, not by us.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        keeper.sendall(DONE)
        while folder := keeper.recv(FOLDER_BYTES_MAX):
            _fork_shim(Path(folder.decode().strip()), keeper)
            keeper.sendall(DONE)


def _is_gone(keeper: socket.socket) -> bool:
    """Whether the control plane has ended; it says nothing before it was answered."""
    readable, _, _ = select.select([keeper], [], [], 0)
    return bool(readable)


def _fork_shim(folder: Path, keeper: socket.socket) -> None:
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            keeper.close()
            _be_shim(folder)
        os._exit(0)
    os.waitpid(middle, 0)


def _be_shim(folder: Path) -> None:
    code = 0
    try:
        shim.main(folder)
    except BaseException:  # noqa: BLE001 - the fork must end here, whatever happened.
        (folder / "shim-error.txt").write_text(traceback.format_exc())
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
