"""A running process talks to Loopwright: what `loopwright env` does for a shell, for a notebook.

The variables alone are not enough there: the sagemaker SDK names a public address for STS, and what
was made before keeps its own. So one hook stands where botocore sends every request of the process:
it brings STS requests that our keys signed to the server, refuses others of our keys that would go
to AWS, where they are worth nothing, and warns of those that other keys signed.
"""

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import botocore.session
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from loopwright.client import S3_URL, variables
from loopwright.keys import KeyFile
from loopwright.running import NotRunning, server_state

HOME_DEFAULT: Final = "~/.loopwright"
CLEARED: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
JOINED: Final = {"AWS_DATA_PATH": os.pathsep, "PYTHONPATH": os.pathsep}
"""Variables of which ours stands before what was there."""
NO_PROXY: Final = "127.0.0.1,localhost"


class BeyondWarning(UserWarning):
    """A request of this process goes to AWS itself, past Loopwright."""


class BeyondError(HTTPClientError):  # type: ignore[misc]
    """A request with Loopwright's keys would go to AWS; the text says whose, and the way out."""

    fmt = "{told}"


@dataclass(frozen=True)
class Connection:
    """Where this process talks to.

    Attributes:
        url: The server's address.
        region: The region of clients that name none.
        home: The server's folder.
    """

    url: str
    region: str
    home: Path

    def __str__(self) -> str:
        return f"Connected to Loopwright at {self.url} ({self.region}, home {self.home})"

    def _repr_html_(self) -> str:
        url = escape(self.url)
        return (
            f'Connected to Loopwright at <a href="{url}" target="_blank">{url}</a> '
            f"({escape(self.region)}, home {escape(str(self.home))}); "
            f'people work at <a href="{url}/work" target="_blank">{url}/work</a>'
        )


class _Process:
    """What `connect` has changed in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Know of no connection."""
        self.connection: Connection | None = None
        self.keys: KeyFile | None = None
        # As they were before the first connect; None: unset.
        self.saved: dict[str, str | None] = {}
        self.send: Callable[[Any, Any], Any] | None = None
        self.warned: set[tuple[str, str]] = set()

    def put(self, name: str, value: str | None) -> None:
        """Set or clear a variable; what it was is kept."""
        self.saved.setdefault(name, os.environ.get(name))
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    def before(self, name: str) -> str:
        """What a variable was before we set it."""
        return (self.saved[name] if name in self.saved else os.environ.get(name)) or ""


_PROCESS: Final = _Process()


def connect(home: "str | os.PathLike[str] | None" = None) -> Connection:
    """See `loopwright.connect`."""
    given = home or os.environ.get("LOOPWRIGHT_HOME") or HOME_DEFAULT
    folder = Path(given).expanduser().resolve()
    state = server_state(folder)
    found = variables(folder, state["url"], state["region"], state.get("objects", ""))
    found["PYTHONPATH"] = str(folder / "client")
    for name, value in found.items():
        old = _PROCESS.before(name) if name in JOINED else ""
        _PROCESS.put(name, f"{value}{JOINED[name]}{old}" if old else value)
    for name in (*CLEARED, *({S3_URL} - found.keys())):
        _PROCESS.put(name, None)
    for name in ("NO_PROXY", "no_proxy"):
        old = _PROCESS.before(name)
        _PROCESS.put(name, f"{NO_PROXY},{old}" if old else NO_PROXY)
    _PROCESS.connection = Connection(state["url"], state["region"], folder)
    _PROCESS.keys = KeyFile(folder / "keys.json")
    _PROCESS.warned.clear()
    if _PROCESS.send is None:
        _PROCESS.send = URLLib3Session.send
        URLLib3Session.send = _send
    _renew_default_session()
    return _PROCESS.connection


def disconnect() -> None:
    """See `loopwright.disconnect`."""
    for name, value in _PROCESS.saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if _PROCESS.send is not None:
        URLLib3Session.send = _PROCESS.send
    _PROCESS.reset()
    _renew_default_session()


def _renew_default_session() -> None:
    """Make boto3's default session anew, if there is one: it has kept the old settings."""
    boto3 = sys.modules.get("boto3")
    if boto3 is not None and boto3.DEFAULT_SESSION is not None:
        boto3.setup_default_session()


def _send(session: Any, request: Any) -> Any:
    """In the place of botocore's own sending of a request."""
    process = _PROCESS
    assert process.send is not None, "only `connect` puts this here"
    host = urlsplit(request.url).hostname or ""
    if process.connection is None or not _is_aws(host):
        return process.send(session, request)
    key = _key_of(request)
    assert process.keys is not None, "set with the connection"
    ours = key in process.keys.read()
    if ours and host.startswith("sts."):
        parts = urlsplit(request.url)
        there = urlsplit(process.connection.url)
        request.headers["Host"] = parts.netloc
        request.url = urlunsplit((there.scheme, there.netloc, parts.path, parts.query, ""))
        # The client's own sending may go through a proxy, which does not lead here.
        return process.send(URLLib3Session(), request)
    told = _told(host, key, process.connection)
    if ours:
        raise BeyondError(told=f"{told} It was not sent: Loopwright's keys mean nothing there.")
    if (host, key) not in process.warned:
        process.warned.add((host, key))
        warnings.warn(BeyondWarning(told), stacklevel=2)
    return process.send(session, request)


def _told(host: str, key: str, connection: Connection) -> str:
    whose = f"the access key {key}" if key else "no access key"
    return (
        f"A client of this process, with {whose}, reaches beyond Loopwright at {connection.url}, "
        f"to {host}: it was made before loopwright.connect(), or with endpoint_url. Make the "
        "client (or its Session) again without endpoint_url; loopwright.disconnect() ends the "
        "connection."
    )


@lru_cache(maxsize=1)
def _suffixes() -> tuple[str, ...]:
    """The domains of AWS, as botocore's list of partitions has them."""
    loader = botocore.session.Session().get_component("data_loader")
    outputs = [partition["outputs"] for partition in loader.load_data("partitions")["partitions"]]
    names = {output.get(name) for output in outputs for name in ("dnsSuffix", "dualStackDnsSuffix")}
    return tuple(f".{name}" for name in names if name)


def _is_aws(host: str) -> bool:
    return host.endswith(_suffixes())


def _key_of(request: Any) -> str:
    """The access key that a request is signed with; empty for an unsigned one."""
    signed = request.headers.get("Authorization", "")
    text = signed.decode("latin-1") if isinstance(signed, bytes) else str(signed)
    if "Credential=" in text:
        return text.partition("Credential=")[2].partition("/")[0]
    if text.startswith("AWS "):
        return text[4:].partition(":")[0]
    query = parse_qs(urlsplit(request.url).query)
    scope = query.get("X-Amz-Credential") or query.get("AWSAccessKeyId") or [""]
    return str(scope[0]).partition("/")[0]


def load_extension(ipython: Any) -> None:
    """See `loopwright.load_ipython_extension`."""

    def loopwright(line: str) -> Connection:
        """Connect this notebook: %loopwright [HOME]"""
        return connect(line.strip().strip("\"'") or None)

    ipython.register_magic_function(loopwright, magic_kind="line", magic_name="loopwright")
    try:
        told = str(connect())
    except NotRunning as error:
        told = f"{error} Then, or for another home: %loopwright HOME"
    sys.stdout.write(told + "\n")
