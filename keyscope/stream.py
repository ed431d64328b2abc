"""The stream of events on JetStream: what it holds, where to begin in it, and its consumers.

Sequence numbers of the stream are not positions: a stream that was wiped and filled again may number the same events
otherwise. So a place in it is found by looking into the events.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from keyscope.bus import timestamp
from keyscope.connection import Connection
from keyscope.errors import Conflict, InvalidData, NotFound, Unavailable
from keyscope.event import Event, parsed
from keyscope.subjects import EPOCH, EVENTS_STREAM

Since = Literal["beginning", "now"] | int | datetime
"""Where to begin: at the first event ever, with what comes from now on, after a position, or at a time."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two events: after `position`, before `sequence` of the stream that was made at `created`."""

    position: int
    sequence: int
    created: str
    epoch: str = ""
    """Which history of events the positions are those of; empty where that is not known."""


def another_history() -> Conflict:
    """What ends a subscription when `keyscope restore` or `new-epoch` has begun a new epoch."""
    return Conflict("the event store was put back to an earlier state: begin anew, with an empty state")


class Stream:
    """The stream of events, through JetStream's API.

    https://docs.nats.io/reference/reference-protocols/nats_api_reference
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bus = connection.bus

    async def find(self, since: Since) -> Place:
        """The place where `since` begins. Raises Unavailable without a stream, InvalidData for a wrong `since`."""
        created, first, last, epoch = await self._state()
        return replace(await self._find(since, created, first, last), epoch=epoch)

    async def _find(self, since: Since, created: str, first: int, last: int) -> Place:
        if since == "beginning":
            return Place(0, 1, created)
        if since == "now":
            # What this client has seen is past, also if the stream does not have it yet.
            return Place(max(await self._position(last), self._connection.position), last + 1, created)
        if isinstance(since, datetime):
            instant = timestamp(since)
            return await self._search(lambda event: event.time >= instant, first, last, created)
        position = _as_position(since)
        place = await self._search(lambda event: event.position > position, first, last, created)
        return Place(position, place.sequence, created)

    async def reach(self, position: int) -> None:
        """Wait until the stream holds what happened up to `position`. Raises Unavailable when that takes too long."""
        deadline = asyncio.get_running_loop().time() + self._bus.timeout
        while (newest := await self._position((await self._state())[2])) < position:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"the stream {EVENTS_STREAM} is behind: it holds position {newest}")
            await asyncio.sleep(0.005)

    async def resume(self, place: Place) -> Place:
        """`place`, wherever it is now: elsewhere, if the stream was made anew or cut off meanwhile."""
        created, _, last, _ = await self._state()
        if created == place.created and place.sequence <= last + 1:
            return place
        return await self.find(place.position)

    async def epoch(self) -> str:
        """Which history of events the stream is of; empty where that is not known. Raises Unavailable without one."""
        return (await self._state())[3]

    async def create_consumer(self, name: str, config: dict[str, Any]) -> bool:
        """Make a consumer; one of that name with the same configuration is taken as it is.

        Answers whether there is nothing for it in the stream yet.
        """
        request = {"stream_name": EVENTS_STREAM, "config": {"name": name, **config}, "action": "create"}
        info = await self._api(f"CONSUMER.CREATE.{EVENTS_STREAM}.{name}", request)
        return bool(info["num_pending"] == 0 and info["delivered"]["consumer_seq"] == 0)

    async def consumer(self, name: str) -> dict[str, Any] | None:
        """The configuration of a durable consumer; None when there is none."""
        try:
            config: dict[str, Any] = (await self._api(f"CONSUMER.INFO.{EVENTS_STREAM}.{name}", None))["config"]
        except NotFound:
            return None
        return config

    async def _state(self) -> tuple[str, int, int, str]:
        """When the stream was made, its first sequence and its last, and its epoch."""
        try:
            info = await self._api(f"STREAM.INFO.{EVENTS_STREAM}", None)
        except NotFound:
            raise Unavailable(f"the stream {EVENTS_STREAM} is not there: has the service ever run?") from None
        # An empty stream tells 0 as its first sequence, where nothing can begin.
        epoch = (info["config"].get("metadata") or {}).get(EPOCH, "")
        return info["created"], max(1, info["state"]["first_seq"]), info["state"]["last_seq"], epoch

    async def _search(self, wanted: Callable[[Event], bool], first: int, last: int, created: str) -> Place:
        """The place before the first wanted event. What is wanted must be so from some event on."""
        before, position = last + 1, 0
        while first < before:
            middle = (first + before) // 2
            found = await self._event(middle)
            if found is None or found[1] is None or wanted(found[1]):
                before = middle
            else:
                first, position = found[0] + 1, found[1].position
        return Place(position, before, created)

    async def _position(self, sequence: int) -> int:
        found = await self._event(sequence)
        return found[1].position if found and found[1] else 0

    async def _event(self, sequence: int) -> tuple[int, Event | None] | None:
        """The first event at `sequence` or after it (None, if what is there is no event), and its own sequence."""
        try:
            reply = await self._api(f"STREAM.MSG.GET.{EVENTS_STREAM}", {"seq": sequence, "next_by_subj": ">"})
        except NotFound:
            return None
        return reply["message"]["seq"], parsed(base64.b64decode(reply["message"].get("data", "")))

    async def _api(self, call: str, request: dict[str, Any] | None) -> dict[str, Any]:
        payload = b"" if request is None else json.dumps(request).encode()
        return await self._bus.ask(f"$JS.API.{call}", payload, what=call)


def _as_position(since: object) -> int:
    if isinstance(since, int) and since >= 0:
        return since
    raise InvalidData(f"since must be 'beginning', 'now', a position or a datetime, not {since!r}")
