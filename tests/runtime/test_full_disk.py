"""What a full disk does to those who write, and that they go on by themselves when there is room again.

Limits on the size of files stand for the full disk, which anybody may set; the fault run fills real ones.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import nats
import pytest

import keyscope
from keyscope.jobs import Job
from projections.database import open_writer
from tests.support.disks import small_disks
from tests.support.nats import Nats
from tests.support.up import Up

NOTHING = 1
"""Bytes that a file may have: what is there stays, and nothing is added."""


@contextmanager
def full_for(pid: int, most: int = NOTHING) -> Iterator[None]:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def test_jetstream_that_had_no_room_goes_on_when_there_is_some(tmp_path: Path) -> None:
    """A stream of nats-server that has once failed to write takes nothing until the server is started again."""
    up = Up(tmp_path / "data").wait_ready(60)
    try:
        async with await keyscope.connect(up.url, timeout=20) as ks:
            await ks.sales_channels.create({"name": "before"})
            [server] = [pid for pid, command in up.family().items() if "nats-server" in command]
            with full_for(server):
                await ks.sales_channels.create({"name": "meanwhile"})
                with pytest.raises(keyscope.Timeout):
                    await ks.jobs.submit("sales_channel.create", {"name": "no room"}, timeout=1)
            job = await submitted(ks)
            assert (await job.outcome(20))["data"]["name"] == "job"
            await ks.sales_channels.create({"name": "after"})
            answer = await ks.query.graph(entity="sales_channel", fields=["name"])
    finally:
        assert up.stop() == 0
    names = {row["name"] for row in answer["data"]}
    assert names - {"no room"} == {"before", "meanwhile", "job", "after"}


async def submitted(ks: keyscope.Keyscope) -> Job:
    """As a client with patience does it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await ks.jobs.submit("sales_channel.create", {"name": "job"}, command_id="again", timeout=2)
        except (keyscope.Timeout, keyscope.Unavailable):
            assert time.monotonic() < deadline, "JetStream stays stuck"


async def test_jetstream_that_starts_on_a_full_disk_uses_the_room_that_comes_later(tmp_path: Path) -> None:
    """Left to itself it takes three quarters of what is free at its start as its limit, for as long as it runs."""
    server = Nats(tmp_path)
    with small_disks(tmp_path / "jetstream") as disks:
        if not disks:
            pytest.skip("needs the right to mount")
        [disk] = disks.values()
        server.start()
        await publish(server, 1)
        server.stop()
        disk.fill()
        server.start()
        disk.drop()
        try:
            await publish(server, 10)
        finally:
            server.stop()


async def publish(server: Nats, times: int) -> None:
    client = await nats.connect(server.url)
    try:
        await client.jetstream().add_stream(name="S", subjects=["s"])
        for _ in range(times):
            await client.jetstream().publish("s", bytes(1_000))
    finally:
        await client.close()


def test_a_read_model_that_has_no_room_is_not_called_damaged(tmp_path: Path) -> None:
    """SQLite may roll a transaction back by itself then; apsw's own transactions tell nothing but that."""
    with small_disks(tmp_path / "data") as disks:
        if not disks:
            pytest.skip("needs the right to mount")
        [disk] = disks.values()
        for left in range(0, 100_000, 4_096):
            disk.fill(left)
            with pytest.raises((apsw.FullError, apsw.IOError)):
                open_writer(disk.path / f"{left}.db").close()
            disk.drop()
