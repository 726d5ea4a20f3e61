"""The container backend: units as containers of an engine, each under a shim as a process is.

The shim stays in charge: the lock, the start once, the log, the metrics, the stop and the end by
rename are the same code as for processes. Its child is a driver (`compute.driver`), which makes
the container, copies its output, passes signals on and ends with its exit code. So a container has
two watchers: when the shim dies the driver ends the container, when the driver dies the shim does,
and when both are gone the next observation does, before it calls the unit lost.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from loopwright.compute.daemon import DaemonError
from loopwright.compute.engine import Engine, NoEngine, docker
from loopwright.compute.folder import UnitFolder
from loopwright.compute.launcher import Launcher
from loopwright.compute.shims import ShimBackend, Stager
from loopwright.compute.staging import StagingError
from loopwright.kernel.units import Program

LOG = logging.getLogger(__name__)
KEPT: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID",
               "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION",
               "AWS_EC2_METADATA_DISABLED")  # fmt: skip
"""Of the variables that units get, those that mean something in a foreign file system."""


class Images:
    """Where images come from; what the backend needs to know of names and registries."""

    def reference(self, image: str) -> str:
        """The name under which the engine pulls the image of a request."""
        return image

    def login(self, reference: str) -> dict[str, str] | None:
        """User name and password for the registry of a reference; None for none."""
        return None


class ContainerBackend(ShimBackend):
    """Units as containers. One per control plane.

    Args:
        engine: That runs them.
        images: Names and passwords.
        environment: Variables that every unit gets besides its program's own.
        home, stage, launcher, platform: As `ShimBackend`.
    """

    def __init__(
        self,
        home: Path,
        stage: Stager,
        launcher: Launcher,
        engine: Engine,
        *,
        images: Images,
        environment: Callable[[], Mapping[str, str]] = dict,
        platform: Callable[[float], float] = float,
    ) -> None:
        super().__init__(home, stage, launcher, platform=platform)
        self._engine = engine
        self._images = images
        self._environment = environment
        self._burying: set[Path] = set()
        # Tells this home's containers from others' in the same engine.
        name = str(home.resolve()).encode()
        self._label = hashlib.blake2b(name, digest_size=6).hexdigest()

    def laid_out(self, program: Program) -> Program:
        # A container's root could write to the object store's own files through a link.
        copied = [{**item, "link": False} for item in program.get("inputs", ())]
        return {**program, "inputs": copied}

    def dress(self, folder: UnitFolder, program: Program) -> dict[str, Any]:
        _open_to_all(folder.base)
        wanted = program["container"]
        given = {name: value for name, value in self._environment().items() if name in KEPT}
        return {
            "environment": {**given, **program.get("environment", {})},
            "sandbox": False,
            "container": {
                **wanted,
                "id": self._image_id(wanted["image"]),
                "name": f"loopwright-{self._label}-{folder.path.name}",
                "home": self._label,
                "engine": self._engine.url,
            },
        }

    def _image_id(self, image: str) -> str:
        """Pull the image, if its registry has another one than is here; its content's id."""
        reference = self._images.reference(image)
        login = self._images.login(reference)
        try:
            client = self._engine.client()
        except (NoEngine, DaemonError) as error:
            raise StagingError(f"InternalServerError: {error}") from error
        try:
            if login is None:
                try:
                    return str(client.images.get(reference).id)
                except docker.errors.ImageNotFound:
                    LOG.info("pulling %s", reference)
            repository, tag = _split(reference)
            return str(client.images.pull(repository, tag, auth_config=login).id)
        except (docker.errors.DockerException, OSError) as error:
            reason = getattr(error, "explanation", None) or str(error)
            raise StagingError(
                f"ClientError: the image {image} could not be pulled: {reason}"
            ) from error
        finally:
            client.close()

    def address(self, folder: UnitFolder) -> str:
        return str((folder.read("container.json") or {}).get("address", ""))

    def bury(self, folder: UnitFolder) -> bool:
        """Have the container of a dead shim removed; True once its end is written down."""
        with self._lock:
            if folder.path not in self._burying:
                self._burying.add(folder.path)
                self._pool.submit(self._bury, folder)
        return False

    def _bury(self, folder: UnitFolder) -> None:
        try:
            self._remove(folder)
            if not folder.is_alive() and folder.read("exit.json") is None:
                folder.write("exit.json", {"lost": True, "ended": time.time()})
        except Exception:
            LOG.exception("the container of %s could not be removed; it is tried again", folder)
        finally:
            with self._lock:
                self._burying.discard(folder.path)

    def _remove(self, folder: UnitFolder) -> None:
        name = ((folder.read("program.json") or {}).get("container") or {}).get("name")
        if name is None:
            return
        client = self._engine.client()
        try:
            client.containers.get(name).remove(force=True)
        except docker.errors.NotFound:
            LOG.debug("%s is gone already", name)
        finally:
            client.close()

    def sweep(self) -> None:
        """Remove this home's containers whose shim is gone. Needs the engine."""
        client = self._engine.client()
        try:
            mine = {"label": f"loopwright.home={self._label}"}
            for container in client.containers.list(all=True, filters=mine):
                folder = UnitFolder(self._home / "units" / container.name.rpartition("-")[2])
                if not folder.is_alive():
                    container.remove(force=True)
        finally:
            client.close()

    def holds(self, folder: UnitFolder) -> bool:
        """Whether a unit that is laid out is this backend's."""
        return bool((folder.read("program.json") or {}).get("container"))


def _open_to_all(base: Path) -> None:
    """Let any user of an image write: the folder lies in the home, where nobody else comes."""
    for root, _, files in os.walk(base):
        Path(root).chmod(0o777)
        for name in files:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o666)


def _split(reference: str) -> tuple[str, str]:
    """Repository, and tag or digest, of a reference."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return reference, "latest"
    return repository, tag
