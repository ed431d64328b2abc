"""Three of everything on one PostgreSQL and one NATS, under load, killed one by one."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.production.fire import Fire, verify
from tests.production.replica import Replica
from tests.support.nats import Nats
from tests.support.postgres import Postgres

StartReplica = Callable[..., Replica]


@pytest.fixture
def start_replica(tmp_path: Path, nats_server: Nats, postgres: Postgres) -> Iterator[StartReplica]:
    """Starts a replica of these services; all of a test share one store."""
    settings = {"NATS_URL": nats_server.url, "EVENT_STORE": postgres.store(), "LOG_LEVEL": "info"}
    with ExitStack() as stack:

        def start(services: str, name: str) -> Replica:
            replica = Replica(services, tmp_path / name, settings)
            stack.callback(replica.kill)
            return replica.start()

        start.store = settings["EVENT_STORE"]  # type: ignore[attr-defined]
        yield start


async def all_ready(replicas: list[Replica]) -> None:
    await asyncio.gather(*(asyncio.to_thread(replica.wait_ready) for replica in replicas))


async def burn(start_replica: StartReplica, nats_server: Nats, groups: list[str], *, pause: float) -> Fire:
    """Kill each replica once, one after the other, each with SIGKILL and started again when the next one falls."""
    replicas = [start_replica(services, f"{services.replace(' ', '-')}-{n}") for services in groups for n in range(3)]
    await all_ready(replicas)
    fire = Fire()

    async def kill_one_by_one() -> None:
        await asyncio.sleep(pause)
        for replica in replicas:
            replica.kill()
            await asyncio.sleep(pause)
            await all_ready([replica.start()])

    await fire.run([nats_server.url], kill_one_by_one)
    reading = [replica.folder / "graph.db" for replica in replicas if "query" in replica.services]
    await verify(fire, start_replica.store, [nats_server.url], reading)  # type: ignore[attr-defined]
    return fire


async def test_three_of_all_services_killed_one_by_one(start_replica: StartReplica, nats_server: Nats) -> None:
    fire = await burn(start_replica, nats_server, ["commands relay query"], pause=0.5)
    assert fire.commands > 100


@pytest.mark.production
@pytest.mark.timeout(600)
async def test_three_of_each_service_killed_one_by_one(start_replica: StartReplica, nats_server: Nats) -> None:
    fire = await burn(start_replica, nats_server, ["commands", "relay", "query"], pause=3)
    print(f"{fire.commands} commands, {fire.queries} queries, the slowest command took {fire.slowest:.1f} s")
    assert fire.commands > 1000
