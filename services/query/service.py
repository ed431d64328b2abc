"""The query service, put together: the projection, its follower, and the endpoints of the NATS micro service."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from nats import micro
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.micro.service import EndpointStats, Service
from pydantic import BaseModel

from events.queries import GraphQuery, ScopeQuery, StatusQuery
from events.replies import GraphReply, ScopeReply, StatusReply
from events.subjects import QUEUE_GROUP, Subjects
from services.bus import tracing
from services.bus.calls import Call, Calls, Refusal, never
from services.bus.leaving import leave
from services.bus.measures import CHECKS, COMPILED, PROJECTION_LAG, PROJECTION_POSITION, REFUSED
from services.bus.tasks import end
from services.bus.wire import flush
from services.query.endpoints import Endpoints
from services.query.model import ReadModel
from services.query.progress import Progress
from services.query.selfcheck import SelfCheck
from services.query.succession import Succession, latest
from services.query.turns import Turns

NAME = "keyscope-query"
VERSION = "1.0.0"
"""Of the contract that the endpoints keep."""

DRAIN_SECONDS = 10.0


MOST_BEHIND = 10_000
"""Events that the read model may lack; a node further behind is not ready."""


async def serve(
    *,
    connect: Callable[[str], Awaitable[Client]],
    database: Path,
    subjects: Subjects,
    ready: Callable[[], None],
    stopping: asyncio.Event,
    check_seconds: float = 0,
) -> None:
    """Answers queries from a read model beside `database`, and keeps it up with the stream, until `stopping` is set.

    Ready when the read model has everything that was in the stream at the start: a new node does not answer from a
    half built one. Until then there is the endpoint `status`. Every `check_seconds`, unless 0, it compares one key with
    its events. Raises DamagedReadModel.
    """
    path, projector = await asyncio.to_thread(latest, database)
    client = await connect(NAME)
    model = ReadModel(projector, path, client, subjects)
    progress = Progress(model.position)
    endpoints = Endpoints(progress, model)

    def use(model: ReadModel) -> None:
        endpoints.model = model
        model.serve(progress.advance)

    use(model)
    _measured(progress, endpoints)
    service = await _micro(client, endpoints)
    calls, turns = Calls(client), Turns()
    model.follow()
    succession = Succession(database, model, client, subjects, use)
    beside = [asyncio.create_task(succession.run())]
    if check_seconds:
        checking = SelfCheck(client, subjects, lambda: endpoints.model.path, check_seconds)
        beside.append(asyncio.create_task(checking.run()))
    try:
        await _add(calls, service, subjects, "status", _traced("status", endpoints.status), StatusQuery, StatusReply)
        if await _unless(stopping, model.follower.caught_up.wait()):
            await _add(
                calls,
                service,
                subjects,
                "graph",
                turns.to(_traced("graph", endpoints.graph)),
                GraphQuery,
                GraphReply,
                turns.refusal,
            )
            await _add(
                calls,
                service,
                subjects,
                "scope",
                turns.to(_traced("scope", endpoints.scope)),
                ScopeQuery,
                ScopeReply,
                turns.refusal,
            )
            await flush(client)
            ready()
            await stopping.wait()
    finally:
        await _leave(client, service, turns, endpoints, calls)
        await end(beside)
        await succession.close()
        with suppress(NatsError, OSError):
            await client.close()


def _traced(name: str, answer: Callable[[Call], None]) -> Callable[[Call], None]:
    """`answer`, with a span of each sampled request. It lasts as long as the answering, not as the wait for a turn."""
    return answer if tracing.spans is None else tracing.spans.query(name, answer)


async def _leave(client: Client, service: Service, turns: Turns, endpoints: Endpoints, calls: Calls) -> None:
    """Takes no more requests, and answers those it has; a server that is gone cannot be told either."""
    with suppress(NatsError, TimeoutError, OSError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await leave(client, service)
            await turns.drained()
            await endpoints.drained()
            await calls.close()
            await flush(client)


async def _unless(stopping: asyncio.Event, awaited: Any) -> bool:
    """Whether `awaited` came before `stopping`."""
    tasks = [asyncio.ensure_future(awaited), asyncio.create_task(stopping.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return not stopping.is_set()


async def _micro(client: Client, endpoints: Endpoints) -> Service:
    def stats(_: EndpointStats) -> dict[str, int]:
        return {"refused": endpoints.refused}

    return await micro.add_service(
        client,
        name=NAME,
        version=VERSION,
        description="Graph queries over API keys, sales channels and their links",
        stats_handler=stats,
    )


async def _add(
    calls: Calls,
    service: Service,
    subjects: Subjects,
    name: str,
    receive: Callable[[Call], None],
    request: type[BaseModel],
    reply: type[BaseModel],
    refusal: Callable[[], Refusal | None] = never,
) -> None:
    await calls.add_endpoint(
        service,
        receive,
        name=name,
        subject=subjects.query(name),
        queue_group=QUEUE_GROUP,
        metadata={"request_schema": _schema(request), "response_schema": _schema(reply)},
        refusal=refusal,
    )


@cache
def _schema(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema())


def _measured(progress: Progress, endpoints: Endpoints) -> None:
    PROJECTION_POSITION.read = lambda: progress.position
    PROJECTION_LAG.read = lambda: endpoints.model.follower.behind
    REFUSED.read = lambda: endpoints.refused
    COMPILED.read = lambda: endpoints.compiled

    def behind() -> str | None:
        follower = endpoints.model.follower
        if follower.state == "following" and follower.behind <= MOST_BEHIND:
            return None
        return f"{follower.state}, {follower.behind} events behind"

    CHECKS["read model"] = behind
