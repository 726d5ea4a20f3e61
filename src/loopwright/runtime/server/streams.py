"""An answer that a hook makes while it is sent: parts come from an iterator of the user's.

The iterator runs in the model's thread, a slice at a time, and is asked for nothing while its
client takes no more or waits for earlier answers. Each part leaves at once. All else happens in
the loop's thread.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from loopwright.runtime.server.exchange import Answer, Exchange, Streamed, answer_of_failure

SLICE_S = 0.005
SLICE_BYTES = 262_144
_log = logging.getLogger(__name__)


class Stream:
    """One answer.

    Attributes:
        begun: Whether the client has its head.
    """

    __slots__ = ("_answer", "_gone", "_loop", "_over", "_ready", "_wanted", "begun", "exchange")

    def __init__(
        self,
        exchange: Exchange,
        answer: Streamed,
        loop: asyncio.AbstractEventLoop,
        ready: Callable[["Stream"], None],
    ) -> None:
        """`ready` is called when the next slice may run."""
        self.exchange = exchange
        self._answer = answer
        self._loop = loop
        self._ready = ready
        self.begun = False
        # Read in the thread, too: whether to go on, and whether nobody waits any more.
        self._wanted = self._gone = False
        # Whether the iterator is at its end.
        self._over = False

    # What the connection and the turns say

    def flow(self) -> None:
        """It is this answer's turn, and the client takes more."""
        self._wanted = True
        if not self._over:
            self._ready(self)

    def hold(self) -> None:
        """The client takes no more for now."""
        self._wanted = False

    def leave(self) -> None:
        """The client is gone: let the iterator end."""
        self._gone = True
        if not self._over:
            self._ready(self)

    def give_up(self) -> None:
        """The iterator does not come back; what it may still say is not wanted."""
        if self.begun and not self._gone:
            self.exchange.connection.break_off()
        self._gone = True

    def advanced(self, error: BaseException | None) -> None:
        """A slice is over; `error` is what no answer can be made of, such as SystemExit."""
        if error is not None:
            self._over = True
            _log.error("An answer ended.", exc_info=error)
            self._failed(error)
        if not self._over and (self._wanted or self._gone):
            self._ready(self)

    # In the model's thread

    def advance(self) -> None:
        """Make parts until the slice is over, the client takes no more, or there are none."""
        if self._over:
            return
        if self._gone:
            self._close()
            return
        call, size, ends = self._loop.call_soon_threadsafe, 0, time.perf_counter() + SLICE_S
        try:
            for part in self._answer.parts:
                if part:
                    size += len(part)
                    call(self._send, part)
                late = size > SLICE_BYTES or time.perf_counter() > ends
                if late or self._gone or not self._wanted:
                    return
        except Exception as error:  # noqa: BLE001  # the log has its traceback
            self._over = True
            if self.begun or size:
                _log.exception("An answer broke off.")
                call(self._failed, error)
            else:
                call(self._refuse, answer_of_failure(error))
        else:
            self._over = True
            call(self._end)

    def _close(self) -> None:
        self._over = True
        try:
            self._answer.parts.close()  # type: ignore[attr-defined]  # it is a generator of ours
        except Exception:  # noqa: BLE001  # the log has its traceback
            _log.exception("The end of an answer that nobody waits for failed.")

    # In the loop, as asked by the thread

    def _send(self, part: bytes) -> None:
        if self._gone:
            return
        self._begin()
        self.exchange.connection.send_part(part)

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.exchange.connection.send_head(self.exchange, self._answer)

    def _end(self) -> None:
        if not self._gone:
            self._begin()
            self.exchange.connection.end(self.exchange)

    def _refuse(self, answer: Answer) -> None:
        if not self._gone:
            self.exchange.connection.reply(self.exchange, answer)

    def _failed(self, error: BaseException) -> None:
        if not self._gone:
            self.exchange.connection.break_off()
