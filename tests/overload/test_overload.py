"""More than the service can do: the rest is refused with when to try again, and slow ones slow nobody else."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

import keyscope
from services.commands import desk, writer
from services.query import endpoints, readers, turns
from tests.support.nats import Nats
from tests.support.service import Service

MANY = 3_000


@pytest.fixture
async def client(service: Service) -> Any:
    """A client that does not send again by itself."""
    connection = await nats.connect(service.settings.nats_url)
    yield connection
    await connection.close()


async def _ask(client: Client, subject: str, body: Any, **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
    reply = await client.request(subject, json.dumps(body).encode(), timeout=60, headers=headers or None)
    return json.loads(reply.data), reply.headers or {}


async def _create(client: Client, number: int) -> tuple[dict[str, Any], dict[str, str]]:
    body = {"id": f"sc_{number}", "name": "W"}
    return await _ask(client, "keyscope.cmd.sales_channel.create", body, **{"Nats-Msg-Id": f"n{number}"})


def _is_refusal(reply: dict[str, Any], headers: dict[str, str]) -> bool:
    """Whether it is one; a refusal must be whole."""
    if "error" not in reply:
        return False
    assert reply["error"]["type"] == "unavailable", reply
    assert reply["error"]["retry_after_ms"] > 0
    assert headers["Nats-Service-Error-Code"] == "503"
    assert headers["Nats-Service-Error"] == reply["error"]["message"]
    return True


@pytest.mark.parametrize("bound", ["QUEUE_LIMIT", "QUEUE_WEIGHT"])
async def test_commands_beyond_the_bound(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """None is lost, none is done that was refused, and all is as before when the load has ended."""
    monkeypatch.setattr(writer, bound, 20)
    async with await service.connect() as ks:
        replies = await asyncio.gather(*(_create(client, number) for number in range(MANY)))
        refused = [number for number, reply in enumerate(replies) if _is_refusal(*reply)]
        assert refused
        assert len(refused) < MANY
        await ks.sales_channels.create({"id": "sc_last", "name": "W"})  # whatever was accepted comes before it
        answer = await ks.query.graph(entity="sales_channel", fields=["id"], pagination={"take": MANY + 1})
        stored = {row["id"] for row in answer["data"]} - {"sc_last"}
        assert stored == {f"sc_{number}" for number in range(MANY)} - {f"sc_{number}" for number in refused}
        again = [await _create(client, number) for number in refused[:20]]
        assert all("data" in reply for reply, _ in again), "what was refused can be sent again under its id"


async def test_jobs_are_not_refused_for_want_of_room(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in their stream; refused, each would come nearer to the dead ones."""
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 0)
    outcomes = await client.subscribe("keyscope.outcome.>")
    js = client.jetstream()
    for number in range(50):
        await js.publish("keyscope.job.sales_channel.create", json.dumps({"id": f"sc_{number}", "name": "W"}).encode())
    seen = [json.loads((await outcomes.next_msg(timeout=20)).data) for _ in range(50)]
    assert all("data" in outcome for outcome in seen), seen
    assert _is_refusal(*await _create(client, 99))


