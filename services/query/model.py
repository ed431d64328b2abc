"""A read model's file, with what follows the stream into it and what reads it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from nats.aio.client import Client

from events.subjects import Subjects
from projections.projector import Projector
from services.bus.tasks import end
from services.query.follower import Follower
from services.query.readers import Readers


class ReadModel:
    """One read model at work. `applied` is told each position that it reaches, once it is `serving`."""

    def __init__(self, projector: Projector, path: Path, client: Client, subjects: Subjects) -> None:
        self.path = path
        self.position = projector.position
        self.follower = Follower(client, subjects, projector, self._applied)
        self.readers = Readers(path, longest=client.max_payload)
        self._tell: Callable[[int], None] | None = None
        self._following: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Keep up with the stream from now on."""
        self._following = asyncio.create_task(self.follower.run())

    def serve(self, tell: Callable[[int], None]) -> None:
        """From now on `tell` is told each position that is reached."""
        self._tell = tell
        tell(self.position)

    def _applied(self, position: int) -> None:
        self.position = position
        if self._tell is not None:
            self._tell(position)

    async def close(self) -> None:
        """Let what runs on it finish, and close it."""
        self._tell = None
        if self._following is not None:
            await end([self._following])
        await self.follower.close()
        await asyncio.to_thread(self.readers.close)
