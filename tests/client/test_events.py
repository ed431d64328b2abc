"""Subscriptions: where they begin, what they promise, and that they survive what happens to connections and streams."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

import keyscope
from keyscope import feed
from keyscope.types import ApiKey, LinkDefinition, SalesChannel
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def take(subscription: keyscope.events.Subscription, count: int) -> list[keyscope.Event]:
    return [await asyncio.wait_for(anext(subscription), 30) for _ in range(count)]


async def so_far(subscription: keyscope.events.Subscription) -> list[keyscope.Event]:
    return [event async for event in subscription]


class Shop:
    """A key, two channels and what happens to them: positions 1 to 3 are theirs."""

    def __init__(self, ks: keyscope.Keyscope, key: ApiKey, channels: list[SalesChannel]) -> None:
        self.ks = ks
        self.key = key["id"]
        self.channels = [channel["id"] for channel in channels]

    def pair(self, channel: int) -> LinkDefinition:
        return {"api_key": {"api_key_id": self.key}, "sales_channel": {"sales_channel_id": self.channels[channel]}}

    async def link(self, channel: int = 0) -> int:
        await self.ks.link.create(self.pair(channel))
        return self.ks.position

    async def dismiss(self, channel: int = 0) -> int:
        await self.ks.link.dismiss(self.pair(channel))
        return self.ks.position


@pytest.fixture
async def shop(ks: keyscope.Keyscope) -> Shop:
    channels = await ks.sales_channels.create([{"name": "A"}, {"name": "B"}])
    return Shop(ks, await ks.api_keys.create({"title": "Web", "type": "publishable"}), channels)


async def test_an_event_says_what_happened_and_why(ks: keyscope.Keyscope, shop: Shop) -> None:
    async with ks.events.links() as events:
        (row,) = await ks.link.create(shop.pair(0), command_id="C-1", traceparent=TRACE)
        (event,) = await take(events, 1)
    assert event.name == "link.created"
    assert event.type == "keyscope.link.created"
    assert (event.command_id, event.actor, event.traceparent, event.cause) == ("C-1", "tester", TRACE, None)
    assert event.position == ks.position == 4
    assert {"id", "publishable_key_id", "sales_channel_id"} <= event.data.keys()
    assert event.data["id"] == row["id"]
    assert datetime.now(UTC) - datetime.fromisoformat(event.time) < timedelta(minutes=1)


async def test_links_are_filtered_by_end_and_by_event(ks: keyscope.Keyscope, shop: Shop) -> None:
    await shop.link(0)
    await shop.link(1)
    await shop.dismiss(0)

    async def positions(**filters: Any) -> list[int]:
        return [event.position for event in await so_far(ks.events.links(**filters, since="beginning", follow=False))]

    assert await positions() == [4, 5, 6]
    assert await positions(api_key_id=shop.key) == [4, 5, 6]
    assert await positions(api_key_id="apk_other") == []
    assert await positions(sales_channel_id=shop.channels[0]) == [4, 6]
    assert await positions(sales_channel_id=shop.channels[1], api_key_id=shop.key) == [5]
    assert await positions(event="dismissed") == [6]


async def test_other_events_by_name(ks: keyscope.Keyscope, shop: Shop) -> None:
    await shop.link()

    async def names(*patterns: str) -> list[str]:
        return [event.name for event in await so_far(ks.events.all(*patterns, since="beginning", follow=False))]

    everything = ["sales_channel.created", "sales_channel.created", "api_key.created", "link.created"]
    assert await names() == everything
    assert await names("api_key.created", "link.*") == everything[2:]
    assert await names("api_key.revoked") == []


async def test_where_to_begin(ks: keyscope.Keyscope, shop: Shop) -> None:
    positions = []
    for _ in range(5):
        positions += [await shop.link(), await shop.dismiss()]
    events = await so_far(ks.events.links(since="beginning", follow=False))
    assert [event.position for event in events] == positions
    for place in (0, 3, *positions, positions[-1] + 100):
        later = await so_far(ks.events.links(since=place, follow=False))
        assert [event.position for event in later] == [position for position in positions if position > place]
    for at in events:
        later = await so_far(ks.events.links(since=datetime.fromisoformat(at.time), follow=False))
        assert later == [event for event in events if event.time >= at.time]
    assert await so_far(ks.events.links(since="now", follow=False)) == []


@pytest.mark.parametrize("since", ["yesterday", -1, 1.5, None, datetime(2026, 1, 1)])  # noqa: DTZ001 - that is the point
async def test_a_wrong_place_is_refused(ks: keyscope.Keyscope, since: Any) -> None:
    with pytest.raises(keyscope.InvalidData):
        await anext(ks.events.links(since=since))


async def test_from_now_on_nothing_is_missed(ks: keyscope.Keyscope, shop: Shop) -> None:
    await shop.link()
    async with ks.events.links() as events:
        expected = [await shop.dismiss(), await shop.link()]
        assert [event.position for event in await take(events, 2)] == expected


async def test_a_wait_that_is_given_up_loses_nothing(ks: keyscope.Keyscope, shop: Shop) -> None:
    async with ks.events.links() as events:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.05)
        position = await shop.link()
        assert (await take(events, 1))[0].position == position


async def test_a_loop_that_is_left_ends_the_subscription(ks: keyscope.Keyscope, shop: Shop) -> None:
    await shop.link()
    async for event in ks.events.links(since="beginning"):
        assert event.name == "link.created"
        break
    await asyncio.sleep(0.05)
    assert not ks.connection.sources
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "keyscope feed"]


async def test_closing_the_client_ends_its_loops(service: Service) -> None:
    client = await service.connect()
    listening = asyncio.create_task(so_far(client.events.links()))
    await asyncio.sleep(0.1)
    await client.close()
    assert await asyncio.wait_for(listening, 30) == []


async def test_a_subscriber_reads_what_it_was_told_of(service: Service, shop: Shop) -> None:
    async with await service.connect() as reader, reader.events.links() as events:
        await shop.link()
        (event,) = await take(events, 1)
        assert reader.position == event.position
        scope = await reader.query.graph(entity="api_key", fields=["sales_channels.id"], filters={"id": shop.key})
        assert [row["id"] for row in scope["data"][0]["sales_channels"]] == [shop.channels[0]]


async def test_a_lost_connection_loses_no_event(
    service: Service, shop: Shop, make_nats: Callable[..., Nats], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subscriber comes through a proxy that is cut, twice; the shop goes on."""
    url = service.settings.nats_servers[0]
    proxy = Proxy(int(url.rpartition(":")[2]))
    await proxy.open()
    async with await keyscope.connect(proxy.url) as reader, reader.events.links() as events:
        expected = []
        for _ in range(2):
            expected += [await shop.link()]
            assert (await take(events, 1))[0].position == expected[-1]
            await proxy.close()
            expected += [await shop.dismiss(), await shop.link(1)]
            await asyncio.sleep(0.2)
            await proxy.open()
            assert [event.position for event in await take(events, 2)] == expected[-2:]
            expected += [await shop.dismiss(1)]
            assert (await take(events, 1))[0].position == expected[-1]
    await proxy.close()


