"""Short-lived addresses of single objects, for the pages of tasks.

An address names a bucket, a key and an end, and is signed: nobody can make one for another object,
and a page that leaks shows no more than its own objects for a while. Keys stay names in the token
and never become a path. Times are real seconds since the epoch.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import orjson

PATH: Final = "/work/objects/"
LIFE_S: Final = 3600.0
SIGNATURE_BYTES: Final = 16


SHOWN_MAX: Final = 200
BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class NoObject(Exception):
    """A text that names no object; the message says what it is and what it should be."""


class ObjectLinks:
    """Makes and reads the addresses of a home.

    Args:
        path: File of the signing key, made at the first use; only its owner can read it.
        base: The platform's own public address at the time, such as `http://127.0.0.1:8017`.
    """

    def __init__(self, path: Path, base: Callable[[], str]) -> None:
        self._key = _ensure_key(path)
        self._base = base

    def to(self, uri: str, lasts_s: float = LIFE_S) -> str:
        """The address of an S3 URI from now on, below the platform's.

        Raises:
            NoObject: the text names no object.
        """
        found = split(uri, self._base())
        if found is None:
            raise NoObject(_why_none(uri))
        bucket, key = found
        # In steps, so that a page that is loaded again finds the pictures in the browser's cache.
        until = (int(time.time() / lasts_s) + 2) * int(lasts_s)
        payload = _encode(orjson.dumps([bucket, key, until]))
        name = quote(key.rstrip("/").rpartition("/")[2], safe=".-_") or "object"
        return f"{PATH}{payload}.{self._sign(payload)}/{name}"

    def absolute(self, uri: str, lasts_s: float = LIFE_S) -> str:
        """Like `to`, for pages that are shown elsewhere."""
        return f"{self._base()}{self.to(uri, lasts_s)}"

    def read(self, token: str) -> tuple[str, str] | None:
        """Bucket and key of a token; None when it is not ours or has ended."""
        payload, _, signature = token.partition(".")
        if not hmac.compare_digest(self._sign(payload).encode(), signature.encode()):
            return None
        bucket, key, until = orjson.loads(_decode(payload))
        return (bucket, key) if time.time() < until else None

    def _sign(self, payload: str) -> str:
        digest = hmac.new(self._key, payload.encode(), hashlib.sha256).digest()
        return _encode(digest[:SIGNATURE_BYTES])


def split(uri: str, base: str = "") -> tuple[str, str] | None:
    """Bucket and key of `s3://…`, or of an `http(s)` address of S3 or of this platform.

    The host alone decides: S3's own names, with the bucket before them or in the path. An address
    that only looks like one (a name before `@`, S3's name inside another) is none.
    """
    if uri != uri.strip():
        return None
    if uri.startswith("s3://"):
        return _parts(uri[5:])
    try:
        parts = urlsplit(uri)
    except ValueError:
        # Such as `http://[`: no address at all, so none of ours.
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return None
    path = unquote(parts.path).lstrip("/")
    host = parts.netloc.lower()
    if base and f"{parts.scheme}://{host}" == base.lower():
        return _parts(path)
    stem = host.removesuffix(".amazonaws.com")
    if stem == host:
        return None
    labels = stem.split(".")
    at = next((i for i, label in enumerate(labels) if _is_s3(label, labels[i + 1 :])), None)
    if at is None:
        return None
    return _parts(path) if at == 0 else _parts(".".join(labels[:at]) + "/" + path)


def _is_s3(label: str, rest: list[str]) -> bool:
    """Whether `s3`, `s3-REGION` or `s3.REGION` (`dualstack` between) ends a host's name here."""
    if label != "s3" and not label.startswith("s3-"):
        return False
    regions = [part for part in rest if part != "dualstack"]
    return len(regions) <= 1 and not any(part.startswith("s3") for part in regions)


def _parts(path: str) -> tuple[str, str] | None:
    bucket, _, key = path.partition("/")
    return (bucket, key) if BUCKET.fullmatch(bucket) and key else None


def _why_none(text: str) -> str:
    """Why a text names no object, with the text and the way out."""
    if not text.strip():
        what = "only white space" if text else "empty"
        return f"the value is {what}; it must be an S3 URI such as s3://BUCKET/KEY."
    shown = repr(text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…")
    if text != text.strip():
        return (
            f"the value is {shown}; remove the white space around the S3 URI, such as by "
            "{%- capture uri -%}s3://BUCKET/KEY{%- endcapture -%}."
        )
    if text.startswith("s3://"):
        return (
            f"the S3 URI is {shown}, which lacks its bucket or its key; it must name an object: "
            "s3://BUCKET/KEY."
        )
    return f"the value is {shown}; it must be an S3 URI such as s3://BUCKET/KEY."


def _ensure_key(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) == 32:
            return key
        # A kill came between making the file and writing it: no address was ever signed with it.
        path.unlink()
        return _ensure_key(path)
    with os.fdopen(handle, "wb") as stream:
        key = secrets.token_bytes(32)
        stream.write(key)
        stream.flush()
        os.fsync(stream.fileno())
    return key


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
