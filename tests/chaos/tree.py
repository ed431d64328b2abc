"""The service as users run it, `keyscope up`, and the deaths of its tree of processes, whole or in part."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from services.runtime.failures import Exit
from tests.support.disks import Disk
from tests.support.up import Up, alive, wait_for

READY_SECONDS = 60
ENDING_SECONDS = 30
"""Far more than it takes: nothing is judged by how fast it was."""


class Tree:
    """A supervisor with nats-server, commands, reads and http. It keeps its folder and its ports over restarts."""

    def __init__(self, data: Path, seed: str, disk: Disk | None = None) -> None:
        """`disk`: the file system that the folder `data` has for itself."""
        self.chance = random.Random(seed)
        self.data = data
        self.disk = disk
        self.store = f"sqlite:///{self.data / 'events.db'}"
        self._port, self._http_port = _kept_port(), _kept_port()
        self._up: Up | None = None
        self._doomed = False
        self._old: list[int] = []
        self.died: list[str] = []

    @property
    def url(self) -> str:
        """Where its NATS listens."""
        return f"nats://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it again, if it was killed, without a pause: nobody waits for what is left of the old one."""
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Kill everything."""
        if self._up is not None:
            for pid in self._everybody():
                _signal(pid, signal.SIGKILL)
            await asyncio.to_thread(self._up.wait)

    def _start(self) -> None:
        if self._up is not None and self._up.process.poll() is not None and not self._doomed:
            self.died.append(f"it ended by itself with {self._up.process.returncode}: {self._up.errors[-300:]}")
        if self._up is None or self._doomed or self._up.process.poll() is not None:
            self._begin().wait_ready(READY_SECONDS)
        wait_for(lambda: not any(map(alive, self._old)), ENDING_SECONDS)
        self._old.clear()

    def _begin(self) -> Up:
        if self._up is not None:
            code = self._up.wait()
            if code not in (-signal.SIGKILL, Exit.DONE):
                self.died.append(f"it ended with {code}: {self._up.errors[-300:]}")
        self._doomed = False
        self._up = Up(
            self.data,
            *(f"--port={self._port}", f"--http-port={self._http_port}"),
            environment={"KEYSCOPE_DRAIN_SECONDS": "5"},
        )
        return self._up

    @property
    def supervisor(self) -> int:
        """Its process id."""
        assert self._up is not None
        return self._up.process.pid

    def doom(self) -> None:
        """It is about to be killed: whatever runs now must be gone once the next one is ready."""
        self._doomed = True
        self._old += self._everybody()

    def _everybody(self) -> list[int]:
        """The supervisor, and its children, while it starts no more of them: it is stopped."""
        assert self._up is not None
        _signal(self.supervisor, signal.SIGSTOP)
        with suppress(FileNotFoundError, ProcessLookupError):
            return list(self._up.family())
        return []

    def kill(self, *processes: int) -> None:
        """SIGKILL."""
        for process in processes:
            _signal(process, signal.SIGKILL)

    async def some_time(self, most: float) -> None:
        """Let it be as it is for a while."""
        await asyncio.sleep(self.chance.uniform(0.0, most))

    def whole(self) -> None:
        """SIGKILL to every process, in a random order."""
        self.doom()
        everybody = list(self._old)
        self.chance.shuffle(everybody)
        self.kill(*everybody)

    async def begin_again(self) -> None:
        """Start it, without waiting until it is ready."""
        await asyncio.to_thread(self._begin)

    def child(self) -> int:
        """One of those that the supervisor has to start again."""
        assert self._up is not None
        return self.chance.choice(self._up.children())


Death = Callable[[Tree], Awaitable[None]]


async def _whole(tree: Tree) -> None:
    tree.whole()


async def _group(tree: Tree) -> None:
    """As `kill -9 -<group>` and an impatient terminal do it; nats-server has a session of its own."""
    tree.doom()
    os.killpg(tree.supervisor, signal.SIGKILL)


async def _supervisor(tree: Tree) -> None:
    """Its children have to notice by themselves, and to let go of folder and ports."""
    tree.doom()
    tree.kill(tree.supervisor)


async def _while_it_starts(tree: Tree) -> None:
    tree.whole()
    await tree.begin_again()
    await tree.some_time(1.5)
    tree.whole()


async def _while_it_stops(tree: Tree) -> None:
    """Somebody asks it to stop, and has no patience."""
    tree.doom()
    _signal(tree.supervisor, signal.SIGTERM)
    _signal(tree.supervisor, signal.SIGCONT)
    await tree.some_time(0.5)
    tree.kill(tree.supervisor)


async def _child(tree: Tree) -> None:
    tree.kill(tree.child())
    await tree.some_time(0.5)


async def _full_disk(tree: Tree) -> None:
    """Not a death: everything has to go on by itself when there is room again."""
    assert tree.disk is not None
    tree.disk.fill(tree.chance.choice((0, 65_536, 1_000_000)))
    await tree.some_time(4.0)
    tree.disk.drop()


DEATHS: dict[str, Death] = {
    "kill the tree": _whole,
    "kill the process group": _group,
    "kill the supervisor": _supervisor,
    "kill the tree while it starts": _while_it_starts,
    "kill the supervisor while it stops": _while_it_stops,
    "kill a child": _child,
}
FULL_DISK: dict[str, Death] = {"full disk": _full_disk}
"""Where the tree has a disk of its own."""


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _kept_port() -> int:
    """A free port below those that systems give away by themselves: it stays free while nothing listens on it."""
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
