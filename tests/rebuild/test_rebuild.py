"""`keyscope rebuild`: nobody who asks or commands notices, and no crash leaves anything but the old or the new one."""

import asyncio
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import keyscope
import projections.database
import projections.schema
from keyscope.errors import KeyscopeError
from projections.database import generation, generations
from projections.projector import Projector
from services.bus.measures import CHECKS
from services.query import succession
from services.runtime import rebuild as rebuilding
from services.runtime.failures import Exit, Failure
from services.runtime.verify import verify
from tests.support.service import Service
from tests.support.until import until
from tests.support.up import Up

KEYS = 40


def no_progress(_: str, __: int, ___: int) -> None:
    pass


async def fill(ks: keyscope.Keyscope) -> tuple[list[str], list[str]]:
    keys = await ks.api_keys.create([{"title": f"K{n}", "type": "publishable"} for n in range(KEYS)])
    channels = await ks.sales_channels.create([{"name": f"C{n}"} for n in range(5)])
    await ks.link.create([pair(key["id"], channel["id"]) for key in keys for channel in channels])
    return [key["id"] for key in keys], [channel["id"] for channel in channels]


def pair(key: str, channel: str) -> Any:
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


async def shown(ks: keyscope.Keyscope) -> Any:
    return (await ks.query.graph(entity="api_key", fields=["*", "sales_channels.*"]))["data"]


