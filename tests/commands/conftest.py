"""The write side on its own, and its two doors."""

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from tests.support.nats import Nats
from tests.support.service import Service

Reply = dict[str, Any]


@dataclass
class Requests:
    """The request/reply door."""

    client: Client

    async def send(self, name: str, body: Any, **headers: str) -> Reply:
        reply = await self.client.request(f"keyscope.cmd.{name}", encoded(body), timeout=10, headers=headers or None)
        answer: Reply = json.loads(reply.data)
        assert ("error" in answer) == bool(reply.headers and reply.headers.get("Nats-Service-Error"))
        return answer


@dataclass
class Jobs:
    """The durable door."""

    client: Client
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def send(self, name: str, body: Any, **headers: str) -> Reply:
        headers.setdefault("Nats-Msg-Id", f"job-{next(self._ids)}")
        outcomes = await self.client.subscribe(f"keyscope.outcome.{headers['Nats-Msg-Id']}")
        await self.client.jetstream(timeout=10).publish(f"keyscope.job.{name}", encoded(body), headers=headers)
        outcome = await outcomes.next_msg(timeout=10)
        await outcomes.unsubscribe()
        answer: Reply = json.loads(outcome.data)
        return answer


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
async def write_side(nats_server: Nats, tmp_path: Path, store_url: str) -> AsyncIterator[Service]:
    """Commands and relay on an empty store."""
    running = Service(nats_server.url, tmp_path / "data", event_store=store_url)
    await running.start("commands", "relay")
    yield running
    await running.stop()


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    yield connection
    await connection.close()


@pytest.fixture(params=[Requests, Jobs])
def door(request: pytest.FixtureRequest, write_side: Service, client: Client) -> Requests | Jobs:
    """Each door in turn."""
    made: Requests | Jobs = request.param(client)
    return made


@pytest.fixture
def requests(write_side: Service, client: Client) -> Requests:
    return Requests(client)


async def all_events(client: Client, at_least: int = 0) -> list[dict[str, Any]]:
    """Every event in the stream, once there are so many."""
    js = client.jetstream(timeout=10)
    subscription = await js.subscribe("keyscope.evt.>", ordered_consumer=True)
    found: list[dict[str, Any]] = []
    while True:
        try:
            message = await subscription.next_msg(timeout=5 if len(found) < at_least else 0.3)
        except TimeoutError:
            break
        found.append({**json.loads(message.data), "on": message.subject})
    await subscription.unsubscribe()
    return found
