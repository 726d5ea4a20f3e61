"""What the portal's pages work with, put together by the control plane."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from loopwright.kernel.clock import Clock
from loopwright.kernel.store import Store
from loopwright.objects.base import Objects
from loopwright.people.accounts import Accounts
from loopwright.people.links import ObjectLinks
from loopwright.people.pool import TaskPool
from loopwright.people.pools import Pools
from loopwright.people.sessions import Session, Sessions
from loopwright.people.templates import Templates
from loopwright.portal.web import COOKIE, Refused, peer, real_now
from loopwright.portal.workers import Worker, Workers


@dataclass(frozen=True)
class Desk:
    """The portal's things.

    Attributes:
        scale: Platform seconds per real second: leases end by platform time.
        wake: Tell the engine that something changed.
        sources: Hosts from which pages of tasks may load more, as the owner set.
    """

    store: Store
    objects: Objects
    clock: Clock
    accounts: Accounts
    pools: Pools
    sessions: Sessions
    workers: Workers
    pool: TaskPool
    templates: Templates
    links: ObjectLinks
    scale: float
    wake: Callable[[], None]
    sources: tuple[str, ...] = ()

    async def who(self, request: Request) -> tuple[Session, Worker]:
        """Who asks.

        Raises:
            Refused: nobody who is signed in (401).
        """

        def find() -> tuple[Session, Worker] | None:
            session = self.sessions.get(request.cookies.get(COOKIE, ""), real_now())
            if session is None:
                return None
            worker = self.workers.find(session.sub, peer(request))
            return (session, worker) if worker is not None else None

        found = await run_in_threadpool(find)
        if found is None:
            raise Refused(401, "Sign in first.")
        return found
