"""Key pairs: who may sign. A file that only its owner can read, replaced by rename.

Knows the file; knows no request. The control plane and the gateway read it again when it changes.
"""

import os
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

ALPHABET: Final = string.ascii_uppercase + "234567"
SECRET_ALPHABET: Final = string.ascii_letters + string.digits + "/+"


class KeyFile:
    """The key pairs of a home. `read` is cheap when nothing changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] = ()
        self._keys: Mapping[str, str] = {}

    def read(self) -> Mapping[str, str]:
        """Secret by access key; empty when there is no file."""
        try:
            seen = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._keys = (), {}
            return self._keys
        # Written by rename, so a new file has another number even within a tick of the clock.
        stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
        if stamp != self._stamp:
            self._keys = dict(orjson.loads(self.path.read_bytes()))
            self._stamp = stamp
        return self._keys

    def add(self) -> tuple[str, str]:
        """Make a key pair and keep it; (access key, secret)."""
        access_key = "AKIA" + "".join(secrets.choice(ALPHABET) for _ in range(16))
        secret = "".join(secrets.choice(SECRET_ALPHABET) for _ in range(40))
        self._write({**self.read(), access_key: secret})
        return access_key, secret

    def ensure(self) -> tuple[str, str]:
        """The first key pair, made if there is none."""
        for access_key, secret in self.read().items():
            return access_key, secret
        return self.add()

    def revoke(self, access_key: str) -> bool:
        """Remove a key pair; whether it was there."""
        keys = dict(self.read())
        if keys.pop(access_key, None) is None:
            return False
        self._write(keys)
        return True

    def _write(self, keys: Mapping[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(orjson.dumps(keys))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(self.path)
        self._stamp = ()
