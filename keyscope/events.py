"""`ks.events`: subscriptions to events, from now on or from the first one ever."""

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Literal, Protocol, Self

from keyscope.connection import Connection
from keyscope.durable import DurableSource
from keyscope.errors import InvalidData
from keyscope.event import Event
from keyscope.live import LiveSource
from keyscope.stream import Since


class EventSource(Protocol):
    """Where a subscription's events come from."""

    async def start(self) -> None:
        """Begin. When this returns, no later event will be missed."""

    async def next(self) -> Event | None:
        """The next event; None when there are no more. Being cancelled loses none."""

    async def stop(self) -> None:
        """Let go of what the connection and the server hold for it."""


class Subscription(AsyncIterator[Event]):
    """Events, one after the other, until the connection is closed.

    `async for event in ks.events.links(): …` begins at its first turn, and ends the subscription when the loop is left.
    To be sure of an event that you are about to cause, or to wait with a time limit, begin first:

        async with ks.events.links() as events:
            await ks.link.create(…)
            event = await asyncio.wait_for(anext(events), 5)
    """

    def __init__(self, connection: Connection, source: EventSource) -> None:
        self._events = _Events(connection, source)
        self._entered = False

    async def __aenter__(self) -> Self:
        await self._events.start()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:  # noqa: PYI034
        # Outside of `async with`, a generator, which asyncio closes when the loop over it is left.
        return self if self._entered else _until_left(self._events)

    async def __anext__(self) -> Event:
        event = await self._events.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """End the subscription."""
        await self._events.stop()


class _Events:
    """A source that is started when it is needed, and whose positions the client keeps in mind."""

    def __init__(self, connection: Connection, source: EventSource) -> None:
        self._connection = connection
        self._source = source
        self._started = False

    async def start(self) -> None:
        if not self._started:
            await self._source.start()
            self._started = True

    async def next(self) -> Event | None:
        await self.start()
        event = await self._source.next()
        if event is not None:
            self._connection.saw(event.position)
        return event

    async def stop(self) -> None:
        await self._source.stop()


async def _until_left(events: _Events) -> AsyncGenerator[Event, None]:
    try:
        while (event := await events.next()) is not None:
            yield event
    finally:
        await events.stop()


class Events:
    """Subscribes to events."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._subjects = connection.subjects

    def links(
        self,
        *,
        api_key_id: str | None = None,
        sales_channel_id: str | None = None,
        event: Literal["created", "dismissed"] | None = None,
        since: Since = "now",
        follow: bool = True,
        durable: str | None = None,
    ) -> Subscription:
        """Link events of one key, one channel, or all.

        `since`: `"beginning"`, `"now"`, a position (what comes after it) or a datetime. Each event comes once and in
        order; without `follow`, until the last that there is.

        With `durable`, a name, the server keeps the place: `since` counts the first time only, an event counts as
        handled when the next one is asked for, and may come again after a crash; several subscribers share a name.
        """
        subject = self._subjects.links(event or "*", api_key_id=api_key_id, sales_channel_id=sales_channel_id)
        return self._subscribe([subject], since, durable, follow=follow)

    def all(self, *names: str, since: Since = "now", follow: bool = True, durable: str | None = None) -> Subscription:
        """All events, or those called so: `"api_key.revoked"`, `"sales_channel.*"`. The rest as for `links`."""
        subjects = [self._subjects.events(f"{name}.>") for name in names] or [self._subjects.events()]
        return self._subscribe(subjects, since, durable, follow=follow)

    def _subscribe(self, subjects: list[str], since: Since, durable: str | None, *, follow: bool) -> Subscription:
        if durable is None:
            return Subscription(self._connection, LiveSource(self._connection, subjects, since, follow=follow))
        if not follow:
            raise InvalidData("a durable subscription always follows")
        return Subscription(self._connection, DurableSource(self._connection, subjects, since, durable))
