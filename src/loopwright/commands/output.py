"""How commands speak: tables and colour in a terminal, lines with tabs in a pipe, JSON."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import botocore.session
import orjson
from botocore.config import Config
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.keys import KeyFile
from loopwright.running import server_state
from loopwright.wire.services import OWN_MODELS, operation
from loopwright.wire.validate import validate

REFRESH_S: Final = 1.0
BREAKS: Final = re.compile(r"[\t\r\n]+")


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(document: Any) -> None:
    """A document for machines."""
    say(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode())


def say_json_line(document: Any) -> None:
    """One of several documents for machines, in one line."""
    say(orjson.dumps(document, default=str).decode())


def say_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in a terminal, lines with tabs in a pipe."""
    table = Table(*names, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    say_screen(table)


def say_screen(screen: Any) -> None:
    """What rich draws in a terminal; in a pipe its lines, with tabs between a row's cells."""
    if sys.stdout.isatty():
        Console().print(screen)
        return
    for line in lines_of(screen):
        say(line)


def lines_of(screen: Any) -> Iterator[str]:
    """A screen's texts and its tables' rows, whole: nothing is cut or wrapped.

    Of several parts a table has its title and its columns' names before its rows.
    """
    if isinstance(screen, Group):
        for part in screen.renderables:
            if isinstance(part, Table):
                yield from [str(part.title)] if part.title else []
                yield "\t".join(str(column.header) for column in part.columns)
            yield from lines_of(part)
    elif isinstance(screen, Table):
        for row in zip(*(column.cells for column in screen.columns), strict=True):
            yield "\t".join(_flat(str(cell)) for cell in row)
    else:
        yield _flat(str(screen))


def _flat(text: str) -> str:
    """A cell without what would end it or its line."""
    return BREAKS.sub(" ", text)


def look(
    arguments: Arguments,
    read: Callable[[], dict[str, Any]],
    screen: Callable[[dict[str, Any]], Any],
    over: Callable[[dict[str, Any]], bool] = lambda _: False,
) -> int:
    """Show a state once; with `follow` again and again until it is over.

    In a terminal the screen is drawn anew; in a pipe, and as JSON lines, each change is told once.
    """
    state = read()
    if not arguments.follow:
        if arguments.json:
            say_json(state)
        else:
            say_screen(screen(state))
        return 0
    if arguments.json or not sys.stdout.isatty():
        _tell_changes(arguments, state, read, screen, over)
        return 0
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(screen(state), refresh=True)
            if over(state):
                return 0
            time.sleep(REFRESH_S)
            state = read()


def _tell_changes(
    arguments: Arguments,
    state: dict[str, Any],
    read: Callable[[], dict[str, Any]],
    screen: Callable[[dict[str, Any]], Any],
    over: Callable[[dict[str, Any]], bool],
) -> None:
    told: set[str] = set()
    last: dict[str, Any] | None = None
    while True:
        if arguments.json and state != last:
            say_json_line(state)
        elif not arguments.json:
            lines = list(lines_of(screen(state)))
            for line in lines:
                if line not in told:
                    say(line)
            told = set(lines)
        if over(state):
            return
        last = state
        time.sleep(REFRESH_S)
        state = read()


def write_file(path: str, text: str) -> int:
    """Write a report.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
    say(f"Written to {path}")
    return 0


def read_request(path: str, name: str) -> dict[str, Any]:
    """A request of an operation of SageMaker, from a JSON file.

    Raises:
        CommandError: no such file, or it holds something else.
        ApiError: `ValidationException`, the request breaks a constraint of the operation.
    """
    try:
        request = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise CommandError(f"There is no file {path} that can be read: {error.strerror}.") from None
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
