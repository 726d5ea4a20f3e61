"""A private view of the machine for one unit, by Linux namespaces, as root or not.

The unit sees a read-only system, its own `/opt/ml`, `/tmp` and `/dev/shm`, its own processes and,
on request, no network; the user's home and Loopwright's own files are hidden. Done by system calls
instead of a launcher such as bubblewrap because a pre-warmed interpreter is *forked* into the
sandbox: a launcher could only start a fresh interpreter, whose imports cost more than most jobs.
Source: namespaces(7), mount_setattr(2), capabilities(7).
"""

import ctypes
import os
import pwd
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEWNS: Final = 0x00020000
NEWUTS: Final = 0x04000000
NEWIPC: Final = 0x08000000
NEWUSER: Final = 0x10000000
NEWPID: Final = 0x20000000
NEWNET: Final = 0x40000000
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
AT_RECURSIVE: Final = 0x8000
AT_FDCWD: Final = -100
ATTR_RDONLY: Final = 1
SYS_MOUNT_SETATTR: Final = 442
PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
CAPABILITIES: Final = 41
NOBODY: Final = 65534
SHIM_DIED: Final = signal.SIGUSR1
"""The signal by which the kernel tells the driver of a container that its shim died."""


class SandboxError(Exception):
    """The kernel refused a step; the text names it."""


@dataclass(frozen=True)
class Box:
    """What a sandbox shows.

    Attributes:
        base: Becomes `/opt/ml`, writable.
        scratch: Becomes `/tmp` and `/var/tmp`, writable.
        hidden: Folders that appear empty, such as Loopwright's home.
        visible: Folders inside hidden ones that are shown read-only, such as the interpreter's.
        hostname: Such as `algo-1`.
        hosts: Shown as `/etc/hosts`, so that the hosts of a job find each other by name.
        network: False leaves only a loopback device that is down.
    """

    base: Path
    scratch: Path
    hidden: tuple[Path, ...]
    visible: tuple[Path, ...]
    hostname: str
    hosts: Path
    network: bool = True


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise SandboxError(f"{what}: {os.strerror(number)}")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """End this process by this signal when the one that forked it ends; programs keep it."""
    _libc().prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def unshare_processes() -> None:
    """Give the next child its own process numbers; as an ordinary user, in a user namespace.

    Raises:
        SandboxError: the kernel allows no namespaces to this user.
    """
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _check(libc.unshare(NEWPID), "unshare of process numbers")
        return
    _check(libc.unshare(NEWUSER | NEWPID), "unshare of a user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def enter(box: Box) -> None:
    """Put this process, the first of its process namespace, into the box.

    Raises:
        SandboxError: a mount was refused.
    """
    libc = _libc()
    flags = NEWNS | NEWIPC | NEWUTS | (0 if box.network else NEWNET)
    _check(libc.unshare(flags), "unshare of mounts")
    name = box.hostname.encode()
    _check(libc.sethostname(name, len(name)), "sethostname")
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    kept = {path: _handle(path) for path in {box.base, box.scratch, box.hosts, *box.visible}}
    tools = {entry: _handle(entry) for entry in _entries(Path("/opt")) if entry.name != "ml"}
    writable = [Path("/opt/ml"), Path("/tmp"), Path("/dev/shm"), Path("/proc")]
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    _hide(box, kept)
    _mount("tmpfs", "/opt", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for entry, handle in tools.items():
        _bind(handle, entry)
    _bind(kept[box.base], Path("/opt/ml"))
    if Path("/var/tmp").is_dir():
        _bind(kept[box.scratch], Path("/var/tmp"))
        writable.append(Path("/var/tmp"))
    if Path("/etc/hosts").is_file():
        _mount(f"/proc/self/fd/{kept[box.hosts]}", "/etc/hosts", None, MS_BIND)
    if Path("/dev/shm").is_dir():
        _mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for handle in {*kept.values(), *tools.values()}:
        os.close(handle)
    _set_attributes("/", ATTR_RDONLY, 0)
    for path in writable:
        if path.exists():
            _set_attributes(str(path), 0, ATTR_RDONLY)


def drop_privileges() -> None:
    """Leave root for nobody, and every capability; nothing run later can gain one."""
    libc = _libc()
    for number in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    else:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        nothing = (ctypes.c_uint32 * 6)()
        _check(libc.capset(header, nothing), "capset")
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def hidden_and_visible(home: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What every unit of this installation must not see, and what it needs to see nonetheless."""
    hidden = {home.resolve(), Path("/home"), Path("/root")}
    try:
        hidden.add(Path(pwd.getpwuid(os.getuid()).pw_dir).resolve())
    except KeyError:
        hidden.discard(Path())
    package = Path(__file__).resolve().parents[2]
    visible = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), package}
    for folder in visible:
        hidden.update(_closed_parents(folder))
    found = tuple(path for path in hidden if path.is_dir() and path not in (Path("/"), *visible))
    return found, tuple(visible)


def _closed_parents(folder: Path) -> set[Path]:
    """The outermost parent of a folder that others may not enter: hidden, then shown through."""
    if os.getuid() != 0:
        return set()
    for parent in reversed(folder.parents):
        if parent != Path("/") and not parent.stat().st_mode & 0o001:
            return {parent}
    return set()


def _hide(box: Box, kept: dict[Path, int]) -> None:
    """Empty the hidden folders, then show the visible ones through them."""
    _bind(kept[box.scratch], Path("/tmp"))
    for folder in sorted({*box.hidden}, key=lambda path: len(path.parts)):
        if folder.is_dir():
            _mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for folder in sorted(box.visible, key=lambda path: len(path.parts)):
        covered = [*box.hidden, Path("/tmp")]
        if any(folder.is_relative_to(hidden) for hidden in covered):
            _bind(kept[folder], folder)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _handle(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _bind(handle: int, target: Path) -> None:
    source = f"/proc/self/fd/{handle}"
    if os.path.isdir(source):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, str(target), None, MS_BIND | MS_REC)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    encoded = [text.encode() if text is not None else None for text in (source, kind, options)]
    result = _libc().mount(
        encoded[0], target.encode(), encoded[1], ctypes.c_ulong(flags), encoded[2]
    )
    _check(result, f"mount of {kind or source or 'propagation'} at {target}")


def _set_attributes(path: str, to_set: int, to_clear: int) -> None:
    attributes = _MountAttributes(to_set, to_clear, 0, 0)
    result = _libc().syscall(
        SYS_MOUNT_SETATTR,
        AT_FDCWD,
        path.encode(),
        AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"mount_setattr of {path}")


def available() -> str | None:
    """None when a sandbox can be made here; else the sentence that says why not."""
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux namespaces; this is {sys.platform}"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            unshare_processes()
            inner = os.fork()
            if inner == 0:
                _check(_libc().unshare(NEWNS | NEWIPC | NEWUTS), "unshare of mounts")
                _mount(None, "/", None, MS_REC | MS_PRIVATE)
                _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
                _set_attributes("/", ATTR_RDONLY, 0)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        except (SandboxError, OSError) as error:
            os.write(writer, str(error).encode())
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        reason = stream.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return None
    return reason or "the kernel refused to mount inside a namespace"
