"""Signing in and out: by password, by invitation, by a provider of one's own."""

import time
from collections import OrderedDict
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from loopwright.kernel.records import Record
from loopwright.people.accounts import CONFIRMED, Accounts, SignInError, User
from loopwright.people.oidc import OidcError, begin, finish, keep_user
from loopwright.people.passwords import POLICY_DEFAULT, rules, weakness
from loopwright.people.pools import Pools
from loopwright.people.sessions import INVITATION, SESSION_S, Sessions
from loopwright.portal.web import (
    COOKIE,
    FORM_COOKIE,
    Refused,
    check_csrf,
    check_origin,
    form,
    origin,
    peer,
    real_now,
    set_cookie,
    to,
    with_form_token,
)
from loopwright.portal.workers import Workers
from loopwright.wire.errors import ApiError

GOING_S: Final = 600.0
CHOOSE_S: Final = 900.0
ATTEMPTS_MAX: Final = 30
ATTEMPTS_S: Final = 60.0
PEERS_MAX: Final = 10_000


class Attempts:
    """How often each address tried to sign in lately: guessing many users is guessing too."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Count an attempt.

        Raises:
            Refused: there were too many.
        """
        recent = [at for at in self._seen.pop(address, []) if at > now - ATTEMPTS_S]
        self._seen[address] = recent
        while len(self._seen) > PEERS_MAX:
            self._seen.popitem(last=False)
        if len(recent) >= ATTEMPTS_MAX:
            raise Refused(429, "Too many attempts from your address. Try again in a minute.")
        recent.append(now)

    def forgive(self, address: str) -> None:
        """Somebody did sign in from there: the attempts before were no guessing."""
        self._seen.pop(address, None)


