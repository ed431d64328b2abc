"""The relay service, put together."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg

from events.envelope import DEFAULT_SOURCE
from events.subjects import Subjects
from services.bus.measures import CHECKS, RELAY_LAG, RELAY_POSITION
from services.bus.streams import reached
from services.relay.relay import Relay
from services.relay.stream import EventStream
from services.store.application import open_when_reachable, store_problem

MOST_BEHIND = 10_000
"""Events that the stream may lack; a relay further behind is not ready."""


async def serve(
    *,
    connect: Callable[[str], Awaitable[Client]],
    store: str,
    subjects: Subjects,
    ready: Callable[[], None],
    stopping: asyncio.Event,
    source: str = DEFAULT_SOURCE,
    replicas: int = 1,
) -> None:
    """Relay the events of the store at URL `store` until `stopping` is set.

    `source` is the CloudEvents source of what is published. Raises what opening the store raises, StreamMismatch and
    AnotherHistory, and LostEvents.
    """
    opened = await open_when_reachable(store, stopping)
    if opened is None:
        return
    client = await connect("keyscope-relay")
    stream = EventStream(client, client.jetstream(), subjects, source, replicas=replicas)
    wake = asyncio.Event()

    async def woken(_: Msg) -> None:
        wake.set()

    await client.subscribe(subjects.wake, cb=woken)
    relay = Relay(opened, stream, wake, stopping)
    same = False
    try:
        same = await reached(relay.same_history, stopping)
    finally:
        if not same:
            stopping.set()  # closing the connection is on purpose
            await client.close()
            await relay.close()
            opened.close()
    if not same:
        return
    relaying = asyncio.create_task(relay.run())
    RELAY_POSITION.read = lambda: relay.position
    RELAY_LAG.read = relay.lag
    CHECKS["event store"] = lambda: store_problem(opened)
    CHECKS["relay"] = lambda: f"{lag} events behind" if (lag := relay.lag()) > MOST_BEHIND else None
    listening = asyncio.create_task(opened.recorder.follow(wake.set))
    stop = asyncio.create_task(stopping.wait())
    ready()
    await asyncio.wait((relaying, stop), return_when=asyncio.FIRST_COMPLETED)
    wake.set()
    for task in (relaying, listening, stop):
        task.cancel()
    await asyncio.gather(listening, stop, return_exceptions=True)
    try:
        with suppress(asyncio.CancelledError):
            await relaying  # raises what made the relay end by itself
    finally:
        stopping.set()  # closing the connection is on purpose
        await client.drain()
        await relay.close()
        opened.close()
