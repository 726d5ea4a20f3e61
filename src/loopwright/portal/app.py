"""The pages' ASGI application: the portal below `/work`, the front page, `/health`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loopwright.portal.files import FileRoutes
from loopwright.portal.front import FrontRoutes
from loopwright.portal.owner import OwnerRoutes
from loopwright.portal.signing import SigningRoutes
from loopwright.portal.tasks import TaskRoutes
from loopwright.portal.web import Refused, page
from loopwright.wire.http import Request as WireRequest

ROOT: Final = "/work"
HEALTH: Final = "/health"
READING: Final = ("GET", "HEAD")
SIGNED: Final = ("authorization", "x-amz-date", "x-amz-content-sha256")
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Routes:
    """What answers below `/work`, and beside it."""

    signing: SigningRoutes
    tasks: TaskRoutes
    owner: OwnerRoutes
    files: FileRoutes
    front: FrontRoutes


def is_page(request: WireRequest) -> bool:
    """Whether a request is for our pages: a signed one is for a bucket `work` or `health`, and `/`
    is S3's list of buckets unless a browser asks, which wants HTML."""
    if request.path == "/":
        if request.method not in READING or "text/html" not in request.headers.get("accept", ""):
            return False
    elif request.path == HEALTH:
        if request.method not in READING:
            return False
    elif request.path != ROOT and not request.path.startswith(f"{ROOT}/"):
        return False
    if any(name in request.headers for name in SIGNED):
        return False
    return "X-Amz-Signature=" not in request.query and "AWSAccessKeyId=" not in request.query


def portal_app(routes: Routes) -> Any:
    """The application."""
    signing, tasks, owner, files = routes.signing, routes.tasks, routes.owner, routes.files
    table: list[tuple[str, str, Handler]] = [
        ("GET", "", tasks.overview),
        ("GET", "/", tasks.overview),
        ("GET", "/sign-in", signing.sign_in_page),
        ("POST", "/sign-in", signing.sign_in),
        ("POST", "/sign-out", signing.sign_out),
        ("GET", "/join/{token}", signing.join_page),
        ("POST", "/join/{token}", signing.join),
        ("GET", "/oidc/callback", signing.oidc_callback),
        ("GET", "/oidc/{region}/{workforce}", signing.oidc_begin),
        ("POST", "/take", tasks.take),
        ("GET", "/tasks/{task}", tasks.task_page),
        ("GET", "/tasks/{task}/page", tasks.template_page),
        ("POST", "/tasks/{task}/answer", tasks.answer),
        ("POST", "/tasks/{task}/{way:str}", tasks.let_go),
        ("GET", "/owner", owner.overview),
        ("GET", "/owner/{token}", owner.enter_page),
        ("POST", "/owner/{token}", owner.enter),
        ("GET", "/objects/{token}/{name:path}", files.stored),
        ("GET", "/templates/{sha}", files.template),
        ("GET", "/static/{path:path}", files.static),
    ]
    beside = [Route("/", routes.front.front), Route(HEALTH, routes.front.health)]
    below = [Route(f"{ROOT}{path}", run, methods=[verb]) for verb, path, run in table]
    return Starlette(
        routes=[*beside, *below],
        exception_handlers={Refused: _refused, HTTPException: _missing},
    )


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return page("message", error.status, title="Not done", text=error.text)


def _missing(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = "There is no such page." if error.status_code == 404 else error.detail
    return page("message", error.status_code, title="Not here", text=text)
