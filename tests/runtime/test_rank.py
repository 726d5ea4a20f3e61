"""A rank of a distributed script."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def test_a_line_is_written_at_once(tmp_path: Path) -> None:
    """The ranks of a host share one log: what one writes in two calls, another may part."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nprint('loss', 0.5)\nprint('bad', 1, file=sys.stderr, flush=True)\n"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-m", "loopwright.runtime.rank", str(script)]
        variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
        subprocess.run(command, stdout=theirs, stderr=theirs, env=variables, check=True)
        # A socket of this kind keeps writes apart.
        assert [ours.recv(100), ours.recv(100)] == [b"loss 0.5\n", b"bad 1\n"]
