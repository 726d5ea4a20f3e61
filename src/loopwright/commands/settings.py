"""The options of `serve` as settings; each value that cannot be is refused with the way out.

Nothing is written here, so that a refusal leaves nothing behind.
"""

import importlib.util
import ipaddress
import math
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.config import Settings

DATABASES: Final = "sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
DRIVERS: Final = {"sqlite": ("pysqlite",), "postgresql": ("psycopg",)}
ENGINES: Final = ("", "podman", "docker", "none")
REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)*-\d{1,2}")
SOURCE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/-]*)?")
TIME_SCALE_MAX: Final = 100_000.0
WORKERS_MAX: Final = 64


def settings_of(arguments: Arguments) -> Settings:
    """What `serve` was told.

    Raises:
        CommandError: an option has a value that it cannot have.
    """
    seed, mean_s = _schedule(arguments.spot_interruptions)
    account = arguments.account
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise _refused("--account", account, "12 digits, such as 123456789012")
    if REGION.fullmatch(arguments.region) is None:
        raise _refused("--region", arguments.region, "a region's name, such as us-east-1")
    if not 0 <= arguments.port <= 65_535:
        raise _refused("--port", arguments.port, "0 (any free one) to 65535")
    if not (math.isfinite(arguments.time_scale) and 0 < arguments.time_scale <= TIME_SCALE_MAX):
        raise _refused("--time-scale", arguments.time_scale, "above 0, at most 100000; 1 is real")
    if not (math.isfinite(arguments.cpus) and arguments.cpus >= 0):
        raise _refused("--cpus", arguments.cpus, "above 0, or 0 for all that the machine has")
    if not 1 <= arguments.gateway_workers <= WORKERS_MAX:
        raise _refused("--gateway-workers", arguments.gateway_workers, f"1 to {WORKERS_MAX}")
    _check_host(arguments.host)
    _check_objects(arguments.objects)
    _check_engine(arguments.engine)
    _check_database(arguments.database)
    check_home(arguments.home)
    return Settings(
        home=arguments.home,
        host=arguments.host,
        port=arguments.port,
        database=arguments.database,
        objects=arguments.objects,
        compute=arguments.compute,
        allow_reset=arguments.allow_reset,
        account=account,
        region=arguments.region,
        time_scale=arguments.time_scale,
        cpus=arguments.cpus,
        spot_seed=seed,
        spot_mean_s=mean_s,
        engine=arguments.engine,
        warm=not arguments.cold,
        page_sources=_sources(arguments.page_source),
        gateway_workers=arguments.gateway_workers,
    )


def _refused(option: str, value: object, rule: str) -> CommandError:
    return CommandError(f"{option} is {value!r}; it must be {rule}.")


def check_home(home: Path) -> None:
    """Whether a folder is one, or can be made, and takes files.

    Raises:
        CommandError: it is a file, lies below one, or may not be written to.
    """
    way = "Choose another folder with --home."
    there = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not there.is_dir():
        what = "is a file" if there == home else f"lies below {there}, which is a file"
        raise CommandError(f"--home is {home}, which {what}, not a folder. {way}")
    try:
        # What the file system says, also to root: access(2) knows nothing of read-only mounts' kin.
        probe = there / f".loopwright-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(
            f"--home is {home}, where nothing can be written: {there}: {error.strerror}. {way}"
        ) from None


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _refused(
                "--host", host, "an address of this machine, such as 127.0.0.1 or 0.0.0.0"
            ) from None


def _check_objects(given: str) -> None:
    if not given:
        return
    # Not the value itself: it holds a secret.
    wrong = "--objects must be s3://ACCESS:SECRET@HOST[:PORT], or s3+http://… without TLS;"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise CommandError(f"{wrong} host or port of what was given is none.") from None
    if parts.scheme not in ("s3", "s3+http"):
        raise CommandError(f"{wrong} it begins with {parts.scheme or given[:12]!r}.")
    if not parts.username or not parts.password:
        raise CommandError(f"{wrong} access key or secret is missing.")
    if not host or port == 0:
        raise CommandError(f"{wrong} the host is missing, or its port is 0.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise CommandError(f"{wrong} it has {parts.path or '?'!r} behind the host.")


def _check_engine(given: str) -> None:
    if given in ENGINES:
        return
    scheme, _, rest = given.partition("://")
    if rest and scheme in ("tcp", "http", "https"):
        return
    if scheme == "unix" and rest.startswith("/"):
        return
    raise _refused("--engine", given, "podman, docker, none, or like unix:///var/run/docker.sock")


def _check_database(given: str) -> None:
    """Whether the URL is one, of a kind whose driver is here; whether it answers shows later."""
    if not given:
        return
    try:
        url = make_url(given)
        kind, driver = url.get_backend_name(), url.get_driver_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # Not the value itself: it may hold a password.
        raise CommandError(f"--database is no database's URL; it must be {DATABASES}.") from None
    except ModuleNotFoundError as error:
        raise CommandError(f"--database needs {error.name}; give {DATABASES}.") from None
    if driver not in DRIVERS.get(kind, ()):
        raise CommandError(f"--database is for {kind}+{driver}; it must be {DATABASES}.")
    if kind == "sqlite":
        if not url.database or url.database == ":memory:":
            raise CommandError("--database names no file; it must be sqlite:///PATH.")
        _check_file(Path(url.database))
    elif importlib.util.find_spec("psycopg") is None:
        raise CommandError(
            "--database needs the Python package psycopg: pip install 'loopwright[postgres]'."
        )


def _check_file(path: Path) -> None:
    """Whether SQLite can keep its file there."""
    there = next(found for found in (path, *path.absolute().parents) if os.path.lexists(found))
    if there == path and path.is_dir():
        raise CommandError(f"--database names {path}, which is a folder; name a file in it.")
    if there != path and not there.is_dir():
        raise CommandError(f"--database names {path}, which lies below a file, {there}.")
    if not os.access(there, os.W_OK):
        raise CommandError(f"--database names {path}, which may not be written.")


def _sources(given: Sequence[str]) -> tuple[str, ...]:
    """The addresses of `--page-source`, as a content-security policy takes them."""
    for address in given:
        if SOURCE.fullmatch(address) is None:
            raise _refused("--page-source", address, "like https://cdn.example.org")
    return tuple(given)


def _schedule(text: str) -> tuple[int, float]:
    """Seed and mean of `--spot-interruptions`; (0, 0.0) for none."""
    if not text:
        return 0, 0.0
    seed, _, mean_s = text.partition(":")
    try:
        found = int(seed), float(mean_s)
    except ValueError:
        found = (0, -1.0)
    if not (math.isfinite(found[1]) and found[1] > 0):
        raise _refused("--spot-interruptions", text, "SEED:MEAN_S, such as 7:30")
    return found
