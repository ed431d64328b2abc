"""Clients that send slowly, too much, or nothing at all."""

import asyncio
import resource
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from services.gateway import deadline
from tests.support.http import Gateway
from tests.support.up import Up

HEAD = b"GET /health HTTP/1.1\r\nhost: a\r\n"


async def connect(running: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(running.url)
    return await asyncio.open_connection(place.hostname, place.port)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed."""
    got = b""
    async with asyncio.timeout(30):
        try:
            while more := await reader.read(65_536):
                got += more
        except ConnectionResetError:
            pass
    return got


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        HEAD,
        b"POST /admin/api-keys HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{",
        b"POST /admin/api-keys HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        HEAD + b"\r\n" + HEAD,
    ],
    ids=["nothing", "half a head", "half a body", "chunks without end", "half of a second one"],
)
async def test_a_request_that_never_ends(
    begun: bytes, running: Gateway, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 0.3)
    reader, writer = await connect(running)
    writer.write(begun)
    await all_of(reader)  # it ends
    writer.close()
    assert (await admin.get("/health")).text == "OK"


async def test_an_answer_that_takes_longer(
    running: Gateway, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for asking, not for being answered."""
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 0.3)
    async with admin.stream("GET", "/events") as events:
        lines = events.aiter_lines()
        await asyncio.sleep(1)
        await admin.post("/admin/sales-channels", json={"name": "Web"})
        async with asyncio.timeout(30):
            async for line in lines:
                if line == "event: sales_channel.created":
                    return
    pytest.fail("the stream of events was closed")


async def test_a_head_without_end(running: Gateway) -> None:
    reader, writer = await connect(running)
    answer = asyncio.create_task(all_of(reader))
    writer.write(HEAD)
    try:
        for number in range(10_000):
            writer.write(b"x-%d: %s\r\n" % (number, b"a" * 1_000))
            await writer.drain()
    except ConnectionError:
        pass
    else:
        pytest.fail("10 MB were taken for one head")
    finally:
        writer.close()
        await answer


async def test_a_long_head_is_told_so(running: Gateway) -> None:
    reader, writer = await connect(running)
    for part in (HEAD, b"x: " + b"a" * 40_000, b"a" * 40_000):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.1)
    assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_many_short_requests_on_one_connection_are_not_one_long_head(running: Gateway) -> None:
    reader, writer = await connect(running)
    for _ in range(100):
        writer.write(HEAD + b"x: " + b"a" * 2_000 + b"\r\n\r\n")
    writer.write(HEAD + b"connection: close\r\n\r\n")
    assert (await all_of(reader)).count(b"HTTP/1.1 200 OK") == 101
    writer.close()


def test_a_service_has_more_connections_than_processes_usually_may(keyscope_up: Callable[..., Up]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    up = keyscope_up().wait_ready()
    gateway = up.children()[-1]
    assert resource.prlimit(gateway, resource.RLIMIT_NOFILE)[0] >= min(most, 4_096)
