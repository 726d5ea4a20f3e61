"""A warm interpreter that forks shims: a small job costs little more than its own work.

Imports once what most scripts import. Listens on a Unix socket: a line with a unit's folder forks
its shim, which is no child of anybody. Ends when the control plane that started it is gone.
Run as `python -m loopwright.compute.zygote SOCKET`.
"""

import contextlib
import gc
import importlib
import os
import selectors
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

KEEPER_WAIT_S: Final = 60.0


def main(path: str) -> None:
    """Serve until the first connection, the control plane's own, is closed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    for name in PRELOADED:
        # A module that is not installed here is missed by the script that wants it, not by us.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    listener.listen(64)
    # A control plane that was killed before it came to connect must leave nobody waiting here.
    listener.settimeout(KEEPER_WAIT_S)
    try:
        keeper, _ = listener.accept()
    except TimeoutError:
        return
    listener.settimeout(None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(keeper, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is keeper:
                if not keeper.recv(4096):
                    return
            else:
                _serve_one(listener, [keeper, selector])


def _serve_one(
    listener: socket.socket, inherited: list[socket.socket | selectors.BaseSelector]
) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        folder = connection.makefile("r").readline().strip()
        if not folder:
            return
        middle = os.fork()
        if middle == 0:
            os.setsid()
            if os.fork() == 0:
                for item in (listener, connection, *inherited):
                    item.close()
                _be_shim(Path(folder))
            os._exit(0)
        os.waitpid(middle, 0)
        connection.sendall(b"ok\n")


def _be_shim(folder: Path) -> None:
    code = 0
    try:
        shim.main(folder)
    except BaseException:  # noqa: BLE001 - the fork must end here, whatever happened.
        (folder / "shim-error.txt").write_text(traceback.format_exc())
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
