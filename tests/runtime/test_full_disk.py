"""What a full disk does to those who write, and that they go on by themselves when there is room again.

Limits on the size of files stand for the full disk, which anybody may set; the fault run fills real ones.
"""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import nats
import pytest

import keyscope
from keyscope.jobs import Job
from projections.database import open_writer
from tests.production.replica import Replica
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


COMMANDS: Mapping[str, object] = {
    "sales_channel.create": {"id": "sc_new", "name": "Web"},
    "sales_channel.delete": "sc_1",
    "api_key.create": {"title": "Web", "type": "publishable", "created_by": "u"},
    "api_key.create ": {"title": "Server", "type": "secret", "created_by": "u"},
    "api_key.update": {"id": "apk_1", "update": {"title": "New"}},
    "link.create": {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_1"}},
}


async def test_commands_and_their_log_have_no_room(nats_server: Nats, tmp_path: Path) -> None:
    """Every command is told to come again, and nothing else; a log that cannot be written is no reason to end."""
    replica = Replica("commands", tmp_path / "data", {"NATS_URL": nats_server.url}).start().wait_ready()
    client = await nats.connect(nats_server.url)

    async def reply(name: str, body: object) -> Any:
        text = json.dumps(body).encode()
        return json.loads((await client.request(f"keyscope.cmd.{name.strip()}", text, timeout=20)).data)

    try:
        await reply("sales_channel.create", {"id": "sc_1", "name": "Web"})
        await reply("api_key.create", {"id": "apk_1", "title": "Web", "type": "publishable", "created_by": "u"})
        with full_for(replica.process.pid):
            for name, body in COMMANDS.items():
                error = (await reply(name, body))["error"]
                assert set(error) - {"unconfirmed"} == {"type", "message", "retry_after_ms"}, error
                assert (error["type"], error["retry_after_ms"]) == ("unavailable", 250)
                assert error["message"] in (
                    "the event store did not confirm the command: try again with the same command id",
                    "the event store cannot be used now: try again",
                )
        for name, body in COMMANDS.items():
            answer = await reply(name, body)
            assert answer.get("error", {}).get("type") in (None, "not_found", "not_allowed"), answer
        assert (await reply("sales_channel.create", {"name": "App"}))["position"] > 2
    finally:
        await client.close()
        assert replica.stop() == 0


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
