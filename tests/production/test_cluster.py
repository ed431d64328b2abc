"""Three nats-servers as deploy/nats/cluster.conf says, streams on all three, killed and started again one by one."""

import asyncio
import gc
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.deploy.conftest import make_keys, start
from tests.production.fire import Fire, verify
from tests.production.replica import Replica
from tests.support.nats import free_port
from tests.support.postgres import Postgres

# nats-py (2.16) leaves TLS connections to a node that dies in the handshake to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:loop is closed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


NODES = 3


class Cluster:
    """The nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = make_keys(folder)
        self._clients = [free_port() for _ in range(NODES)]
        self._routes = [free_port() for _ in range(NODES)]
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def urls(self) -> list[str]:
        return [f"tls://127.0.0.1:{port}" for port in self._clients]

    def start(self, number: int) -> None:
        routes = {f"NATS_ROUTE_{n}": f"nats://127.0.0.1:{port}" for n, port in enumerate(self._routes, 1)}
        variables = {
            "NATS_NAME": f"nats-{number}",
            "NATS_CLUSTER": f"127.0.0.1:{self._routes[number]}",
            "NATS_STORE_DIR": str(self.folder / f"store-{number}"),
            **routes,
            **self._keys,
        }
        self._nodes[number] = start(self.folder, "cluster.conf", variables, port=self._clients[number])

    def kill(self, number: int) -> None:
        self._nodes[number].kill()
        self._nodes[number].wait()

    def options(self, role: str) -> dict[str, Any]:
        tls = ssl.create_default_context(cafile=self.folder / "ca.pem")
        return {
            "nkeys_seed": str(self.folder / f"{role}.nk"), "tls": tls, "inbox_prefix": f"_INBOX.{role}".encode()
        }  # fmt: skip

    async def settled(self) -> None:
        """Every stream has a leader, and all its copies are up to date."""
        client = await nats.connect(self.urls, **self.options("operator"))
        async with asyncio.timeout(60):
            for stream in ("KEYSCOPE_EVENTS", "KEYSCOPE_JOBS"):
                while not await self._is_whole(client, stream):
                    await asyncio.sleep(0.2)
        await client.close()

    async def _is_whole(self, client: Any, stream: str) -> bool:
        try:
            cluster = (await client.jetstream().stream_info(stream)).cluster
        except nats.errors.Error:
            return False
        peers = cluster.replicas or []
        return bool(cluster.leader) and len(peers) == NODES - 1 and all(peer.current for peer in peers)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "nats")
    with ExitStack() as stack:
        for number in range(NODES):
            made.start(number)
            stack.callback(made.kill, number)
        yield made


async def burn(cluster: Cluster, postgres: Postgres, tmp_path: Path, *, rounds: int, pause: float) -> Fire:
    store = postgres.store()
    settings = {
        "NATS_URL": ",".join(cluster.urls),
        "NATS_NKEY": str(cluster.folder / "service.nk"),
        "NATS_TLS_CA": str(cluster.folder / "ca.pem"),
        "NATS_INBOX": "_INBOX.service",
        "REPLICAS": "3",
        "EVENT_STORE": store,
    }
    with ExitStack() as stack:
        replicas = []
        for number in range(2):
            replica = Replica("commands relay query", tmp_path / f"replica-{number}", settings).start()
            stack.callback(replica.kill)
            replicas.append(replica)
        await asyncio.gather(*(asyncio.to_thread(replica.wait_ready) for replica in replicas))
        fire = Fire(clients=4, **cluster.options("operator"))

        async def kill_one_by_one() -> None:
            for number in [*range(NODES)] * rounds:
                await asyncio.sleep(pause)
                cluster.kill(number)
                await asyncio.sleep(pause)
                await asyncio.to_thread(cluster.start, number)
                await cluster.settled()

        await fire.run(cluster.urls, kill_one_by_one)
        try:
            await verify(fire, store, cluster.urls, [replica.folder / "graph.db" for replica in replicas])
        except TimeoutError:
            print(*(f"{replica.folder.name}: {line}" for replica in replicas for line in _last(replica)), sep="\n")
            raise
    return fire


def _last(replica: Replica) -> list[str]:
    return replica.log.splitlines()[-30:]


@pytest.mark.timeout(300)
async def test_each_node_killed_once(cluster: Cluster, postgres: Postgres, tmp_path: Path) -> None:
    fire = await burn(cluster, postgres, tmp_path, rounds=1, pause=0.5)
    assert fire.commands > 50


@pytest.mark.production
@pytest.mark.timeout(900)
async def test_each_node_killed_three_times(cluster: Cluster, postgres: Postgres, tmp_path: Path) -> None:
    fire = await burn(cluster, postgres, tmp_path, rounds=3, pause=4)
    print(f"{fire.commands} commands, {fire.queries} queries, the slowest command took {fire.slowest:.1f} s")
    assert fire.commands > 1000
