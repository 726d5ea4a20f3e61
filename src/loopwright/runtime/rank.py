"""One rank of a distributed script: `python -m loopwright.runtime.rank SCRIPT ARG...`.

Says why it failed: to torchrun in the file that it names, else in the file of its host.
"""

import atexit
import contextlib
import io
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

from loopwright.runtime import program
from loopwright.runtime.failure import UnitFailure

TORCHRUN_FILE: Final = "TORCHELASTIC_ERROR_FILE"
"""Of torch.distributed.elastic.multiprocessing.errors: a JSON document with `message`."""
HOST_FILE: Final = "LOOPWRIGHT_RANK_FAILURE"
"""The variable that names the file of the reason of the first rank of this host that failed."""

JOIN: Final = "LOOPWRIGHT_JOIN_S"
"""The variable that says for how many seconds the hosts wait for each other."""
JOIN_S: Final = "300"


def main(argv: list[str]) -> int:
    """Run the script as `__main__` to its end.

    Args:
        argv: The script and its arguments.
    Returns:
        Its exit code; whoever calls ends by sys.exit, for threads and exit functions.
    """
    codes: list[int] = []
    _write_lines()
    # Registered first, so it runs after the script's own exit functions.
    atexit.register(leave, codes)
    try:
        codes.append(program.run_python(Path(argv[0]), argv[1:], shown_as=argv[0]))
    except UnitFailure as ended:
        tell(ended.reason)
        codes.append(ended.exit_code)
    return codes[-1]


def _write_lines() -> None:
    """Write line by line, not what `print` is given and the line's end apart: the ranks of a host
    share one log, and two of them could make one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)


def leave(codes: list[int]) -> None:
    """End the process group that a script left open, then the process, as all else has ended.

    Gloo's threads may outlive the interpreter, and a thread that is still there when the process
    takes its libraries down ends it by signal 6, after everything was done. So a rank that used
    torch.distributed leaves without taking them down.

    Args:
        codes: The exit code of the process, once it is known.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        with contextlib.suppress(RuntimeError, ValueError):
            distributed.destroy_process_group()
    if distributed is None or not codes:
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(codes[-1])


def tell(reason: str) -> None:
    """Write the reason down for whoever started this rank; what cannot be told is on the log."""
    with contextlib.suppress(OSError):
        if path := os.environ.get(TORCHRUN_FILE):
            document = {"message": reason, "timestamp": int(time.time())}
            Path(path).write_text(json.dumps(document), encoding="utf-8")
        elif path := os.environ.get(HOST_FILE):
            with open(path, "x", encoding="utf-8") as stream:
                stream.write(reason)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
