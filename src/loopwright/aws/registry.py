"""The image registry of a home: Debian's docker-registry on loopback, and what it keeps on disk.

Pushes and pulls go to the registry itself, with the password that GetAuthorizationToken tells. Its
folder is read here for everything else, so ECR's look-ups answer while it is down. The layout is
the one that the registry documents: `repositories/NAME/_manifests/{tags,revisions}`, `blobs`.
"""

import contextlib
import ctypes
import ctypes.util
import http.client
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute.daemon import Daemon
from loopwright.compute.engine import INSTALL
from loopwright.compute.folder import write_durably

USER: Final = "AWS"
"""ECR's user name for `docker login`."""
PROGRAM: Final = "docker-registry"
PING_TIMEOUT_S: Final = 2.0
CONFIG: Final = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{root}"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", secret: "{secret}"}}
auth:
  htpasswd: {{realm: loopwright, path: "{passwords}"}}
"""
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class NoRegistry(Exception):
    """There is no registry; the text says why, and what to do."""


@dataclass(frozen=True)
class Image:
    """An image of a repository.

    Attributes:
        digest: `sha256:…` of its manifest.
        tags: Sorted.
        pushed: Seconds since the epoch.
        size_bytes: Of its layers and its configuration, compressed.
        media_type: Of the manifest.
    """

    digest: str
    tags: tuple[str, ...]
    pushed: float
    size_bytes: int
    media_type: str


class Registry:
    """One per home.

    Args:
        home: Loopwright's home folder.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "registry"
        self._root = self._folder / "data" / "docker" / "registry" / "v2"
        self._home = home
        self._program = shutil.which(PROGRAM)
        self.missing = (
            None
            if self._program
            else f"A registry for images is not installed. On Debian as root: {INSTALL}."
        )
        """None when a registry can be had, else the sentence that says what to install."""
        self.daemon = Daemon(
            home,
            "registry",
            [self._program or PROGRAM, "serve", str(self._folder / "config.yml")],
            self._answers,
        )

    # The program

    @property
    def used(self) -> bool:
        """Whether this home has ever run its registry."""
        return (self._folder / "config.yml").exists()

    @property
    def named(self) -> bool:
        """Whether the registry has its address already."""
        return (self._folder / "registry.json").exists()

    @property
    def address(self) -> str:
        """`localhost:PORT`; the port is chosen once, as image names contain it.

        By this name both docker and podman log in without TLS.
        """
        return f"localhost:{self._state()['port']}"

    @property
    def password(self) -> str:
        """For the user `AWS`."""
        return str(self._state()["password"])

    def ensure(self) -> None:
        """Have the registry running.

        Raises:
            NoRegistry: it is not installed here.
            DaemonError: it does not come up.
        """
        if self.missing:
            raise NoRegistry(self.missing)
        if self.daemon.pid() is None:
            self._configure()
            self._clean()
        self.daemon.ensure()

    def stop(self) -> None:
        """End the registry."""
        self.daemon.stop()

    def _state(self) -> dict[str, Any]:
        path = self._folder / "registry.json"
        try:
            return dict(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            pass
        self._folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = {"password": secrets.token_urlsafe(32), "secret": secrets.token_urlsafe(32)}
        # Of several that come at once the first one's choice stands.
        own = self._folder / f".registry.{secrets.token_hex(4)}"
        write_durably(own, orjson.dumps({"port": port, **words}))
        own.chmod(0o600)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)
        own.unlink()
        return dict(orjson.loads(path.read_bytes()))

    def _configure(self) -> None:
        state = self._state()
        passwords = self._folder / "passwords"
        write_durably(passwords, f"{USER}:{_bcrypt(state['password'])}\n".encode())
        config = CONFIG.format(
            root=self._folder / "data",
            port=state["port"],
            secret=state["secret"],
            passwords=passwords,
        )
        write_durably(self._folder / "config.yml", config.encode())

    def _clean(self) -> None:
        """Give back the disk of deleted images; only while the registry is down."""
        marker = self._folder / "deleted"
        if marker.exists():
            command = [self._program or PROGRAM, "garbage-collect"]
            subprocess.run(
                [*command, str(self._folder / "config.yml")],
                check=False,
                capture_output=True,
                timeout=300,
            )
            marker.unlink()

    def _answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection(
                "127.0.0.1", int(self._state()["port"]), timeout=PING_TIMEOUT_S
            )
            with contextlib.closing(connection):
                connection.request("GET", "/v2/")
                return connection.getresponse().status == 401
        except (OSError, http.client.HTTPException):
            return False

    # What it keeps

    def images(self, repository: str) -> list[Image]:
        """The images of a repository, the newest first."""
        tags: dict[str, list[str]] = {}
        for tag, digest in self._tags(repository):
            tags.setdefault(digest, []).append(tag)
        found = []
        for path in (self._manifests(repository) / "revisions" / "sha256").glob("*/link"):
            digest = f"sha256:{path.parent.name}"
            manifest = self.manifest(digest)
            if manifest is None:
                continue
            document = orjson.loads(manifest)
            parts = [document.get("config") or {}, *document.get("layers", ())]
            found.append(
                Image(
                    digest,
                    tuple(sorted(tags.get(digest, ()))),
                    path.stat().st_mtime,
                    sum(int(part.get("size", 0)) for part in parts),
                    str(document.get("mediaType", "application/vnd.oci.image.manifest.v1+json")),
                )
            )
        return sorted(found, key=lambda image: image.pushed, reverse=True)

    def find(self, repository: str, tag: str | None, digest: str | None) -> str | None:
        """The digest of an image by its tag or digest; None when there is none."""
        if digest is not None:
            known = DIGEST.fullmatch(digest) and self._revision(repository, digest).exists()
            return digest if known else None
        if tag is None or not TAG.fullmatch(tag):
            return None
        return self._linked(self._manifests(repository) / "tags" / tag / "current" / "link")

    def manifest(self, digest: str) -> bytes | None:
        """The content of a manifest."""
        name = digest.removeprefix("sha256:")
        try:
            return (self._root / "blobs" / "sha256" / name[:2] / name / "data").read_bytes()
        except FileNotFoundError:
            return None

    def remove_tag(self, repository: str, tag: str) -> None:
        """Take a tag from its image; the image goes with its last one."""
        digest = self.find(repository, tag, None)
        self._remove(self._manifests(repository) / "tags" / tag)
        if digest is not None and all(other != digest for _, other in self._tags(repository)):
            self.remove_image(repository, digest)

    def remove_image(self, repository: str, digest: str) -> None:
        """Take an image and all its tags from a repository."""
        for tag, other in self._tags(repository):
            if other == digest:
                self._remove(self._manifests(repository) / "tags" / tag)
        self._remove(self._revision(repository, digest).parent)

    def remove_repository(self, repository: str) -> None:
        """Take a repository with all that is in it."""
        for folder in ("_manifests", "_layers", "_uploads"):
            self._remove(self._repository(repository) / folder)

    def _remove(self, path: Path) -> None:
        if path.is_dir():
            (self._folder / "deleted").touch()
            shutil.rmtree(path)

    def _tags(self, repository: str) -> Iterator[tuple[str, str]]:
        for path in (self._manifests(repository) / "tags").glob("*/current/link"):
            digest = self._linked(path)
            if digest is not None:
                yield path.parts[-3], digest

    @staticmethod
    def _linked(path: Path) -> str | None:
        try:
            return path.read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _repository(self, name: str) -> Path:
        return self._root / "repositories" / name

    def _manifests(self, repository: str) -> Path:
        return self._repository(repository) / "_manifests"

    def _revision(self, repository: str, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self._manifests(repository) / "revisions" / "sha256" / name / "link"


def _bcrypt(password: str) -> str:
    """The password as the registry's password file wants it, by the system's crypt(3).

    Raises:
        NoRegistry: this system's crypt knows no bcrypt.
    """
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "$2b$05$" + "".join(secrets.choice(letters) for _ in range(21)) + "u"
    name = ctypes.util.find_library("crypt")
    made: bytes | None = None
    if name is not None:
        library = ctypes.CDLL(name)
        library.crypt.restype = ctypes.c_char_p
        made = library.crypt(password.encode(), salt.encode())
    if made is None or not made.startswith(b"$2b$"):
        raise NoRegistry(
            "The registry's password cannot be made: the system has no crypt(3) with bcrypt "
            "(Debian's package libcrypt1 has it)."
        )
    return made.decode()
