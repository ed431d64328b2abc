"""Keyscope's services as tasks of the test's own event loop: real NATS, real files, no processes to wait for."""

import asyncio
from pathlib import Path
from typing import Any

import keyscope
from services.runtime.settings import Settings
from services.runtime.wiring import SERVICES, Context

CORE = tuple(name for name in SERVICES if name != "gateway")


class Service:
    """Services on the files in one folder. After `stop`, `start` goes on with what is in them."""

    def __init__(self, nats_url: str, folder: Path, prefix: str = "keyscope", **more: Any) -> None:
        """`more`: further settings."""
        self.settings = Settings(nats_url=nats_url, data_dir=folder, prefix=prefix, drain_seconds=5, **more)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *names: str) -> None:
        """Start the services called `names`, or all but the gateway, and wait until they serve."""
        if not self._tasks:
            self._stopping = asyncio.Event()
        context = Context(self.settings, self._stopping, self._lost)
        for name in names or CORE:
            serving = asyncio.Event()
            service = asyncio.create_task(SERVICES[name].serve(context, serving.set), name=name)
            self._tasks.append(service)
            ready = asyncio.create_task(serving.wait())
            await asyncio.wait((service, ready), return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if service.done():
                service.result()

    async def stop(self) -> None:
        """Drain and stop all of them. Raises what a service has raised."""
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)

    def tasks(self, name: str) -> list[asyncio.Task[None]]:
        """The running service of this name."""
        return [task for task in self._tasks if task.get_name() == name]

    async def connect(self, actor: str | None = None) -> keyscope.Keyscope:
        """A client."""
        return await keyscope.connect(self.settings.nats_url, prefix=self.settings.prefix, actor=actor)

    def _lost(self, error: Exception) -> None:
        raise error
