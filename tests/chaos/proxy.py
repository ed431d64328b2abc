"""The network between the services and nats-server: it can be cut, and it can swallow what is sent."""

import asyncio
from contextlib import suppress

from tests.support.nats import free_port


class Proxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"nats://127.0.0.1:{self.port}"

    async def heal(self) -> None:
        """Let connections in, and bytes through."""
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def cut(self) -> None:
        """Refuse new connections and reset the old ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def swallow(self) -> None:
        """Keep the connections, and let nothing through."""
        self._flows.clear()

    def reset(self) -> None:
        """Reset every connection: what was under way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        """End."""
        self.cut()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        await asyncio.sleep(0.05)  # aborted transports close in the loop's next turns

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
