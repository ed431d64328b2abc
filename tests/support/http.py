"""A gateway on a port of its own, and whom it believes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import jwt

import keyscope
from services.runtime.settings import Settings
from services.runtime.wiring import SERVICES, Context
from tests.support.nats import free_port
from tests.support.service import Service

SECRET = "a secret that only the tests and their gateway share"
ADMIN = "user_01ADMIN"


def token(actor: str = ADMIN, secret: str = SECRET, **claims: object) -> str:
    """A JSON Web Token that is valid for a minute, unless `claims` say otherwise."""
    return jwt.encode({"sub": actor, "exp": time.time() + 60, **claims}, secret, "HS256")


def bearer(actor: str = ADMIN) -> dict[str, str]:
    """The header of somebody who is signed in."""
    return {"authorization": f"Bearer {token(actor)}"}


class Gateway:
    """A running gateway."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.http_url
        self._settings = settings
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        serving = asyncio.Event()
        context = Context(self._settings, self._stopping, self._lost)
        self._task = asyncio.create_task(SERVICES["gateway"].serve(context, serving.set), name="gateway")
        ready = asyncio.create_task(serving.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Drain and stop it. Raises what it has raised."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait_for(self._task, 20)

    def _lost(self, error: Exception) -> None:
        raise error


@asynccontextmanager
async def gateway(service: Service, **settings: object) -> AsyncIterator[Gateway]:
    """A gateway beside the services. `settings` are further ones, named as the fields of Settings."""
    given = {"http_port": free_port(), "http_jwt_secret": SECRET, **settings}
    running = Gateway(Settings(**{**service.settings.model_dump(exclude_none=True), **given}))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def settled(ks: keyscope.Keyscope) -> None:
    """Wait until the read model has what this client wrote: the gateway is another client, and does not wait for it."""
    await ks.query.graph(entity="api_key", fields=["id"], pagination={"take": 1})


def client(running: Gateway, **headers: str) -> httpx.AsyncClient:
    """An HTTP client of it."""
    return httpx.AsyncClient(base_url=running.url, headers=headers, timeout=20, trust_env=False)