class Proxy:
    """A TCP proxy that can be cut."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for pipe in self._pipes:
                pipe.transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._pipes.clear()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._pipes |= {writer, forth}
        for source, target in ((reader, forth), (back, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()


# What follows needs no services: a stream that the test fills as the relay would, and spoils as nobody would.

SUBJECT = "keyscope.evt.link.created.{}.{}"


def envelope(position: int, time: str = "2026-11-23T12:00:00.000Z") -> bytes:
    data = {"id": f"pksc_{position}", "publishable_key_id": "k", "sales_channel_id": f"c{position}"}
    return json.dumps(
        {"id": f"k:{position}", "type": "keyscope.link.created", "time": time, "commandid": "c", "data": data}
        | {"position": position}
    ).encode()


class Stream:
    """The stream of events, by hand."""

    def __init__(self, connection: Client) -> None:
        self.js = connection.jetstream()

    async def make(self) -> None:
        await self.js.add_stream(StreamConfig(name="KEYSCOPE_EVENTS", subjects=["keyscope.evt.>"]))

    async def fill(self, *positions: int) -> None:
        for position in positions:
            await self.js.publish(SUBJECT.format("k", f"c{position}"), envelope(position))

    async def insist(self, position: int) -> None:
        """Publish, and again until the server, which was away, has it."""
        while True:
            with contextlib.suppress(nats.errors.Error):
                await self.js.publish(
                    SUBJECT.format("k", "c"), envelope(position), timeout=0.5, headers={"Nats-Msg-Id": str(position)}
                )
                return
            await asyncio.sleep(0.05)

    async def wipe(self) -> None:
        await self.js.delete_stream("KEYSCOPE_EVENTS")
        await self.make()


@pytest.fixture
async def stream(nats_server: Nats) -> AsyncIterator[Stream]:
    connection = await nats.connect(nats_server.url)
    stream = Stream(connection)
    await stream.make()
    yield stream
    await connection.close()


@pytest.fixture
async def reader(nats_server: Nats, stream: Stream) -> AsyncIterator[keyscope.Keyscope]:
    async with keyscope.connect(nats_server.url, timeout=2) as client:
        yield client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats every fifth of a second, so that what they tell is told soon."""
    begin = feed.Feed.__init__

    def quickly(self: feed.Feed, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **{**options, "heartbeat": 0.2})

    monkeypatch.setattr(feed.Feed, "__init__", quickly)


