"""Runs services in this process, on one event loop, until they are asked to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import uvloop

from services.runtime.failures import Failure, explain
from services.runtime.settings import Settings
from services.runtime.wiring import SERVICES, Context

ORPHAN_SECONDS = 2
"""How long draining may take when the supervisor has died: its nats-server dies with it, so little can be drained."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parent:
    """The supervisor, as its children know it."""

    life: int
    """The reading end of a pipe in which nothing is ever written: its end is the supervisor's."""
    died: Callable[[], None]
    """What to do then, besides stopping."""


def run(names: Sequence[str], settings: Settings, *, ready: Callable[[], None], parent: Parent | None = None) -> None:
    """Run the services called `names` until SIGTERM or SIGINT, or until the parent dies; a second SIGINT kills.

    `ready` is called once, when all of them serve. Draining takes at most the `drain_seconds` of the settings, then
    SIGALRM ends the process. Raises Failure for what the user has to mend, and anything else for a bug.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Host(names, settings, ready).run(parent))


class _Host:
    def __init__(self, names: Sequence[str], settings: Settings, ready: Callable[[], None]) -> None:
        self._names = names
        self._settings = settings
        self._ready = ready
        self._waiting = set(names)
        self._stopping = asyncio.Event()
        self._lost: asyncio.Queue[Exception] = asyncio.Queue()

    async def run(self, parent: Parent | None) -> None:
        """Serve until stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, self._settings.drain_seconds)
        if parent is not None:
            loop.add_reader(parent.life, self._orphaned, parent)
        context = Context(self._settings, self._stopping, self._lost.put_nowait)
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._fail_when_lost())
                await asyncio.wait([tasks.create_task(self._serve(name, context), name=name) for name in self._names])
                watch.cancel()
        except* Failure as failures:
            raise failures.exceptions[0] from None

    async def _serve(self, name: str, context: Context) -> None:
        service = SERVICES[name]
        try:
            await service.serve(context, lambda: self._one_ready(name))
        except Exception as error:
            failure = explain(error, database=service.database(self._settings), remedy=service.remedy)
            raise failure or error from error
        if not self._stopping.is_set():
            raise RuntimeError(f"the service {name} ended by itself")
        log.debug("stopped", service=name)

    def _one_ready(self, name: str) -> None:
        log.debug("ready", service=name)
        self._waiting.discard(name)
        if not self._waiting:
            self._ready()

    async def _fail_when_lost(self) -> None:
        raise await self._lost.get()

    def _stop(self, drain_seconds: int) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            signal.alarm(drain_seconds)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def _orphaned(self, parent: Parent) -> None:
        asyncio.get_running_loop().remove_reader(parent.life)
        parent.died()
        self._stop(ORPHAN_SECONDS)
