"""A PostgreSQL that goes back to an earlier state under running services: a standby that lagged takes over."""

import asyncio
from pathlib import Path

import pytest

import keyscope
from services.runtime.backup import new_epoch
from services.runtime.failures import Exit, Failure
from services.runtime.verify import verify
from services.store.application import open_store
from services.store.commit import LostEvents
from tests.store.test_store import channel, commit, recorded
from tests.support.nats import Nats
from tests.support.postgres import Postgres
from tests.support.service import Service


@pytest.fixture
def service(own_postgres: Postgres, nats_server: Nats, tmp_path: Path) -> Service:
    return Service(nats_server.url, tmp_path / "data", event_store=own_postgres.store())


def write_elsewhere(url: str, *ids: str) -> None:
    """What another replica does before the one that is looked at gets to it."""
    store = open_store(url)
    for id in ids:
        store.write(commit(recorded(1, channel(id)), known=store.recorder.position()))
    store.close()


def events(url: str) -> list[tuple[str, int]]:
    store = open_store(url)
    found = [(str(stored.originator_id), stored.originator_version) for _, stored in store.recorder.events_after(0, 99)]
    store.close()
    return found


@pytest.mark.parametrize("meanwhile", [(), ("sc_a",), ("sc_a", "sc_b"), ("sc_a", "sc_b", "sc_c")])
async def test_commands_are_not_carried_out_on_what_was_lost(
    own_postgres: Postgres, service: Service, meanwhile: tuple[str, ...]
) -> None:
    url = service.settings.event_store_url
    await service.start("commands")
    async with await service.connect() as ks:
        await ks.sales_channels.create({"id": "sc_kept", "name": "kept"})
        own_postgres.keep()
        await ks.sales_channels.create([{"id": "sc_0", "name": "lost"}, {"id": "sc_1", "name": "lost"}])
        own_postgres.fall_back()
        write_elsewhere(url, *meanwhile)
        with pytest.raises(keyscope.KeyscopeError):
            await ks.sales_channels.update("sc_0", {"name": "again"}, timeout=0.5)
        with pytest.raises(Failure, match="has lost the event at position 3") as ended:
            await service.stop()
        assert ended.value.exit == Exit.DIVERGED
        assert events(url) == [("sc_kept", 1), *((id, 1) for id in meanwhile)]
        await service.start("commands")  # knows nothing any more that is not there
        with pytest.raises(keyscope.NotFound):
            await ks.sales_channels.update("sc_0", {"name": "again"})
    await service.stop()


async def test_the_stream_is_not_continued_with_another_history(own_postgres: Postgres, service: Service) -> None:
    """The new events come at the very positions that the stream has, and after them, before the relay looks again."""
    await service.start()
    async with await service.connect() as ks:
        await ks.sales_channels.create({"id": "sc_kept", "name": "kept"})
        own_postgres.keep()
        await ks.sales_channels.create({"id": "sc_0", "name": "lost"})
        await ks.query.graph(entity="sales_channel", fields=["id"])
    own_postgres.fall_back()
    write_elsewhere(service.settings.event_store_url, "sc_a", "sc_b")
    with pytest.raises(Failure, match="has lost the event at position 2"):
        async with asyncio.timeout(30):
            await asyncio.gather(*service.tasks("relay"))
    with pytest.raises(Failure):
        await service.stop()
    with pytest.raises(Failure, match="which the event store does not have"):
        await service.start("relay")
    with pytest.raises(Failure):
        await service.stop()
    new_epoch(service.settings)
    await service.start()
    assert (await verify(service.settings, patience=15, progress=lambda done, total: None)).difference is None
    await service.stop()


def test_a_store_that_has_all_it_had_is_used_again(own_postgres: Postgres) -> None:
    url = own_postgres.store()
    store = open_store(url)
    store.write(commit(recorded(1, channel("sc_1"))))
    own_postgres.keep()
    assert store.recorder.position() == 1
    own_postgres.kill()
    own_postgres.start()
    assert store.recorder.position() == 1
    store.write(commit(recorded(1, channel("sc_2")), known=1))
    own_postgres.fall_back()
    for _ in range(2):
        with pytest.raises(LostEvents):
            store.recorder.position()
    store.close()
