"""A client that is cancelled, or used when it is closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import keyscope
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until

STEPS = 40
"""Opening or closing a connection takes fewer turns of the event loop than this."""


async def cancelled_after(steps: int, work: asyncio.Task[Any]) -> Any:
    """Cancel it after so many turns of the event loop; what it answers if that comes too late."""
    for _ in range(steps):
        await asyncio.sleep(0)
    work.cancel()
    return (await asyncio.gather(work, return_exceptions=True))[0]


def ours() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_nothing_is_left_of_a_connection_that_is_cancelled_while_it_opens(nats_server: Nats) -> None:
    async def connect() -> keyscope.Keyscope:
        return await keyscope.connect(nats_server.url)

    for steps in range(STEPS):
        result = await cancelled_after(steps, asyncio.create_task(connect()))
        if isinstance(result, keyscope.Keyscope):
            await result.close()
    await until(lambda: not ours())


async def test_a_connection_closes_though_closing_is_cancelled(nats_server: Nats) -> None:
    for steps in range(STEPS):
        ks = await keyscope.connect(nats_server.url)
        await ks.nats.subscribe("anything")
        await cancelled_after(steps, asyncio.create_task(ks.close()))
        await ks.close()  # waits for it
        assert ks.nats.is_closed
    await until(lambda: not ours())


CALLS: dict[str, Callable[[keyscope.Keyscope], Awaitable[object]]] = {
    "a command": lambda ks: ks.sales_channels.create({"name": "a"}),
    "a query": lambda ks: ks.query.graph(entity="api_key", fields=["id"]),
    "a job": lambda ks: ks.jobs.submit("link.create", []),
    "a dead job": lambda ks: ks.dead_jobs.get(1),
    "events": lambda ks: anext(ks.events.all()),
    "durable events": lambda ks: anext(ks.events.all(durable="x")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_closed_client_says_so(
    call: Callable[[keyscope.Keyscope], Awaitable[object]], service: Service
) -> None:
    ks = await service.connect()
    await ks.close()
    await ks.close()
    with pytest.raises(keyscope.Unavailable, match="closed"):
        await call(ks)


async def test_a_durable_subscription_ends_with_its_client(service: Service) -> None:
    """The event in hand was not acknowledged, so it comes again."""
    ks = await service.connect()
    await ks.sales_channels.create([{"name": "a"}, {"name": "b"}])
    async with ks.events.all(since="beginning", durable="x") as events:
        assert (await anext(events)).position == 1
        await ks.close()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    async with await service.connect() as other, other.events.all(durable="x") as events:
        async with asyncio.timeout(40):
            assert {(await anext(events)).position for _ in range(2)} == {1, 2}
