"""serve: the server itself, which no other command imports."""

import logging
import shlex
import sys

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.output import say
from loopwright.commands.settings import settings_of
from loopwright.config import Settings
from loopwright.gateways import StartError
from loopwright.server import serve as run_server


def serve(arguments: Arguments) -> int:
    """Serve until SIGTERM or Ctrl-C; units run on and the next `serve` takes them up again."""
    settings = settings_of(arguments)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("uvicorn", "botocore", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        run_server(settings, _announce)
    except StartError as error:
        raise CommandError(str(error)) from None
    sys.stderr.write(
        "Stopped. Units that were running go on; `loopwright serve` takes them up again, "
        "`loopwright stop` ends them.\n"
    )
    return 0


def _announce(url: str, settings: Settings) -> None:
    say(f"Loopwright is ready at {url}")
    say(
        f'Point clients at it:  eval "$({_program()} env --home {shlex.quote(str(settings.home))})"'
    )


def _program() -> str:
    return sys.argv[0] if sys.argv and sys.argv[0].endswith("loopwright") else "loopwright"
