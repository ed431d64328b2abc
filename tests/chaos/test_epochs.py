"""Backup and restore, and what happens when an older copy of the event store meets a stream that is ahead."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest

import keyscope
from services.runtime.backup import backup, new_epoch, restore
from services.runtime.failures import Exit, Failure
from services.runtime.verify import verify
from services.store.application import open_store
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.up import Up

Start = Callable[..., Up]


def no_progress(_: str, __: int, ___: int) -> None:
    pass


async def channels(service: Service, *names: str) -> None:
    async with await service.connect() as ks:
        await ks.sales_channels.create([{"name": name} for name in names])


async def seen(service: Service) -> list[str]:
    async with await service.connect() as ks:
        await ks.link.create([])  # what a new client has seen is nothing; now it knows the position
        answer = await ks.query.graph(entity="sales_channel", fields=["name"])
        return sorted(row["name"] for row in answer["data"])


async def agree(service: Service) -> None:
    verdict = await verify(service.settings, patience=15, progress=lambda done, total: None)
    assert verdict.difference is None


def event_store(service: Service) -> Path:
    return Path(service.settings.event_store_url.removeprefix("sqlite:///"))


def put_back(service: Service, copy: Path) -> None:
    """What somebody does who does not know `keyscope restore`."""
    here = event_store(service)
    for file in here.parent.glob(f"{here.name}*"):
        file.unlink()
    shutil.copy(copy, here)


async def test_a_backup_while_it_works(service: Service, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    async def load() -> None:
        for number in range(200):
            await ks.sales_channels.create({"name": str(number)})

    loading = asyncio.create_task(load())
    positions = [await asyncio.to_thread(backup, service.settings, tmp_path / f"{n}.db", no_progress) for n in range(5)]
    await loading
    assert positions == sorted(positions)
    for number, position in enumerate(positions):
        copy = open_store(f"sqlite:///{tmp_path / f'{number}.db'}")
        assert [row[0] for row in copy.recorder.notifications(0, 1_000)] == list(range(1, position + 1))
        copy.close()


async def test_an_empty_machine_gets_everything_back(
    service: Service, make_nats: Callable[..., Nats], tmp_path: Path
) -> None:
    await channels(service, "a", "b", "c")
    backup(service.settings, tmp_path / "copy.db", no_progress)
    other = Service(make_nats().url, tmp_path / "other")
    assert restore(other.settings, tmp_path / "copy.db", no_progress)[0] == 3
    await other.start()
    assert await seen(other) == ["a", "b", "c"]
    await channels(other, "d")
    await agree(other)
    await other.stop()


async def test_an_older_copy_on_the_old_machine(service: Service, tmp_path: Path) -> None:
    """Stream and read model are ahead of what is restored: both are made anew."""
    await channels(service, "a", "b")
    backup(service.settings, tmp_path / "copy.db", no_progress)
    await channels(service, "lost", "lost too")
    await agree(service)
    await service.stop()
    here = event_store(service)
    for file in here.parent.glob(f"{here.name}*"):
        file.unlink()
    restore(service.settings, tmp_path / "copy.db", no_progress)
    await service.start()
    await channels(service, "c", "d", "e")
    await agree(service)
    assert await seen(service) == ["a", "b", "c", "d", "e"]


async def test_a_read_node_that_was_away_meanwhile(service: Service, tmp_path: Path) -> None:
    """Its read model is ahead, and the new events have positions that it knows already."""
    await channels(service, "a")
    backup(service.settings, tmp_path / "copy.db", no_progress)
    await channels(service, "lost", "lost too")
    await agree(service)
    await service.stop()
    here = event_store(service)
    for file in here.parent.glob(f"{here.name}*"):
        file.unlink()
    restore(service.settings, tmp_path / "copy.db", no_progress)
    await service.start("commands", "relay")
    await channels(service, "b", "c", "d", "e")
    await service.start("query")
    await agree(service)
    assert await seen(service) == ["a", "b", "c", "d", "e"]


async def test_a_running_read_node_follows_into_the_new_epoch(service: Service, tmp_path: Path) -> None:
    await channels(service, "a", "b")
    await agree(service)
    store = open_store(service.settings.event_store_url)
    store.recorder.new_epoch()
    store.close()
    await asyncio.sleep(3)  # the relay looks every two seconds
    await channels(service, "c")
    await agree(service)
    assert await seen(service) == ["a", "b", "c"]


@pytest.mark.parametrize("more", [(), ("other",), ("other", "others", "and more")])
async def test_an_older_copy_put_back_by_hand_is_refused(
    service: Service, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """`more` is what is written before the relay sees it: the stream is ahead, or has another event at its end."""
    await channels(service, "a")
    backup(service.settings, tmp_path / "copy.db", no_progress)
    await channels(service, "lost")
    await agree(service)
    await service.stop()
    put_back(service, tmp_path / "copy.db")
    await service.start("commands")
    if more:
        await channels(service, *more)
    await service.stop()
    with pytest.raises(Failure, match=r"older copy of the store been put back\? `keyscope new-epoch`") as refused:
        await Service(service.settings.nats_url, service.settings.data_dir).start("relay")
    assert refused.value.exit == Exit.DIVERGED
    stream: Any = await _stream(service)
    assert stream.state.messages == 2  # untouched

    new_epoch(service.settings)
    await service.start()
    await agree(service)
    assert await seen(service) == sorted(["a", *more])


async def test_the_stream_of_another_store_is_left_alone(service: Service, tmp_path: Path) -> None:
    await channels(service, "a")
    await agree(service)
    await service.stop()
    other = Service(service.settings.nats_url, tmp_path / "other")
    with pytest.raises(Failure, match="another event store"):
        await other.start("relay")
    await service.start()
    await agree(service)


def test_restoring_over_a_store_is_refused(tmp_path: Path) -> None:
    service = Service("nats://127.0.0.1:4222", tmp_path / "data")
    open_store(service.settings.event_store_url).close()
    backup(service.settings, tmp_path / "copy.db", no_progress)
    with pytest.raises(Failure, match="already: move it away"):
        restore(service.settings, tmp_path / "copy.db", no_progress)
    with pytest.raises(Failure, match="there already: give the copy another name"):
        backup(service.settings, tmp_path / "copy.db", no_progress)
    (tmp_path / "rubbish.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Failure, match="no copy of an event store"):
        restore(Service("nats://127.0.0.1:4222", tmp_path / "new").settings, tmp_path / "rubbish.db", no_progress)


def test_keyscope_up_says_it_and_ends(keyscope_up: Start, tmp_path: Path) -> None:
    from services.runtime.settings import Settings

    settings = Settings(data_dir=tmp_path / "up")

    async def one_more(url: str) -> None:
        async with await keyscope.connect(url) as ks:
            await ks.sales_channels.create({"name": "x"})
            await ks.query.graph(entity="sales_channel", fields=["id"])

    up = keyscope_up().wait_ready()
    asyncio.run(one_more(up.url))
    backup(settings, tmp_path / "copy.db", no_progress)
    asyncio.run(one_more(up.url))
    up.stop()
    for file in (tmp_path / "up").glob("events.db*"):
        file.unlink()
    shutil.copy(tmp_path / "copy.db", tmp_path / "up" / "events.db")

    up = keyscope_up()
    assert up.wait() == Exit.DIVERGED
    assert "`keyscope new-epoch` lets the stream and the read models be made anew" in up.errors
    assert "Traceback" not in up.errors


async def _stream(service: Service) -> object:
    client = await nats.connect(service.settings.nats_url)
    info = await client.jetstream().stream_info("KEYSCOPE_EVENTS")
    await client.close()
    return info


async def test_a_client_that_was_there_all_the_time(service: Service, tmp_path: Path) -> None:
    """The new events have positions that it has passed: a key that is revoked then must not be good for it."""
    async with await service.connect(actor="ann") as ks, await service.connect(actor="bob") as there:
        key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
        backup(service.settings, tmp_path / "copy.db", no_progress)
        await channels(service, "lost", "lost too", "and more", "and more")
        await agree(service)
        storefront = await there.storefront(stale_after=0.5)
        events, durable = there.events.all(), there.events.all(since="beginning", durable="books")
        async with storefront, events, durable:
            assert [(await anext(durable)).position for _ in range(5)] == [1, 2, 3, 4, 5]
            await storefront.load(key["token"])
            await service.stop()
            here = event_store(service)
            for file in here.parent.glob(f"{here.name}*"):
                file.unlink()
            restore(service.settings, tmp_path / "copy.db", no_progress)
            await service.start()
            async with await service.connect(actor="cyd") as after:
                await after.api_keys.revoke(key["id"], {"revoked_by": "cyd"})
            for subscription in (events, durable):
                with pytest.raises(keyscope.Conflict, match="begin anew"):
                    async with asyncio.timeout(25):
                        await anext(subscription)
            async with asyncio.timeout(30):
                while not storefront.fresh:
                    await asyncio.sleep(0.05)
            assert storefront.resolve(key["token"]) is None
            with pytest.raises(keyscope.NotAllowed):
                await storefront.load(key["token"])
            await channels(service, "of the new history")
            for subscription in (events, durable):
                with pytest.raises(keyscope.Conflict):  # and nothing of the new one
                    await anext(subscription)
            assert len((await there.query.graph(entity="api_key", fields=["id"]))["data"]) == 1
