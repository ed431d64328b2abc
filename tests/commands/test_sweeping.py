"""Links of a channel that comes back while what went with it has not all gone yet."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import keyscope
from services.commands import sweeps, writer
from tests.support.nats import Nats
from tests.support.service import Service

KEYS = [f"k{n}" for n in range(6)]


def pair(key: str) -> Any:
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": "c"}}


@pytest.fixture
async def ks(
    nats_server: Nats, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[keyscope.Keyscope]:
    """Six keys linked with a channel that was deleted and restored; its sweeps stand still at the first key."""
    monkeypatch.setattr(sweeps, "STEP", 1)
    service = Service(nats_server.url, tmp_path / "data", event_store=store_url)
    await service.start()
    async with await service.connect(actor="tester") as ks:
        await ks.api_keys.create([{"id": key, "title": key, "type": "publishable"} for key in [*KEYS, "new"]])
        await ks.sales_channels.create({"id": "c", "name": "C"})
        await ks.link.create([pair(key) for key in KEYS])
        with monkeypatch.context() as standing:
            standing.setattr(writer.Writer, "_sweep", lambda _: time.sleep(0.01))
            await ks.sales_channels.soft_delete(["c"])
            await ks.sales_channels.restore(["c"])
            refused = await ks.nats.request("keyscope.cmd.link.create", json.dumps(pair("k5")).encode(), timeout=10)
            assert json.loads(refused.data)["error"]["type"] == "unavailable"
        yield ks
    await service.stop()


async def linked(ks: keyscope.Keyscope) -> list[str]:
    answer = await ks.query.graph(entity="api_key", fields=["id", "sales_channels.id"])
    return [row["id"] for row in answer["data"] if row["sales_channels"]]


@pytest.mark.parametrize("key", ["k5", "new"])
async def test_a_link_that_was_answered_is_there_and_stays(ks: keyscope.Keyscope, key: str) -> None:
    await ks.link.create(pair(key))
    assert key in await linked(ks)
    seen = [event async for event in ks.events.links(api_key_id=key, since="beginning", follow=False)]
    assert seen[-1].name == "link.created"
    assert set(KEYS) <= set(await linked(ks))


async def test_a_link_that_was_dismissed_stays_away(ks: keyscope.Keyscope) -> None:
    assert [row["publishable_key_id"] for row in await ks.link.dismiss(pair("k0"))] == ["k0"]
    await ks.link.create(pair("new"))
    assert await linked(ks) == [*KEYS[1:], "new"]


async def test_what_is_deleted_with_the_channels_links_stays_away(ks: keyscope.Keyscope) -> None:
    await ks.link.delete({"sales_channel": {"sales_channel_id": "c"}})
    await ks.link.create(pair("new"))
    assert await linked(ks) == ["new"]
