"""One rank of a distributed script: `python -m loopwright.runtime.rank SCRIPT ARG...`.

Says why it failed: to torchrun in the file that it names, else in the file of its host.
"""

import atexit
import contextlib
import json
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
    # Registered first, so it runs after the script's own exit functions.
    atexit.register(leave)
    try:
        return program.run_python(Path(argv[0]), argv[1:], shown_as=argv[0])
    except UnitFailure as ended:
        tell(ended.reason)
        return ended.exit_code


def leave() -> None:
    """End the process group that a script left open: its threads would outlive the interpreter."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        with contextlib.suppress(RuntimeError, ValueError):
            distributed.destroy_process_group()


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