@pytest.mark.usefixtures("quick")
async def test_a_stream_made_anew_goes_on_where_the_subscriber_was(reader: keyscope.Keyscope, stream: Stream) -> None:
    await stream.fill(1, 2, 5, 6)
    async with reader.events.links(since="beginning") as events:
        assert [event.position for event in await take(events, 4)] == [1, 2, 5, 6]
        await stream.wipe()
        # Filled again, with other sequence numbers, and further than before.
        await stream.fill(*range(1, 10))
        assert [event.position for event in await take(events, 3)] == [7, 8, 9]


@pytest.mark.usefixtures("quick")
async def test_a_stream_that_is_gone_for_a_while(reader: keyscope.Keyscope, stream: Stream) -> None:
    async with reader.events.links() as events:
        await stream.js.delete_stream("KEYSCOPE_EVENTS")
        await asyncio.sleep(1)
        await stream.make()
        await stream.fill(1, 2)
        assert [event.position for event in await take(events, 2)] == [1, 2]


@pytest.mark.usefixtures("quick")
async def test_a_purged_stream_filled_again_repeats_nothing(reader: keyscope.Keyscope, stream: Stream) -> None:
    await stream.fill(1, 2, 3)
    async with reader.events.links(since="beginning") as events:
        await take(events, 3)
        await stream.js.purge_stream("KEYSCOPE_EVENTS")
        await stream.fill(1, 2, 3, 4)
        assert [event.position for event in await take(events, 1)] == [4]


@pytest.mark.usefixtures("quick")
async def test_a_consumer_that_the_server_lost_is_made_again(reader: keyscope.Keyscope, stream: Stream) -> None:
    async with reader.events.links() as events:
        for position in (1, 2):
            (consumer,) = await stream.js.consumers_info("KEYSCOPE_EVENTS")
            await stream.js.delete_consumer("KEYSCOPE_EVENTS", consumer.name)
            await stream.fill(position)
            assert [event.position for event in await take(events, 1)] == [position]


