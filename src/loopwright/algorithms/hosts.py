"""Several hosts, one model: the first host gets the others' shards and learns, the others wait.

The hosts find each other by name. Jobs may share a machine's ports, so a port is asked whether it
belongs to this job before anything is sent: the key is the job's ARN.
"""

import hashlib
import io
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from scipy import sparse

from loopwright.algorithms.channels import Table, joined
from loopwright.algorithms.errors import AlgorithmError
from loopwright.runtime.environment import Environment

_PORTS: Final = 16
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000
_MEET_S: Final = 300.0
_RETRY_S: Final = 0.05
_GREETING_S: Final = 5.0

Tables = dict[str, Table]


class Team:
    """This host among the others.

    Attributes:
        leads: Whether it is the first host, which learns.
    """

    def __init__(self, environment: Environment) -> None:
        self._hosts = environment.hosts
        self._host = environment.host
        self._channels = environment.channels
        self._key = hashlib.sha256(_job(environment).encode()).digest()
        self._open: list[socket.socket] = []
        self.leads = self._host == self._hosts[0]

    def gather(self, tables: Tables) -> Tables:
        """The whole job's tables at the first host; what was given at the others.

        Channels that every host has in full are taken from the first host alone.

        Raises:
            AlgorithmError: the hosts do not meet in time.
        """
        if len(self._hosts) == 1:
            return tables
        sharded = {
            name: table
            for name, table in tables.items()
            if self._channels[name].get("S3DistributionType") == "ShardedByS3Key"
        }
        if not self.leads:
            leader = self._find_leader()
            self._open.append(leader)
            _send(leader, _packed(sharded))
            return tables
        parts = self._receive_all()
        return tables | {
            name: joined(name, [table, *(part[name] for part in parts if name in part)])
            for name, table in sharded.items()
        }

    def await_leader(self) -> None:
        """Wait until the first host is done.

        Raises:
            AlgorithmError: it ended without having written the model.
        """
        leader = self._open[0]
        leader.settimeout(None)
        try:
            done = leader.recv(1)
        except OSError:
            done = b""
        if done != b"1":
            raise AlgorithmError(f"{self._hosts[0]} ended before the model was there.")

    def release(self) -> None:
        """Tell the waiting hosts that the model is there."""
        for peer in self._open:
            peer.sendall(b"1")

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def _ports(self) -> Iterator[int]:
        first = _first_port(self._key)
        yield from range(first, first + _PORTS)

    def _receive_all(self) -> list[Tables]:
        parts: dict[str, Tables] = {}
        deadline = time.monotonic() + _MEET_S
        with self._listen() as listener:
            while len(parts) < len(self._hosts) - 1:
                listener.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    missing = sorted(set(self._hosts[1:]) - set(parts))
                    raise AlgorithmError(f"{', '.join(missing)} did not come.") from None
                name = self._welcome(peer)
                if name is None:
                    peer.close()
                    continue
                self._open.append(peer)
                parts[name] = _unpacked(_receive(peer))
        return [parts[name] for name in self._hosts[1:]]

    def _listen(self) -> socket.socket:
        for port in self._ports():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
                listener.listen(len(self._hosts))
                return listener
            except OSError:
                listener.close()
        ports = f"{min(self._ports())} to {max(self._ports())}"
        raise AlgorithmError(f"No port of {ports} is free at {self._host}.")

    def _welcome(self, peer: socket.socket) -> str | None:
        """Who it is, if it is of this job."""
        peer.settimeout(_GREETING_S)
        try:
            peer.sendall(self._key)
            greeting = _receive(peer)
        except (OSError, AlgorithmError):
            return None
        key, name = greeting[:32], greeting[32:].decode("utf-8", "replace")
        if key != self._key or name not in self._hosts[1:]:
            return None
        peer.settimeout(_MEET_S)
        return name

    def _find_leader(self) -> socket.socket:
        deadline = time.monotonic() + _MEET_S
        while time.monotonic() < deadline:
            for port in self._ports():
                found = self._greet(port)
                if found is not None:
                    return found
            time.sleep(_RETRY_S)
        raise AlgorithmError(f"{self._hosts[0]} did not answer within {_MEET_S:g} s.")

    def _greet(self, port: int) -> socket.socket | None:
        try:
            leader = socket.create_connection((_address(self._hosts[0]), port), _GREETING_S)
        except OSError:
            return None
        try:
            if _exactly(leader, 32) == self._key:
                _send(leader, self._key + self._host.encode())
                leader.settimeout(_MEET_S)
                return leader
        except (OSError, AlgorithmError):
            pass
        leader.close()
        return None


@contextmanager
def team(environment: Environment) -> Iterator[Team]:
    """The team for one training run."""
    made = Team(environment)
    try:
        yield made
    finally:
        made.close()


def _first_port(key: bytes) -> int:
    return _FIRST_PORT + zlib.crc32(key) % (_LAST_PORT - _FIRST_PORT - _PORTS)


def _address(host: str) -> str:
    """Where a host is; the platform makes its name known."""
    return host


def _job(environment: Environment) -> str:
    return " ".join([os.environ.get("TRAINING_JOB_ARN", ""), *environment.hosts])


def _packed(tables: Tables) -> bytes:
    arrays: dict[str, Any] = {}
    for name, table in tables.items():
        features = table.features
        if sparse.issparse(features):
            arrays |= {
                f"{name}/data": features.data,
                f"{name}/indices": features.indices,
                f"{name}/indptr": features.indptr,
                f"{name}/shape": np.array(features.shape),
            }
        else:
            arrays[f"{name}/features"] = features
        if table.labels is not None:
            arrays[f"{name}/labels"] = table.labels
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Tables:
    tables: Tables = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for name in {key.partition("/")[0] for key in arrays.files}:
            labels = arrays.get(f"{name}/labels")
            if f"{name}/features" in arrays:
                tables[name] = Table(arrays[f"{name}/features"], labels)
                continue
            parts = tuple(arrays[f"{name}/{part}"] for part in ("data", "indices", "indptr"))
            shape = tuple(arrays[f"{name}/shape"].tolist())
            tables[name] = Table(sparse.csr_matrix(parts, shape=shape), labels)
    return tables


def _send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(struct.pack("<Q", len(content)) + content)


def _receive(connection: socket.socket) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(connection, 8))
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = connection.recv(min(1 << 20, count - len(content)))
        if not part:
            raise AlgorithmError("A host of this job ended while it sent its data.")
        content += part
    return bytes(content)
