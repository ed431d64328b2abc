"""What publishable tokens stand for, answered from this process' own memory and kept exact by the stream of events.

A token is loaded on demand: the read model is asked, from the position on that the feed has reached (with the first
token the feed begins). From then on link
events change the entry, and a key's end removes it, within the time that an event takes to arrive. Whether the feed is
alive is known by its heartbeats: when it has been silent for `stale_after` seconds, nothing is answered from memory.
"""

import asyncio
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from keyscope.connection import Connection
from keyscope.errors import InvalidData, KeyscopeError, Timeout, Unavailable
from keyscope.event import Event
from keyscope.feed import Feed
from keyscope.query import Query
from keyscope.stream import Stream
from keyscope.types import Scope

HEARTBEATS_BEFORE_STALE = 4
SHORTEST_STALE_AFTER = 0.5
ATTEMPTS = 5
TOUCHED = 10_000
AT_ONCE = 2_000

_EVENTS = ("link.*.*.*", "api_key.revoked.*", "api_key.deleted.*", "sales_channel.deleted.*")


class PublishableKeyContext(NamedTuple):
    """What a request may sell through: Medusa's `publishable_key_context`."""

    key: str
    """The token."""
    sales_channel_ids: tuple[str, ...]
    """In order."""

    def as_dict(self) -> dict[str, Any]:
        """`{"key": …, "sales_channel_ids": […]}`."""
        return {"key": self.key, "sales_channel_ids": list(self.sales_channel_ids)}


class _Entry:
    __slots__ = ("api_key_id", "context", "revoked_at", "used")

    def __init__(self, context: PublishableKeyContext, api_key_id: str, revoked_at: float | None) -> None:
        self.context = context
        self.api_key_id = api_key_id
        self.revoked_at = revoked_at
        self.used = False


