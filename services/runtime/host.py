"""Runs services in this process, on one event loop, until they are asked to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import uvloop

from services.runtime.descriptors import allow_more
from services.runtime.failures import Failure, explain
from services.runtime.health import Health, served
from services.runtime.memory import settle
from services.runtime.notify import notify
from services.runtime.settings import Settings
from services.runtime.tracing import traced
from services.runtime.wiring import SERVICES, Context, Stopped

ORPHAN_SECONDS = 2
"""How long draining may take when the supervisor has died: its nats-server dies with it, so little can be drained."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parent:
    """The supervisor, as its children know it."""

    life: int
    """The reading end of a pipe in which nothing is ever written: its end is the supervisor's."""
    failed: Callable[[Failure], None]
    """To be told at once why this process is going to end."""
    died: Callable[[], None]
    """What to do when the supervisor is gone, besides stopping."""


def run(names: Sequence[str], settings: Settings, *, ready: Callable[[], None], parent: Parent | None = None) -> None:
    """Run the services called `names` until SIGTERM or SIGINT, until one of them fails, or until the parent dies.

    `ready` is called once, when all of them serve. However it ends, they are asked to drain; that takes at most the
    `drain_seconds` of the settings, then SIGALRM ends the process. A second SIGINT interrupts it.
    Raises Failure for what the user has to mend, and anything else for a bug.
    """
    settle()
    allow_more()
    with traced(settings, "+".join(names)):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Host(names, settings, ready, parent).run())
        signal.alarm(0)


class _Host:
    def __init__(
        self, names: Sequence[str], settings: Settings, ready: Callable[[], None], parent: Parent | None
    ) -> None:
        self._names = names
        self._settings = settings
        self._ready = ready
        self._parent = parent
        self._waiting = set(names)
        self._stopping = asyncio.Event()
        self._health = Health(settings)

    async def run(self) -> None:
        """Serve until it ends. No service is cancelled: connecting to NATS is not proof against that (nats-py 2.16)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, self._settings.drain_seconds)
        if self._parent is None:
            loop.add_signal_handler(signal.SIGINT, self._stop, self._settings.drain_seconds)
        else:
            loop.add_reader(self._parent.life, self._orphaned, self._parent)
        lost: asyncio.Future[None] = loop.create_future()

        def lose(error: Exception) -> None:
            if not lost.done():
                lost.set_exception(error)

        context = Context(self._settings, self._stopping, lose)
        with served(self._health, self._settings):
            beating = asyncio.create_task(self._health.beat(lambda: self._notify("WATCHDOG=1")))
            services = [asyncio.create_task(self._serve(name, context), name=name) for name in self._names]
            await asyncio.wait((lost, *services), return_when=asyncio.FIRST_COMPLETED)
            self._stop(self._settings.drain_seconds)
            await asyncio.wait(services)
            beating.cancel()
        errors = [ended.exception() for ended in (*services, lost) if ended.done()]  # all, or asyncio logs the others
        for error in errors:
            if error is not None:
                raise error

    async def _serve(self, name: str, context: Context) -> None:
        service = SERVICES[name]
        try:
            await service.serve(context, lambda: self._one_ready(name))
        except Stopped:
            pass
        except Exception as error:
            failure = explain(error, database=service.database(self._settings), remedy=service.remedy)
            if failure is None:
                raise
            if self._parent is not None:
                self._parent.failed(failure)
            raise failure from error
        if not self._stopping.is_set():
            raise RuntimeError(f"the service {name} ended by itself")
        log.debug("stopped", service=name)

    def _one_ready(self, name: str) -> None:
        log.debug("ready", service=name)
        self._waiting.discard(name)
        if not self._waiting:
            self._health.serving = True
            self._notify("READY=1")
            self._ready()

    def _stop(self, drain_seconds: int) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._health.serving = False
            self._notify("STOPPING=1")
            signal.alarm(drain_seconds)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def _notify(self, state: str) -> None:
        """Tell systemd, unless the supervisor does."""
        if self._parent is None:
            notify(state)

    def _orphaned(self, parent: Parent) -> None:
        asyncio.get_running_loop().remove_reader(parent.life)
        parent.died()
        self._stop(ORPHAN_SECONDS)
