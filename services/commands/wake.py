"""Waking whoever follows the event store."""

import asyncio
from collections.abc import Callable

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from events.subjects import Subjects

log = structlog.get_logger(__name__)


class WakeUp:
    """Tells the bus each new position; several commits in a row are told once."""

    def __init__(self, client: Client, subjects: Subjects, on_commit: Callable[[int], None] | None) -> None:
        self._client = client
        self._subject = subjects.wake
        self._on_commit = on_commit
        self._position = 0
        self._committed = asyncio.Event()
        self._task = asyncio.create_task(self._tell())

    def committed(self, position: int) -> None:
        """The store has reached `position`."""
        if position <= self._position:
            return
        self._position = position
        self._committed.set()
        if self._on_commit is not None:
            self._on_commit(position)

    async def stop(self) -> None:
        """Tell no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            await self._committed.wait()
            self._committed.clear()
            try:
                await self._client.publish(self._subject, str(self._position).encode())
            except NatsError as error:
                log.warning("followers could not be woken; they look for themselves soon", error=str(error))
