"""The gateway's application: what each part of the URL space is, and what stands before it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from nats.aio.client import Client
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from keyscope import Keyscope, Storefront
from keyscope.asgi import App, Receive, Scope, Send
from services.gateway import api_keys, live, sales_channels
from services.gateway.admin import AdminDoor
from services.gateway.answers import UNKNOWN_ERROR, failure, no_route
from services.gateway.direct import Direct
from services.gateway.openapi import DESCRIPTION, TITLE, document
from services.gateway.options import Options
from services.gateway.signing_in import SignIn
from services.gateway.store import StoreDoor

_Cors: Any = CORSMiddleware
_ProxyHeaders: Any = ProxyHeadersMiddleware
"""Both take any ASGI application, though their types know only those of their own project."""


def routers(ks: Keyscope, sign_in: SignIn, stopping: asyncio.Event) -> list[APIRouter]:
    """What one must have signed in for."""
    return [api_keys.routes(ks, sign_in), sales_channels.routes(ks), live.routes(ks, sign_in, stopping)]


def framework(ks: Keyscope, private: Iterable[APIRouter]) -> FastAPI:
    """The framework's part: health, documentation, and what is no route."""
    app = FastAPI(title=TITLE, description=DESCRIPTION, openapi_url="/openapi.json", docs_url="/docs", redoc_url=None)
    for router in private:
        app.include_router(router)

    @app.get("/health", include_in_schema=False)
    async def health() -> Response:
        if ks.nats.is_connected:
            return PlainTextResponse("OK")
        return PlainTextResponse("not connected to NATS", 503)

    @app.exception_handler(HTTPException)
    async def no_such_route(request: Request, _: HTTPException) -> Response:
        return no_route(request.method, request.url.path)

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        return failure(500, UNKNOWN_ERROR)

    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def openapi() -> dict[str, Any]:
    """The OpenAPI document, without a service behind it."""
    ks = Keyscope(Client())
    return framework(ks, routers(ks, SignIn(ks, Options()), asyncio.Event())).openapi()


def application(
    ks: Keyscope, storefront: Storefront, sign_in: SignIn, options: Options, stopping: asyncio.Event
) -> "Front":
    """All of it, as one ASGI application."""
    private = routers(ks, sign_in, stopping)
    public = framework(ks, private)
    direct = Direct(private, public)
    proxied = _ProxyHeaders(AdminDoor(direct, sign_in), options.trusted_proxies)
    admin = _cross_origin(proxied, options.admin_origins)
    store = _cross_origin(StoreDoor(storefront), options.store_origins)
    return Front({"admin": admin, "events": admin, "store": store}, public)


def _cross_origin(app: App, origins: Sequence[str]) -> App:
    """Let pages of these origins use `app`. It stands before the doors: a browser's preflight brings no credentials."""
    if not origins:
        return app
    made: App = _Cors(
        app,
        allow_origins=origins,
        allow_credentials=True,
        allow_methods=["GET", "POST", "DELETE", "HEAD"],
        allow_headers=["*"],
        expose_headers=["etag"],
    )
    return made


class Front:
    """Sends each request where the first part of its path says."""

    def __init__(self, doors: dict[str, App], otherwise: App) -> None:
        self._doors = doors
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        path = scope["path"]
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        if path.endswith("/") and len(path) > 1:
            scope = {**scope, "path": path.rstrip("/") or "/"}
        await self._doors.get(path[1:].partition("/")[0], self._otherwise)(scope, receive, send)
