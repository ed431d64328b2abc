"""How fast the stream and the read model come back, and how fast the service starts."""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import procfs
from benchmarks.server import Server
from benchmarks.wire import ask
from services.store.application import open_store

LOOK_EVERY = 0.05
PATIENCE = 1_800.0


def store_position(folder: Path) -> int:
    """The position that the event store in the data folder has reached."""
    return position_of(f"sqlite:///{folder / 'events.db'}")


def position_of(event_store: str) -> int:
    """The position that an event store has reached."""
    store = open_store(event_store)
    try:
        return store.recorder.position()
    finally:
        store.close()


async def _asked(url: str, subject: str) -> dict[str, Any]:
    return (await ask(url, iter([(subject.encode(), b"", b"{}")])))[0]


async def read_position(url: str) -> int:
    """The position of the read model."""
    return int((await _asked(url, "keyscope.query.status"))["position"])


async def stream_messages(url: str) -> int:
    """How many events the stream has."""
    info = await _asked(url, "$JS.API.STREAM.INFO.KEYSCOPE_EVENTS")
    return int(info["state"]["messages"]) if "state" in info else 0


async def caught_up(server: Server, position: int) -> float:
    """Wait until the read model has reached `position`: the seconds that it took."""
    begun = time.perf_counter()
    while await read_position(server.url) < position:
        if time.perf_counter() - begun > PATIENCE:
            raise TimeoutError(f"the read model has not reached {position}")
        await asyncio.sleep(LOOK_EVERY)
    return time.perf_counter() - begun


def forget_stream(folder: Path) -> None:
    """Delete the streams of a service that is not running."""
    shutil.rmtree(folder / "jetstream")


def forget_read_model(folder: Path) -> None:
    """Delete the read model of a service that is not running."""
    for file in folder.glob("graph*"):
        file.unlink()


@dataclass(slots=True)
class _Growth:
    """When how many were there, from the first sight of any on."""

    begun: float = 0.0
    first: int = 0
    ended: float = 0.0
    last: int = 0

    def saw(self, count: int) -> None:
        if count and not self.begun:
            self.begun, self.first = time.perf_counter(), count
        if count > self.last:
            self.ended, self.last = time.perf_counter(), count

    @property
    def rate(self) -> float:
        return (self.last - self.first) / (self.ended - self.begun)


async def _watch(server: Server, count: Callable[[str], Any], until: int) -> dict[str, Any]:
    growth = _Growth()
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    deadline = time.perf_counter() + PATIENCE
    while growth.last < until:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{growth.last} of {until} events are back")
        with suppress(OSError, RuntimeError):
            growth.saw(await count(server.url))
            after = procfs.cpu_of(server.processes())
            before = before or (after if growth.begun else {})
        await asyncio.sleep(LOOK_EVERY)
    events = max(1, growth.last - growth.first)
    return {
        "rate": round(growth.rate, 1),
        "events": growth.last,
        "seconds": round(growth.ended - growth.begun, 3),
        "cpu_us_per_call": {name: round((used - before[name]) / events * 1e6, 1) for name, used in after.items()},
        "memory_mb": procfs.memory_of(server.processes()),
    }


def rebuild(folder: Path) -> dict[str, Any]:
    """Throw the read model away, start the service, and watch it come back from the stream."""
    forget_read_model(folder)
    until = store_position(folder)
    with Server(folder, wait=False) as server:
        row = asyncio.run(_watch(server, read_position, until))
        server.wait_ready()
        return row


def refill(folder: Path) -> dict[str, Any]:
    """Throw the stream away, start the service, and watch the relay fill it again."""
    forget_stream(folder)
    until = store_position(folder)
    with Server(folder, wait=False) as server:
        row = asyncio.run(_watch(server, stream_messages, until))
        server.wait_ready()
        asyncio.run(caught_up(server, until))
        return row


def start_seconds(folder: Path, times: int = 3) -> float:
    """How long `keyscope up` takes until it is ready, on what is in the folder: the median."""
    seconds = []
    for _ in range(times):
        with Server(folder) as server:
            seconds.append(server.ready_after)
    return round(sorted(seconds)[times // 2], 3)


def idle_memory(folder: Path, after: float = 3.0) -> dict[str, float]:
    """Megabytes of each process, some seconds after the start."""
    with Server(folder) as server:
        time.sleep(after)
        return procfs.memory_of(server.processes())
