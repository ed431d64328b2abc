"""Keyscope's services as tasks of the test's own event loop: real NATS, real files, no processes to wait for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import keyscope
from services.runtime.settings import Settings
from services.runtime.wiring import SERVICES, Context

EVERYTHING = tuple(SERVICES)


class Service:
    """Services on the files in one folder. After `stop`, `start` goes on with what is in them."""

    def __init__(self, nats_url: str, folder: Path, prefix: str = "keyscope") -> None:
        self.settings = Settings(nats_url=nats_url, data_dir=folder, prefix=prefix, drain_seconds=5)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, names: Sequence[str] = EVERYTHING) -> None:
        """Start the services called `names` beside those that run, and wait until they serve."""
        if not self._tasks:
            self._stopping = asyncio.Event()
        context = Context(self.settings, self._stopping, self._lost)
        serving = [asyncio.Event() for _ in names]
        started = [
            asyncio.create_task(SERVICES[name].serve(context, ready.set), name=name)
            for name, ready in zip(names, serving, strict=True)
        ]
        self._tasks += started
        all_ready = asyncio.gather(*(ready.wait() for ready in serving))
        done, _ = await asyncio.wait([all_ready, *started], return_when=asyncio.FIRST_COMPLETED)
        if all_ready not in done:
            all_ready.cancel()
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Drain and stop all of them. Raises what a service has raised."""
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)

    async def connect(self, actor: str | None = None) -> keyscope.Keyscope:
        """A client."""
        return await keyscope.connect(self.settings.nats_url, prefix=self.settings.prefix, actor=actor)

    def _lost(self, error: Exception) -> None:
        raise error
