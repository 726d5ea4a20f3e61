"""Checkpoints of running units, kept in the object store: whole ones only, and all at once.

The files of a checkpoint folder belong together by their top-level folder; those at the top belong
together as well. Such a *group* is published in one step when it is complete: nobody has one of its
files open for writing, and nothing of it changed since the round before, or it was moved into place
by rename. So the store never shows a part of a checkpoint, whatever is killed when.

A unit that did not end well may have died while it wrote in place. Of it only what was moved into
place counts: a rename changes the time of the inode, but not that of the content. The same holds
while it runs, of what was last written before one of its processes ended: that one may have been
killed while it wrote.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from loopwright.compute.folder import unit_folder
from loopwright.compute.staging import split_uri
from loopwright.compute.usage import descendants
from loopwright.runtime.checkpoints import MANIFEST

LOG = logging.getLogger(__name__)
TEMPORARY: Final = (".part", ".tmp", ".partial")
"""Endings of names that are written to and then renamed; they are no checkpoints."""
RESTLESS_S: Final = 5.0
"""A group that changes longer than this is looked at in shorter intervals."""
SHORT_S: Final = 0.05
SHORT_TRIES: Final = 10
COPY_BYTES_MAX: Final = 64 * 2**20
"""Up to this size what is copied before it is published is copied in memory."""
_PUBLISHING: Final = threading.Lock()
"""A job's last checkpoint is collected in another thread than the rounds'."""
SYNCED: Final = "checkpoints.json"


class Target(Protocol):
    """What publishing needs of the object store (`loopwright.objects.base.Objects`)."""

    def replace_files(self, bucket: str, files: Mapping[str, Path], gone: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Watched:
    """The checkpoint folders of the units of one job, by rank.

    Args:
        units: Unit ids.
        folder: Below each unit's base.
        uri: `s3://BUCKET/PREFIX` that they are published under.
    """

    units: tuple[str, ...]
    folder: str
    uri: str


@dataclass(frozen=True)
class Stamp:
    """What tells one content of a file from another, and how it came to its name."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def moved(self) -> bool:
        """Whether the file was renamed after it was last written."""
        return self.changed_ns > self.modified_ns


@dataclass
class Group:
    """Files that make up one checkpoint, by their path below the folder."""

    files: dict[str, tuple[Path, Stamp]] = field(default_factory=dict)
    moved_ns: int = 0

    @property
    def stamps(self) -> dict[str, list[int]]:
        """What is compared and kept: size and time of the content."""
        return {name: [s.size, s.modified_ns] for name, (_, s) in self.files.items()}

    @property
    def written_ns(self) -> int:
        """When a file that was not moved into place was last written; a large number for none."""
        return min(
            (
                s.modified_ns
                for _, s in self.files.values()
                if not (s.moved or s.modified_ns <= self.moved_ns)
            ),
            default=2**63,
        )

    @property
    def in_place(self) -> bool:
        """Whether every file came to its name by a rename, of itself or of the folder."""
        return all(s.moved or s.modified_ns <= self.moved_ns for _, s in self.files.values())

    def is_ready(self, before: "Group | None") -> bool:
        """Whether it is complete as far as its files' times tell, seen after `before`.

        A folder is, as soon as it was moved to its name after all that is in it was written. So is
        a single file: it has another inode than before, or another time. Other files wait until
        nothing changed between two rounds.
        """
        if before is not None and self.stamps == before.stamps:
            return True
        if self.moved_ns and self.in_place:
            return True
        if len(self.files) != 1:
            return False
        ((name, (_, stamp)),) = self.files.items()
        known = before.files.get(name) if before is not None else None
        return stamp.moved or (known is not None and known[1].inode != stamp.inode)

    @property
    def at_rest(self) -> bool:
        """Whether nobody has a file open for writing."""
        return all(unwritten(path) for path, _ in self.files.values())


