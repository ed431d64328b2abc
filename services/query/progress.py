"""How far the read model is, and who waits for it to get further."""

import asyncio
from heapq import heapify, heappop, heappush

from events.errors import Unavailable
from services.bus import tracing

WAIT_SECONDS = 5.0
"""How long a query waits for its position before it is told to come again."""

MAX_WAITING = 10_000
SPARE = 64
"""Of those who gave up so many are kept, and as many again as still wait, until their position comes."""
RETRY_MS = 500


class Progress:
    """The position that is applied. Waiters are woken by it, in the order of their positions; nobody polls."""

    def __init__(self, position: int, *, patience: float = WAIT_SECONDS) -> None:
        self.position = position
        self.patience = patience
        """Seconds."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._patient = 0  # of those, how many have not given up
        self._count = 0

    def advance(self, position: int) -> None:
        """Everything up to `position` is applied."""
        self.position = position
        while self._waiting and self._waiting[0][0] <= position:
            future = heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)

    async def reach(self, position: int) -> None:
        """Returns when `position` is applied. Raises Unavailable when that takes too long."""
        if position <= self.position:
            return
        if self._patient >= MAX_WAITING:
            raise Unavailable("Too many queries are waiting for the read model; try again", retry_after_ms=RETRY_MS)
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (position, self._count, future))
        self._patient += 1
        try:
            with tracing.part("wait for position", position=position):
                async with asyncio.timeout(self.patience):
                    await future
        except TimeoutError:
            raise Unavailable(
                f"The read model has reached position {self.position}, not {position} yet; try again",
                position=self.position,
                retry_after_ms=RETRY_MS,
            ) from None
        finally:
            self._patient -= 1
            if len(self._waiting) > 2 * self._patient + SPARE:
                self._waiting = [waiter for waiter in self._waiting if not waiter[2].done()]
                heapify(self._waiting)
