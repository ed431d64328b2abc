"""Requests that are taken off the wire are answered, and counted, as those of nats-py's own endpoints are."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import nats
import pytest
from nats.aio.client import Client
from nats.errors import MaxPayloadError, NoRespondersError
from nats.micro import add_service
from nats.micro.service import Service, ServiceConfig

from services.bus.calls import Call, Calls
from services.bus.leaving import leave
from services.bus.wire import flush
from tests.support.nats import Nats


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    yield connection
    await connection.close()


def answer(call: Call) -> None:
    """What was asked, as JSON; what is too long for the server is told."""
    if call.data == b"long":
        with pytest.raises(MaxPayloadError):
            call.respond(b"x" * 9_000_000)
    call.respond(json.dumps([call.subject, call.headers, call.data.decode()]).encode(), {"A": "b"})


async def serve(client: Client) -> tuple[Service, Calls]:
    service = await add_service(client, ServiceConfig(name="echo", version="1.0.0"))
    calls = Calls(client)
    await calls.add_endpoint(service, answer, name="all", subject="echo.>", queue_group="q", metadata={"m": "n"})
    await flush(client)
    return service, calls


async def test_requests_are_answered(client: Client, nats_server: Nats) -> None:
    service, calls = await serve(client)
    other = await nats.connect(nats_server.url)
    headers = {"Nats-Msg-Id": "one", "Colon": "a: b", "Empty": ""}
    with_headers = await other.request("echo.a", b"1", timeout=5, headers=headers)
    assert (json.loads(with_headers.data), with_headers.headers) == (["echo.a", headers, "1"], {"A": "b"})
    assert json.loads((await other.request("echo.b", b"", timeout=5)).data) == ["echo.b", {}, ""]
    assert json.loads((await other.request("echo.c", b"long", timeout=5)).data) == ["echo.c", {}, "long"]
    await other.publish("echo.nobody.waits", b"2")
    many = await asyncio.gather(*(other.request(f"echo.{n}", b"%d" % n, timeout=5) for n in range(1_000)))
    assert [json.loads(one.data)[2] for one in many] == [str(n) for n in range(1_000)]
    stats = json.loads((await other.request("$SRV.STATS.echo", b"", timeout=5)).data)
    assert stats["endpoints"][0]["num_requests"] == 1_004
    await leave(client, service)
    await calls.close()
    with pytest.raises(NoRespondersError):
        await other.request("echo.a", b"", timeout=5)
    await other.close()


async def test_what_was_asked_before_it_leaves_is_answered(client: Client, nats_server: Nats) -> None:
    service, calls = await serve(client)
    async with await nats.connect(nats_server.url) as other:
        answers = await other.subscribe("answers.*")
        for n in range(500):
            await other.publish("echo.a", b"%d" % n, reply=f"answers.{n}")
        await flush(other)  # the server has them all
        await leave(client, service)
        await calls.close()
        await flush(client)
        assert [json.loads((await answers.next_msg(timeout=5)).data)[2] for _ in range(500)] == [
            str(n) for n in range(500)
        ]


async def test_every_request_is_answered_or_finds_nobody_while_it_leaves(client: Client, nats_server: Nats) -> None:
    service, calls = await serve(client)
    async with await nats.connect(nats_server.url) as other:

        async def ask_until_it_has_left() -> int:
            answered = 0
            with suppress(NoRespondersError):
                while True:
                    await other.request("echo.a", b"1", timeout=5)
                    answered += 1
            return answered

        asking = [asyncio.create_task(ask_until_it_has_left()) for _ in range(50)]
        while service.stats().endpoints[0].num_requests < 500:
            await asyncio.sleep(0)
        await leave(client, service)
        await calls.close()
        await flush(client)
        assert sum(await asyncio.gather(*asking)) >= 500
