"""The writer's memory of aggregates: what is not in the store must not be in it either."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import OperationalError

import keyscope
from events.base import UnknownEvent
from services.commands import cache, writer
from services.store.application import Store
from tests.commands.conftest import Requests
from tests.support.nats import Nats
from tests.support.service import Service


def pair(key: str, channel: str) -> dict[str, Any]:
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


def key(id: str) -> dict[str, Any]:
    return {"id": id, "title": "K", "type": "publishable", "created_by": "ann"}


@pytest.fixture
async def requests(requests: Requests) -> Requests:
    await requests.send("api_key.create", [key(f"k{n}") for n in range(10)])
    await requests.send("sales_channel.create", [{"id": f"c{n}", "name": "C"} for n in range(10)])
    return requests


@pytest.fixture
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.AggregateCache.__init__, "__defaults__", (4,))


async def test_a_command_on_more_aggregates_than_are_kept(few_are_kept: None, requests: Requests) -> None:
    """A pair that is dismissed and created in one batch ends up linked, whatever is between the two."""
    await requests.send("link.create", pair("k0", "c0"))
    many = [pair(f"k{n}", f"c{n}") for n in range(1, 10)]
    reply = await requests.send("link.batch", {"dismiss": [pair("k0", "c0")], "create": [*many, pair("k0", "c0")]})
    assert [row["deleted_at"] for row in reply["data"]["created"]] == [None] * 10
    dismissed = await requests.send("link.dismiss", pair("k0", "c0"))
    assert [row["sales_channel_id"] for row in dismissed["data"]] == ["c0"]


@pytest.mark.parametrize("error", [OperationalError("gone"), UnknownEvent("of a newer release")])
async def test_a_store_that_fails_while_a_command_is_undone(
    requests: Requests, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What was not stored is not remembered, so it is done when it is asked for again."""

    def fails(*_: Any) -> Any:
        raise error

    refused = [pair("k0", "c0"), pair("k1", "c1"), pair("k0", "c_nope")]
    with monkeypatch.context() as patch:
        patch.setattr(Store, "load", fails)
        replies = await asyncio.gather(
            requests.send("link.create", pair("k0", "c5")),
            requests.send("link.create", pair("k5", "c5")),
            requests.send("link.create", refused),
            requests.send("link.create", pair("k1", "c5")),
        )
    assert "error" in replies[2]
    for reply, (key, channel) in zip(replies, [("k0", "c5"), ("k5", "c5"), ("k1", "c1"), ("k1", "c5")], strict=True):
        done = "data" in reply
        dismissed = await requests.send("link.dismiss", pair(key, channel))
        assert len(dismissed["data"]) == done, (reply, dismissed)


async def test_a_bug_in_a_sweep_does_not_keep_commands_waiting(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "step_sweep", fails)
        await requests.send("link.create", pair("k0", "c0"))
        await requests.send("sales_channel.soft_delete", "c0")
        assert "data" in await requests.send("link.create", pair("k1", "c1"))
        assert "data" in await requests.send("link.create", pair("k2", "c2"))


async def test_a_writer_that_ends_ends_the_service(
    nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be answered any more; whoever supervises it starts it again."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("a bug")

    service = Service(nats_server.url, tmp_path / "data")
    await service.start("commands")
    monkeypatch.setattr(writer.Writer, "_follow_others", fails)
    async with await service.connect() as ks:
        with pytest.raises(keyscope.KeyscopeError):
            await ks.api_keys.create({"title": "x", "type": "publishable"}, actor="a", timeout=0.5)
    with pytest.raises(RuntimeError, match="a bug"):
        async with asyncio.timeout(30):
            await asyncio.gather(*service._tasks)
