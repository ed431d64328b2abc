"""Full disks: what has a file system of its own finds no room there; elsewhere no file of the process may grow."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from services.runtime.failures import Exit
from tests.chaos.faults import Fault, Machine
from tests.support.disks import Disk

FULL_SECONDS = 4.0
"""Long enough for the end of the event store's write-ahead log, which has its whole length from the beginning."""
LEFT = (0, 0, 4_096, 65_536, 1_000_000)
"""Bytes that a full disk may still have, so that another write is the last one that fits."""


@contextmanager
def _full(machine: Machine, folder: Path, process: str) -> Iterator[None]:
    """No room in the folder, whose files are those of `process`."""
    disk = machine.disks.get(folder)
    with _ballast(machine, disk) if disk else _limited(machine, process):
        yield


@contextmanager
def _ballast(machine: Machine, disk: Disk) -> Iterator[None]:
    disk.fill(machine.chance.choice(LEFT))
    try:
        yield
    finally:
        disk.drop()


@contextmanager
def _limited(machine: Machine, process: str) -> Iterator[None]:
    """Nothing can be written beyond some place in the databases' logs: it fails with EFBIG."""
    pid, log = machine.process(process)
    if pid is None:
        yield
        return
    most = max((file.stat().st_size for file in machine.folder.rglob("*-wal")), default=0)
    limit = log.stat().st_size + machine.chance.randint(4_096, max(4_096, most // 20))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _full_disk(*processes: str) -> Fault:
    async def full(machine: Machine) -> None:
        with ExitStack() as stack:
            for process in processes:
                stack.enter_context(_full(machine, machine.folders[process], process))
            await machine.some_time(FULL_SECONDS)

    return full


async def _start_on_full_disks(machine: Machine) -> None:
    """A service may serve as far as it can, or end with a word; then its supervisor starts it again."""
    services = machine.services.values()
    for service in services:  # one that was stopped has nothing left on the disk that it could use again
        await asyncio.to_thread(service.stop if machine.chance.random() < 0.5 else service.kill)
    with ExitStack() as stack:
        for disk in machine.disks.values():
            stack.enter_context(_ballast(machine, disk))
        for service in services:
            service.start()
        await machine.some_time(FULL_SECONDS)
    for service in services:
        with suppress(AssertionError):  # it has ended
            await asyncio.to_thread(service.wait_ready)
        if not service.running and service.process.returncode == Exit.NO_ROOM:
            service.start()


async def _full_postgresql(machine: Machine) -> None:
    """It goes on as long as nothing has to grow, and panics when its log needs a new file."""
    assert machine.postgres is not None
    with _ballast(machine, machine.disks[machine.folders["postgresql"]]):
        await machine.some_time(FULL_SECONDS)
        with suppress(psycopg.Error), psycopg.connect(machine.postgres.url, autocommit=True) as connection:
            for _ in range(machine.chance.choice((0, 16))):
                connection.execute("SELECT pg_logical_emit_message(false, 'chaos', 'a page'), pg_switch_wal()")
        await machine.some_time()


FULL: dict[str, Fault] = {
    "full disk for commands": _full_disk("commands"),
    "full disk for query": _full_disk("query"),
    "full disk for JetStream": _full_disk("nats-server"),
    "full disks for everything": _full_disk("commands", "query", "nats-server"),
}
"""Also where nobody may mount a file system."""
FULL_AT_START: dict[str, Fault] = {"start on full disks": _start_on_full_disks}
FULL_POSTGRESQL: dict[str, Fault] = {"full disk for PostgreSQL": _full_postgresql}


def full_disks(machine: Machine) -> dict[str, Fault]:
    """Those that the machine can have. With PostgreSQL the disk of commands is PostgreSQL's."""
    return {
        **{name: fault for name, fault in FULL.items() if machine.postgres is None or "commands" not in name},
        **(FULL_AT_START if machine.disks else {}),
        **(FULL_POSTGRESQL if machine.postgres is not None and machine.disks else {}),
    }
