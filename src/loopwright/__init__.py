"""SageMaker's whole loop on your own machines.

Importing this costs nothing: each unit does. What a notebook uses is imported when it is called.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.connecting import Connection

__all__ = ["connect", "disconnect", "load_ipython_extension"]


def connect(home: "str | os.PathLike[str] | None" = None) -> "Connection":
    """Point boto3, botocore and the sagemaker SDK of this running process at a home's server.

    Sessions and clients made from now on talk to it, the SDK's STS client included, and so do child
    processes. Repeatable; with another home it points there. A client that was made before, or
    that names an AWS endpoint itself, is refused when it would send Loopwright's keys to AWS, and
    warned of when it sends others (`BeyondWarning`).

    Args:
        home: Folder of `loopwright serve --home`; default `$LOOPWRIGHT_HOME` or `~/.loopwright`.

    Returns:
        Where it talks to now: `url`, `region`, `home`.

    Raises:
        NotRunning: no server runs on the home; the text says how to start one.
    """
    from loopwright.connecting import connect as act  # noqa: PLC0415

    return act(home)


def disconnect() -> None:
    """Undo `connect`: the environment is as it was, for clients that are made from now on."""
    from loopwright.connecting import disconnect as act  # noqa: PLC0415

    act()


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext loopwright`: the magic `%loopwright [HOME]`, and a connection if a server runs."""
    from loopwright.connecting import load_extension  # noqa: PLC0415

    load_extension(ipython)
