"""What tests share. Everything is real: nats-server, files, processes; and everything is the test's own."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import keyscope
from tests.support.nats import Nats
from tests.support.postgres import Postgres
from tests.support.service import Service
from tests.support.up import Up


@pytest.fixture
def make_nats(tmp_path: Path) -> Iterator[Callable[..., Nats]]:
    """Starts one more nats-server; the argument is further text for its configuration."""
    with ExitStack() as stack:

        def make(more: str = "", *, jetstream: bool = True) -> Nats:
            server = Nats(tmp_path / f"nats-{len(made)}", more, jetstream=jetstream)
            made.append(server)
            stack.callback(server.stop)
            server.start()
            return server

        made: list[Nats] = []
        yield make


@pytest.fixture
def nats_server(make_nats: Callable[..., Nats]) -> Nats:
    """A nats-server with JetStream and nothing in it."""
    return make_nats()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, for all tests that do not stop it."""
    server = Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the test may stop."""
    server = Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty event store of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'events.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.store()


@pytest.fixture
async def service(nats_server: Nats, tmp_path: Path) -> AsyncIterator[Service]:
    """All services on an empty store, in the test's event loop."""
    running = Service(nats_server.url, tmp_path / "data")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def ks(service: Service) -> AsyncIterator[keyscope.Keyscope]:
    """A client connected to `service`."""
    async with await service.connect(actor="tester") as client:
        yield client


@pytest.fixture
def keyscope_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `keyscope up` in a process of its own, on a free port and a folder that stays the same within the test."""
    with ExitStack() as stack:

        def start(*arguments: str, environment: dict[str, str] | None = None, data_dir: Path | None = None) -> Up:
            up = Up(data_dir or tmp_path / "up", *arguments, environment=environment)
            stack.callback(up.stop)
            return up

        yield start
