"""Serving HTTP until it is time to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from keyscope import Keyscope
from services.gateway.app import application
from services.gateway.options import Options
from services.gateway.signing_in import SignIn

CONNECTIONS = 4096
"""Beyond so many requests at once, the answer is 503."""
BACKLOG = 2048
DRAIN_SECONDS = 5
START_SECONDS = 0.005


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the runtime's."""
        yield


async def serve(
    *, ks: Keyscope, listener: socket.socket, options: Options, ready: Callable[[], None], stopping: asyncio.Event
) -> None:
    """Serve on `listener`, which this closes. When `stopping` is set, finish what has begun and return."""
    sign_in = SignIn(ks, options)
    async with await ks.storefront() as storefront:
        await sign_in.start()
        try:
            server = _Server(
                uvicorn.Config(
                    application(ks, storefront, sign_in, options, stopping),
                    http="httptools",
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
                )
            )
            serving = asyncio.create_task(server.serve([listener]), name="keyscope http")
            while not server.started and not serving.done():
                await asyncio.sleep(START_SECONDS)
            ready()
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            server.should_exit = True
            await serving
        finally:
            await sign_in.stop()
            await ks.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
