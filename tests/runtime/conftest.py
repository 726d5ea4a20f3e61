"""A unit's folders in tmp_path, real runtime processes in them, and a client that can be rude."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip

SOURCE = Path(__file__).parents[2] / "src"
WAIT_S = 60


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection to a model server; speaks bytes, so that requests may be malformed."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def receive(self) -> Reply:
        line = self._reader.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        status, headers = int(line.split()[1]), {}
        while (line := self._reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Reply(status, headers, self._reader.read(int(headers.get("content-length", 0))))

    def at_end(self) -> bool:
        return self._reader.read(1) == b""


def post(body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    """A POST /invocations; header names are written with _ for -."""
    lines = ["POST /invocations HTTP/1.1", "host: unit", f"content-length: {len(body)}"]
    if content_type:
        lines.append(f"content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    path: Path
    log: Path

    def client(self) -> Client:
        return Client(self.path)

    def get(self, path: str) -> Reply:
        with self.client() as client:
            client.send(f"GET {path} HTTP/1.1\r\nhost: unit\r\n\r\n".encode())
            return client.receive()

    def post(self, body: bytes, content_type: str = "application/json", **headers: str) -> Reply:
        with self.client() as client:
            client.send(post(body, content_type, **headers))
            return client.receive()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@dataclass
class Unit:
    """One unit's base folder."""

    base: Path
    servers: list[Server] = field(default_factory=list)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def configure(
        self, hyperparameters: dict[str, Any], channels: dict[str, Any] | None = None
    ) -> None:
        """Hyperparameters are written as the SDK's framework estimators do: JSON in strings."""
        encoded = {name: json.dumps(value) for name, value in hyperparameters.items()}
        self.write("input/config/hyperparameters.json", json.dumps(encoded))
        resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
        self.write("input/config/resourceconfig.json", json.dumps(resources))
        self.write("input/config/inputdataconfig.json", json.dumps(channels or {}))

    def bundle(self, files: dict[str, str | bytes]) -> Path:
        """A sourcedir.tar.gz of these files."""
        folder = self.base / "bundle"
        for name, content in files.items():
            self.write(f"bundle/{name}", content)
        archive = self.base / "sourcedir.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname=".")
        return archive

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(SOURCE),
            "SAGEMAKER_BASE_DIR": str(self.base),
            "PIP_NO_INDEX": "1",
            **more,
        }

    def run(self, *argv: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "loopwright.runtime", *argv],
            env=self.environment(**more),
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def failure(self) -> str:
        return (self.base / "output/failure").read_text()

    def serve(self, **more: str) -> Server:
        """Start a server and wait until it listens."""
        server = self.start_server(**more)
        while True:
            try:
                server.client().__exit__()
                return server
            except (FileNotFoundError, ConnectionRefusedError):
                # Waiting for the end of the process is how to notice that it will never listen.
                try:
                    server.process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(server.log.read_text()) from None

    def start_server(self, **more: str) -> Server:
        # Unix socket paths are short; tmp_path may not be.
        path = Path(f"/tmp/lw-{os.getpid()}-{len(self.servers)}-{abs(hash(self.base)) % 10**8}.s")
        log = self.base / f"server-{len(self.servers)}.log"
        with open(log, "wb") as target:
            process = subprocess.Popen(
                [sys.executable, "-m", "loopwright.runtime", "serve"],
                env=self.environment(LOOPWRIGHT_LISTEN=f"unix:{path}", **more),
                cwd=self.base,
                stdout=target,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, path, log)
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.kill()
            server.process.wait(WAIT_S)
            server.path.unlink(missing_ok=True)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """One unit for all tests of a file, where starting a server for each would be slow."""
    made = Unit(tmp_path_factory.mktemp("unit"))
    yield made
    made.close()


@pytest.fixture
def torch_installed() -> None:
    if importlib.util.find_spec("torch") is None:
        skip("PyTorch is missing; `make torch` installs it.")