async def test_large_commands_in_preparation_are_bounded(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MAX_PREPARING_WEIGHT", 20)
    key = {"title": "K", "type": "secret", "created_by": "ann"}
    asked = [_ask(client, "keyscope.cmd.api_key.create", [key] * 20) for _ in range(20)]
    refused = sum(_is_refusal(*reply) for reply in await asyncio.gather(*asked))
    assert 0 < refused < 20
    assert "data" in (await _ask(client, "keyscope.cmd.api_key.create", key))[0], "there is room again"


async def test_slow_subscribers_do_not_slow_commands(make_nats: Any, tmp_path: Path) -> None:
    """One stopped reading its socket, one stopped acknowledging: every command is carried out, and relayed."""
    server: Nats = make_nats("max_pending: 8MB\n")
    service = Service(server.url, tmp_path / "data")
    await service.start()
    async with await service.connect() as ks:
        js = ks.nats.jetstream()
        held = ConsumerConfig(max_ack_pending=1, ack_wait=600)
        durable = await js.pull_subscribe("keyscope.evt.>", "slow", stream="KEYSCOPE_EVENTS", config=held)
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(b'CONNECT {"verbose":false,"name":"deaf"}\r\nSUB keyscope.evt.> 1\r\n')
            metadata = {"x": "x" * 60_000}  # 24 MB in all: more than is kept for the deaf one
            for number in range(400):
                await ks.sales_channels.create({"id": f"sc_{number}", "name": "W", "metadata": metadata})
            [message] = await durable.fetch(1, timeout=10)  # and it is never acknowledged
            assert message.metadata.sequence.stream == 1
            answer = await ks.query.graph(entity="sales_channel", fields=["id"], pagination={"take": 500})
            assert len(answer["data"]) == 400
            assert (await js.stream_info("KEYSCOPE_EVENTS")).state.messages == 400
            assert (await js.consumer_info("KEYSCOPE_EVENTS", "slow")).num_pending == 399
    await service.stop()


async def _channels(ks: keyscope.Keyscope, count: int) -> None:
    await ks.sales_channels.create([{"id": f"sc_{n}", "name": "W", "metadata": {"n": n}} for n in range(count)])


LISTING: dict[str, Any] = {"entity": "sales_channel", "fields": ["*"], "pagination": {"take": 2_000}}
POINT: dict[str, Any] = {"entity": "sales_channel", "fields": ["id"], "filters": {"id": "sc_7"}}


async def test_slow_queries_are_bounded_and_quick_ones_pass_them(
    service: Service, client: Client, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _channels(ks, 2_000)
    await ks.query.graph(**POINT)
    monkeypatch.setattr(readers, "MAX_QUEUED", 3)
    monkeypatch.setattr(readers, "INLINE_STEPS", 3_000)
    slow = [asyncio.create_task(_ask(client, "keyscope.query.graph", LISTING)) for _ in range(60)]
    quick = [await _ask(client, "keyscope.query.graph", POINT) for _ in range(60)]
    assert all(reply["data"] == [{"id": "sc_7"}] for reply, _ in quick)
    replies = await asyncio.gather(*slow)
    refused = sum(_is_refusal(*reply) for reply in replies)
    assert 0 < refused < 60
    assert all(len(reply["data"]) == 2_000 for reply, _ in replies if "data" in reply)
    assert len((await _ask(client, "keyscope.query.graph", LISTING))[0]["data"]) == 2_000


async def test_queries_that_wait_for_a_position_are_bounded(
    service: Service, client: Client, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _channels(ks, 1)
    monkeypatch.setattr(endpoints, "MAX_TASK_BYTES", 1_000)
    waiting = {**POINT, "position": 2}
    asked = [asyncio.create_task(_ask(client, "keyscope.query.graph", waiting)) for _ in range(60)]
    await client.flush()
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert all(_is_refusal(*task.result()) for task in done)
    await ks.sales_channels.create({"name": "W"})
    refused = sum(_is_refusal(*reply) for reply in await asyncio.gather(*asked))
    assert 0 < refused < 60
    assert "data" in (await _ask(client, "keyscope.query.graph", waiting))[0], "there is room again"


async def test_a_query_that_waited_too_long_is_not_begun(
    service: Service, client: Client, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _channels(ks, 2_000)
    await ks.query.graph(**POINT)
    monkeypatch.setattr(readers, "MOST_SECONDS", -1.0)
    monkeypatch.setattr(readers, "INLINE_STEPS", 3_000)
    assert _is_refusal(*await _ask(client, "keyscope.query.graph", LISTING))


@pytest.mark.parametrize("bound", ["INLINE_STEPS", "INLINE_SECONDS"])
async def test_a_scope_that_takes_its_time_is_answered(
    service: Service, client: Client, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The event loop gives it up, because of its many channels or of a machine that is busy; a thread does not."""
    key = await ks.api_keys.create({"title": "K", "type": "publishable"})
    await _channels(ks, 1_000)
    ids = sorted(f"sc_{n}" for n in range(1_000))
    await ks.link.create(
        [{"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": id}} for id in ids]
    )
    monkeypatch.setattr(readers, bound, -1)
    for position in (ks.position, 0):
        reply, _ = await _ask(client, "keyscope.query.scope", {"token": key["token"], "position": position})
        assert reply["sales_channel_ids"] == ids
    refused, _ = await _ask(client, "keyscope.query.scope", {"token": "pk_none"})
    assert refused["error"]["type"] == "not_allowed"


@pytest.mark.parametrize(("bound", "limit"), [("MOST_WAITING", 5), ("MOST_BYTES", 500)])
async def test_queries_beyond_the_bound(
    service: Service, client: Client, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch, bound: str, limit: int
) -> None:
    await _channels(ks, 20)
    await ks.query.graph(**POINT)
    monkeypatch.setattr(turns, bound, limit)
    replies = await asyncio.gather(*(_ask(client, "keyscope.query.graph", POINT) for _ in range(MANY)))
    refused = sum(_is_refusal(*reply) for reply in replies)
    assert 0 < refused < MANY
    assert all(reply["data"] == [{"id": "sc_7"}] for reply, _ in replies if "data" in reply)
    assert json.loads((await client.request("keyscope.query.status", b"{}")).data)["state"] == "following"
    assert "data" in (await _ask(client, "keyscope.query.graph", POINT))[0]
