"""From store to stream: every event once, in order, whatever happens to the stream or the relay."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig

from events.subjects import Subjects
from services.bus.streams import events_stream
from services.relay.relay import BATCH
from services.relay.stream import EventStream
from services.runtime.failures import Failure
from services.store.application import open_store
from services.store.sqlite import SQLiteStore
from tests.commands.conftest import Requests, all_events
from tests.support.nats import Nats
from tests.support.service import Service

STREAM = "KEYSCOPE_EVENTS"


@pytest.fixture
async def write_side(nats_server: Nats, tmp_path: Path, store_url: str) -> AsyncIterator[Service]:
    running = Service(nats_server.url, tmp_path / "data", event_store=store_url)
    await running.start("commands", "relay")
    yield running
    await running.stop()


@pytest.fixture
async def client(nats_server: Nats, write_side: Service) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    yield connection
    await connection.close()


async def channels(client: Client, count: int) -> None:
    await Requests(client).send("sales_channel.create", [{"name": f"c{n}"} for n in range(count)])


def stored(service: Service) -> list[tuple[int, str]]:
    """(position, event id) of everything in the store."""
    store = open_store(service.settings.event_store_url)
    try:
        return [(row[0], json.loads(row[2])["id"]) for row in store.recorder.notifications(0, 1_000_000)]
    finally:
        store.close()


async def agree(service: Service, client: Client) -> list[dict[str, Any]]:
    """The stream has each event of the store once, in order; or will have in a few seconds."""
    expected = stored(service)
    found: list[dict[str, Any]] = []
    for _ in range(20):
        found = await all_events(client)
        if [(event["position"], event["id"]) for event in found] == expected:
            break
        await asyncio.sleep(0.2)
    assert [(event["position"], event["id"]) for event in found] == expected
    return found


async def test_in_order_with_their_ids(write_side: Service, client: Client) -> None:
    await asyncio.gather(*(channels(client, 7) for _ in range(20)))
    await agree(write_side, client)
    last = await client.jetstream().get_last_msg(STREAM, "keyscope.evt.>")
    assert last.headers
    assert last.headers["Nats-Msg-Id"] == json.loads(last.data or b"")["id"]


async def test_a_wiped_stream_is_filled_again(write_side: Service, client: Client) -> None:
    await channels(client, 700)
    before = await agree(write_side, client)
    await client.jetstream().purge_stream(STREAM)
    await asyncio.sleep(0.6)  # longer than the stream's duplicate window: see the next test for sooner
    assert await agree(write_side, client) == before


async def test_even_within_the_duplicate_window(write_side: Service, client: Client) -> None:
    await channels(client, 3)
    before = await agree(write_side, client)
    await client.jetstream().purge_stream(STREAM)
    await channels(client, 1)
    assert (await agree(write_side, client))[:3] == before


async def test_a_stream_that_lost_its_end(write_side: Service, client: Client) -> None:
    await channels(client, 50)
    before = await agree(write_side, client)
    js = client.jetstream()
    for sequence in range(41, 51):
        await js.delete_msg(STREAM, sequence)
    await channels(client, 1)
    assert (await agree(write_side, client))[:50] == before


async def test_a_stream_with_a_hole_is_made_anew_at_the_next_start(write_side: Service, client: Client) -> None:
    await channels(client, 50)
    before = await agree(write_side, client)
    js = client.jetstream()
    await js.delete_msg(STREAM, 20)
    await write_side.stop()
    await write_side.start("commands", "relay")
    assert await agree(write_side, client) == before


async def test_a_stream_that_skips_events_is_filled_again(write_side: Service, client: Client) -> None:
    await channels(client, 50)
    before = await agree(write_side, client)
    js = client.jetstream()
    config = (await js.stream_info(STREAM)).config
    await write_side.stop()
    await js.delete_stream(STREAM)
    await js.add_stream(config)
    for event in before[:20] + before[30:]:  # no hole in its sequence numbers
        subject = event.pop("on")
        await js.publish(subject, json.dumps(event).encode())
        event["on"] = subject
    await write_side.start("commands", "relay")
    assert await agree(write_side, client) == before


async def test_the_end_is_one_place_while_somebody_else_writes(write_side: Service, client: Client) -> None:
    await channels(client, 1)
    await agree(write_side, client)
    stream = EventStream(client, client.jetstream(), Subjects(), "/test")
    writing = asyncio.gather(*(channels(client, 200) for _ in range(5)))
    ends = set()
    while not writing.done():
        ends.add(await stream.end())
    await writing
    assert all(end.sequence == end.position for end in ends)


async def test_a_stream_that_lost_its_beginning(write_side: Service, client: Client) -> None:
    await channels(client, 50)
    before = await agree(write_side, client)
    await client.jetstream().purge_stream(STREAM, seq=11)
    await write_side.stop()
    await write_side.start("commands", "relay")
    assert await agree(write_side, client) == before


async def test_a_stream_that_was_deleted_while_it_was_down(write_side: Service, client: Client) -> None:
    await channels(client, 20)
    before = await agree(write_side, client)
    await write_side.stop()
    await client.jetstream().delete_stream(STREAM)
    await write_side.start("commands", "relay")
    assert await agree(write_side, client) == before


async def test_two_relays_at_once(write_side: Service, nats_server: Nats, client: Client) -> None:
    other = Service(nats_server.url, write_side.settings.data_dir, event_store=write_side.settings.event_store)
    await other.start("relay", "relay")
    for _ in range(10):
        await asyncio.gather(*(channels(client, 20) for _ in range(5)))
    await agree(write_side, client)
    await other.stop()


async def test_nats_restarting_in_the_middle(write_side: Service, nats_server: Nats, client: Client) -> None:
    await channels(client, 100)
    nats_server.kill()
    await asyncio.sleep(0.2)
    nats_server.start()
    for _ in range(100):
        try:
            await channels(client, 100)
            break
        except nats.errors.Error:
            await asyncio.sleep(0.1)
    await agree(write_side, client)


async def test_a_stream_of_somebody_else_is_never_overwritten(nats_server: Nats, tmp_path: Path) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(StreamConfig(name=STREAM, subjects=["somebody.else"]))
    service = Service(nats_server.url, tmp_path / "data")
    with pytest.raises(Failure, match="somebody"):
        await service.start("relay")
    assert (await client.jetstream().stream_info(STREAM)).config.subjects == ["somebody.else"]
    await client.close()


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"max_age": 60.0}, "max_age 60.0, but no limit is needed"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject 1, but no limit"),
        ({"max_msgs": 10, "discard": DiscardPolicy.OLD}, "discard"),
    ],
)
async def test_a_stream_that_forgets_is_refused(
    nats_server: Nats, tmp_path: Path, limit: dict[str, Any], says: str
) -> None:
    """The relay would find it torn, and fill it again for ever."""
    client = await nats.connect(nats_server.url)
    config = replace(events_stream(Subjects("keyscope")), **limit)
    await client.jetstream().add_stream(config)
    with pytest.raises(Failure, match=says):
        await Service(nats_server.url, tmp_path / "data").start("relay")
    await client.close()


async def test_a_stream_that_is_full_gets_the_rest_when_there_is_room(
    write_side: Service, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever manages it may bound its size; the log says what the stream has refused."""
    await channels(client, 5)
    await agree(write_side, client)
    js = client.jetstream()
    config = (await js.stream_info(STREAM)).config
    await js.update_stream(replace(config, max_msgs=8))
    for _ in range(2):
        await channels(client, 50)
    said = ""
    async with asyncio.timeout(30):
        while "maximum messages exceeded" not in said:
            await asyncio.sleep(0.1)
            said += capsys.readouterr().out
    assert (await js.stream_info(STREAM)).state.messages == 8
    await js.update_stream(config)
    await agree(write_side, client)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_the_store_is_closed_only_when_nothing_is_read(
    write_side: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, closed = threading.Event(), threading.Event()
    was_open: list[bool] = []
    asked: list[SQLiteStore] = []
    notifications, close = SQLiteStore.notifications, SQLiteStore.close

    def slowly(self: SQLiteStore, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        if limit == BATCH and not asked:
            asked.append(self)
            reading.set()
            was_open.append(not closed.wait(3))
        return notifications(self, after, limit)

    def closing(self: SQLiteStore) -> None:
        if self in asked:
            closed.set()
        close(self)

    monkeypatch.setattr(SQLiteStore, "notifications", slowly)
    monkeypatch.setattr(SQLiteStore, "close", closing)
    await channels(client, 200)
    await asyncio.to_thread(reading.wait)
    await write_side.stop()
    assert was_open == [True]
    assert closed.is_set()
