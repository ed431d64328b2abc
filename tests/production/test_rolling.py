"""A rolling restart: one replica after the other is asked to stop and started again, and no request fails or waits."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.production.fire import pair
from tests.production.replica import Replica
from tests.support.nats import Nats
from tests.support.postgres import Postgres

PATIENCE = 8.0
"""Seconds for one answer. Every request is sent once: what is lost in a restart would be waited for in vain."""


@pytest.fixture
def replicas(tmp_path: Path, nats_server: Nats, postgres: Postgres) -> Iterator[list[Replica]]:
    settings = {"NATS_URL": nats_server.url, "EVENT_STORE": postgres.store()}
    with ExitStack() as stack:
        started = [Replica("commands relay query", tmp_path / f"{n}", settings).start() for n in range(2)]
        for replica in started:
            stack.callback(replica.kill)
            replica.wait_ready()
        yield started


async def test_no_request_fails(replicas: list[Replica], nats_server: Nats) -> None:
    client = await nats.connect(nats_server.url)
    stopping = False
    answered = {"cmd": 0, "query": 0}
    slowest = 0.0

    async def ask(subject: str, body: Any) -> Any:
        nonlocal slowest
        begun = time.monotonic()
        reply = json.loads((await client.request(f"keyscope.{subject}", json.dumps(body).encode(), PATIENCE)).data)
        assert "data" in reply or "key" in reply, reply
        slowest = max(slowest, time.monotonic() - begun)
        answered[subject.partition(".")[0]] += 1
        return reply

    async def links(number: int) -> None:
        await ask("cmd.api_key.create", {"id": f"apk_{number}", "title": "K", "type": "publishable", "created_by": "t"})
        for turn in itertools.count():
            if stopping:
                return
            verb = "create" if turn % 2 == 0 else "dismiss"
            position = (await ask(f"cmd.link.{verb}", pair(f"apk_{number}", "sc_1")))["position"]
            query = {"entity": "api_key", "fields": ["sales_channels.id"], "filters": {"id": f"apk_{number}"}}
            [row] = (await ask("query.graph", {**query, "position": position}))["data"]
            assert row["sales_channels"] == ([{"id": "sc_1"}] if verb == "create" else [])

    await ask("cmd.sales_channel.create", {"id": "sc_1", "name": "C"})
    asking = [asyncio.create_task(links(number)) for number in range(8)]
    for replica in [*replicas, *replicas]:
        await asyncio.sleep(0.5)
        code = await asyncio.to_thread(replica.stop)
        assert code == 0, replica.log
        await asyncio.to_thread(replica.start().wait_ready)
    stopping = True
    await asyncio.gather(*asking)
    await client.close()
    print(answered, f"the slowest took {slowest:.2f} s")
    assert min(answered.values()) > 50