class CheckpointSync:
    """Publishes the checkpoints of running jobs. One per control plane; rounds in one thread."""

    def __init__(self, home: Path, target: Target) -> None:
        self._home = home
        self._target = target
        self._seen: dict[str, dict[str, Group]] = {}
        self._restless: dict[tuple[str, str], float] = {}
        self._alive: dict[str, set[int]] = {}
        self._ended_ns: dict[str, int] = {}
        self._lock = threading.Lock()

    def round(self, watched: Sequence[Watched]) -> None:
        """Publish what became complete. A fault of one job is no fault of the next."""
        for job in watched:
            try:
                with self._lock:
                    self._look(job)
            except OSError:
                LOG.exception("checkpoints of %s could not be published", job.units[0])
        live = {job.units[0] for job in watched}
        self._seen = {key: seen for key, seen in self._seen.items() if key in live}
        self._restless = {k: at for k, at in self._restless.items() if k[0] in live}
        self._alive = {key: seen for key, seen in self._alive.items() if key in live}
        self._ended_ns = {key: at for key, at in self._ended_ns.items() if key in live}

    def before_stop(self, unit_id: str) -> None:
        """Publish the checkpoint of a unit that is about to be told to end.

        What it has written in place until then would not count after its end. A job of several
        hosts is left to the rounds: its checkpoints are whole only over all hosts.
        """
        program = unit_folder(self._home, unit_id).read("program.json") or {}
        kept = program.get("checkpoints")
        if not kept or len(program.get("hosts", ())) > 1:
            return
        job = Watched((unit_id,), kept["folder"], kept["uri"])
        try:
            with self._lock:
                self._look(job)
                time.sleep(SHORT_S)
                self._look(job)
        except OSError:
            LOG.exception("the checkpoint of %s could not be published before its stop", unit_id)

    def _look(self, job: Watched) -> None:
        key = job.units[0]
        for _ in range(SHORT_TRIES):
            groups = scan(self._home, job)
            # Counted after the scan: who wrote what was seen is alive now, or has ended.
            if not self._count(job):
                return
            ended_ns = self._ended_ns.get(key, 0)
            before = self._seen.get(key, {})
            self._seen[key] = groups
            published = read_synced(self._home, job)
            fresh = {n: g for n, g in groups.items() if g.stamps != published.get(n)}
            ready = {
                name: group
                for name, group in fresh.items()
                if group.is_ready(before.get(name))
                and group.at_rest
                and group.written_ns > ended_ns
            }
            if ready:
                publish(self._home, self._target, job, ready, groups)
            if not self._keeps_changing(key, set(fresh) - set(ready)):
                return
            time.sleep(SHORT_S)

    def _count(self, job: Watched) -> bool:
        """Note the end of any process of the units; whether all units still run."""
        key = job.units[0]
        now: set[int] = set()
        for unit_id in job.units:
            folder = unit_folder(self._home, unit_id)
            started = folder.read("started")
            if started is None or folder.read("exit.json") is not None:
                return False
            now |= set(descendants(int(started["pid"])))
            # A container's processes are no children of its shim.
            if pid := (folder.read("container.json") or {}).get("pid"):
                now |= set(descendants(int(pid)))
        if self._alive.get(key, set()) - now:
            self._ended_ns[key] = time.time_ns()
        self._alive[key] = now
        return True

    def _keeps_changing(self, key: str, names: set[str]) -> bool:
        """Whether a group has been changing for long, so that a short quiet moment must do."""
        now = time.monotonic()
        self._restless = {
            k: at for k, at in self._restless.items() if k[0] != key or k[1] in names
        } | {(key, name): self._restless.get((key, name), now) for name in names}
        return any(now - self._restless[(key, name)] > RESTLESS_S for name in names)


def collect_checkpoints(home: Path, target: Target, job: Watched) -> bool:
    """Publish what the units of a job left when they ended; whether there is any checkpoint.

    Repeatable. Of units that did not end well only what was moved into place, or was published
    before, counts.

    Raises:
        NotADirectoryError: a unit put something else in the place of its checkpoint folder.
    """
    for unit_id in job.units:
        root = unit_folder(home, unit_id).base / job.folder
        if os.path.lexists(root) and not _own_folder(root.parents[job.folder.count("/")], root):
            raise NotADirectoryError(
                f"CheckpointConfig.LocalPath: /opt/ml/{job.folder} is a file or a link where the "
                "job ended; it must stay the folder that it was at the start"
            )
    groups = scan(home, job)
    ends = [unit_folder(home, unit_id).read("exit.json") or {} for unit_id in job.units]
    clean = all(end.get("exit_code") == 0 for end in ends)
    published = read_synced(home, job)
    ready = {
        name: group
        for name, group in groups.items()
        if group.stamps != published.get(name) and (clean or group.in_place)
    }
    if ready:
        publish(home, target, job, ready, groups)
    return bool(ready or published)


def mark_restored(home: Path, unit_id: str, folder: str, uri: str) -> None:
    """What lies in the checkpoint folder before the start came from the store: it is published."""
    groups = scan(home, Watched((unit_id,), folder, uri))
    stamps = {name: group.stamps for name, group in groups.items()}
    unit_folder(home, unit_id).write(SYNCED, stamps)


def publish(
    home: Path,
    target: Target,
    job: Watched,
    ready: Mapping[str, Group],
    groups: Mapping[str, Group],
) -> None:
    """Put complete groups into the store in one step, and take away those that are gone.

    A group that changes while it is read is left for the next round.
    """
    with _PUBLISHING:
        _publish(home, target, job, ready, groups)


def _publish(
    home: Path,
    target: Target,
    job: Watched,
    ready: Mapping[str, Group],
    groups: Mapping[str, Group],
) -> None:
    bucket, prefix = split_uri(job.uri)
    start = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    published = read_synced(home, job)
    gone_groups = set(published) - set(groups)
    before = {path for name in [*ready, *gone_groups] for path in published.get(name, {})}
    files = {path: found for group in ready.values() for path, found in group.files.items()}
    gone = sorted(before - set(files))
    try:
        bases = tuple(os.path.realpath(unit_folder(home, one).base) + "/" for one in job.units)
        copies = frozen(files, bases, stack := contextlib.ExitStack())
    except FileNotFoundError:
        return
    with stack:
        if not all(_unchanged(source, stamp) for source, stamp in files.values()):
            return
        target.replace_files(
            bucket,
            {start + path: copy for path, copy in copies.items()},
            [start + path for path in gone],
        )
    kept = {name: stamps for name, stamps in published.items() if name not in gone_groups}
    kept |= {name: group.stamps for name, group in ready.items()}
    unit_folder(home, job.units[0]).write(SYNCED, kept)


