"""Archives in and out of a unit: source bundles, models, outputs.

Unpacking trusts nothing in the archive: names, links, kinds of members, sizes. Nothing is visible
before everything is unpacked.
"""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MEMBERS_MAX = 200_000
BYTES_MAX = 256 * 1024**3
_COPY_BYTES = 1024 * 1024
_PARTIAL_PREFIX = ".unpack-"
_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)


class ArchiveError(Exception):
    """The archive is unreadable, or asks for something that must not be done; names the member."""


def unpack(
    archive: Path, into: Path, *, bytes_max: int = BYTES_MAX, members_max: int = MEMBERS_MAX
) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip file so that `into` holds all of it, or nothing.

    Args:
        archive: The file.
        into: A folder that is missing or empty. It appears by rename; where it is a mount point,
            which cannot be renamed over, its members are moved in at the end.
        bytes_max: Bound on the sum of the members' unpacked sizes.
        members_max: Bound on the number of members.
    Raises:
        ArchiveError: not an archive; a member or a link leaves the folder; a device, pipe or
            encrypted member; a bound is exceeded; `into` is not empty.
        OSError: the disk is full or not writable.
    """
    into = Path(into)
    into.parent.mkdir(parents=True, exist_ok=True)
    _refuse_occupied(into)
    partial = _partial_folder(into)
    try:
        try:
            _extract(Path(archive), partial, bytes_max, members_max)
        except (*_UNREADABLE, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(f"{archive} cannot be read as an archive: {error}.") from error
        _refuse_leaving_links(partial)
        _publish(partial, into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def pack(folder: Path, archive: Path, *, level: int = 6) -> None:
    """Write `folder`'s content as a tar.gz whose bytes depend on names, content and modes only.

    Args:
        folder: Its members become the archive's members, sorted, without the folder's own name.
        archive: Written beside itself, synced and renamed; an earlier file is replaced.
        level: 0 to 9, as gzip's.
    Raises:
        ArchiveError: a link leaves the folder, or a member is neither file, folder nor link.
        OSError: as of reading and writing.
    """
    folder, archive = Path(folder), Path(archive)
    _refuse_leaving_links(folder)
    archive.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{archive.name}.", dir=archive.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            with (
                gzip.GzipFile("", "wb", level, raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for path in _sorted_members(folder):
                    _add(tar, folder, path)
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(name, 0o644)
        os.replace(name, archive)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(archive.parent)


def _refuse_occupied(into: Path) -> None:
    if not into.exists():
        return
    if not into.is_dir():
        raise ArchiveError(f"{into} is not a folder, so nothing can be unpacked there.")
    for entry in list(into.iterdir()):
        if entry.name.startswith(_PARTIAL_PREFIX):
            # A process that died while unpacking left this; nobody else writes such names.
            shutil.rmtree(entry, ignore_errors=True)
        else:
            raise ArchiveError(f"{into} already holds {entry.name}; unpack into an empty folder.")


def _partial_folder(into: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PARTIAL_PREFIX, dir=into.parent))
    except OSError:
        # The parent may be read-only where only `into` itself is mounted for writing.
        if not into.is_dir():
            raise
        return Path(tempfile.mkdtemp(prefix=_PARTIAL_PREFIX, dir=into))


def _publish(partial: Path, into: Path) -> None:
    os.chmod(partial, 0o755)
    if partial.parent == into.parent:
        try:
            os.rename(partial, into)
            _sync_folder(into.parent)
            return
        except OSError:
            # A mount point cannot be replaced by rename; its members can be moved.
            if not into.is_dir():
                raise
    for entry in sorted(partial.iterdir()):
        shutil.move(entry, into / entry.name)


def _extract(archive: Path, root: Path, bytes_max: int, members_max: int) -> None:
    with open(archive, "rb") as opened:
        is_zip = opened.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    writer = _Writer(root, bytes_max, members_max)
    if is_zip:
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                _extract_zip_entry(writer, bundle, entry)
        return
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            _extract_tar_member(writer, tar, member)


def _extract_tar_member(writer: "_Writer", tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    name = member.name
    if member.isdir():
        writer.folder(name)
    elif member.isreg():
        content = tar.extractfile(member)
        if content is None:
            raise ArchiveError(f"The member {name!r} has no content.")
        with content:
            writer.file(name, content, member.mode, member.mtime)
    elif member.issym():
        writer.symlink(name, member.linkname)
    elif member.islnk():
        writer.hard_link(name, member.linkname)
    else:
        raise ArchiveError(f"The member {name!r} is a device or pipe; only files, folders, links.")


def _extract_zip_entry(writer: "_Writer", bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"The member {entry.filename!r} of the zip file is a link or device.")
    if entry.is_dir():
        writer.folder(entry.filename)
        return
    with bundle.open(entry) as content:
        writer.file(entry.filename, content, mode or 0o644, None)


class _Writer:
    """Puts members below one root, within the bounds, never through a link."""

    def __init__(self, root: Path, bytes_max: int, members_max: int) -> None:
        self._root = root
        self._bytes_max = bytes_max
        self._members_max = members_max
        self._bytes = 0
        self._members = 0

    def folder(self, name: str) -> None:
        self._count(name)
        parts = _parts(name)
        if parts:
            self._folder_of(parts, name)

    def file(self, name: str, content: IO[bytes], mode: int, mtime: float | None) -> None:
        path = self._place(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        # Only the executable bit is kept: the owner must be able to read and remove everything.
        with os.fdopen(os.open(path, flags, 0o755 if mode & 0o100 else 0o644), "wb") as target:
            while chunk := content.read(_COPY_BYTES):
                self._bytes += len(chunk)
                if self._bytes > self._bytes_max:
                    raise ArchiveError(
                        f"With the member {name!r} the archive unpacks to more than "
                        f"{self._bytes_max} bytes."
                    )
                target.write(chunk)
        if mtime is not None:
            os.utime(path, (mtime, mtime))

    def symlink(self, name: str, target: str) -> None:
        if target.startswith("/"):
            raise ArchiveError(f"The member {name!r} links to {target!r}, outside the folder.")
        os.symlink(target, self._place(name))

    def hard_link(self, name: str, target: str) -> None:
        parts = _parts(target)
        source = self._root.joinpath(*parts)
        self._refuse_link_on_the_way(parts[:-1], target)
        if not parts or not os.path.lexists(source):
            raise ArchiveError(f"The member {name!r} links to {target!r}, which is not there yet.")
        if not stat.S_ISREG(source.lstat().st_mode):
            raise ArchiveError(f"The member {name!r} links to {target!r}, which is not a file.")
        os.link(source, self._place(name))

    def _place(self, name: str) -> Path:
        self._count(name)
        parts = _parts(name)
        if not parts:
            raise ArchiveError(f"The member {name!r} names the folder itself.")
        path = self._folder_of(parts[:-1], name) / parts[-1]
        if os.path.lexists(path):
            if stat.S_ISDIR(path.lstat().st_mode):
                raise ArchiveError(f"The member {name!r} is a folder and a file at once.")
            # Of members with the same name the last one counts, as tar itself does.
            path.unlink()
        return path

    def _folder_of(self, parts: list[str], name: str) -> Path:
        self._refuse_link_on_the_way(parts, name)
        folder = self._root.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ArchiveError(f"The member {name!r} lies below a file.") from error
        return folder

    def _refuse_link_on_the_way(self, parts: list[str], name: str) -> None:
        path = self._root
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise ArchiveError(f"The member {name!r} would be written through a link.")

    def _count(self, name: str) -> None:
        self._members += 1
        if self._members > self._members_max:
            raise ArchiveError(f"At {name!r} the archive exceeds {self._members_max} members.")


def _parts(name: str) -> list[str]:
    """The components of a member's name, refusing what leaves the folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise ArchiveError(f"The member {name!r} leaves the folder it is unpacked into.")
    return [part for part in pure.parts if part != "."]


def _refuse_leaving_links(root: Path) -> None:
    """Check every link as the file system resolves it, which no reading of names can replace."""
    inside = os.path.realpath(root)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                continue
            resolved = os.path.realpath(path)
            absolute = os.path.isabs(os.readlink(path))
            if absolute or os.path.commonpath([inside, resolved]) != inside:
                shown = os.path.relpath(path, root)
                raise ArchiveError(
                    f"The member {shown!r} links to {os.readlink(path)!r}, outside the folder."
                )


def _sorted_members(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda found: found.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _sorted_members(Path(entry.path))


def _add(tar: tarfile.TarFile, folder: Path, path: Path) -> None:
    found = path.lstat()
    member = tarfile.TarInfo(path.relative_to(folder).as_posix())
    member.mode = 0o644
    if stat.S_ISREG(found.st_mode):
        member.size = found.st_size
        member.mode = 0o755 if found.st_mode & 0o100 else 0o644
        with open(path, "rb") as content:
            tar.addfile(member, content)
        return
    if stat.S_ISDIR(found.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISLNK(found.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    else:
        raise ArchiveError(f"{path} is neither a file nor a folder and cannot be packed.")
    tar.addfile(member)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
