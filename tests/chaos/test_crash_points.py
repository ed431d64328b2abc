"""The process ends between each pair of steps, on purpose; then everything must be as if nothing had been."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import keyscope
from services.runtime.settings import Settings
from services.runtime.verify import verify
from services.store.application import open_store
from tests.chaos.crashing import CRASHED, POINTS
from tests.chaos.history import History
from tests.chaos.workload import Client, Subscriber
from tests.production.replica import Replica
from tests.support.nats import Nats

SERVICES = ("commands", "relay", "query")
QUICK = ("after the commit", "before events are applied")
"""These are in `make test`; all of them in `make crash-points`."""


QUICK_ON_POSTGRESQL = ("within the transaction",)


def _points() -> Iterator[Any]:
    """Each point that touches the event store, on both stores; the read model's do not."""
    for point, (service, _, _) in POINTS.items():
        yield pytest.param("sqlite", point, marks=() if point in QUICK else pytest.mark.production)
        if service != "query":
            yield pytest.param(
                "postgresql", point, marks=() if point in QUICK_ON_POSTGRESQL else pytest.mark.production
            )


@pytest.mark.parametrize(("store_url", "point"), list(_points()), indirect=["store_url"])
async def test_crash(nats_server: Nats, tmp_path: Path, store_url: str, point: str) -> None:
    data = tmp_path / "data"
    environment = {"NATS_URL": nats_server.url, "DATA_DIR": str(data), "EVENT_STORE": store_url}
    breaking = POINTS[point][0]
    services = {
        name: Replica(name, tmp_path / name, environment, crash=point if name == breaking else None)
        for name in SERVICES
    }
    for service in services.values():
        service.start()
    settings = Settings(nats_url=nats_server.url, data_dir=data, event_store=store_url)
    history, stopping = History(), asyncio.Event()
    async with await keyscope.connect(nats_server.url, actor="crash", timeout=5) as ks:
        clients = [Client(ks, history, f"c{n}", f"{point}/{n}") for n in range(3)]
        subscriber = Subscriber(ks)
        subscribing = asyncio.create_task(subscriber.run())
        running = [asyncio.create_task(client.run(stopping)) for client in clients]
        broken = services[breaking]
        try:
            async with asyncio.timeout(30):
                while broken.running:
                    await asyncio.sleep(0.02)
            assert broken.process.returncode == CRASHED, broken.log
            broken.crash = None
            await asyncio.to_thread(broken.start().wait_ready)
            stopping.set()
            async with asyncio.timeout(40):
                await asyncio.gather(*running)
                await asyncio.gather(*(client.settle() for client in clients))  # of what the last one sent too
            verdict = await verify(settings, patience=20, progress=lambda done, total: None)
            assert verdict.difference is None
            store = open_store(settings.event_store_url)
            rows = store.recorder.notifications(0, 1_000_000)
            store.close()
            assert history.check(rows) == []
            with suppress(TimeoutError):
                async with asyncio.timeout(30):
                    while len(subscriber.ids) < len(rows):
                        await asyncio.sleep(0.05)
            assert len(subscriber.ids) == len(rows)
        finally:
            subscribing.cancel()
            await asyncio.gather(subscribing, *running, return_exceptions=True)
            for service in services.values():
                if service.running:
                    service.kill()
