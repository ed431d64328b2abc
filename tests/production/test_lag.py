"""A relay or a read model that falls behind says so in /readyz, and no longer once it has caught up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

import keyscope
from events.subjects import EVENTS_STREAM
from projections.database import versioned
from services.bus.measures import CHECKS
from services.query import service as query
from services.relay import service as relay
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until


@pytest.fixture
async def service(nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(query, "MOST_BEHIND", 50)
    monkeypatch.setattr(relay, "MOST_BEHIND", 50)
    running = Service(nats_server.url, tmp_path / "data")
    await running.start()
    yield running
    await running.stop()


async def _many(ks: keyscope.Keyscope, count: int) -> None:
    await ks.sales_channels.create([{"name": f"C{number}"} for number in range(count)])


async def test_a_relay_that_may_not_write(service: Service, ks: keyscope.Keyscope) -> None:
    await _many(ks, 10)
    await until(lambda: CHECKS["relay"]() is None and CHECKS["read model"]() is None)
    js = ks.nats.jetstream()
    config = (await js.stream_info(EVENTS_STREAM)).config
    held = (await js.stream_info(EVENTS_STREAM)).state.messages
    await js.update_stream(config.evolve(max_msgs=held, discard="new"))
    await _many(ks, 60)
    await until(lambda: CHECKS["relay"]() == "60 events behind")
    await js.update_stream(config)
    await until(lambda: CHECKS["relay"]() is None)


async def test_a_read_model_that_cannot_be_written(service: Service, ks: keyscope.Keyscope) -> None:
    await _many(ks, 1)
    await ks.query.graph(entity="sales_channel", fields=["id"])
    assert CHECKS["read model"]() is None
    other = apsw.Connection(str(versioned(service.settings.read_model_path)))
    other.execute("BEGIN IMMEDIATE")
    await _many(ks, 60)
    await until(lambda: (CHECKS["read model"]() or "").endswith(", 60 events behind"))
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: CHECKS["read model"]() is None)
    answer = await asyncio.wait_for(
        ks.query.graph(entity="sales_channel", fields=["id"], pagination={"take": 100}), timeout=20
    )
    assert len(answer["data"]) == 61