def _scratch() -> int:
    """A file without a name."""
    handle, name = tempfile.mkstemp()
    os.unlink(name)
    return handle


def _unchanged(path: Path, stamp: Stamp) -> bool:
    try:
        return stamp_of(path) == stamp and unwritten(path)
    except FileNotFoundError:
        return False


def frozen(
    files: Mapping[str, tuple[Path, Stamp]], bases: tuple[str, ...], stack: contextlib.ExitStack
) -> dict[str, Path]:
    """Where to read the files as they are now, by path, until the stack is closed.

    A file that was moved into place is held open, so that a rename over its name does not matter.
    One that was written in place may be written again while it is read, so it is copied.

    Args:
        bases: The folders of the units, each with a slash at its end.

    Raises:
        FileNotFoundError: one vanished, or a link leads out of its unit's folder.
    """
    found = {}
    for path, (source, stamp) in files.items():
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        stack.callback(os.close, handle)
        if not os.readlink(f"/proc/self/fd/{handle}").startswith(bases):
            raise FileNotFoundError(source)
        found[path] = Path(f"/proc/self/fd/{handle}")
        if not stamp.moved:
            copied = os.memfd_create("checkpoint") if stamp.size < COPY_BYTES_MAX else _scratch()
            stack.callback(os.close, copied)
            with os.fdopen(os.dup(handle), "rb") as reader, os.fdopen(os.dup(copied), "wb") as copy:
                shutil.copyfileobj(reader, copy)
            found[path] = Path(f"/proc/self/fd/{copied}")
    return found


def read_synced(home: Path, job: Watched) -> dict[str, dict[str, list[int]]]:
    """Stamps of the published groups, by name."""
    return unit_folder(home, job.units[0]).read(SYNCED) or {}


def scan(home: Path, job: Watched) -> dict[str, Group]:
    """The groups of a job's checkpoint folders; of several hosts' same file the first host's."""
    groups: dict[str, Group] = {}
    for unit_id in job.units:
        base = unit_folder(home, unit_id).base
        root = base / job.folder
        if not _own_folder(base, root):
            continue
        for path in regular_files(root):
            name = str(path.relative_to(root))
            top = name.partition("/")[0] if "/" in name else ""
            with contextlib.suppress(FileNotFoundError):
                group = groups.setdefault(top, Group())
                group.files.setdefault(name, (path, stamp_of(path)))
                if top:
                    group.moved_ns = max(group.moved_ns, _moved_ns(root / top))
    return {name: group for name, group in groups.items() if group.files}


def _own_folder(base: Path, folder: Path) -> bool:
    """Whether it is a folder, and no link leads there from the unit's base."""
    way = [folder, *folder.parents]
    linked = any(path.is_symlink() for path in way[: way.index(base)])
    return not linked and folder.is_dir()


def regular_files(folder: Path) -> Iterator[Path]:
    """Files below a folder, without links and temporary ones; what vanishes is left out."""
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_symlink() or entry.name.endswith(TEMPORARY):
            continue
        if entry.is_dir():
            yield from regular_files(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file.

    Raises:
        FileNotFoundError: it vanished.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(path)
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _moved_ns(folder: Path) -> int:
    """When a folder was moved into place, if nothing was added to it since; else 0."""
    found = folder.lstat()
    return found.st_ctime_ns if found.st_ctime_ns > found.st_mtime_ns else 0


def unwritten(path: Path) -> bool:
    """Whether nobody has the file open for writing: only then Linux grants a lease to read it.

    Where the disk knows no leases, True: what changed between two rounds is told by its stamp.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # The signal of a broken lease would end this process; SIGURG is ignored.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(handle)
    return True


def collected(
    home: Path, target: Target, arguments: Mapping[str, Any], item: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The item `checkpoints` of the call `collect`: None when there is no checkpoint.

    Else its `uri`, and `cost_s` and `interval_s` where the script's own library told them.
    """
    job = Watched(tuple(arguments["units"]), item["folder"], item["uri"])
    if not collect_checkpoints(home, target, job):
        return None
    return {"uri": item["uri"], **_costs(home, job)}


def _costs(home: Path, job: Watched) -> dict[str, float]:
    """What the newest checkpoint of `loopwright.runtime.checkpoints` says of its cost."""
    found = sorted((unit_folder(home, job.units[0]).base / job.folder).glob(f"step-*/{MANIFEST}"))
    if not found or found[-1].is_symlink():
        return {}
    try:
        told = json.loads(found[-1].read_text())
        return {name: float(told[name]) for name in ("cost_s", "interval_s")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # Another program's file of the same name.
