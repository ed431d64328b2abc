"""What may go wrong, one function each, and the table of them."""

import asyncio
import random
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import nats
import psycopg
from nats.errors import Error as NatsError

from projections.database import versioned
from tests.chaos.proxy import Proxy
from tests.production.replica import Replica
from tests.support.disks import Disk
from tests.support.nats import Nats
from tests.support.postgres import Postgres

EVENTS, JOBS = "KEYSCOPE_EVENTS", "KEYSCOPE_JOBS"
SERVICES = ("commands", "relay", "query")


def folders(folder: Path) -> dict[str, Path]:
    """Where the processes of a machine in `folder` keep their files: each may be a file system of its own."""
    return {"commands": folder / "events", "query": folder / "data", "nats-server": folder / "nats" / "jetstream"}


class Machine:
    """Everything that can break: three service processes, nats-server, and the network between them."""

    def __init__(
        self, folder: Path, seed: str, postgres: Postgres | None = None, disks: Mapping[Path, Disk] | None = None
    ) -> None:
        """With `postgres` the event store is there, else in an SQLite file. `disks`: what has one of its own."""
        self.folder = folder
        self.disks = disks or {}
        self.postgres = postgres
        self.chance = random.Random(seed)
        self.nats = Nats(folder / "nats")
        self.proxy = Proxy(self.nats.port)
        self.folders = folders(folder) | ({"postgresql": postgres.data.parent} if postgres else {})
        """Where each process keeps its files."""
        self.data, self.jetstream = self.folders["query"], self.folders["nats-server"]
        self.store = postgres.store() if postgres else f"sqlite:///{self.folders['commands'] / 'events.db'}"
        settings = {
            "NATS_URL": self.proxy.url, "DATA_DIR": str(self.data), "LOG_LEVEL": "info", "DRAIN_SECONDS": "5",
            "EVENT_STORE": self.store,
        }  # fmt: skip
        self.services = {name: Replica(name, folder / name, settings) for name in SERVICES}
        self.died: list[str] = []

    @property
    def url(self) -> str:
        """Where clients find nats-server: their network is not cut."""
        return self.nats.url

    async def start(self) -> None:
        """Start everything that does not run, as a supervisor would."""
        await asyncio.to_thread(self._start_servers)
        await self.proxy.heal()
        for name, service in self.services.items():
            if not service.running:
                if service.begun and service.process.returncode not in (0, -signal.SIGKILL):
                    last = service.log.strip().splitlines()[-1:]
                    self.died.append(f"{name} ended by itself with {service.process.returncode}: {last}")
                service.start()
        for service in self.services.values():
            await asyncio.to_thread(service.wait_ready)

    async def stop(self) -> None:
        """Kill everything."""
        for service in self.services.values():
            if service.running:
                service.kill()
        await self.proxy.close()
        self.nats.kill()

    def _start_servers(self) -> None:
        if self.nats.running and self.nats.stuck:
            self.nats.kill()
        if not self.nats.running:
            self.nats.start()
        if self.postgres is not None and not self.postgres.running:
            self.postgres.start()

    def process(self, name: str) -> tuple[int | None, Path]:
        """The id of a service or of nats-server, if it runs, and its log."""
        if name == "nats-server":
            return self.nats.pid if self.nats.running else None, self.nats.folder / "nats-server.log"
        service = self.services[name]
        return service.process.pid if service.running else None, service.folder / "log"

    def _blocks(self) -> list[Path]:
        return sorted(path for path in self.jetstream.rglob("*.blk") if path.stat().st_size)

    async def some_time(self, most: float = 1.0) -> None:
        """Let it be broken for a while."""
        await asyncio.sleep(self.chance.uniform(0.05, most))


Fault = Callable[[Machine], Awaitable[None]]


def _kill(*names: str) -> Fault:
    async def kill(machine: Machine) -> None:
        for name in names:
            if machine.services[name].running:
                machine.services[name].kill()
        await machine.some_time(0.3)

    return kill


async def _kill_nats(machine: Machine) -> None:
    machine.nats.kill()
    await machine.some_time()


async def _kill_everything(machine: Machine) -> None:
    await _kill(*SERVICES)(machine)
    machine.nats.kill()


def _stop(name: str) -> Fault:
    async def stop(machine: Machine) -> None:
        service = machine.services[name]
        if service.running:
            service.process.send_signal(signal.SIGSTOP)
            await machine.some_time(1.5)
            service.process.send_signal(signal.SIGCONT)

    return stop


