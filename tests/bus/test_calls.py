"""Requests that are taken off the wire are answered, and counted, as those of nats-py's own endpoints are."""

import asyncio
import json
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.errors import MaxPayloadError, NoRespondersError
from nats.micro import add_service
from nats.micro.service import Service, ServiceConfig

from services.bus.calls import Call, Calls
from services.bus.leaving import leave
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
    await leave(service)
    await calls.close()
    with pytest.raises(NoRespondersError):
        await other.request("echo.a", b"", timeout=5)
    await other.close()


async def test_what_was_asked_before_it_leaves_is_answered(client: Client, nats_server: Nats) -> None:
    service, calls = await serve(client)
    other = await nats.connect(nats_server.url)
    asked = [asyncio.create_task(other.request("echo.a", b"%d" % n, timeout=5)) for n in range(500)]
    await asyncio.sleep(0)
    await other.flush()
    await leave(service)
    await calls.close()
    await client.flush()
    assert [json.loads((await one).data)[2] for one in asked] == [str(n) for n in range(500)]
    await other.close()
