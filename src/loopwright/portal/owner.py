"""The owner's view of people's work: progress, time and agreement."""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from loopwright.people.progress import progress_of
from loopwright.people.sessions import OWNER, OWNER_SUB, SESSION_S
from loopwright.portal.desk import Desk
from loopwright.portal.web import (
    COOKIE,
    FORM_COOKIE,
    Refused,
    check_csrf,
    check_origin,
    form,
    page,
    real_now,
    set_cookie,
    to,
    with_form_token,
)

OWNER_COOKIE: Final = "loopwright_owner"


class OwnerRoutes:
    """The owner comes by a link that `loopwright workers show --link` prints."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def enter_page(self, request: Request) -> Response:
        """A button: programs that look at links before people do must not use them up."""
        return with_form_token(request, "enter", title="Owner")

    async def enter(self, request: Request) -> Response:
        """Sign the owner in, once by each link."""
        check_origin(request)
        fields = await form(request)
        check_csrf(fields.get("csrf", ""), request.cookies.get(FORM_COOKIE, ""))
        token = request.path_params["token"]
        sub = await run_in_threadpool(self._desk.sessions.redeem, token, OWNER, real_now())
        if sub is None:
            raise Refused(410, "This link was used, or it has ended. Ask for another one.")
        session = await run_in_threadpool(self._desk.sessions.open, OWNER_SUB, real_now())
        response = to("/work/owner")
        set_cookie(response, request, OWNER_COOKIE, session, int(SESSION_S))
        return response

    async def overview(self, request: Request) -> Response:
        """Progress by job, and time and agreement by worker."""
        token = request.cookies.get(OWNER_COOKIE) or request.cookies.get(COOKIE, "")
        session = await run_in_threadpool(self._desk.sessions.get, token, real_now())
        if session is None or session.sub != OWNER_SUB:
            raise Refused(401, "`loopwright workers show --link` prints the way in.")
        desk = self._desk
        found = await run_in_threadpool(progress_of, desk.pool.database, desk.accounts)
        return page("owner", title="Progress", **found)
