"""Uploading what a unit left in its folder. Repeatable: the same files go to the same keys."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from loopwright.compute.checkpoints import collected
from loopwright.compute.folder import unit_folder
from loopwright.compute.staging import split_uri
from loopwright.runtime.archives import pack
from loopwright.runtime.failure import shortened
from loopwright.wire.errors import ApiError

NAME_REFUSED: Final = ("InvalidURI", "KeyTooLongError")
"""What the store says of names of files that cannot be keys: no UTF-8, or too long."""
SHOWN_CHARS: Final = 200


class Target(Protocol):
    """What collecting needs of the object store (`loopwright.objects.base.Objects`)."""

    def bucket_exists(self, bucket: str) -> bool: ...
    def put_file(self, bucket: str, key: str, path: Path) -> Any: ...
    def replace_files(self, bucket: str, files: Mapping[str, Path], gone: Sequence[str]) -> Any: ...


def collector(home: Path, target: Target) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The function behind the call `collect`.

    Its arguments: `units` (ids, by rank) and `items`, each with `name`, `folder` (below the
    unit's base), `uri` and `mode`: `archive` packs the folder into one object, `tree` uploads its
    files under the URI, `checkpoints` publishes what is complete (`compute.checkpoints`). Its
    value: by item name the URI, or None where there was nothing. Of several units the first one's
    archive counts; trees are laid over each other.
    """

    def collect(arguments: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for item in arguments["items"]:
            found[item["name"]] = None
            for unit_id in arguments["units"]:
                folder = unit_folder(home, unit_id)
                if item["mode"] == "checkpoints":
                    found[item["name"]] = collected(home, target, arguments, item)
                    break
                if _upload(target, folder.path, folder.base / item["folder"], item):
                    found[item["name"]] = item["uri"]
                    if item["mode"] == "archive":
                        break
        return found

    return collect


def _upload(target: Target, scratch: Path, folder: Path, item: Mapping[str, Any]) -> bool:
    """Whether there was anything to upload."""
    # A unit may have put links anywhere; what they point to is not the unit's to publish.
    if folder.is_symlink() or not folder.is_dir() or not any(folder.iterdir()):
        return False
    bucket, key = split_uri(item["uri"])
    if not target.bucket_exists(bucket):
        raise FileNotFoundError(f"the bucket {bucket!r} of {item['uri']} does not exist")
    if item["mode"] == "archive":
        packed = scratch / f"{item['name']}.tar.gz"
        try:
            pack(folder, packed)
            target.put_file(bucket, key, packed)
        finally:
            packed.unlink(missing_ok=True)
        return True
    uploaded = False
    refused: ApiError | None = None
    for path in _regular_files(folder):
        name = f"{key.rstrip('/')}/{path.relative_to(folder)}".lstrip("/")
        try:
            target.put_file(bucket, name, path)
        except ApiError as error:
            if error.code not in NAME_REFUSED:
                raise
            refused = refused or _no_key(path.relative_to(folder), error)
        uploaded = True
    if refused is not None:
        # After all others, which their owner would lose otherwise.
        raise refused
    return uploaded


def _no_key(path: Path, error: ApiError) -> ApiError:
    shown = shortened(str(path).encode("utf-8", "backslashreplace").decode(), SHOWN_CHARS)
    text = f"The name of the file {shown} cannot be a key: {error.message} Name it otherwise."
    return ApiError(error.code, text, error.status)


def _regular_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _regular_files(path)
        elif path.is_file():
            yield path
