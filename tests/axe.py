"""axe-core, which audits pages for accessibility; npm brings it, see `scripts/ci-packages.sh`."""

import os
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".cache" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
SCHEMES = ("light", "dark")


def axe_script() -> str:
    """Its text; without it the test skips, and in CI fails."""
    if not SCRIPT.exists():
        reason = "no axe-core: `npm install --prefix .cache axe-core@4.11.0`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SCRIPT.read_text()
