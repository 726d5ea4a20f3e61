"""Task templates: Liquid by python-liquid, with the service's filters, escaping everything.

What a template prints is text unless it says `skip_autoescape`; maps and lists print as JSON, as
the public templates expect of `{{ task.input.blocks }}`. Templates come from the owner of the
machine, data from anywhere: a template cannot read files, include others, or run for ever.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from html import unescape
from typing import Any, Final

import orjson
from liquid import Environment, Undefined
from liquid.builtin.loaders.dict_loader import DictLoader
from liquid.exceptions import FilterValueError, LiquidError
from markupsafe import Markup, escape

from loopwright.people.links import NoObject

LIBRARY: Final = re.compile(
    r"""<script\b[^>]*?\bsrc\s*=\s*["']?"""
    r"""(?:https?:)?//assets\.crowd\.aws/crowd-html-elements[\w.-]*\.js["']?[^>]*>\s*</script\s*>""",
    re.IGNORECASE,
)
STYLES: Final = re.compile(
    r"""<link\b[^>]*?\bhref\s*=\s*["']?"""
    r"""(?:https?:)?//assets\.crowd\.aws/[^"'\s>]+\.css["']?[^>]*>""",
    re.IGNORECASE,
)
CROWD: Final = re.compile(r"<\s*crowd-", re.IGNORECASE)
LOOPS_MAX: Final = 100_000
OUTPUT_BYTES_MAX: Final = 16 * 1024 * 1024
LINE_MAX: Final = 200
Link = Callable[[str], str]


class TemplateError(Exception):
    """A template cannot be rendered; the text says where and why."""


class _NoAccess(FilterValueError):
    """What `grant_read_access` was given names no object."""


class _Limited(Environment):
    loop_iteration_limit = LOOPS_MAX
    output_stream_limit = OUTPUT_BYTES_MAX
    context_depth_limit = 30
    # A text that is appended to itself doubles each time: no loop limit would end that in time.
    local_namespace_limit = OUTPUT_BYTES_MAX


class _Json(dict[str, Any]):
    """A map that prints as JSON."""

    def __str__(self) -> str:
        return _encode(self)


class _JsonList(tuple[Any, ...]):
    """A list that prints as JSON; a tuple, as the engine prints lists its own way."""

    def __str__(self) -> str:
        return _encode(self)


def _encode(value: Any) -> str:
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
    return orjson.dumps(value, option=options, default=_plain).decode()


def _plain(value: Any) -> Any:
    """What orjson shall write for values of the engine and of ours."""
    if isinstance(value, Undefined):
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str.__str__(value)
    return list(value) if isinstance(value, Iterable) else str(value)


def _printable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Json({str(key): _printable(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return _JsonList(_printable(item) for item in value)
    return value


def _to_json(value: Any) -> Any:
    """JSON that stays whole between single quotes and between script tags.

    Within a double-quoted attribute templates pipe it through `escape`; the characters that end a
    script, an attribute in single quotes or a tag are JSON escapes, which mean the same.
    """
    text = _encode(value)
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return _Raw(text)


class _Raw(Markup):
    """JSON: printed as it stands, but `escape` does escape its quotes."""


def _escape(value: Any) -> Markup:
    if isinstance(value, _Raw):
        return escape(str(value))
    if isinstance(value, Markup):
        return value
    return escape("" if value is None else str(value))


def _escape_once(value: Any) -> Markup:
    """Escaped, where entities that stand in the text already are left as they are."""
    return escape(unescape("" if value is None else str(value)))


def _text(value: Any) -> str:
    """What was meant: a captured text is escaped already, and null is no text."""
    if value is None:
        return ""
    return unescape(str(value)) if isinstance(value, Markup) else str(value)


def _skip_autoescape(value: Any) -> Markup:
    return Markup("" if value is None else str(value))


def _grant_read_access(link: Link, value: Any) -> str:
    try:
        return link(_text(value))
    except NoObject as error:
        what = "the input lacks this variable; " if isinstance(value, Undefined) else ""
        raise _NoAccess(f"grant_read_access: {what}{error}", token=None) from None


@lru_cache(maxsize=64)
def _compiled(content: str, link: Link) -> Any:
    environment = _Limited(autoescape=True, loader=DictLoader({}))
    environment.filters["to_json"] = _to_json
    environment.filters["escape"] = _escape
    environment.filters["escape_once"] = _escape_once
    environment.filters["skip_autoescape"] = _skip_autoescape
    environment.filters["grant_read_access"] = partial(_grant_read_access, link)
    return environment.from_string(content)


def render(content: str, task: Mapping[str, Any], link: Link, library: str) -> str:
    """The page of a task.

    Args:
        content: The template.
        task: What the template sees beside `task.input`; maps and lists print as JSON.
        link: Makes a readable address of an S3 URI (NoObject: the text is none).
        library: The markup that loads our elements, put in the place of AWS's script.

    Raises:
        TemplateError: the template is no Liquid, goes beyond a limit, or grants access to what is
            no object.
    """
    try:
        template = _compiled(content, link)
        page: str = template.render(task=_printable(task))
    except _NoAccess as error:
        raise TemplateError(f"{error.message}{_place(error)}") from None
    except LiquidError as error:
        raise TemplateError(str(error)) from None
    except RecursionError:
        raise TemplateError("the template nests too deep") from None
    page = STYLES.sub("", page)
    page, count = LIBRARY.subn(lambda _: library, page, count=1)
    page = LIBRARY.sub("", page)
    if not count and CROWD.search(page):
        page = library + page
    return page


def _place(error: LiquidError) -> str:
    """The line of a template that an error is about."""
    found = error.context()
    if found is None:
        return ""
    number, _, _, line, _ = found
    return f" Line {number} of the template: {line.strip()[:LINE_MAX]}"


def check(content: str) -> list[dict[str, str]]:
    """What is wrong with a template, as `RenderUiTemplate` reports it; empty: nothing."""
    try:
        _compiled(content, _no_link)
    except LiquidError as error:
        return [{"Code": "TemplateError", "Message": str(error)}]
    return []


def _no_link(uri: str) -> str:
    return uri
