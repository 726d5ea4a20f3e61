"""The process backend: units as sandboxed processes of this machine."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loopwright.compute import sandbox
from loopwright.compute.folder import UnitFolder
from loopwright.compute.launcher import Launcher
from loopwright.compute.shims import ShimBackend, Stager
from loopwright.compute.staging import give_to
from loopwright.kernel.units import Capacity, Program


class ProcessBackend(ShimBackend):
    """Units as processes in a sandbox, where the kernel allows one. One per control plane.

    Args:
        warm: Whether to keep a warm interpreter to fork from.
        environment: Variables that every unit gets besides its program's own.
        home, stage, capacity, platform: As `ShimBackend`.
    """

    def __init__(
        self,
        home: Path,
        stage: Stager,
        *,
        capacity: Capacity | None = None,
        warm: bool = True,
        environment: Callable[[], Mapping[str, str]] = dict,
        platform: Callable[[float], float] = float,
    ) -> None:
        self.launcher = Launcher(home, warm)
        super().__init__(home, stage, self.launcher, capacity=capacity, platform=platform)
        self._environment = environment
        self.unsandboxed = sandbox.available()
        self._box: tuple[tuple[Path, ...], tuple[Path, ...]] = ((), ())
        if self.unsandboxed is None:
            hidden, visible = sandbox.hidden_and_visible(home)
            (home / "client").mkdir(parents=True, exist_ok=True)
            self._box = (hidden, (*visible, (home / "client").resolve()))

    def dress(self, folder: UnitFolder, program: Program) -> dict[str, Any]:
        if self.unsandboxed is None and os.getuid() == 0:
            give_to(folder.base, sandbox.NOBODY)
        return {
            "environment": {**self._environment(), **program.get("environment", {})},
            "sandbox": self.unsandboxed is None,
            "hidden": [str(path) for path in self._box[0]],
            "visible": [str(path) for path in self._box[1]],
        }

    def close(self) -> None:
        """Stop preparing and let the warm interpreter go; units run on."""
        super().close()
        self.launcher.close()
