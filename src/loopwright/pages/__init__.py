"""Pages that need no server: reports, made with Jinja, each one file with its style and script.

`base.css` has the colours and the type of all pages; the portal serves the same file.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER: Final = Path(__file__).parent
BASE_STYLE: Final = FOLDER / "base.css"
MINUTE_S: Final = 60
HOUR_S: Final = 3600


def duration(seconds: float | None) -> str:
    """A time span as people say it; empty for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s" if whole else f"{seconds:.1f} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"


def moment(at: float | datetime | None) -> str:
    """A point in time, in UTC; a dash for None."""
    if at is None:
        return "–"
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def figure(value: float | None) -> str:
    """A number in four significant digits, with a true minus; empty for None."""
    return "" if value is None else f"{value:.4g}".replace("-", "−")


def render(template: str, **values: Any) -> str:
    """A report by its template, which extends `report.html`.

    Raises:
        UndefinedError: a value that the template shows is not given.
    """
    return PAGES.get_template(f"{template}.html").render(values)


def _text(name: str) -> str:
    """One of our own files, which a page holds as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")


PAGES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.globals["text"] = _text
PAGES.filters |= {"duration": duration, "moment": moment, "figure": figure}
