"""Load that knows what must come of it, and the comparison of everything that came of it."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import nats
from nats.js.api import AckPolicy, ConsumerConfig

import keyscope
from events.envelope import decode
from events.link import LinkCreated, LinkDismissed
from projections.database import versioned
from services.store.application import open_store

Pair = tuple[str, str]


def pair(key: str, channel: str) -> Any:
    """The body that names a link."""
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


class Fire:
    """Clients who link and dismiss until they are told to stop. Each has its own keys, so it knows how they must end.

    They share the channels, and now and then all of them want the same id, which only one may get.
    """

    def __init__(self, *, clients: int = 8, keys: int = 3, channels: int = 12, **options: Any) -> None:
        """`options`: how to connect to NATS."""
        self.expected: set[Pair] = set()
        self.commands = 0
        self.queries = 0
        self.taken: dict[str, int] = {}
        """Ids that everybody wanted, with how many got it."""
        self.slowest = 0.0
        self._clients, self._keys, self._channels = clients, keys, channels
        self._stopping = False
        self.options = options

    async def run(self, urls: list[str], while_it_burns: Callable[[], Any]) -> None:
        """Burn until `while_it_burns`, an async function, has returned. Raises what any client is told."""
        async with await keyscope.connect(urls, actor="fire", timeout=30, **self.options) as ks:
            channels = [f"sc_{n}" for n in range(self._channels)]
            for id in channels:
                await ks.command("sales_channel.create", {"id": id, "name": id})
            burning = [asyncio.create_task(self._client(urls, n, channels)) for n in range(self._clients)]
            controlling = asyncio.create_task(while_it_burns())
            await asyncio.wait((controlling, *burning), return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            await asyncio.gather(controlling, *burning)

    async def _client(self, urls: list[str], number: int, channels: list[str]) -> None:
        chance = random.Random(number)
        async with await keyscope.connect(urls, actor=f"client {number}", timeout=30, **self.options) as ks:
            keys = [f"apk_{number}_{n}" for n in range(self._keys)]
            for id in keys:
                await self._do(ks, "api_key.create", {"id": id, "title": id, "type": "publishable"})
            for turn in itertools.count():
                if self._stopping:
                    return
                key, channel = chance.choice(keys), chance.choice(channels)
                if chance.random() < 0.6:
                    await self._do(ks, "link.create", pair(key, channel))
                    self.expected.add((key, channel))
                else:
                    await self._do(ks, "link.dismiss", pair(key, channel))
                    self.expected.discard((key, channel))
                if turn % 5 == 0:
                    await self._reads_its_writes(ks, key)
                if turn % 20 == 0:
                    await self._wants(ks, f"wanted_{turn}")

    async def _do(self, ks: keyscope.Keyscope, name: str, body: Any) -> None:
        begun = time.monotonic()
        await ks.command(name, body)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.commands += 1

    async def _reads_its_writes(self, ks: keyscope.Keyscope, key: str) -> None:
        answer = await ks.query.graph(entity="api_key", fields=["id", "sales_channels.id"], filters={"id": key})
        self.queries += 1
        found = {(key, channel["id"]) for channel in answer["data"][0]["sales_channels"] if channel}
        assert found == {pair for pair in self.expected if pair[0] == key}

    async def _wants(self, ks: keyscope.Keyscope, id: str) -> None:
        self.taken.setdefault(id, 0)
        with suppress(keyscope.DuplicateError):
            await self._do(ks, "sales_channel.create", {"id": id, "name": id})
            self.taken[id] += 1


async def verify(fire: Fire, store_url: str, nats_urls: list[str], read_models: Sequence[Path]) -> None:
    """Store, stream and every read model say the same, and it is what the clients were told."""
    store = open_store(store_url)
    rows = store.recorder.notifications(0, 10_000_000)
    store.close()
    positions = [row[0] for row in rows]
    assert positions == list(range(1, len(rows) + 1))
    events = [decode(row[2]) for row in rows]
    linked: set[Pair] = set()
    for event in events:
        if isinstance(event.data, LinkCreated):
            linked.add(event.data.subject)  # type: ignore[arg-type]
        elif isinstance(event.data, LinkDismissed):
            linked.remove(event.data.subject)  # type: ignore[arg-type]
    assert linked == fire.expected
    assert set(fire.taken.values()) == {1}
    stored = [(row[0], event.id) for row, event in zip(rows, events, strict=True)]
    assert await _in_stream(nats_urls, len(rows), fire.options) == stored
    digests = [await _digest(versioned(path), positions[-1]) for path in read_models]
    assert digests == digests[:1] * len(read_models)
    assert {tuple(row[:2]) for row in digests[0]["link"] if row[-1] is None} == fire.expected


async def _in_stream(urls: list[str], count: int, options: Any) -> list[tuple[int, str]]:
    client = await nats.connect(urls, **options)
    js = client.jetstream(timeout=20)
    async with asyncio.timeout(60):
        while (await js.stream_info("KEYSCOPE_EVENTS")).state.messages < count:
            await asyncio.sleep(0.1)
    subscription = await js.pull_subscribe("keyscope.evt.>", config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    found: list[tuple[int, str]] = []
    while len(found) < count:
        for message in await subscription.fetch(1_000, timeout=10):
            event = json.loads(message.data)
            found.append((event["position"], event["id"]))
    assert (await js.stream_info("KEYSCOPE_EVENTS")).state.messages == count
    await client.close()
    return found


async def _digest(path: Path, position: int) -> dict[str, list[Any]]:
    """Everything in a read model, once it has reached a position."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    async with asyncio.timeout(60):
        while connection.execute("SELECT position FROM tracking").get != position:
            await asyncio.sleep(0.1)
    tables = {
        "api_key": "SELECT doc, hidden FROM api_key ORDER BY id",
        "sales_channel": "SELECT doc, hidden FROM sales_channel ORDER BY id",
        "link": "SELECT publishable_key_id, sales_channel_id, id, created_at, updated_at, deleted_at FROM link",
    }
    found = {name: list(connection.execute(statement)) for name, statement in tables.items()}
    connection.close()
    return found
