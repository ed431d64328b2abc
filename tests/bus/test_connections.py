"""What nats-py leaves behind when a connection does not come about."""

import asyncio
import gc
import warnings
from collections.abc import Callable

import pytest
from nats.aio.client import Client

from keyscope.connection import OwnClient
from services.bus.client import Client as ServicesClient
from tests.support.nats import Nats
from tests.support.until import until


@pytest.mark.parametrize("kind", [OwnClient, ServicesClient])
async def test_a_server_that_hangs_up_leaves_no_socket_open(make_nats: Callable[..., Nats], kind: type[Client]) -> None:
    """As a load balancer with nothing behind it does, for as long as that lasts."""
    hung_up = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hung_up
        hung_up += 1
        writer.close()

    async def ignore(_: Exception) -> None:
        pass

    server, client = make_nats(), kind()
    await client.connect(server.url, reconnect_time_wait=0, max_reconnect_attempts=-1, error_cb=ignore)
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        server.kill()
        async with await asyncio.start_server(hang_up, "127.0.0.1", server.port):
            await until(lambda: hung_up > 10)
        server.start()
        await until(lambda: client.is_connected)
        gc.collect()
    await client.close()

    assert [str(warning.message) for warning in left] == []
