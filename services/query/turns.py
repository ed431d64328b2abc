"""A bounded queue of queries before the event loop, so that more than it can answer does not pile up out of its sight.

Without it a query is answered while the bytes are read, and what is too much waits in the sockets, where nobody can
refuse it. Here all that arrives is looked at soon, and beyond the bound it is refused unread.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from events.errors import Unavailable
from services.bus.calls import Call, Refusal
from services.bus.measures import QUERIES_TURNED_AWAY

MOST_WAITING = 2_000
"""Queries that wait for the loop; a tenth of a second of work, if they are cheap."""
MOST_BYTES = 16 * 1024 * 1024
"""That those which wait may have together; a query has some hundred, and may have as many as the broker takes."""
TURN_SECONDS = 0.002
"""How long queries are answered before the loop looks at what else there is."""
RETRY_AFTER_MS = 250

_REFUSAL = Refusal(
    Unavailable("Too many queries at once; try again", retry_after_ms=RETRY_AFTER_MS), QUERIES_TURNED_AWAY
)


class Turns:
    """Hands calls on, some at each turn of the event loop, in the order of their coming."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Callable[[Call], None], Call]] = deque()
        self._bytes = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def to(self, answer: Callable[[Call], None]) -> Callable[[Call], None]:
        """What receives the calls for `answer`, which must neither raise nor wait."""

        def receive(call: Call) -> None:
            self._waiting.append((answer, call))
            self._bytes += len(call.data)
            if self._empty.is_set():
                self._empty.clear()
                self._loop.call_soon(self._turn)

        return receive

    def refusal(self) -> Refusal | None:
        """What a query is answered as long as there is no room."""
        if len(self._waiting) < MOST_WAITING and self._bytes < MOST_BYTES:
            return None
        return _REFUSAL

    async def drained(self) -> None:
        """Returns when all that was received was handed on."""
        await self._empty.wait()

    def _turn(self) -> None:
        end = perf_counter() + TURN_SECONDS
        try:
            while self._waiting and perf_counter() < end:
                answer, call = self._waiting.popleft()
                self._bytes -= len(call.data)
                answer(call)
        finally:  # one that raises must not stop the others
            if self._waiting:
                self._loop.call_soon(self._turn)
            else:
                self._empty.set()
