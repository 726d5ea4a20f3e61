"""A task is offered once its page can be made; people never get one that cannot."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.kernel.store import Store
from loopwright.people.links import ObjectLinks
from loopwright.people.liquid import TemplateError, render
from loopwright.people.pool import TaskPool
from loopwright.people.templates import Templates

GONE = "its template is not there any more."


def why_not(templates: Templates, links: ObjectLinks, spec: Mapping[str, Any]) -> str:
    """Why the page of a task cannot be made; empty when it can.

    Args:
        spec: Of a `HumanTask`, with `TemplateSha` and `Input`.
    """
    template = templates.get(spec["TemplateSha"])
    if template is None:
        return GONE
    try:
        render(template, {"input": spec["Input"]}, links.to, "")
    except TemplateError as error:
        return str(error)
    return ""


def offer_function(
    pool: TaskPool, store: Store, templates: Templates, links: ObjectLinks
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The call `people.offer`: offers a task, or says in `refused` why it cannot be shown."""

    def offer(arguments: Mapping[str, Any]) -> dict[str, Any]:
        record = store.by_uid(arguments["uid"])
        why = why_not(templates, links, record.spec) if record is not None else ""
        if why:
            return {"refused": why}
        pool.offer(arguments)
        return {}

    return offer
