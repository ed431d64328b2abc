"""A rolling restart: one replica after the other is asked to stop and started again, and no request fails or waits."""

import asyncio
import itertools
import json
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest

import keyscope
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
    await _roll([*replicas, *replicas])
    stopping = True
    await asyncio.gather(*asking)
    await client.close()
    print(answered, f"the slowest took {slowest:.2f} s")
    assert min(answered.values()) > 50
    for replica in replicas:
        await asyncio.to_thread(replica.verify)


async def test_no_http_request_fails(replicas: list[Replica], tmp_path: Path, nats_server: Nats) -> None:
    """The gateway inherits its listening socket, as systemd passes one: who connects while there is none waits.

    No request is sent twice, and a client uses its connection again as long as it was not told that it ends.
    """
    answered: Counter[str] = Counter()
    stopping = False
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = {"NATS_URL": nats_server.url}
        gateway = Replica("gateway", tmp_path / "gateway", settings, listener=listener.fileno()).start()
        stack.callback(gateway.kill)
        gateway.wait_ready()
        async with await keyscope.connect(nats_server.url, actor="ann") as ks:
            secret = (await ks.api_keys.create({"title": "S", "type": "secret"}))["token"]
            await ks.sales_channels.create({"id": "sc_1", "name": "C"})

        async def sell(number: int, *, again: bool) -> None:
            """`again`: use the connection again; otherwise every request has one of its own."""
            limits = httpx.Limits() if again else httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=url, limits=limits, timeout=4 * PATIENCE) as http:

                async def ask(method: str, path: str, **options: Any) -> Any:
                    answer = await http.request(method, path, **options)
                    assert answer.status_code == 200, (path, answer.text, gateway.log)
                    answered[f"{path.split('/')[1]} {'again' if again else 'anew'}"] += 1
                    return answer.json()

                made = await ask(
                    "POST", "/admin/api-keys", json={"title": f"K{number}", "type": "publishable"}, auth=(secret, "")
                )
                id, token = made["api_key"]["id"], made["api_key"]["token"]
                for turn in itertools.count():
                    if stopping:
                        return
                    change = {"add": ["sc_1"]} if turn % 2 == 0 else {"remove": ["sc_1"]}
                    await ask("POST", f"/admin/api-keys/{id}/sales-channels", json=change, auth=(secret, ""))
                    scope = await ask("GET", "/store/scope", headers={"x-publishable-api-key": token})
                    assert scope["publishable_key_context"]["key"] == token

        asking = [asyncio.create_task(sell(number, again=number % 2 == 0)) for number in range(8)]
        await _roll([gateway, *replicas, gateway, gateway])
        stopping = True
        await asyncio.gather(*asking)
        print(dict(answered))
        assert min(answered.values()) > 20
        assert len(answered) == 4
        await asyncio.to_thread(replicas[0].verify)


async def _roll(replicas: Iterable[Replica]) -> None:
    for replica in replicas:
        await asyncio.sleep(0.5)
        code = await asyncio.to_thread(replica.stop)
        assert code == 0, replica.log
        await asyncio.to_thread(replica.start().wait_ready)
