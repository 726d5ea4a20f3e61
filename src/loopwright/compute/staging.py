"""Laying out a unit's inputs below its base folder, from the object store.

Small files are copied and belong to the unit; large ones are hard links to the store's own
read-only content, so that a job on 100 GB starts at once.
"""

import base64
import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from loopwright.runtime.archives import ArchiveError, unpack
from loopwright.wire.errors import ApiError

LINK_BYTES_MIN: Final = 4 * 1024 * 1024
NAME_BYTES_MAX: Final = 255


class Source(Protocol):
    """What staging needs of the object store (`loopwright.objects.base.Objects`)."""

    def head(self, bucket: str, key: str) -> Any: ...
    def list(self, bucket: str, prefix: str) -> Iterator[Any]: ...
    def open(self, bucket: str, key: str) -> Iterator[bytes]: ...
    def link(self, bucket: str, key: str, path: Path) -> None: ...
    def copy_to(self, bucket: str, key: str, path: Path) -> None: ...


class StagingError(Exception):
    """An input could not be laid out; the text is meant for FailureReason."""


def stage(source: Source, program: Mapping[str, Any], base: Path) -> None:
    """Lay out the program's `files` and `inputs` below `base`, which must be empty.

    An input is a mapping with `uri`, `path` (below `base`) and `type`:
    `prefix` (every object under the URI), `object` (one object, to exactly `path`), `archive`
    (one object, unpacked into `path`), `manifest` (the objects that a JSON manifest names) or
    `augmented` (`attributes` of the lines of an augmented manifest).
    `gzip` unpacks compressed objects; `shard` [i, n] takes every n-th object from the i-th.

    Raises:
        StagingError: an object is missing or an archive is refused.
    """
    for folder in program.get("folders", ()):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for path, text in program.get("files", {}).items():
        target = base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for item in program.get("inputs", ()):
        try:
            if item.get("optional") and not _any(source, item["uri"]):
                continue
            KINDS[item["type"]](source, item, _below(base, item["path"]))
        except (ApiError, ArchiveError, OSError, ValueError) as error:
            raise StagingError(
                f"ClientError: Data download failed: {item['uri']}: {_why(error, base)}"
            ) from error


