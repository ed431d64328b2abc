"""Retries, time-outs and errors, against a real nats-server and a responder that misbehaves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import keyscope
from services.bus.wire import flush
from tests.support.nats import Nats

COMMAND = "keyscope.cmd.link.create"


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[keyscope.Keyscope]:
    async with keyscope.connect(nats_server.url, timeout=3, actor="tester") as client:
        yield client


@pytest.fixture
async def other(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    yield connection
    await connection.close()


class Responder:
    """Answers with what it is told in turn, the last for ever, and keeps the requests. None is silence."""

    def __init__(self, *answers: dict[str, Any] | bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[Msg] = []

    async def answer(self, message: Msg) -> None:
        self.requests.append(message)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            await message.respond(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    @property
    def command_ids(self) -> list[str]:
        return [(message.headers or {})["Nats-Msg-Id"] for message in self.requests]


async def serve(other: Client, subject: str, *answers: dict[str, Any] | bytes | None) -> Responder:
    responder = Responder(*answers)
    await other.subscribe(subject, cb=responder.answer)
    await flush(other)
    return responder


DONE = {"data": [], "position": 7, "changed": []}


async def test_a_command_carries_its_id_and_who_sends_it(client: keyscope.Keyscope, other: Client) -> None:
    responder = await serve(other, COMMAND, DONE)
    assert await client.link.create([], traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") == []
    headers = responder.requests[0].headers or {}
    assert len(headers.pop("Nats-Msg-Id")) == 26
    assert headers == {
        "Keyscope-Actor": "tester",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


async def test_the_callers_command_id_is_taken(client: keyscope.Keyscope, other: Client) -> None:
    responder = await serve(other, COMMAND, DONE)
    await client.link.create([], command_id="order-77", actor="other")
    assert responder.requests[0].headers == {"Nats-Msg-Id": "order-77", "Keyscope-Actor": "other"}


async def test_after_silence_it_asks_again_with_the_same_id(client: keyscope.Keyscope, other: Client) -> None:
    responder = await serve(other, COMMAND, None, DONE)
    await client.link.create([])
    assert len(responder.requests) == 2
    assert len(set(responder.command_ids)) == 1


async def test_silence_to_the_end_is_a_timeout_with_the_command_id(client: keyscope.Keyscope, other: Client) -> None:
    responder = await serve(other, COMMAND, None)
    started = time.monotonic()
    with pytest.raises(keyscope.Timeout, match=r"no answer to link.create within 0.5 s.*command id C-1") as caught:
        await client.link.create([], command_id="C-1", timeout=0.5)
    assert caught.value.command_id == "C-1"
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - started < 3
    assert set(responder.command_ids) == {"C-1"}


async def test_when_nobody_serves_it_waits_for_somebody(client: keyscope.Keyscope, other: Client) -> None:
    asking = asyncio.create_task(client.link.create([]))
    await asyncio.sleep(0.2)
    await serve(other, COMMAND, DONE)
    assert await asking == []


async def test_when_nobody_ever_serves_it_is_unavailable(client: keyscope.Keyscope) -> None:
    with pytest.raises(keyscope.Unavailable, match=r"nobody serves keyscope\.cmd\.link\.create"):
        await client.link.create([], timeout=1.5)


async def test_unavailable_is_tried_again_after_the_time_it_tells(client: keyscope.Keyscope, other: Client) -> None:
    busy = {"error": {"type": "unavailable", "message": "busy", "retry_after_ms": 300}}
    responder = await serve(other, COMMAND, busy, DONE)
    started = time.monotonic()
    await client.link.create([])
    assert time.monotonic() - started >= 0.3
    assert len(set(responder.command_ids)) == 1


async def test_attempts_are_bounded(client: keyscope.Keyscope, other: Client) -> None:
    responder = await serve(other, COMMAND, {"error": {"type": "unavailable", "message": "busy"}})
    with pytest.raises(keyscope.Unavailable, match="busy"):
        await client.link.create([], timeout=2)
    assert 3 <= len(responder.requests) <= 12


async def test_unsure_stays_unsure(client: keyscope.Keyscope, other: Client) -> None:
    """One attempt may have been carried out, so what comes after it cannot say that nothing was done."""
    await serve(other, COMMAND, None, {"error": {"type": "unavailable", "message": "busy"}})
    with pytest.raises(keyscope.Timeout):
        await client.link.create([], timeout=2.5)


@pytest.mark.parametrize("error", keyscope.errors.ERRORS.values())
async def test_errors_are_raised_as_what_they_are(
    client: keyscope.Keyscope, other: Client, error: type[keyscope.KeyscopeError]
) -> None:
    await serve(other, COMMAND, {"error": {"type": error.type, "message": "no such key", "ids": ["apk_1"]}})
    with pytest.raises(error, match="no such key") as caught:
        await client.link.create([], timeout=1.5)
    assert caught.value.details == {"ids": ["apk_1"]}
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"type": "new_in_a_later_release", "message": "what is this"}}, "what is this"),
        ({"error": {}}, "the service gave no reason"),
        (b"<html>", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"", "not a JSON object"),
    ],
)
async def test_strange_answers_are_unexpected(
    client: keyscope.Keyscope, other: Client, answer: Any, message: str
) -> None:
    await serve(other, COMMAND, answer)
    with pytest.raises(keyscope.UnexpectedState, match=message):
        await client.link.create([], timeout=1.5)


@pytest.mark.parametrize(
    "body",
    [{"x": object()}, {"x": float("nan")}, {"x": "\ud800"}, {"x": b"bytes"}],
    ids=["object", "nan", "surrogate", "bytes"],
)
async def test_what_is_not_json_is_invalid(client: keyscope.Keyscope, body: Any) -> None:
    with pytest.raises(keyscope.InvalidData, match="cannot be written as JSON"):
        await client.command("link.create", body)


async def test_what_is_too_large_is_invalid(client: keyscope.Keyscope) -> None:
    with pytest.raises(keyscope.InvalidData, match=r"too large: 1\d{7} bytes"):
        await client.command("link.create", "x" * 10_000_000)


async def test_queries_carry_the_position_seen(client: keyscope.Keyscope, other: Client) -> None:
    asked = await serve(other, "keyscope.query.graph", {"data": []})
    await serve(other, COMMAND, {"data": [], "position": 12, "changed": []}, {"data": [], "position": 9, "changed": []})
    await client.query.graph(entity="api_key")
    await client.link.create([])
    await client.link.create([])  # this one is answered from an earlier position, as a repeated command is
    await client.query.graph(entity="api_key")
    await client.query.graph(entity="api_key", position=40)
    await client.query.graph(entity="api_key", position=0)
    bodies = [json.loads(message.data) for message in asked.requests]
    assert [body.get("position") for body in bodies] == [None, 12, 40, None]
    assert client.position == 12


async def test_unless_told_not_to(nats_server: Nats, other: Client) -> None:
    asked = await serve(other, "keyscope.query.scope", {"key": {}, "sales_channel_ids": []})
    await serve(other, COMMAND, DONE)
    async with await keyscope.connect(nats_server.url, read_your_writes=False) as client:
        await client.link.create([])
        await client.query.scope("pk_1")
    assert json.loads(asked.requests[0].data) == {"token": "pk_1"}


async def test_graph_takes_medusas_two_arguments(client: keyscope.Keyscope, other: Client) -> None:
    asked = await serve(other, "keyscope.query.graph", {"data": []})
    query = {"entity": "api_key", "fields": ["id"], "filters": None}
    await client.query.graph(query, {"throwIfKeyNotFound": True}, withDeleted=True)
    assert json.loads(asked.requests[0].data) == {**query, "throwIfKeyNotFound": True, "withDeleted": True}
    assert query == {"entity": "api_key", "fields": ["id"], "filters": None}


async def test_a_prefix_of_its_own(nats_server: Nats, other: Client) -> None:
    responder = await serve(other, "shop.cmd.link.create", DONE)
    async with keyscope.connect(nats_server.url, prefix="shop") as client:
        await client.link.create([])
    assert len(responder.requests) == 1


async def test_a_connection_that_is_closed_says_so(nats_server: Nats) -> None:
    client = await keyscope.connect(nats_server.url)
    await client.close()
    with pytest.raises(keyscope.Unavailable, match="closed"):
        await client.link.create([])


async def test_no_server_is_told_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(keyscope.Unavailable, match=r"cannot connect to NATS at nats://127\.0\.0\.1:1"):
        await keyscope.connect("nats://127.0.0.1:1")
    assert time.monotonic() - started < 10


async def test_a_nats_without_jetstream_is_told(make_nats: Callable[..., Nats]) -> None:
    async with keyscope.connect(make_nats(jetstream=False).url, timeout=2) as ks:
        with pytest.raises(keyscope.Unavailable, match="JetStream does not answer: is it enabled"):
            await anext(aiter(ks.events.all(since="beginning")))


async def test_a_server_that_refuses_is_told(make_nats: Callable[..., Nats]) -> None:
    server = make_nats("\nauthorization { user: a, password: b }\n")
    said = "reset"
    for _ in range(10):  # it hangs up at once: its reason can get lost with what it had not read yet
        if "reset" in said:
            with pytest.raises(keyscope.Unavailable) as refused:
                await keyscope.connect(server.url, timeout=5)
            said = str(refused.value).lower()
    assert "authorization" in said


async def test_a_command_survives_a_server_restart(nats_server: Nats, client: keyscope.Keyscope) -> None:
    nats_server.stop()
    asking = asyncio.create_task(client.link.create([], timeout=10))
    await asyncio.sleep(0.2)
    nats_server.start()
    other = await nats.connect(nats_server.url)
    responder = await serve(other, COMMAND, DONE)
    assert await asking == []
    assert len(set(responder.command_ids)) == 1
    await other.close()
