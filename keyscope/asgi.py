"""Publishable keys for ASGI applications: `x-publishable-api-key` in, `request.state.publishable_key_context` out.

What Medusa's store routes answer to a request whose key is missing or not valid, this answers too: status 400, a JSON
body `{"type", "message"}`.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from keyscope.errors import InvalidData, KeyscopeError, NotAllowed, NotFound
from keyscope.storefront import PublishableKeyContext, Storefront

HEADER = "x-publishable-api-key"
MISSING = (
    f"Publishable API key required in the request header: {HEADER}. "
    "You can manage your keys in settings in the dashboard."
)
INVALID = "A valid publishable key is required to proceed with the request"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def publishable_key_context(storefront: Storefront, header: str | None) -> PublishableKeyContext:
    """The context for a request whose header has this value, None if it is absent.

    Raises NotAllowed with Medusa's message, Unavailable and Timeout when the service must be asked and does not answer.
    """
    if header is None or not header.strip():
        raise NotAllowed(MISSING)
    try:
        return storefront.resolve(header) or await storefront.load(header)
    except (NotAllowed, NotFound, InvalidData):
        raise NotAllowed(INVALID) from None


class PublishableKeyMiddleware:
    """Lets HTTP requests and WebSockets pass that bear a valid publishable key.

    `storefront` is one, or what gives it when the first request comes (it can be made only while the application runs).
    Only paths that begin with `prefix` are guarded, all by default; Medusa guards `/store`.
    """

    def __init__(self, app: App, storefront: Storefront | Callable[[], Storefront], prefix: str = "") -> None:
        self._app = app
        self._storefront = storefront
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refuse = _REFUSE.get(scope["type"])
        if refuse is None or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        storefront = self._storefront if isinstance(self._storefront, Storefront) else self._storefront()
        try:
            context = await publishable_key_context(storefront, _header(scope))
        except KeyscopeError as error:
            await refuse(error, send)
            return
        scope.setdefault("state", {})["publishable_key_context"] = context.as_dict()
        await self._app(scope, receive, send)


def dependency(storefront: Storefront | Callable[[], Storefront]) -> Callable[..., Awaitable[dict[str, Any]]]:
    """A FastAPI dependency: `context: Annotated[dict, Depends(dependency(…))]`, and in `request.state` too.

    Its errors are KeyscopeErrors: register `error_handler` for them.
    """
    from starlette.requests import Request  # here, because only those who use FastAPI have it

    async def depend(request: Request) -> dict[str, Any]:
        values = request.headers.getlist(HEADER)
        source = storefront if isinstance(storefront, Storefront) else storefront()
        context = await publishable_key_context(source, ", ".join(values) if values else None)
        request.state.publishable_key_context = context.as_dict()
        return context.as_dict()

    return depend


async def error_handler(request: object, error: Exception) -> Any:  # noqa: ARG001 - Starlette's signature
    """For `app.add_exception_handler(KeyscopeError, error_handler)`: answers as Medusa does."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
        await _refuse_http(error, send)

    return respond


def _header(scope: Scope) -> str | None:
    name = HEADER.encode()
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values) if values else None


async def _refuse_http(error: Exception, send: Send) -> None:
    known = error if isinstance(error, KeyscopeError) else KeyscopeError("An unknown error occurred.")
    body = json.dumps({"type": known.type, "message": known.message}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": known.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse_websocket(error: KeyscopeError, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})


_REFUSE: dict[str, Callable[[KeyscopeError, Send], Awaitable[None]]] = {
    "http": _refuse_http,
    "websocket": _refuse_websocket,
}
