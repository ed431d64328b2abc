"""Store, stream and read model are compared, and what differs is named."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import keyscope
from projections.account import State
from projections.database import open_reader, versioned
from projections.digest import digest, first_difference, rows_of
from services.runtime.verify import Verdict, verify
from tests.projections.world import World
from tests.support.nats import Nats
from tests.support.service import Service

STREAM = "KEYSCOPE_EVENTS"


def no_progress(_: int, __: int) -> None:
    pass


def filled(world: World, seed: int) -> None:
    """A history of keys, channels and links that come and go."""
    chance = random.Random(seed)
    keys, channels = [f"apk_{n}" for n in range(4)], [f"sc_{n}" for n in range(4)]
    for key in keys:
        world.key(key)
    for channel in channels:
        world.channel(channel)
    for _ in range(120):
        key, channel = chance.choice(keys), chance.choice(channels)
        chance.choice(_STEPS)(world, key, channel)


_STEPS: list[Callable[[World, str, str], None]] = [
    lambda world, key, channel: world.link(key, channel),
    lambda world, key, channel: world.link(key, channel),
    lambda world, key, channel: world.dismiss(key, channel),
    lambda world, key, channel: world.delete_channel(channel),
    lambda world, key, channel: world.restore_channel(channel),
    lambda world, key, channel: world.delete_key(key),
    lambda world, key, channel: world.restore_key(key),
]


async def change(ks: keyscope.Keyscope) -> None:
    """One of each kind of row, alive and gone."""
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    await ks.api_keys.create({"title": "Server", "type": "secret"})
    channels = await ks.sales_channels.create([{"name": n, "metadata": {"bb": 1, "a": [None]}} for n in "abc"])
    pairs: list[Any] = [
        {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}
        for channel in channels
    ]
    await ks.link.create(pairs)
    await ks.link.dismiss(pairs[0])
    await ks.command("sales_channel.delete", [channels[1]["id"]])
    await ks.command("api_key.update", {"id": key["id"], "update": {"title": "Shop"}})


async def judged(service: Service) -> Verdict:
    return await verify(service.settings, patience=5, progress=no_progress)


async def test_all_three_agree(service: Service, ks: keyscope.Keyscope) -> None:
    await change(ks)
    verdict = await judged(service)
    assert verdict.difference is None
    assert verdict.position == ks.position
    assert list(verdict.digests) == ["event store", "stream", "read model"]
    assert len(set(verdict.digests.values())) == 1


async def test_nothing_yet(service: Service) -> None:
    verdict = await judged(service)
    assert (verdict.position, verdict.difference) == (0, None)


async def test_a_row_that_was_changed_by_hand_is_named(service: Service, ks: keyscope.Keyscope) -> None:
    await change(ks)
    await judged(service)
    connection = apsw.Connection(str(versioned(service.settings.read_model_path)))
    connection.execute("UPDATE sales_channel SET name = 'other' WHERE name = 'c'")
    connection.close()
    difference = (await judged(service)).difference
    assert difference
    assert difference.endswith("the event store has name 'c', the read model has name 'other'")


async def test_an_event_that_the_stream_lacks_is_named(service: Service, ks: keyscope.Keyscope) -> None:
    await change(ks)
    await judged(service)
    await ks.nats.jetstream().delete_msg(STREAM, 3)
    difference = (await judged(service)).difference
    assert difference
    assert difference.startswith("position 3: the event store has sc_")
    assert difference.endswith("the stream has position 4")


async def test_a_stream_that_stays_behind_is_named(service: Service, ks: keyscope.Keyscope) -> None:
    await change(ks)
    await judged(service)
    await service.stop()
    await service.start("commands")
    await ks.sales_channels.create({"name": "more"})
    verdict = await verify(service.settings, patience=0.1, progress=no_progress)
    assert verdict.difference
    assert verdict.difference.startswith("the read model is at position")


@pytest.mark.parametrize("seed", range(20))
def test_the_account_of_its_own_agrees_with_the_projector(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "graph.db")
    filled(world, seed)
    state = State()
    for event in world.events:
        state.apply(event.text)
    reader = open_reader(tmp_path / "graph.db", longest=1 << 20)
    rows = list(rows_of(reader))
    reader.close()
    world.close()
    assert first_difference(state.rows(), rows, names=("events", "model")) is None
    assert state.digest() == digest(reversed(rows))


async def test_the_command(nats_server: Nats, service: Service, ks: keyscope.Keyscope) -> None:
    await change(ks)
    command = [
        *(sys.executable, "-m", "keyscope", "verify"),
        *(f"--nats-url={nats_server.url}", f"--data-dir={service.settings.data_dir}"),
    ]
    done = await _run(command)
    assert done.returncode == 0, done.stderr
    assert "event store, stream and read model agree" in done.stdout

    connection = apsw.Connection(str(versioned(service.settings.read_model_path)))
    connection.execute("UPDATE api_key SET title = 'other' WHERE title = 'Shop'")
    connection.close()
    done = await _run(command)
    assert done.returncode == 1
    assert "the event store has title 'Shop', the read model has title 'other'" in done.stderr


async def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
