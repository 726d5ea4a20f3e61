"""Whether the control plane can do its work: what `/health` and the front page tell.

It can when its database answers and its rounds of planning end well. What stands is read, so asking
costs a statement and changes nothing.
"""

import importlib.metadata
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from loopwright.database import Database

STALE_S: Final = 60.0
"""A round that has taken longer than this is stuck."""


class Health:
    """Of one control plane. `planned` and `failed` are called by its loop, `state` by any thread.

    Args:
        database: Asked each time.
        clock: Seconds that only go forward.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._fault = ""
        self._version = importlib.metadata.version("loopwright")

    def planned(self) -> None:
        """A round has ended well."""
        with self._lock:
            self._began, self._fault = self._clock(), ""

    def failed(self, error: Exception) -> None:
        """A round has failed; the next one tries again."""
        told = (str(error).splitlines() or [""])[0][:200]
        with self._lock:
            self._began = self._clock()
            self._fault = f"{type(error).__name__}: {told}" if told else type(error).__name__

    def state(self) -> dict[str, Any]:
        """`alive` (this answers), `ready`, `version`, and the `reason` when it is not ready."""
        reason = self._reason()
        found = {"alive": True, "ready": not reason, "version": self._version}
        return {**found, "reason": reason} if reason else found

    def _reason(self) -> str:
        try:
            with self._database.read() as connection:
                connection.execute(sa.select(sa.literal(1)))
        except sa.exc.SQLAlchemyError:
            return "The database does not answer; Loopwright goes on once it does."
        with self._lock:
            waited, fault = self._clock() - self._began, self._fault
        if fault:
            return f"The last round of planning failed, the next one tries again: {fault}"
        if waited > STALE_S:
            return f"A round of planning has taken {waited:.0f} s; the server's log may say why."
        return ""