class Storefront:
    """Tokens in, contexts out.

        context = scope.resolve(token) or await scope.load(token)

    `max_entries` bounds the memory (about 0.6 kB each); those not used lately make room. `stale_after` bounds in
    seconds how long an answer from memory may be wrong when the feed of events is cut; after that `resolve` answers
    None, and `load` asks each time.
    """

    def __init__(self, connection: Connection, query: Query, *, max_entries: int, stale_after: float) -> None:
        if max_entries < 1:
            raise InvalidData("max_entries must be 1 or more")
        if stale_after < SHORTEST_STALE_AFTER:
            raise InvalidData(f"stale_after must be {SHORTEST_STALE_AFTER} seconds or more")
        self._connection = connection
        self._query = query
        self._max_entries = max_entries
        self._stale_after = stale_after
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._tokens: dict[str, str] = {}
        self._fresh_until = 0.0
        self._loading: dict[str, asyncio.Task[PublishableKeyContext]] = {}
        self._touched: dict[str, int] = {}
        self._touched_all = 0
        self._following = False
        self._histories = 0
        self._beginning = asyncio.Lock()
        self._stream = Stream(connection)
        self._feed = Feed(
            connection.nc,
            self._stream,
            [connection.subjects.events(pattern) for pattern in _EVENTS],
            self._apply,
            caught_up=self._caught_up,
            another_history=self._forget,
            heartbeat=stale_after / HEARTBEATS_BEFORE_STALE,
        )
        self._on: dict[str, Callable[[Event], Awaitable[None]]] = {
            "link.created": self._linked,
            "link.dismissed": self._dismissed,
            "api_key.revoked": self._revoked,
            "api_key.deleted": self._key_deleted,
            "sales_channel.deleted": self._channel_deleted,
        }

    def resolve(self, token: str) -> PublishableKeyContext | None:
        """The token's context from memory; None when it must be loaded. Does not wait, and takes well under 1 µs."""
        entry = self._entries.get(token)
        if entry is None or time.monotonic() > self._fresh_until:
            return None
        if entry.revoked_at is not None and time.time() >= entry.revoked_at:
            return None
        entry.used = True
        return entry.context

    async def load(self, token: str) -> PublishableKeyContext:
        """The token's context, by asking. Raises NotAllowed when the token is not valid now, Unavailable and Timeout.

        Tokens that are not valid are not remembered.
        """
        task = self._loading.get(token)
        if task is None:
            task = self._loading[token] = asyncio.create_task(self._load(token), name="keyscope storefront load")
            task.add_done_callback(lambda _: self._loaded(token))
        return await asyncio.shield(task)

    @property
    def fresh(self) -> bool:
        """Whether the feed of events is alive, so that memory is right."""
        return time.monotonic() <= self._fresh_until

    def __len__(self) -> int:
        return len(self._entries)

    async def start(self) -> None:
        """Be there for the connection to be told when it is cut. The events are followed from the first `load` on."""
        self._connection.sources.add(self)

    async def close(self) -> None:
        """Forget everything, and stop following."""
        self.end(None)
        self._connection.sources.discard(self)
        await self._feed.stop()

    async def _follow(self) -> bool:
        """Whether the events are followed. They are not until there is something to keep right: that costs a share."""
        async with self._beginning:
            if not self._following:
                try:
                    await self._feed.start(await self._stream.find("now"))
                except (Unavailable, Timeout):
                    return False
                self._following = True
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def reconnected(self) -> None:
        """Look at once for what was missed."""
        self._feed.renew()

    def end(self, error: KeyscopeError | None) -> None:  # noqa: ARG002 - memory is not to be trusted, whatever the cause
        """Answer nothing from memory any more."""
        self._fresh_until = 0.0
        self._entries.clear()
        self._tokens.clear()

    def _forget(self) -> None:
        """What is remembered, or asked for at this moment, is of a history that is no more."""
        self.end(None)
        self._connection.forget()
        self._touched.clear()
        self._touched_all = 0
        self._histories += 1

    async def _load(self, token: str) -> PublishableKeyContext:
        if not await self._follow():
            scope = await self._query.scope(token, position=self._connection.position)
            return PublishableKeyContext(token, tuple(sorted(scope["sales_channel_ids"])))
        left = ATTEMPTS
        while True:
            left -= 1
            asked_from, history = self._feed.position, self._histories
            scope = await self._query.scope(token, position=max(asked_from, self._connection.position))
            context = PublishableKeyContext(token, tuple(sorted(map(sys.intern, scope["sales_channel_ids"]))))
            if history == self._histories and not self._changed_since(asked_from, scope):
                self._remember(context, scope["key"])
                return context
            if not left:
                return context  # a key that changes all the time is answered, and not remembered

    def _loaded(self, token: str) -> None:
        del self._loading[token]
        if not self._loading:
            self._touched.clear()

    def _changed_since(self, position: int, scope: Scope) -> bool:
        """Whether an event that came while the answer was under way is about this key or a channel of it."""
        ids = (scope["key"]["id"], *scope["sales_channel_ids"])
        return self._touched_all > position or any(self._touched.get(id, 0) > position for id in ids)

    def _remember(self, context: PublishableKeyContext, key: dict[str, Any]) -> None:
        revoked_at = key.get("revoked_at")
        entry = _Entry(context, key["id"], _seconds(revoked_at) if revoked_at else None)
        self._entries[context.key] = entry
        self._tokens[key["id"]] = context.key
        while len(self._entries) > self._max_entries:
            self._make_room()

    def _make_room(self) -> None:
        """Take one entry away: the first that was not used since it was last looked at ("second chance")."""
        token, entry = self._entries.popitem(last=False)
        if entry.used:
            entry.used = False
            self._entries[token] = entry
        else:
            del self._tokens[entry.api_key_id]

    async def _apply(self, event: Event) -> None:
        if self._loading:
            self._touch(event)
        await self._on[event.name](event)

    def _touch(self, event: Event) -> None:
        """Keep in mind, while answers are under way, what they may not know yet."""
        if len(self._touched) > TOUCHED:
            self._touched.clear()
            self._touched_all = event.position
        for name in ("publishable_key_id", "id"):
            if id := event.data.get(name):
                self._touched[id] = event.position

    def _caught_up(self) -> None:
        self._fresh_until = time.monotonic() + self._stale_after

    async def _linked(self, event: Event) -> None:
        self._change_channels(event.data, lambda ids, new: tuple(sorted({*ids, new})))

    async def _dismissed(self, event: Event) -> None:
        self._change_channels(event.data, lambda ids, gone: tuple(it for it in ids if it != gone))

    def _change_channels(self, data: dict[str, Any], change: Callable[[tuple[str, ...], str], tuple[str, ...]]) -> None:
        token = self._tokens.get(data["publishable_key_id"])
        if token is not None:
            entry = self._entries[token]
            ids = change(entry.context.sales_channel_ids, sys.intern(data["sales_channel_id"]))
            entry.context = PublishableKeyContext(token, ids)

    async def _revoked(self, event: Event) -> None:
        token = self._tokens.get(event.data["id"])
        if token is not None:
            self._entries[token].revoked_at = _seconds(event.data["revoked_at"])

    async def _key_deleted(self, event: Event) -> None:
        token = self._tokens.pop(event.data["id"], None)
        if token is not None:
            del self._entries[token]

    async def _channel_deleted(self, event: Event) -> None:
        """For all keys; the `link.dismissed` events that follow take their time.

        Every entry is looked at, in turns, so as not to hold up the loop. What is loaded meanwhile is asked for again.
        """
        self._touched_all = event.position
        gone = event.data["id"]
        for looked_at, token in enumerate(list(self._entries), start=1):
            entry = self._entries.get(token)
            if entry is not None and gone in entry.context.sales_channel_ids:
                ids = tuple(id for id in entry.context.sales_channel_ids if id != gone)
                entry.context = PublishableKeyContext(token, ids)
            if looked_at % AT_ONCE == 0:
                await asyncio.sleep(0)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