def spoil(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE api_key SET title = 'wrong'")
    connection.close()


def command(data: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "keyscope", "rebuild", f"--data-dir={data}", f"--nats-url={url}"]


async def run(data: Path, url: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(subprocess.run, command(data, url), capture_output=True, text=True, timeout=100)


async def test_nobody_notices(keyscope_up: Callable[..., Up], tmp_path: Path) -> None:
    """Queries with their positions and commands go on; what was wrong in the old file is right in the new one."""
    data = tmp_path / "up"
    up = keyscope_up(data_dir=data).wait_ready()
    async with keyscope.connect(up.url, actor="a") as ks:
        keys, channels = await fill(ks)
        done = False
        asked = 0

        async def asking(key: str) -> None:
            nonlocal asked
            while not done:
                await ks.link.dismiss([pair(key, channels[0])])
                await ks.link.create([pair(key, channels[0])])  # the next query waits for its position
                found = await ks.query.graph(entity="api_key", fields=["sales_channels.id"], filters={"id": key})
                assert len(found["data"][0]["sales_channels"]) == len(channels)
                asked += 1

        asking_all = [asyncio.create_task(asking(key)) for key in keys[:8]]
        for number in (1, 2):
            before = asked
            ran = await run(data, up.url)
            assert ran.returncode == 0, ran.stderr
            assert re.search(rf"graph-v\d+-{number}\.db: built from the events up to position \d+", ran.stdout)
            assert [*generations(data / "graph.db")] == [number]
            assert asked > before
        done = True
        await asyncio.gather(*asking_all)
        spoil(generation(data / "graph.db", 2))
        assert {key["title"] for key in await shown(ks)} == {"wrong"}
        assert (await run(data, up.url)).returncode == 0
        assert {key["title"] for key in await shown(ks)} == {f"K{n}" for n in range(KEYS)}
    assert up.stop() == 0
    assert "Traceback" not in up.errors
    assert not [file for file in data.iterdir() if ".new" in file.name]


STEPS: dict[str, tuple[Any, str]] = {
    "half built": (rebuilding, "_caught_up"),
    "before it is verified": (rebuilding, "_verify"),
    "before it has its name": (rebuilding, "remove"),
    "before the service goes over": (rebuilding, "_in_use"),
}


@pytest.mark.parametrize("step", STEPS)
async def test_killed_while_building(step: str, service: Service, ks: keyscope.Keyscope) -> None:
    """A process of its own is killed at the step: the service answers as before, and a second rebuild succeeds."""
    await fill(ks)
    before = await shown(ks)
    settings = service.settings
    module, name = STEPS[step]
    nth = 2 if name == "remove" else 1
    script = f"""
import asyncio, os, signal
from {module.__name__} import rebuild
import {module.__name__} as module
from services.runtime.settings import load
from pathlib import Path
calls = 0
def die(*_):
    global calls
    calls += 1
    if calls >= {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
module.{name} = die
settings = load(nats_url={settings.nats_servers[0]!r}, data_dir=Path({str(settings.data_dir)!r}))
asyncio.run(rebuild(settings, patience=1, progress=lambda *_: None))
"""
    died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert await shown(ks) == before
    rebuilt = await rebuilding.rebuild(settings, patience=20, progress=no_progress)
    assert (rebuilt.in_use, rebuilt.difference) == (True, None)
    assert await shown(ks) == before
    assert list(generations(settings.read_model_path).values()) == [rebuilt.path]


@pytest.mark.parametrize("name", ["ReadModel", "_remove_before"])
async def test_the_service_killed_while_going_over(
    name: str, service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the new one is used, and before the old one is gone: the next start uses the new one."""
    await fill(ks)
    before = await shown(ks)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stands_still(*_: Any) -> Any:
        loop.call_soon_threadsafe(reached.set)
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(succession, name, stands_still)
        building = asyncio.create_task(rebuilding.rebuild(service.settings, patience=1, progress=no_progress))
        await reached.wait()
        assert not (await building).in_use
        assert await shown(ks) == before  # it stays with what it has
        await service.stop()
    await service.start()
    assert await shown(ks) == before
    assert len(generations(service.settings.read_model_path)) == 1


async def test_one_that_differs_is_not_used(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(ks)
    before = await shown(ks)
    build = rebuilding._build

    async def badly(client: Any, subjects: Any, building: Path, progress: Any) -> int:
        position = await build(client, subjects, building, progress)
        spoil(building)
        return position

    monkeypatch.setattr(rebuilding, "_build", badly)
    rebuilt = await rebuilding.rebuild(service.settings, patience=1, progress=no_progress)
    assert rebuilt.difference is not None
    assert "the new read model has title 'wrong'" in rebuilt.difference
    assert [*generations(service.settings.read_model_path)] == [0]
    assert await shown(ks) == before


async def test_one_that_is_damaged_afterwards_is_left_alone(service: Service, ks: keyscope.Keyscope) -> None:
    await fill(ks)
    before = await shown(ks)
    generation(service.settings.read_model_path, 1).write_bytes(b"no database" * 1_000)
    await asyncio.sleep(3 * succession.LOOK_SECONDS)
    assert await shown(ks) == before
    generation(service.settings.read_model_path, 1).unlink()
    assert (await rebuilding.rebuild(service.settings, patience=20, progress=no_progress)).in_use


async def test_a_full_disk_delays_going_over(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(ks)
    opened = iter([apsw.FullError("database or disk is full")])

    def open_projector(path: Path) -> Projector:
        for error in opened:
            raise error
        return Projector(path)

    monkeypatch.setattr(succession, "Projector", open_projector)
    assert (await rebuilding.rebuild(service.settings, patience=10, progress=no_progress)).in_use


async def test_one_whose_log_could_not_be_folded_is_not_used(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says nothing when it closes a file and the disk has no room to fold the log into it."""

    def unfolded(path: Path) -> Projector:
        projector = Projector(path)
        projector._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return projector

    await fill(ks)
    before = await shown(ks)
    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "Projector", unfolded)
        with pytest.raises(Failure, match="the disk is full") as failure:
            await rebuilding.rebuild(service.settings, patience=3, progress=no_progress)
    assert failure.value.exit is Exit.NO_ROOM
    assert [*generations(service.settings.read_model_path)] == [0]
    assert await shown(ks) == before


async def test_a_follower_says_that_its_disk_is_full(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Projector, "apply", full)
        await ks.sales_channels.create({"name": "Web"})
        await until(lambda: "cannot be written (database or disk is full)" in (CHECKS["read model"]() or ""))
    await until(lambda: CHECKS["read model"]() is None)
    assert (await ks.query.graph(entity="sales_channel", fields=["name"]))["data"] == [{"name": "Web"}]


async def test_one_that_comes_while_the_service_goes_over_is_the_next(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a rebuild was killed at its end, and is started again at once."""
    await fill(ks)
    here = service.settings.read_model_path
    reached, go_on = asyncio.Event(), threading.Event()
    loop, remove_before = asyncio.get_running_loop(), succession._remove_before

    def stands_still(database: Path, path: Path) -> None:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(20)
        remove_before(database, path)

    monkeypatch.setattr(succession, "_remove_before", stands_still)
    one = await rebuilding.rebuild(service.settings, patience=0, progress=no_progress)
    await reached.wait()
    other = asyncio.create_task(rebuilding.rebuild(service.settings, patience=20, progress=no_progress))
    await until(lambda: generation(here, 2).exists())
    go_on.set()
    rebuilt = await other
    assert (one.path, rebuilt.path, rebuilt.in_use) == (generation(here, 1), generation(here, 2), True)


async def test_while_no_service_runs(service: Service, ks: keyscope.Keyscope) -> None:
    await fill(ks)
    before = await shown(ks)
    await service.stop()
    rebuilt = await rebuilding.rebuild(service.settings, patience=1, progress=no_progress)
    assert rebuilt.in_use
    assert [*generations(service.settings.read_model_path)] == [1]
    await service.start()
    assert await shown(ks) == before
    agreed = await verify(service.settings, patience=10, progress=lambda _, __: None)
    assert agreed.difference is None


async def test_for_the_next_release(service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of a release with another schema builds its own beside; the older one answers all the time."""
    await fill(ks)
    before = await shown(ks)
    mine = generation(service.settings.read_model_path, 0)
    with monkeypatch.context() as patch:
        for module in (projections.database, projections.schema):
            patch.setattr(module, "VERSION", projections.schema.VERSION + 1)
        rebuilt = await rebuilding.rebuild(service.settings, patience=1, progress=no_progress)
        assert (rebuilt.in_use, rebuilt.path) == (True, generation(service.settings.read_model_path, 0))
    assert rebuilt.path != mine
    assert mine.exists()
    assert await shown(ks) == before


async def test_without_a_stream(service: Service, ks: keyscope.Keyscope) -> None:
    await service.stop()
    await ks.nats.jetstream().delete_stream("KEYSCOPE_EVENTS")
    with pytest.raises(Failure, match="does the relay run") as refused:
        await rebuilding.rebuild(service.settings, patience=1, progress=no_progress)
    assert refused.value.exit == Exit.DIVERGED


async def test_two_at_once(service: Service, ks: keyscope.Keyscope) -> None:
    await fill(ks)
    one, other = await asyncio.gather(
        *(run(service.settings.data_dir, service.settings.nats_servers[0]) for _ in range(2))
    )
    codes = sorted((one.returncode, other.returncode))
    assert codes in ([0, 0], [0, Exit.IN_USE])
    await until(lambda: len(generations(service.settings.read_model_path)) == 1)
    with pytest.raises(KeyscopeError):
        await ks.query.graph(entity="nothing", fields=["id"])
