"""The write service, put together."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import structlog
from nats.aio.client import Client

from events.commands import COMMANDS
from events.subjects import Subjects
from services.bus.measures import CHECKS, STORED, WAITING
from services.bus.measures import COMMANDS as ANSWERED
from services.bus.streams import ensure_stream, jobs_stream, reached
from services.bus.tasks import end
from services.commands.authenticate import Authenticator
from services.commands.desk import Desk
from services.commands.jobs import DURABLE, abandon, job_broker, start
from services.commands.keeping import keep_consumer
from services.commands.preparing import Preparer
from services.commands.requests import RequestDoor
from services.commands.wake import WakeUp
from services.commands.writer import Writer
from services.store.application import open_when_reachable, store_problem

HASHING_THREADS = 2

log = structlog.get_logger(__name__)


async def serve(
    *,
    connect: Callable[[str], Awaitable[Client]],
    store: str,
    subjects: Subjects,
    ready: Callable[[], None],
    stopping: asyncio.Event,
    replicas: int = 1,
    on_commit: Callable[[int], None] | None = None,
) -> None:
    """Carry out commands until `stopping` is set, then finish and answer what was received.

    `store` is the event store's URL; `on_commit` is told each new position. Raises what opening the store raises, and
    LostEvents.
    """
    opened = await open_when_reachable(store, stopping)
    if opened is None:
        return
    client = await connect("keyscope-commands")
    jobs = jobs_stream(subjects, replicas)
    there = False
    try:
        there = await reached(lambda: ensure_stream(client.jetstream(), jobs), stopping)
    finally:
        if not there:
            stopping.set()  # closing the connection is on purpose
            await client.close()
            opened.close()
    if not there:
        return
    wake = WakeUp(client, subjects, on_commit)
    writer = Writer(opened, wake.committed, lambda: client.max_payload)
    with ThreadPoolExecutor(HASHING_THREADS, "hashing") as hashing:
        preparer = Preparer(client, subjects, hashing, lambda: writer.position)
        desk = Desk(writer, preparer, Authenticator(opened, hashing))
        door = RequestDoor(client, subjects, desk, version("keyscope"))
        jobs_client = await connect("keyscope-jobs")
        broker = job_broker(jobs_client, subjects, desk, replicas)
        for name in COMMANDS:
            for outcome in ("unavailable", "unexpected_state"):
                ANSWERED.add(0, name, outcome)
        WAITING.read = lambda: writer.waiting
        STORED.read = lambda: writer.position
        CHECKS["event store"] = lambda: store_problem(opened)
        CHECKS["commands"] = lambda: "the queue is full" if writer.full else None
        writer.start()
        await door.open()
        if await reached(lambda: start(broker), stopping):
            keeping = asyncio.create_task(keep_consumer(client, jobs, DURABLE))
            ready()
            try:
                await writer.until(stopping)
            except BaseException:
                stopping.set()  # closing the connections is on purpose
                await end([keeping])
                await abandon(broker)
                await jobs_client.close()
                await client.close()
                raise
            keeping.cancel()
        await broker.stop()
        await desk.drain()
        await door.close()
        await writer.stop()
    await wake.stop()
    opened.close()
    await client.drain()
