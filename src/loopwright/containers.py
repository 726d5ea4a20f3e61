"""Images of one's own, put together: engine, registry, repositories, and the backend over them."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from loopwright.aws.registry import NoRegistry, Registry
from loopwright.aws.repositories import Repositories
from loopwright.compute.backends import Backends
from loopwright.compute.container import ContainerBackend
from loopwright.compute.daemon import DaemonError
from loopwright.compute.engine import Engine, NoEngine
from loopwright.compute.process import ProcessBackend
from loopwright.compute.shims import Stager
from loopwright.database import Database
from loopwright.wire.errors import ApiError, validation

LOG = logging.getLogger(__name__)
WATCH_S: Final = 2.0
"""How often the daemons are looked after."""


class Containers:
    """One per control plane.

    Args:
        home: Loopwright's home folder.
        choice: The setting `engine`.
    """

    def __init__(self, home: Path, choice: str, database: Database) -> None:
        self._home = home
        self.registry = Registry(home)
        self.repositories = Repositories(database, self.registry)
        self.engine = Engine(home, choice, lambda: self.registry.address)
        self._backend: ContainerBackend | None = None
        self._stopping = threading.Event()

    def beside(
        self,
        processes: ProcessBackend,
        stage: Stager,
        environment: Callable[[], Mapping[str, str]],
        platform: Callable[[float], float],
    ) -> Backends:
        """The two backends as one."""
        self._backend = ContainerBackend(
            self._home,
            stage,
            processes.launcher,
            self.engine,
            images=self.repositories,
            environment=environment,
            platform=platform,
        )
        return Backends(self._home, processes, self._backend)

    def check(self, image: str, member: str) -> None:
        """Refuse an image that cannot run here.

        Raises:
            ApiError: `ValidationException`: no engine, no such repository, or no such image.
        """
        if self.engine.missing:
            raise validation(
                f"{member} is {image!r}, which no runtime of Loopwright stands for "
                f"(`loopwright images` lists them). {self.engine.missing}"
            )
        try:
            self.repositories.check(image, member)
        except (NoRegistry, DaemonError) as error:
            raise ApiError("InternalServerException", str(error), 500) from error

    def watch(self) -> None:
        """Keep the daemons that this home has used running, until `close`; for a thread."""
        swept = False
        while True:
            try:
                if self.registry.used and not self.registry.missing:
                    self.registry.ensure()
                if self.engine.used:
                    self.engine.ensure()
                    if not swept and self._backend is not None:
                        self._backend.sweep()
                        swept = True
            except (NoEngine, NoRegistry, DaemonError, OSError) as error:
                LOG.warning("%s", error)
            if self._stopping.wait(WATCH_S):
                return

    def close(self) -> None:
        """End the daemons; the engine only if no container runs on."""
        self._stopping.set()
        try:
            self.registry.stop()
            self.engine.stop()
        except (NoEngine, DaemonError, OSError) as error:
            LOG.warning("%s", error)