class SigningRoutes:
    """The pages before work."""

    def __init__(
        self, accounts: Accounts, sessions: Sessions, pools: Pools, workers: Workers
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._pools = pools
        self._workers = workers
        self._attempts = Attempts()

    # By password

    async def sign_in_page(self, request: Request) -> Response:
        return self._page(request)

    def _page(
        self, request: Request, status: int = 200, wrong: str = "", name: str = ""
    ) -> Response:
        providers = [
            (force.region, force.name)
            for force in self._workers.forces()
            if "OidcConfig" in force.spec
        ]
        return with_form_token(
            request, "sign-in", status, title="Sign in", wrong=wrong, name=name,
            providers=providers, next=_inside(request.query_params.get("next", "/work")),
        )  # fmt: skip

    async def sign_in(self, request: Request) -> Response:
        check_origin(request)
        fields = await form(request)
        check_csrf(fields.get("csrf", ""), request.cookies.get(FORM_COOKIE, ""))
        name = fields.get("username", "")
        self._attempts.check(peer(request), time.monotonic())
        try:
            user = await run_in_threadpool(
                self._accounts.sign_in, name, fields.get("password", ""), real_now()
            )
        except SignInError as error:
            return self._page(request, 401, str(error), name)
        self._attempts.forgive(peer(request))
        if user.status != CONFIRMED:
            token = await run_in_threadpool(
                self._sessions.link, INVITATION, user.sub, real_now(), CHOOSE_S
            )
            return to(f"/work/join/{token}")
        return await self._enter(request, user, _inside(fields.get("next", "/work")))

    async def _enter(self, request: Request, user: User, where: str) -> Response:
        """A new session: an id that was in the browser before signs nobody in."""
        before = request.cookies.get(COOKIE, "")
        if before:
            await run_in_threadpool(self._sessions.close, before)
        token = await run_in_threadpool(self._sessions.open, user.sub, real_now())
        response = to(where)
        set_cookie(response, request, COOKIE, token, int(SESSION_S))
        response.delete_cookie(FORM_COOKIE, path="/work")
        return response

    async def sign_out(self, request: Request) -> Response:
        check_origin(request)
        token = request.cookies.get(COOKIE, "")
        session = await run_in_threadpool(self._sessions.get, token, real_now())
        if session is not None:
            check_csrf((await form(request)).get("csrf", ""), session.csrf)
            await run_in_threadpool(self._sessions.close, token)
        response = to("/work/sign-in")
        response.delete_cookie(COOKIE, path="/work")
        return response

    # By invitation

    async def join_page(self, request: Request) -> Response:
        user = await run_in_threadpool(self._invited, request)
        return self._choose(request, user)

    def _choose(self, request: Request, user: User, wrong: str = "") -> Response:
        return with_form_token(
            request, "join", 400 if wrong else 200, title="Choose a password",
            username=user.email or user.username, wrong=wrong, rules=rules(self._policy(user)),
        )  # fmt: skip

    def _invited(self, request: Request) -> User:
        token = request.path_params["token"]
        sub = self._sessions.linked(token, INVITATION, real_now())
        user = self._accounts.by_sub(sub) if sub is not None else None
        if user is None or not user.enabled:
            raise Refused(
                410, "This invitation was used, or it has ended. Ask the owner for another one."
            )
        return user

    async def join(self, request: Request) -> Response:
        check_origin(request)
        fields = await form(request)
        check_csrf(fields.get("csrf", ""), request.cookies.get(FORM_COOKIE, ""))
        user = await run_in_threadpool(self._invited, request)
        password = fields.get("password", "")
        wrong = weakness(password, self._policy(user))
        if not wrong and password != fields.get("again", ""):
            wrong = "The two passwords are not the same"
        if wrong:
            return self._choose(request, user, f"{wrong}.")

        def accept() -> bool:
            token = request.path_params["token"]
            if self._sessions.linked(token, INVITATION, real_now()) != user.sub:
                return False
            # Ends the invitation in the same transaction, so that a kill leaves either.
            self._accounts.set_password(user, password, real_now(), permanent=True)
            return True

        if not await run_in_threadpool(accept):
            raise Refused(410, "This invitation was used in the meantime. Sign in.")
        return await self._enter(request, user, "/work")

    def _policy(self, user: User) -> dict[str, object]:
        try:
            found: dict[str, object] = self._pools.get(user.pool)["Policies"]["PasswordPolicy"]
        except ApiError:
            found = dict(POLICY_DEFAULT)
        return found

    # By a provider

    async def oidc_begin(self, request: Request) -> Response:
        force = self._force(request.path_params["region"], request.path_params["workforce"])
        going = begin(force.spec["OidcConfig"], f"{origin(request)}/work/oidc/callback")
        document = {
            "region": force.region, "workforce": force.name, "nonce": going.nonce,
            "verifier": going.verifier, "state": going.state,
        }  # fmt: skip
        token = await run_in_threadpool(self._sessions.open, "", real_now(), document)
        response = to(going.address)
        set_cookie(response, request, FORM_COOKIE, token, int(GOING_S))
        return response

    async def oidc_callback(self, request: Request) -> Response:
        token = request.cookies.get(FORM_COOKIE, "")
        session = await run_in_threadpool(self._sessions.get, token, real_now())
        going = session.document if session is not None else {}
        check_csrf(request.query_params.get("state", ""), str(going.get("state", "")))
        await run_in_threadpool(self._sessions.close, token)
        if "code" not in request.query_params:
            reason = request.query_params.get("error_description") or "it gave no reason"
            raise Refused(403, f"Your provider did not sign you in: {reason[:200]}")
        force = self._force(going["region"], going["workforce"])

        def signed_in() -> User:
            claims = finish(
                force.spec["OidcConfig"], request.query_params["code"],
                f"{origin(request)}/work/oidc/callback", going["nonce"], going["verifier"],
            )  # fmt: skip
            return keep_user(self._accounts, force.region, force.name, claims, real_now())

        try:
            user = await run_in_threadpool(signed_in)
        except OidcError as error:
            raise Refused(403, str(error)) from None
        if not user.enabled:
            raise Refused(403, "This account is disabled. Ask the owner of the workforce.")
        return await self._enter(request, user, "/work")

    def _force(self, region: str, name: str) -> Record:
        for force in self._workers.forces():
            if (force.region, force.name) == (region, name) and "OidcConfig" in force.spec:
                return force
        raise Refused(404, "There is no such workforce.")


def _inside(path: str) -> str:
    """A path of the portal; anything else, so also another site, becomes the list of tasks."""
    inside = path == "/work" or path.startswith("/work/")
    return path if inside and "//" not in path and "\\" not in path else "/work"
