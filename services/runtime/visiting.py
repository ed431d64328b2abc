"""The connection to NATS of a command that looks at what the services keep, and then ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyscope.servers import without_password
from services.bus.tasks import end
from services.bus.trouble import said
from services.runtime.failures import Exit, Failure
from services.runtime.settings import Settings
from services.runtime.wiring import Context

CONNECT_SECONDS = 10.0


@asynccontextmanager
async def visiting(settings: Settings, name: str) -> AsyncIterator[Client]:
    """A connection that shows up as `name`.

    Raises Failure when NATS cannot be reached or refuses, and when it falls silent inside.
    """
    ended = asyncio.Event()
    servers = without_password(",".join(settings.nats_servers))
    connecting = asyncio.create_task(Context(settings, ended, _ignore).connect(name))
    await asyncio.wait((connecting,), timeout=CONNECT_SECONDS)
    if not connecting.done():
        await end([connecting])
        raise Failure(Exit.UNREACHABLE, f"the NATS at {servers} cannot be reached")
    client = connecting.result()
    try:
        yield client
    except (NatsError, TimeoutError) as error:
        because = said(error)
        raise Failure(Exit.UNREACHABLE, f"the NATS at {servers} does not answer: {because}") from error
    finally:
        ended.set()
        await client.close()


def _ignore(_: Exception) -> None:
    """A connection that is lost for good shows up as an error of whoever uses it."""
