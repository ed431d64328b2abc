"""What services.bus.wire takes from nats-py behind its back works with the version at hand."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.bus.wire import flush, message, send, take
from tests.support.nats import Nats

HEADER = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n"


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    yield connection
    await connection.close()


class Taken:
    """What a taken subscription received."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes, bytes]] = []

    def receive(self, *message: bytes) -> None:
        _, reply, header, payload = message
        self.messages.append((reply, header, payload))

    async def payloads(self, count: int) -> list[bytes]:
        async with asyncio.timeout(30):
            while len(self.messages) < count:
                await asyncio.sleep(0.01)
        return [payload for _, _, payload in self.messages]


async def test_sent_messages_are_those_of_publish(client: Client) -> None:
    subscription = await client.subscribe("a.b")
    await send(client, message(b"a.b", HEADER % b"one", b"1") + message(b"a.b", HEADER % b"two", b""))
    await client.publish("a.b", b"3", headers={"Nats-Msg-Id": "three"})
    got = [await subscription.next_msg(timeout=5) for _ in range(3)]
    assert [(one.data, one.headers) for one in got] == [
        (b"1", {"Nats-Msg-Id": "one"}),
        (b"", {"Nats-Msg-Id": "two"}),
        (b"3", {"Nats-Msg-Id": "three"}),
    ]


async def test_one_subscription_is_taken_and_the_others_are_not(client: Client) -> None:
    taken, others = Taken(), await client.subscribe("other.*")
    await take(client, await client.subscribe("ours.>"), taken.receive)
    big = b"x" * 900_000  # more than one read
    for number in range(200):
        await client.publish(f"ours.{number}", b"%d" % number, reply="answer.here" if number % 2 else "")
        await client.publish(f"other.{number}", b"%d" % number, headers={"A": "b"})
    await client.publish("ours.big", big, headers={"A": "b"})
    assert await taken.payloads(201) == [*(b"%d" % number for number in range(200)), big]
    assert taken.messages[0][:2] == (b"", b"")
    assert taken.messages[1][0] == b"answer.here"
    assert taken.messages[200][1] == b"NATS/1.0\r\nA: b\r\n\r\n"
    assert [(await others.next_msg(timeout=5)).data for _ in range(200)] == [b"%d" % number for number in range(200)]


async def test_requests_and_pings_go_on_beside_it(client: Client) -> None:
    async def answer(question: Msg) -> None:
        await question.respond(question.data + b"!")

    taken = Taken()
    await client.subscribe("ask", cb=answer)
    await take(client, await client.subscribe("ours"), taken.receive)
    for number in range(50):
        await client.publish("ours", b"%d" % number)
        assert (await client.request("ask", b"%d" % number, timeout=5)).data == b"%d!" % number
        await flush(client)
    assert len(await taken.payloads(50)) == 50


async def test_it_stays_taken_over_a_reconnect(client: Client, nats_server: Nats) -> None:
    taken = Taken()
    await take(client, await client.subscribe("ours"), taken.receive)
    await client.publish("ours", b"before")
    await taken.payloads(1)
    nats_server.kill()
    nats_server.start()
    async with asyncio.timeout(30):
        while not client.stats["reconnects"]:
            await asyncio.sleep(0.05)
    await client.publish("ours", b"after")
    assert await taken.payloads(2) == [b"before", b"after"]
