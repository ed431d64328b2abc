"""Serving HTTP until it is time to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from keyscope import Keyscope
from services.gateway.app import application
from services.gateway.deadline import Protocol
from services.gateway.options import Options
from services.gateway.signing_in import SignIn
from services.gateway.tracing import traced

CONNECTIONS = 4096
"""Beyond so many requests at once, the answer is 503."""
BACKLOG = 2048
DRAIN_SECONDS = 5
IDLE_SECONDS = 1.0
"""How long a connection without a request may stay when serving ends: the client's next request may be on its way."""
LOOK_SECONDS = 0.02


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, and part from every client with an answer.

        A connection that is closed while a request comes in fails that request, even one that was just opened. So
        each answer tells now that it is the last one on its connection, and there is a moment to ask for one.
        """
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                while self.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody when one ends
                    await asyncio.sleep(LOOK_SECONDS)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the runtime's."""
        yield


async def serve(
    *, ks: Keyscope, listener: socket.socket, options: Options, ready: Callable[[], None], stopping: asyncio.Event
) -> None:
    """Serve on `listener`, which this closes. When `stopping` is set, finish what has begun and return."""
    sign_in = SignIn(ks, options)
    storefront = await ks.storefront()
    async with storefront:
        await sign_in.start()
        try:
            server = _Server(
                uvicorn.Config(
                    traced(application(ks, storefront, sign_in, options, stopping), on=options.tracing),
                    http=Protocol,
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    log_level="warning",
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    backlog=BACKLOG,
                    limit_concurrency=CONNECTIONS,
                    timeout_graceful_shutdown=DRAIN_SECONDS,
                ),
                ready,
            )
            serving = asyncio.create_task(server.serve([listener]), name="keyscope http")
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            server.should_exit = True
            await serving
        finally:
            await sign_in.stop()
            await ks.close()
