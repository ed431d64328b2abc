"""Events as they come, for one subscriber in this process."""

import asyncio

from keyscope.connection import Connection
from keyscope.errors import KeyscopeError
from keyscope.event import Event
from keyscope.feed import Feed
from keyscope.stream import Since, Stream, another_history

WAITING = 1024
"""How many events wait in the client for a subscriber that is slow; the server keeps the rest."""


class LiveSource:
    """A feed with a bounded queue behind it. Unless it shall `follow`, it ends with the last event that there is."""

    def __init__(self, connection: Connection, subjects: list[str], since: Since, *, follow: bool) -> None:
        self._connection = connection
        self._since = since
        self._stream = Stream(connection)
        self._queue: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._feed = Feed(
            connection.nc, self._stream, subjects, self._put, caught_up=self._caught_up, another_history=self._over
        )
        self._follow = follow
        self._changed = asyncio.Event()
        self._ended = False
        self._error: KeyscopeError | None = None

    async def start(self) -> None:
        """Begin. When this returns, no later event will be missed."""
        if not self._follow:
            await self._stream.reach(self._connection.position)
        await self._feed.start(await self._stream.find(self._since))
        self._connection.sources.add(self)

    async def next(self) -> Event | None:
        """The next event; None when the connection is closed or the end is reached."""
        while self._queue.empty():
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._queue.get_nowait()

    async def stop(self) -> None:
        """Let go of the consumer."""
        self._connection.sources.discard(self)
        await self._feed.stop()

    def reconnected(self) -> None:
        """Look at once for what was missed."""
        self._feed.renew()

    def end(self, error: KeyscopeError | None) -> None:
        """After what is waiting, nothing more comes."""
        self._error, self._ended = error, True
        self._changed.set()

    async def _put(self, event: Event) -> None:
        if not self._ended:
            await self._queue.put(event)
            self._changed.set()

    def _over(self) -> None:
        self._connection.forget()
        self.end(another_history())

    def _caught_up(self) -> None:
        if not self._follow:
            self.end(None)
