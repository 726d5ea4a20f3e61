"""The elements' types, checked by TypeScript's compiler where there is one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CROWD = ROOT / "src" / "loopwright" / "portal" / "static" / "crowd"


def _compiler() -> str | None:
    own = ROOT / ".cache" / "node_modules" / ".bin" / "tsc"
    return os.environ.get("TSC") or shutil.which("tsc") or (str(own) if own.exists() else None)


def test_types() -> None:
    compiler = _compiler()
    if compiler is None:
        reason = "no tsc: `npm install --prefix .cache typescript@5.9.3`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [compiler, "-p", str(CROWD / "jsconfig.json")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
