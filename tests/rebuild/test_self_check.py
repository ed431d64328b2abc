"""The read node notices by itself when its rows are not as the events say."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import keyscope
from projections.database import versioned
from services.bus.measures import CHECKS, SELF_CHECKED
from services.query import selfcheck
from services.query.selfcheck import NAME
from services.runtime import rebuild as rebuilding
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until


@pytest.fixture
async def service(nats_server: Nats, tmp_path: Path) -> AsyncIterator[Service]:
    running = Service(nats_server.url, tmp_path / "data", self_check_seconds=0.01)
    SELF_CHECKED.values.clear()
    await running.start()
    yield running
    await running.stop()


def counted(result: str) -> float:
    return SELF_CHECKED.values[(result,)]


def change(service: Service, statement: str) -> None:
    connection = apsw.Connection(str(versioned(service.settings.read_model_path)))
    connection.set_busy_timeout(5_000)
    connection.execute(statement)
    connection.close()


def pair(key: Any, channel: Any) -> Any:
    return {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}


async def fill(ks: keyscope.Keyscope) -> tuple[list[Any], list[Any]]:
    keys = await ks.api_keys.create([{"title": f"K{n}", "type": "publishable"} for n in range(3)])
    channels = await ks.sales_channels.create([{"name": f"C{n}", "metadata": {"n": n}} for n in range(3)])
    await ks.link.create([pair(key, channel) for key in keys for channel in channels])
    return list(keys), list(channels)


async def test_it_finds_nothing_while_everything_changes(service: Service, ks: keyscope.Keyscope) -> None:
    keys, channels = await fill(ks)
    before = SELF_CHECKED.values.copy()
    while sum(SELF_CHECKED.values.values()) < sum(before.values()) + 100:
        await ks.link.dismiss([pair(keys[0], channels[0])])
        await ks.sales_channels.delete([channels[1]["id"]])
        await ks.link.create([pair(keys[0], channels[0])])
        await ks.sales_channels.restore([channels[1]["id"]])
        await ks.api_keys.update(keys[2]["id"], {"title": "again"})
        seen = counted("equal")
        await until(lambda: counted("equal") > seen)  # noqa: B023 - and so not all of them while something changes
    assert counted("different") == 0
    assert CHECKS[NAME]() is None


WRONG = {
    "UPDATE api_key SET title = 'other'": "api_key apk_",
    "DELETE FROM api_key": "api_key apk_",
    "UPDATE link SET deleted_at = created_at": "link apk_",
    "DELETE FROM link": "link apk_",
    "UPDATE sales_channel SET name = 'other'": "sales_channel sc_",
    "UPDATE link SET deleted_at = NULL WHERE deleted_at IS NOT NULL": "link apk_",
}


@pytest.mark.parametrize("statement", WRONG)
async def test_it_finds_what_is_wrong(statement: str, service: Service, ks: keyscope.Keyscope) -> None:
    keys, channels = await fill(ks)
    await ks.link.dismiss([pair(key, channels[2]) for key in keys])
    await ks.query.graph(entity="api_key", fields=["id"])  # it is applied
    await until(lambda: counted("equal") > 0)
    change(service, statement)
    await until(lambda: CHECKS[NAME]() is not None)
    problem = CHECKS[NAME]()
    assert problem is not None
    assert problem.startswith(WRONG[statement])
    assert "not as the events say" in problem
    rebuilt = await rebuilding.rebuild(service.settings, patience=20, progress=lambda *_: None)
    assert rebuilt.in_use
    assert CHECKS[NAME]() is None
    before = counted("equal")
    await until(lambda: counted("equal") > before + 10)
    assert CHECKS[NAME]() is None


async def test_a_long_history_costs_no_more_than_a_short_one(service: Service, ks: keyscope.Keyscope) -> None:
    """The last event of each kind tells all, and nothing else is sent."""
    keys, channels = await fill(ks)
    for n in range(30):
        for channel in channels:
            await ks.sales_channels.update(channel["id"], {"name": f"N{n}"})
        await ks.link.dismiss([pair(key, channels[0]) for key in keys])
        await ks.link.create([pair(key, channels[0]) for key in keys])
    await ks.query.graph(entity="api_key", fields=["id"])  # they are applied
    before = counted("equal")
    await until(lambda: counted("equal") > before + 20)
    assert (counted("different"), CHECKS[NAME]()) == (0, None)
    consumers = await ks.nats.jetstream().consumers_info("KEYSCOPE_EVENTS")
    checks = [info for info in consumers if info.config.filter_subjects]
    assert all(info.delivered.consumer_seq <= 20 for info in checks if info.delivered)


async def test_a_key_that_is_too_much_is_passed_over(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not compared whole is not compared."""
    monkeypatch.setattr(selfcheck, "MOST_EVENTS", 3)
    await fill(ks)
    before = counted("passed over")
    await until(lambda: counted("passed over") > before + 20)
    assert (counted("different"), CHECKS[NAME]()) == (0, None)
    monkeypatch.setattr(selfcheck, "MOST_EVENTS", 2_500)
    monkeypatch.setattr(selfcheck, "FETCH", 2)
    before = counted("equal")
    await until(lambda: counted("equal") > before + 10)
    assert (counted("different"), CHECKS[NAME]()) == (0, None)


async def test_it_leaves_no_consumers_behind(service: Service, ks: keyscope.Keyscope) -> None:
    await fill(ks)
    await until(lambda: counted("equal") > 50)
    there = await ks.nats.jetstream().consumers_info("KEYSCOPE_EVENTS")
    assert len(there) <= 2, "the read model's, and that of the check which is going on"


async def test_it_can_be_switched_off(nats_server: Nats, tmp_path: Path) -> None:
    CHECKS.pop(NAME, None)
    running = Service(nats_server.url, tmp_path / "data", self_check_seconds=0)
    await running.start()
    await asyncio.sleep(0.1)
    await running.stop()
    assert NAME not in CHECKS
