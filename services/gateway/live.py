"""`GET /events`: events as they happen, as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

The id of each is its position. A client that comes back with `Last-Event-ID`, as browsers do by themselves, gets what
it has missed, each event once and in order.
"""

import asyncio
from datetime import datetime
from typing import Any

import structlog
from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from keyscope import Event, InvalidData, Keyscope, KeyscopeError, Unavailable
from keyscope.asgi import Receive, Scope, Send
from keyscope.events import Subscription
from services.gateway.admin import credentials
from services.gateway.openapi import described
from services.gateway.parameters import Listen
from services.gateway.requests import query
from services.gateway.signing_in import NotSignedIn, SignIn

MAX_STREAMS = 200
PING_SECONDS = 15.0
"""How often a line is sent when nothing happens, and how often it is checked that the client may still listen."""

log = structlog.get_logger(__name__)


def routes(ks: Keyscope, sign_in: SignIn, stopping: asyncio.Event) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["Events"], default_response_class=Response)
    places = Places()
    extra = described("Events as they happen", parameters=Listen)
    extra["responses"] = {200: {"description": "A stream", "content": {"text/event-stream": {}}}, **extra["responses"]}
    extra["openapi_extra"]["parameters"].append(_LAST_EVENT_ID)

    @router.get("/events", **extra)
    async def listen(request: Request) -> Response:
        asked = query(request, Listen)
        subscription = _subscription(ks, asked, request.headers.get("last-event-id"))
        places.take()
        try:
            await subscription.__aenter__()
        except BaseException:
            places.give_back()
            raise
        return EventStream(subscription, sign_in, stopping, places)

    return router


_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that the client has seen: go on behind it",
    "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
}


def _subscription(ks: Keyscope, asked: Listen, last_event_id: str | None) -> Subscription:
    since = _since(last_event_id or asked.since, "Last-Event-ID" if last_event_id else "since")
    names = [name for name in asked.name.split(",") if name]
    if not asked.api_key_id and not asked.sales_channel_id:
        return ks.events.all(*names, since=since)
    kinds = {name.removeprefix("link.") for name in names} or {"*"}
    if not kinds <= {"*", "created", "dismissed"}:
        raise InvalidData("Invalid request: a key and a channel filter link events only")
    return ks.events.links(
        api_key_id=asked.api_key_id or None,
        sales_channel_id=asked.sales_channel_id or None,
        event=kinds.pop() if len(kinds) == 1 and kinds != {"*"} else None,  # type: ignore[arg-type]
        since=since,
    )


def _since(text: str, name: str) -> Any:
    if text in ("now", "beginning"):
        return text
    if text.isdecimal() and len(text) <= 15:
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidData(f"Invalid request: Invalid value for field '{name}', got: '{text}'") from None
    if when.tzinfo is None:
        raise InvalidData(f"Invalid request: the time in field '{name}' has no zone")
    return when


class Places:
    """Room for so many streams, taken before anything is waited for."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self) -> None:
        """Raises Unavailable when there is none."""
        if self._taken >= MAX_STREAMS:
            raise Unavailable(f"{MAX_STREAMS} streams of events are open already: try again later")
        self._taken += 1

    def give_back(self) -> None:
        """Whoever took one has left."""
        self._taken -= 1


class EventStream(Response):
    """Sends events until the client leaves, may no longer listen, or the gateway stops."""

    media_type = "text/event-stream"

    def __init__(self, events: Subscription, sign_in: SignIn, stopping: asyncio.Event, places: Places) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._sign_in = sign_in
        self._stopping = stopping
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ends = [asyncio.create_task(_left(receive)), asyncio.create_task(self._stopping.wait())]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _send(send, b"retry: 2000\n\n")
            await self._stream(scope, send, ends)
            await send({"type": "http.response.body", "body": b""})
        except (KeyscopeError, OSError) as error:
            log.debug("a stream of events ended", reason=str(error))
        finally:
            self._places.give_back()
            for end in ends:
                end.cancel()
            await self._events.aclose()

    async def _stream(self, scope: Scope, send: Send, ends: list[asyncio.Task[Any]]) -> None:
        coming: asyncio.Task[Event] | None = None
        try:
            while not any(end.done() for end in ends):
                coming = coming or asyncio.create_task(anext(self._events))
                await asyncio.wait({coming, *ends}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    event, coming = coming.result(), None
                    await _send(send, _written(event))
                elif not any(end.done() for end in ends):
                    await self._sign_in.actor(*credentials(scope))
                    await _send(send, b":\n\n")
        except (NotSignedIn, StopAsyncIteration):
            return
        finally:
            if coming is not None:
                coming.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


def _written(event: Event) -> bytes:
    members = {
        "id": event.id,
        "type": event.type,
        "time": event.time,
        "position": event.position,
        "commandid": event.command_id,
        "actor": event.actor,
        "cause": event.cause,
        "data": event.data,
    }
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.position, event.name.encode(), to_json(members))
