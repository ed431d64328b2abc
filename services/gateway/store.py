"""`/store`: what a publishable key opens. It stands before the framework and answers from memory.

`GET /store/scope` tells the context of the key. `/store/authorize` (with anything behind it, by any method) is for
proxies that ask before they let a request pass: 204 with the channels in a header, or Medusa's refusal.
"""

import asyncio
from collections.abc import Iterable
from urllib.parse import parse_qs, quote

from pydantic_core import to_json

from keyscope import KeyscopeError, PublishableKeyContext, Storefront, Unavailable, UnexpectedState
from keyscope.asgi import HEADER, Receive, Scope, Send, publishable_key_context
from services.gateway.answers import JSON, no_route, refusal

CHANNELS_HEADER = b"x-sales-channel-ids"
MAX_HEADER = 16_384
"""Bytes of channel ids in a header; proxies take no more. It is room for 500 of our ids."""
MAX_LOADS = 256
"""Keys that are looked up at once because they are not in memory."""

_NAME = HEADER.encode()
_JSON = (b"content-type", JSON.encode())
_PRIVATE = (b"cache-control", b"private, no-store")
_REFUSALS = {"401": 401, "403": 403}


class StoreDoor:
    """An ASGI application."""

    def __init__(self, storefront: Storefront) -> None:
        self._storefront = storefront
        self._loads = asyncio.Semaphore(MAX_LOADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            context = self._remembered(scope) or await self._looked_up(scope)
            await self._answer(scope, context, receive, send)
        except KeyscopeError as error:
            response = refusal(error)
            if _is_authorize(scope["path"]):
                response.status_code = _status(scope, error)
            await response(scope, receive, send)

    def _remembered(self, scope: Scope) -> PublishableKeyContext | None:
        for name, value in scope["headers"]:
            if name == _NAME:
                return self._storefront.resolve(value.decode("latin-1"))
        return None

    async def _looked_up(self, scope: Scope) -> PublishableKeyContext:
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == _NAME]
        if self._loads.locked():
            raise Unavailable("too many keys are being looked up: try again")
        async with self._loads:
            return await publishable_key_context(self._storefront, ", ".join(values) if values else None)

    async def _answer(self, scope: Scope, context: PublishableKeyContext, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/store/scope" and scope["method"] == "GET":
            body = to_json({"publishable_key_context": context.as_dict()})
            await _respond(send, 200, [_JSON, _PRIVATE, (b"content-length", b"%d" % len(body))], body)
        elif _is_authorize(path):
            await _respond(send, 204, [_PRIVATE, (CHANNELS_HEADER, _channels(context))])
        else:
            await no_route(scope["method"], path)(scope, receive, send)


def _is_authorize(path: str) -> bool:
    return path == "/store/authorize" or path.startswith("/store/authorize/")


def _channels(context: PublishableKeyContext) -> bytes:
    ids = ",".join(quote(id, safe="") for id in context.sales_channel_ids).encode()
    if len(ids) > MAX_HEADER:
        raise UnexpectedState("the key has more sales channels than a header can hold: ask /store/scope")
    return ids


def _status(scope: Scope, error: KeyscopeError) -> int:
    """Nginx's auth_request takes only 401 and 403 for an answer: `?refuse=403`. Trouble stays what it is."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("refuse", [""])[0]
    return _REFUSALS.get(asked, error.code) if error.code < 500 else error.code


async def _respond(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
