"""The container engine of a home: its own podman service, or a Docker daemon, by the Docker API.

The podman service has its own socket, storage and configuration files, told by environment
variables: nothing under /etc and nothing of the user's own podman is touched. Why each setting is
there: no systemd (cgroupfs, file events), control groups of both versions (runc), a hard limit of
open files that root itself cannot raise (default_ulimits).
"""

import contextlib
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loopwright.compute.daemon import Daemon

try:
    import docker
except ImportError:  # The extra `containers` is not installed.
    docker = None
__all__ = ["Engine", "NoEngine", "answers", "docker"]

PACKAGES: Final = "podman runc netavark aardvark-dns iptables uidmap docker-registry"
INSTALL: Final = f"apt-get install --no-install-recommends {PACKAGES}"
DOCKER_SOCKET: Final = "unix:///var/run/docker.sock"
PING_TIMEOUT_S: Final = 5.0
CONF: Final = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}tmp_dir = "{run}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{home}/networks"
"""
STORAGE: Final = """\
[storage]
driver = "overlay"
graphroot = "{home}/storage"
runroot = "{run}/root"
"""
REGISTRIES: Final = """\
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "{registry}"
insecure = true
"""


class NoEngine(Exception):
    """There is no container engine; the text says why, and what to do."""


class Engine:
    """How a home reaches its engine.

    Args:
        home: Loopwright's home folder.
        choice: The setting: empty (own podman, else Docker's socket), `podman`, `docker`, `none`,
            or an address such as `unix:///var/run/docker.sock`.
        registry: Tells `HOST:PORT` of the home's registry, which speaks no TLS.
    """

    def __init__(
        self, home: Path, choice: str = "", registry: Callable[[], str] = lambda: "localhost:1"
    ) -> None:
        self._home = home
        self._folder = home / "containers"
        self._registry = registry
        self._podman = shutil.which("podman")
        self.missing = self._why_not(choice)
        """None when there is an engine, else the sentence that says what to install or to set."""
        self.own = not self.missing and choice in ("", "podman") and self._podman is not None
        digest = hashlib.blake2b(str(home.resolve()).encode(), digest_size=6).hexdigest()
        self._run = _run_folder() / digest
        self.url = self._url(choice)
        self.daemon = Daemon(
            home,
            "podman",
            [self._podman or "podman", "system", "service", "--time=0", self.url],
            lambda: answers(self.url),
            self._variables(),
        )

    def _why_not(self, choice: str) -> str | None:
        if choice == "none":
            return "Containers are turned off (`--engine none`)."
        if docker is None:
            return (
                "Images of one's own need the Python package docker: "
                "pip install 'loopwright[containers]'."
            )
        if choice == "podman" and self._podman is None:
            return f"`--engine podman`, but podman is not installed: {INSTALL}."
        found = self._podman or Path(DOCKER_SOCKET.removeprefix("unix://")).exists()
        if choice == "" and not found:
            return (
                "Images of one's own need a container engine, and there is neither podman nor "
                f"Docker here. On Debian as root: {INSTALL}. Then restart `loopwright serve`."
            )
        return None

    def _url(self, choice: str) -> str:
        if self.own:
            return f"unix://{self._run}/podman.sock"
        if "://" in choice:
            return choice
        return os.environ.get("DOCKER_HOST", DOCKER_SOCKET) if choice == "docker" else DOCKER_SOCKET

    def _variables(self) -> dict[str, str]:
        return {
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self._folder / "registries.conf"),
        }

    @property
    def used(self) -> bool:
        """Whether this home has ever run its own engine."""
        return self.own and (self._folder / "containers.conf").exists()

    def ensure(self) -> None:
        """Have the engine running; the podman service is started when it is gone.

        Raises:
            NoEngine: there is none.
            DaemonError: podman does not come up.
        """
        if self.missing:
            raise NoEngine(self.missing)
        if self.own:
            if self.daemon.pid() is None:
                self._configure()
            self.daemon.ensure()
        elif not answers(self.url):
            raise NoEngine(f"No container engine answers at {self.url}.")

    def _configure(self) -> None:
        for folder in (self._folder / "networks", self._run):
            folder.mkdir(parents=True, exist_ok=True)
        self._run.chmod(0o700)
        # Where both versions of control groups are mounted, podman's default runtime gives up.
        runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
        files = {"containers.conf": CONF, "storage.conf": STORAGE, "registries.conf": REGISTRIES}
        for name, text in files.items():
            filled = text.format(
                home=self._folder, run=self._run, registry=self._registry(), runtime=runtime
            )
            (self._folder / name).write_text(filled)

    def client(self) -> "docker.DockerClient":
        """A client of the running engine.

        Raises:
            NoEngine, DaemonError: as `ensure`.
        """
        self.ensure()
        return docker.DockerClient(base_url=self.url, timeout=300)

    def stop(self) -> None:
        """End the own podman service, unless containers of this home run on."""
        if not self.own or self.daemon.pid() is None:
            return
        if self.client().containers.list():
            return
        self.daemon.stop()
        # Podman mounts its storage on itself; a home could not be removed otherwise.
        storage = str(self._folder / "storage" / "overlay")
        subprocess.run(["umount", "-l", storage], check=False, capture_output=True)
        shutil.rmtree(self._run, ignore_errors=True)


def _run_folder() -> Path:
    """Where sockets and what must not survive a reboot lie; short, as socket paths must be."""
    if os.getuid() == 0 and Path("/run").is_dir():
        return Path("/run/loopwright")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"loopwright-{os.getuid()}"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=PING_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PING_TIMEOUT_S)
        self.sock.connect(self._path)


def answers(url: str) -> bool:
    """Whether an engine answers at this address."""
    scheme, _, address = url.partition("://")
    if scheme == "unix":
        connection: http.client.HTTPConnection = _Connection(address)
    else:
        connection = http.client.HTTPConnection(address, timeout=PING_TIMEOUT_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
