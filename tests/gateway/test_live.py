"""Events over HTTP as they happen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

import keyscope
from tests.support.http import bearer, client, gateway
from tests.support.service import Service


class Stream:
    """The events of a response, as a browser would see them."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    return fields
                if not line:
                    fields = {}
                elif name:
                    fields[name] = value
        raise EOFError

    async def names(self, number: int) -> list[str]:
        return [(await self.next())["event"] for _ in range(number)]


@asynccontextmanager
async def listening(http: httpx.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with http.stream("GET", f"/events?{query}", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Stream(response)


async def two_links(ks: keyscope.Keyscope) -> tuple[list[str], list[str]]:
    """Two keys, two channels, each linked with its own: six events."""
    keys = [(await ks.api_keys.create({"title": name, "type": "publishable"}))["id"] for name in "ab"]
    channels = [(await ks.sales_channels.create({"name": name}))["id"] for name in "ab"]
    for key, channel in zip(keys, channels, strict=True):
        await ks.link.create({"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}})
    return keys, channels


async def test_from_now_on(admin: httpx.AsyncClient, ks: keyscope.Keyscope) -> None:
    await ks.sales_channels.create({"name": "before"})
    async with listening(admin) as events:
        channel = await ks.sales_channels.create({"name": "after"})
        event = await events.next()
    data = json.loads(event["data"])
    assert (event["event"], event["id"]) == ("sales_channel.created", "2")
    assert (data["position"], data["actor"], data["data"]["id"]) == (2, "tester", channel["id"])
    assert data["type"] == "keyscope.sales_channel.created"


async def test_whoever_comes_back_gets_what_was_missed(admin: httpx.AsyncClient, ks: keyscope.Keyscope) -> None:
    await two_links(ks)
    async with listening(admin, "since=beginning") as events:
        first = [await events.next() for _ in range(3)]
    async with listening(admin, "since=beginning", **{"last-event-id": first[-1]["id"]}) as events:
        assert [(await events.next())["id"] for _ in range(3)] == ["4", "5", "6"]


async def test_by_key_by_channel_and_by_name(admin: httpx.AsyncClient, ks: keyscope.Keyscope) -> None:
    keys, channels = await two_links(ks)

    async def first(query: str) -> Any:
        async with listening(admin, f"since=beginning&{query}") as events:
            return json.loads((await events.next())["data"])["data"]

    assert (await first(f"api_key_id={keys[1]}"))["sales_channel_id"] == channels[1]
    assert (await first(f"sales_channel_id={channels[1]}"))["publishable_key_id"] == keys[1]
    assert (await first("name=sales_channel.*"))["id"] == channels[0]
    await ks.link.delete({"api_key": {"api_key_id": keys[0]}})
    assert "reason" in await first(f"api_key_id={keys[0]}&name=link.dismissed")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("since=yesterday", "'since'"),
        ("since=2026-01-01T00:00:00", "'since'"),
        ("name=nope", "'name'"),
        ("nope=1", "'nope'"),
        ("name=api_key.revoked&api_key_id=apk_1", "link events"),
    ],
)
async def test_a_wrong_parameter_is_named(admin: httpx.AsyncClient, query: str, named: str) -> None:
    response = await admin.get(f"/events?{query}")
    assert response.status_code == 400
    assert named in response.json()["message"]


async def test_a_wrong_last_event_id_is_refused(admin: httpx.AsyncClient) -> None:
    response = await admin.get("/events", headers={"last-event-id": "x"})
    assert (response.status_code, "Last-Event-ID" in response.text) == (400, True)


async def test_who_may_no_longer_listen_is_told_nothing_more(
    stranger: httpx.AsyncClient, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.live.PING_SECONDS", 0.1)
    key = await ks.api_keys.create({"title": "Server", "type": "secret"})
    async with listening(stranger, authorization=f"Basic {key['token']}") as events:
        await ks.api_keys.revoke(key["id"], {"revoked_by": "user_1"})
        assert await events.names(1) == ["api_key.revoked"]
        with pytest.raises(EOFError):
            await events.next()


async def test_there_are_not_more_streams_than_fit(admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.live.MAX_STREAMS", 1)
    async with listening(admin):
        refused = await admin.get("/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    async with asyncio.timeout(30):
        while (status := await _status(admin)) == 503:
            await asyncio.sleep(0.01)
    assert status == 200


async def test_nor_when_all_come_at_once(admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.live.MAX_STREAMS", 2)
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(admin.stream("GET", "/events")) for _ in range(10)]
        statuses = sorted(response.status_code for response in await asyncio.gather(*opening))
    assert statuses == [200] * 2 + [503] * 8


async def _status(http: httpx.AsyncClient) -> int:
    async with http.stream("GET", "/events") as response:
        return response.status_code


async def test_a_gateway_that_stops_ends_its_streams(service: Service) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(gateway(service))
        async with client(running, **bearer()) as http, listening(http) as events:
            await stack.aclose()
            with pytest.raises(EOFError):
                await events.next()
