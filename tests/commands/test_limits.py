"""What is too large for the broker: refused before it is done, and answered in any case."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from services.runtime.failures import Failure
from tests.commands.conftest import all_events
from tests.support.nats import Nats
from tests.support.service import Service

KEY = {"title": "K", "type": "publishable", "created_by": "ann"}


@pytest.fixture
def nats_server(make_nats: Callable[..., Nats]) -> Nats:
    """With the limit that nats-server has by itself; the one of `keyscope up` is eight times that."""
    return make_nats("max_payload: 1MB\n")


@pytest.fixture
async def running(nats_server: Nats, tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(nats_server.url, tmp_path / "data")
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(running: Service) -> AsyncIterator[Client]:
    connection = await nats.connect(running.settings.nats_url)
    yield connection
    await connection.close()


async def ask(client: Client, subject: str, body: Any) -> Any:
    reply = await client.request(f"keyscope.{subject}", json.dumps(body).encode(), timeout=10)
    return json.loads(reply.data)


def pairs(count: int) -> list[Any]:
    return [{"api_key": {"api_key_id": "k"}, "sales_channel": {"sales_channel_id": f"c{n}"}} for n in range(count)]


async def test_an_answer_that_the_broker_would_not_carry(client: Client) -> None:
    await ask(client, "cmd.api_key.create", {**KEY, "id": "k"})
    for start in range(0, 6_000, 1_000):
        await ask(client, "cmd.sales_channel.create", [{"id": f"c{n + start}", "name": "C"} for n in range(1_000)])
    error = (await ask(client, "cmd.link.create", pairs(6_000)))["error"]
    assert (error["type"], "max_payload" in error["message"]) == ("invalid_data", True)
    outcomes = await client.subscribe("keyscope.outcome.>")
    headers = {"Nats-Msg-Id": "large"}
    body = json.dumps(pairs(6_000)).encode()
    await client.jetstream().publish("keyscope.job.link.create", body, headers=headers)
    assert json.loads((await outcomes.next_msg(timeout=10)).data)["error"] == error
    assert (await ask(client, "query.graph", {"entity": "api_key", "fields": ["sales_channels.id"]}))["data"] == [
        {"id": "k", "sales_channels": []}
    ]


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("cmd.api_key.soft_delete", [f"{n:060}" for n in range(10_000)]),
        ("cmd.api_key.update", {"id": [f"{n:060}" for n in range(10_000)], "update": {"title": "x"}}),
        (
            "query.graph",
            {
                "entity": "api_key",
                "fields": ["id"],
                "filters": {"id": [f"{n:060}" for n in range(10_000)]},
                "throwIfKeyNotFound": True,
            },
        ),
    ],
)
async def test_a_refusal_is_never_too_long(client: Client, subject: str, body: Any) -> None:
    error = (await ask(client, subject, body))["error"]
    assert error["type"] == "not_found"
    assert "0000000001" in error["message"] or "0000000000" in error["message"]


async def test_an_id_that_no_subject_could_hold(client: Client) -> None:
    """nats-server cuts off who sends a line of more than 4096 bytes: such an event would stop the relay for ever."""
    id = "漢" * 255
    for name, body in (("api_key", KEY), ("sales_channel", {"name": "C"})):
        error = (await ask(client, f"cmd.{name}.create", {**body, "id": id}))["error"]
        assert (error["type"], error["fields"]) == ("invalid_data", ["id"])
    key, channel = "鍵" * 160, "店" * 160
    await ask(client, "cmd.api_key.create", {**KEY, "id": key})
    await ask(client, "cmd.sales_channel.create", {"name": "C", "id": channel})
    pair = {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}
    assert "data" in await ask(client, "cmd.link.create", pair)
    assert [event["type"] for event in await all_events(client, 3)][-1] == "keyscope.link.created"


@pytest.mark.parametrize("id", [b"x" * 10_000, b"\xff\xfe\x80", "é\u2028".encode(), b" "])
async def test_a_job_with_an_id_that_none_can_have(client: Client, id: bytes) -> None:
    """It is settled once and for all, and the connection of the jobs is not cut for its sake."""
    inbox = client.new_inbox()
    acknowledged = await client.subscribe(inbox)
    outcomes = await client.subscribe("keyscope.outcome.>")
    header = b"NATS/1.0\r\nNats-Msg-Id: " + id + b"\r\n\r\n"
    body = b'{"name":"C"}'
    frame = b"HPUB keyscope.job.sales_channel.create %b %d %d\r\n%b%b\r\n"
    await client._send_command(frame % (inbox.encode(), len(header), len(header) + len(body), header, body))
    await client._flush_pending(force_flush=True)
    assert b"seq" in (await acknowledged.next_msg(timeout=5)).data
    outcome = json.loads((await outcomes.next_msg(timeout=5)).data)
    assert outcome.get("error", {}).get("type", "invalid_data") == "invalid_data"
    js = client.jetstream()
    async with asyncio.timeout(30):
        while (await js.stream_info("KEYSCOPE_JOBS")).state.messages:
            await asyncio.sleep(0.02)
    await js.publish("keyscope.job.sales_channel.create", body, headers={"Nats-Msg-Id": "next"})
    async with asyncio.timeout(30):
        while (await outcomes.next_msg(timeout=5)).subject != "keyscope.outcome.next":
            pass
    with pytest.raises(asyncio.TimeoutError):
        await outcomes.next_msg(timeout=0.3)


async def test_a_broker_that_takes_less_than_an_event(make_nats: Callable[..., Nats], tmp_path: Path) -> None:
    small = make_nats("max_payload: 64KB\n")
    service = Service(small.url, tmp_path / "small")
    with pytest.raises(Failure, match="max_payload"):
        await service.start("commands")


async def test_a_dead_job_that_was_just_short_enough(client: Client) -> None:
    js = client.jetstream()
    body = b'"' + b"x" * (1024 * 1024 - 60)
    await js.publish("keyscope.job.link.create", body, headers={"Nats-Msg-Id": "long"})
    async with asyncio.timeout(30):
        while (await js.stream_info("KEYSCOPE_JOBS")).state.messages:
            await asyncio.sleep(0.02)
    dead = await js.get_msg("KEYSCOPE_DEAD_JOBS", 1)
    assert dead.headers is not None
    assert "are cut off" in dead.headers["Keyscope-Reason"]
    assert body.startswith(dead.data or b"?")
