"""An empty machine gets store, stream and read model back from a copy, whatever database either of the two uses."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyscope import Keyscope
from services.runtime import backup as module
from services.runtime.backup import backup, restore
from services.runtime.verify import verify
from services.store import copying
from services.store.application import open_store
from tests.backup.conftest import Stores, history, keyscope
from tests.support.nats import Nats
from tests.support.service import Service

KINDS = ["sqlite", "postgresql"]


def no_progress(_: str, __: int, ___: int) -> None:
    pass


async def agreed(service: Service) -> tuple[int, str]:
    verdict = await verify(service.settings, patience=15, progress=lambda _, __: None)
    assert verdict.difference is None
    [digest] = set(verdict.digests.values())
    return verdict.position, digest


async def change(ks: Keyscope) -> None:
    """One of everything that a store keeps: a secret key's hash, links, a sweep and what it has done, outcomes."""
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    await ks.api_keys.create({"title": "Server", "type": "secret"})
    channels = await ks.sales_channels.create([{"name": name, "metadata": {"é": [1]}} for name in "abc"])
    pairs: list[Any] = [
        {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}
        for channel in channels
    ]
    await ks.link.create(pairs)
    await ks.link.dismiss(pairs[0])
    await ks.sales_channels.delete([channels[1]["id"]])


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
async def test_on_an_empty_machine(
    here: str, there: str, stores: Stores, make_nats: Callable[..., Nats], tmp_path: Path
) -> None:
    service = Service(make_nats().url, tmp_path / "here", event_store=stores(here))
    await service.start()
    async with await service.connect(actor="tester") as ks:
        await change(ks)
        answered = await ks.command("api_key.create", {"title": "Once", "type": "publishable"}, command_id="cmd_once")
    before = await agreed(service)
    copy = tmp_path / "copy.db"
    done = await asyncio.to_thread(keyscope, service.settings.event_store_url, tmp_path / "here", "backup", str(copy))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{copy}: the event store at position {before[0]}\n"
    await service.stop()

    url = stores(there)
    other = Service(make_nats().url, tmp_path / "there", event_store=url)
    done = await asyncio.to_thread(keyscope, url, tmp_path / "there", "restore", str(copy))
    assert done.returncode == 0, done.stderr
    assert f"the event store is at position {before[0]}, in epoch " in done.stdout
    await other.start()
    assert await agreed(other) == before
    assert history(url) == history(service.settings.event_store_url)
    async with await other.connect(actor="tester") as ks:
        again = await ks.command("api_key.create", {"title": "Once", "type": "publishable"}, command_id="cmd_once")
        assert again == answered
        await change(ks)
    assert (await agreed(other))[0] > before[0]
    await other.stop()

    done = await asyncio.to_thread(keyscope, url, tmp_path / "there", "restore", str(copy))
    assert done.returncode == 75, done.stderr
    assert "already" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_while_it_works_is_of_one_instant(
    kind: str, stores: Stores, nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it is made: a write comes between any two of its steps."""
    monkeypatch.setattr(module, "PAGES", 1)
    monkeypatch.setattr(copying, "BATCH", 5)
    service = Service(nats_server.url, tmp_path / "data", event_store=stores(kind))
    await service.start()
    async with await service.connect(actor="tester") as ks:
        await change(ks)
        loop = asyncio.get_running_loop()
        told: list[tuple[int, int]] = []

        def write(_: str, done: int, total: int) -> None:
            told.append((done, total))
            one_more = ks.sales_channels.create({"name": "meanwhile"})
            asyncio.run_coroutine_threadsafe(one_more, loop).result(20)

        position = await asyncio.to_thread(backup, service.settings, tmp_path / "copy.db", write)
        assert ks.position is not None
        assert ks.position >= position + len(told) > position + 5
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    copied = history(f"sqlite:///{tmp_path / 'copy.db'}")
    assert copied == history(service.settings.event_store_url)[:position]
    store = open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    assert len(store.recorder.outcomes(["nothing"])) == 0
    store.close()
    await service.stop()


async def test_between_the_two_databases_and_back(stores: Stores, nats_server: Nats, tmp_path: Path) -> None:
    """Copies of copies are the same, but for the epoch that each begins."""
    first, second, third = stores("sqlite"), stores("postgresql"), stores("sqlite")
    service = Service(nats_server.url, tmp_path / "data", event_store=first)
    await service.start()
    async with await service.connect(actor="tester") as ks:
        await change(ks)
    await service.stop()
    for number, (one, other) in enumerate([(first, second), (second, third)]):
        copy = tmp_path / f"{number}.db"
        backup(Service(nats_server.url, tmp_path / "data", event_store=one).settings, copy, no_progress)
        restore(Service(nats_server.url, tmp_path / "data", event_store=other).settings, copy, no_progress)
        assert history(one) == history(other)
        old, new = open_store(one), open_store(other)
        assert new.recorder.epoch().previous == old.recorder.epoch().id
        old.close()
        new.close()
