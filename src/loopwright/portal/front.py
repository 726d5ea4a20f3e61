"""The front page, at the address that `serve` prints, and `/health` for those who watch over it.

Both are for anybody who reaches the port: they name no path, no key and no resource.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from loopwright.portal.web import as_json, origin, page

ASK_TIMEOUT_S: Final = 4.0
SLOW: Final = (
    f"The database does not answer within {ASK_TIMEOUT_S:g} s; Loopwright goes on once it does."
)


class FrontRoutes:
    """What is at `/` and `/health`.

    Args:
        state: `alive`, `ready`, `version`, and a `reason` when it is not ready; may block.
    """

    def __init__(self, state: Callable[[], Mapping[str, Any]]) -> None:
        self._state = state

    async def front(self, request: Request) -> Response:
        """How to connect, where people work, where it is written down."""
        return page("front", title="Front page", url=origin(request), state=await self._ask())

    async def health(self, _request: Request) -> Response:
        """200 when the control plane can work, else 503 with the reason."""
        state = await self._ask()
        return as_json(state, 200 if state["ready"] else 503)

    async def _ask(self) -> Mapping[str, Any]:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._state), ASK_TIMEOUT_S)
        except TimeoutError:
            return {"alive": True, "ready": False, "reason": SLOW}
