"""How commands speak: tables and colour in a terminal, plain lines in a pipe, JSON for machines."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import orjson
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from loopwright.keys import KeyFile
from loopwright.server import is_process
from loopwright.wire.services import OWN_MODELS, operation
from loopwright.wire.validate import validate


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do."""


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(document: Any) -> None:
    """A document for machines."""
    say(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode())


def say_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in a terminal, lines with tabs in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            say("\t".join(row))
        return
    table = Table(*names, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def read_request(path: str, name: str) -> dict[str, Any]:
    """A request of an operation of SageMaker, from a JSON file.

    Raises:
        CommandError: no such file, or it holds something else.
        ApiError: `ValidationException`, the request breaks a constraint of the operation.
    """
    try:
        request = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise CommandError(f"There is no file {path}.") from None
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{path} is no JSON: {error}.") from None
    if not isinstance(request, dict):
        raise CommandError(f"{path} must hold one JSON object: the request.")
    validate(operation("sagemaker", name), request)
    return request


def moment(seconds: float | datetime | None) -> str:
    """A time as people read it."""
    if seconds is None:
        return "-"
    when = seconds if isinstance(seconds, datetime) else datetime.fromtimestamp(seconds, UTC)
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def server_state(home: Path, needed: str = "control.json") -> dict[str, Any]:
    """What the running server wrote about itself.

    Args:
        needed: File of the process that must live; invocations need only the gateway.

    Raises:
        CommandError: none runs, as far as the home tells.
    """
    state = _read_state(home / "run" / "control.json")
    process = _read_state(home / "run" / needed)
    if not state or not process or not is_process(process["pid"], ""):
        raise CommandError(
            f"No server runs on {home}; start one with `loopwright serve --home {home}`."
        )
    return state


def _read_state(path: Path) -> dict[str, Any]:
    try:
        return dict(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}


def client(home: Path, service: str) -> Any:
    """A botocore client of this home's server."""
    runtime = service == "sagemaker-runtime"
    state = server_state(home, "gateway.json" if runtime else "control.json")
    access_key, secret = KeyFile(home / "keys.json").ensure()
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.append(str(OWN_MODELS))
    return session.create_client(
        service,
        region_name=state["region"],
        endpoint_url=state["url"],
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        # The gateway itself waits for a server that starts again: to ask once is enough.
        config=Config(retries={"max_attempts": 0}, proxies={}),
    )