async def test_what_is_no_event_is_passed_over(
    reader: keyscope.Keyscope, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    await stream.fill(1)
    await stream.js.publish(SUBJECT.format("k", "c"), b"not an event")
    await stream.fill(2)
    assert [event.position for event in await so_far(reader.events.links(since="beginning", follow=False))] == [1, 2]
    assert "no event" in caplog.text
    async with reader.events.links(since="beginning", durable="d") as events:
        assert [event.position for event in await take(events, 2)] == [1, 2]


async def test_a_slow_subscriber_holds_the_server_back_and_misses_nothing(
    reader: keyscope.Keyscope, stream: Stream
) -> None:
    await asyncio.gather(*(stream.js.publish_async(SUBJECT.format("k", "c"), envelope(n)) for n in range(1, 5001)))
    await stream.js.publish_async_completed()
    async with reader.events.links(since="beginning") as events:
        queue = events._events._source._queue  # type: ignore[attr-defined]
        await until(lambda: queue.qsize() >= 1024)
        await asyncio.sleep(0.2)
        assert queue.qsize() == 1024
        assert len(await take(events, 5000)) == 5000


async def test_no_stream_is_unavailable(nats_server: Nats) -> None:
    async with keyscope.connect(nats_server.url) as client:
        with pytest.raises(keyscope.Unavailable, match="KEYSCOPE_EVENTS is not there"):
            await anext(client.events.all())


async def test_a_durable_subscriber_goes_on_where_it_left_off(reader: keyscope.Keyscope, stream: Stream) -> None:
    await stream.fill(1, 2, 3)

    def subscribe() -> keyscope.events.Subscription:
        return reader.events.links(since="beginning", durable="billing")

    async with subscribe() as events:
        assert [event.position for event in await take(events, 2)] == [1, 2]
    # The second was not followed by a third: who knows whether it was handled.
    async with subscribe() as events:
        assert [event.position for event in await take(events, 2)] == [2, 3]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.2)
    async with subscribe() as events:
        await stream.fill(4)
        assert [event.position for event in await take(events, 1)] == [4]


async def test_durable_subscribers_of_one_name_share(reader: keyscope.Keyscope, stream: Stream) -> None:
    got: list[int] = []

    async def work() -> None:
        async for event in reader.events.links(since="beginning", durable="billing"):
            await asyncio.sleep(0.001)
            got.append(event.position)

    workers = [asyncio.create_task(work()) for _ in range(2)]
    await asyncio.sleep(0.2)
    await stream.fill(*range(1, 201))
    await until(lambda: len(got) >= 200)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(got) == list(range(1, 201))


async def test_a_durable_subscriber_survives_a_new_stream(
    reader: keyscope.Keyscope, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyscope.durable.HEARTBEAT_SECONDS", 0.2)
    await stream.fill(1, 2)
    async with reader.events.links(since="beginning", durable="billing") as events:
        await take(events, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.2)
        await stream.wipe()
        await stream.fill(1, 2, 3)
        assert [event.position for event in await take(events, 1)] == [3]


async def test_a_durable_subscriber_waits_for_a_stream_that_is_away(
    reader: keyscope.Keyscope, stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("keyscope.durable.HEARTBEAT_SECONDS", 0.2)
    await stream.fill(1)
    async with reader.events.links(since="beginning", durable="billing") as events:
        await take(events, 1)
        coming = asyncio.create_task(anext(events))
        await stream.js.delete_stream("KEYSCOPE_EVENTS")
        await until(
            lambda: "billing is cut off, trying again: the stream KEYSCOPE_EVENTS is not there" in caplog.text, 20
        )
        await stream.make()
        await stream.fill(1, 2)
        assert (await asyncio.wait_for(coming, 20)).position == 2


async def test_a_durable_subscriber_survives_a_server_restart(
    reader: keyscope.Keyscope, stream: Stream, nats_server: Nats
) -> None:
    async with reader.events.links(since="beginning", durable="billing") as events:
        await stream.fill(1)
        await take(events, 1)
        nats_server.stop()
        nats_server.start()
        for position in (2, 3):
            await stream.insist(position)
        assert [event.position for event in await take(events, 2)] == [2, 3]


async def test_a_durable_name_that_is_taken_or_wrong_is_refused(reader: keyscope.Keyscope, stream: Stream) -> None:
    async with reader.events.links(durable="billing"):
        pass
    with pytest.raises(keyscope.InvalidData, match="billing is taken for other events"):
        await anext(reader.events.all(durable="billing"))
    for name in ("", "a.b", "a b", "ü"):
        with pytest.raises(keyscope.InvalidData, match="letters, digits"):
            reader.events.all(durable=name)
    with pytest.raises(keyscope.InvalidData, match="always follows"):
        reader.events.all(durable="billing", follow=False)