async def _stop_nats(machine: Machine) -> None:
    machine.nats.signal(signal.SIGSTOP)
    await machine.some_time(1.5)
    machine.nats.signal(signal.SIGCONT)


async def _cut(machine: Machine) -> None:
    machine.proxy.cut()
    await machine.some_time()
    await machine.proxy.heal()


async def _swallow(machine: Machine) -> None:
    machine.proxy.swallow()
    await machine.some_time()
    machine.proxy.reset()
    await machine.proxy.heal()


async def _wipe(machine: Machine) -> None:
    machine.nats.kill()
    shutil.rmtree(machine.jetstream, ignore_errors=True)  # a file system itself stays
    machine.nats.start()


async def _truncate(machine: Machine) -> None:
    machine.nats.kill()
    if blocks := machine._blocks():
        block = machine.chance.choice(blocks)
        size = block.stat().st_size
        with block.open("r+b") as file:
            file.truncate(machine.chance.randrange(size))
    machine.nats.start()


async def _flip(machine: Machine) -> None:
    machine.nats.kill()
    if blocks := machine._blocks():
        block = machine.chance.choice(blocks)
        content = bytearray(block.read_bytes())
        for _ in range(machine.chance.randint(1, 4)):
            content[machine.chance.randrange(len(content))] ^= 1 << machine.chance.randrange(8)
        block.write_bytes(content)
    machine.nats.start()


async def _kill_postgresql(machine: Machine) -> None:
    assert machine.postgres is not None
    await asyncio.to_thread(machine.postgres.kill)
    await machine.some_time()


async def _restart_postgresql(machine: Machine) -> None:
    assert machine.postgres is not None
    await asyncio.to_thread(machine.postgres.stop)
    await asyncio.to_thread(machine.postgres.start)


async def _end_sessions(machine: Machine) -> None:
    """Everybody's connections to PostgreSQL are cut, in the middle of whatever they do."""
    assert machine.postgres is not None
    with psycopg.connect(machine.postgres.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    await machine.some_time(0.3)


async def _rebuild(machine: Machine) -> None:
    """The read model is built anew meanwhile, and every other time the process that does it is killed."""
    command = [
        *(sys.executable, "-m", "keyscope", "rebuild", "--wait=5"),
        *(f"--data-dir={machine.data}", f"--nats-url={machine.nats.url}"),
    ]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    if machine.chance.random() < 0.5:
        await machine.some_time(2.0)
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def _delete_consumers(machine: Machine) -> None:
    client = await nats.connect(machine.nats.url)
    js = client.jetstream(timeout=2)
    with suppress(NatsError, TimeoutError):
        for stream in (EVENTS, JOBS):
            for consumer in await js.consumers_info(stream):
                await js.delete_consumer(stream, consumer.name)
    await client.close()


def _on_stream(act: str, stream: str) -> Fault:
    async def do(machine: Machine) -> None:
        client = await nats.connect(machine.nats.url)
        with suppress(NatsError, TimeoutError):
            await getattr(client.jetstream(timeout=2), act)(stream)
        await client.close()

    return do


async def _delete_read_model(machine: Machine) -> None:
    machine.services["query"].kill()
    for file in machine.data.glob(f"{versioned(machine.data / 'graph.db').name}*"):
        file.unlink()


FAULTS: dict[str, Fault] = {
    "kill commands": _kill("commands"),
    "kill relay": _kill("relay"),
    "kill query": _kill("query"),
    "kill nats-server": _kill_nats,
    "kill everything": _kill_everything,
    "stop commands": _stop("commands"),
    "stop relay": _stop("relay"),
    "stop query": _stop("query"),
    "stop nats-server": _stop_nats,
    "cut the network": _cut,
    "swallow packets": _swallow,
    "wipe JetStream": _wipe,
    "truncate a JetStream file": _truncate,
    "flip bits in a JetStream file": _flip,
    "delete consumers": _delete_consumers,
    "delete the event stream": _on_stream("delete_stream", EVENTS),
    "purge the event stream": _on_stream("purge_stream", EVENTS),
    "delete the job stream": _on_stream("delete_stream", JOBS),
    "delete the read model": _delete_read_model,
    "rebuild the read model": _rebuild,
}
"""Those of every machine; the full disks are in tests.chaos.full."""
ON_POSTGRESQL: dict[str, Fault] = {
    "kill PostgreSQL": _kill_postgresql,
    "restart PostgreSQL": _restart_postgresql,
    "end PostgreSQL's sessions": _end_sessions,
}
"""Those of its server, besides."""