def _why(error: Exception, base: Path) -> str:
    """The reason in words that know nothing of where this machine keeps its units."""
    if isinstance(error, ApiError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        where = str(error.filename or "").removeprefix(f"{base}/")
        return f"{error.strerror}: {where}" if where else error.strerror
    return str(error)


def _any(source: Source, uri: str) -> bool:
    return next(iter(source.list(*split_uri(uri))), None) is not None


def _below(base: Path, path: str) -> Path:
    target = base / path
    if not target.resolve().is_relative_to(base.resolve()):
        raise StagingError(f"ClientError: the local path {path!r} leaves the unit's folder.")
    return target


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as (bucket, key).

    Raises:
        ValueError: another scheme, or no bucket.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{uri!r} is no s3://BUCKET/KEY address")
    return bucket, key


def relative_name(prefix: str, key: str) -> str:
    """Where an object of an S3 prefix lies in the channel's folder, as SageMaker lays it out."""
    rest = key[len(prefix) :]
    if not rest:
        return PurePosixPath(key).name
    if prefix.endswith("/") or rest.startswith("/") or not prefix:
        return rest.lstrip("/")
    return key[len(prefix.rpartition("/")[0]) :].lstrip("/")


def check_names(bucket: str, keys: Mapping[str, str]) -> None:
    """Refuse objects that cannot lie side by side as files.

    Args:
        keys: By its path in the folder the key of each object.

    Raises:
        ValueError: naming the object, and why.
    """
    for name, key in keys.items():
        parts = name.split("/")
        if set(parts) & {"", ".", ".."}:
            raise ValueError(
                f"the name {name!r} of s3://{bucket}/{key} has an empty part, '.' or '..', which "
                "no file can have; rename the object"
            )
        if max(len(part.encode()) for part in parts) > NAME_BYTES_MAX or "\0" in name:
            raise ValueError(
                f"the name of s3://{bucket}/{key} has a part over {NAME_BYTES_MAX} bytes, or a "
                "null byte, which no file can have; rename the object"
            )
        above = next((a for n in range(1, len(parts)) if (a := "/".join(parts[:n])) in keys), None)
        if above is not None:
            raise ValueError(
                f"s3://{bucket}/{keys[above]} would be the file {above!r}, and s3://{bucket}/{key} "
                "lies in a folder of that name; delete or rename one of them"
            )


def _prefix(source: Source, item: Mapping[str, Any], target: Path) -> None:
    bucket, prefix = split_uri(item["uri"])
    found = [entry for entry in source.list(bucket, prefix) if not entry.key.endswith("/")]
    if not found:
        if item.get("optional"):
            return  # Nothing but markers of folders.
        raise ValueError("no S3 objects found under this prefix")
    target.mkdir(parents=True, exist_ok=True)
    keys: dict[str, str] = {}
    for entry in _sharded(found, item):
        name = relative_name(prefix, entry.key)
        if name in keys:
            raise ValueError(
                f"s3://{bucket}/{keys[name]} and s3://{bucket}/{entry.key} would be the same file "
                f"{name!r}; delete or rename one of them"
            )
        keys[name] = entry.key
    check_names(bucket, keys)
    for name, key in keys.items():
        _place(source, bucket, key, _below(target, name), item)


def _manifest(source: Source, item: Mapping[str, Any], target: Path) -> None:
    bucket, key = split_uri(item["uri"])
    document = json.loads(b"".join(source.open(bucket, key)))
    if not isinstance(document, list) or not document or "prefix" not in document[0]:
        raise ValueError('a manifest is a JSON list that begins with {"prefix": "s3://…"}')
    start = document[0]["prefix"]
    target.mkdir(parents=True, exist_ok=True)
    for name in _sharded([str(entry) for entry in document[1:]], item):
        found_bucket, found_key = split_uri(start + name)
        _place(source, found_bucket, found_key, _below(target, name), item)


def _sharded(found: list[Any], item: Mapping[str, Any]) -> list[Any]:
    if "shard" in item:
        index, count = item["shard"]
        found = found[index::count]
    if "shuffle_seed" in item:
        random.Random(item["shuffle_seed"]).shuffle(found)
    return found


def _place(source: Source, bucket: str, key: str, target: Path, item: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if item.get("gzip"):
        packed = target.with_name(target.name + ".packed")
        source.copy_to(bucket, key, packed)
        plain = target.with_name(target.name.removesuffix(".gz"))
        with gzip.open(packed, "rb") as reader, plain.open("wb") as writer:
            shutil.copyfileobj(reader, writer)
        packed.unlink()
        return
    summary = source.head(bucket, key)
    if summary is None:
        raise ValueError(f"there is no object s3://{bucket}/{key}")
    if summary.size >= LINK_BYTES_MIN and item.get("link", True):
        source.link(bucket, key, target)
    else:
        source.copy_to(bucket, key, target)


def _object(source: Source, item: Mapping[str, Any], target: Path) -> None:
    bucket, key = split_uri(item["uri"])
    _place(source, bucket, key, target, {**item, "link": False})


def _archive(source: Source, item: Mapping[str, Any], target: Path) -> None:
    bucket, key = split_uri(item["uri"])
    if source.head(bucket, key) is None:
        raise ValueError("there is no such object")
    packed = target.with_name(target.name + ".tar.gz.staged")
    packed.parent.mkdir(parents=True, exist_ok=True)
    source.copy_to(bucket, key, packed)
    try:
        unpack(packed, target)
    finally:
        packed.unlink(missing_ok=True)


def _augmented(source: Source, item: Mapping[str, Any], target: Path) -> None:
    """The attributes of every line of an augmented manifest, in order, for a feeder.

    An attribute whose name ends with `-ref` is the address of an object: its content is fed.
    """
    bucket, key = split_uri(item["uri"])
    lines = b"".join(source.open(bucket, key)).decode("utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    (target / "files").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, record in enumerate(_sharded(records, item)):
        row = []
        for column, name in enumerate(item["attributes"]):
            if name not in record:
                raise ValueError(f"line {number + 1} of the manifest has no attribute {name!r}")
            value = record[name]
            if name.endswith("-ref"):
                file = f"files/{number:08d}-{column}"
                found_bucket, found_key = split_uri(str(value))
                kept = {"link": item.get("link", True)}
                _place(source, found_bucket, found_key, _below(target, file), kept)
                row.append({"file": file})
                continue
            text = value if isinstance(value, str) else json.dumps(value)
            row.append({"bytes": base64.b64encode(text.encode()).decode()})
        rows.append(row)
    (target / "list.json").write_text(json.dumps(rows))


KINDS: Final[Mapping[str, Callable[[Source, Mapping[str, Any], Path], None]]] = {
    "prefix": _prefix,
    "manifest": _manifest,
    "augmented": _augmented,
    "object": _object,
    "archive": _archive,
}


def give_to(base: Path, uid: int) -> None:
    """Make everything below `base` the unit's own, but for links to the store's content."""
    for root, folders, files in os.walk(base):
        for name in folders:
            os.chown(Path(root) / name, uid, uid, follow_symlinks=False)
        for name in files:
            path = Path(root) / name
            if path.lstat().st_nlink == 1:
                os.chown(path, uid, uid, follow_symlinks=False)
    os.chown(base, uid, uid)
