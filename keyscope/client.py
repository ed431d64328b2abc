"""The client: one connection, and everything that can be done over it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, Unpack

import nats.errors
from nats.aio.client import Client

from keyscope.api_keys import ApiKeys
from keyscope.commands import Commands
from keyscope.connection import Connection, OwnClient
from keyscope.dead import DeadJobs
from keyscope.errors import Unavailable
from keyscope.events import Events
from keyscope.jobs import Jobs
from keyscope.links import Links
from keyscope.query import Query
from keyscope.sales_channels import SalesChannels
from keyscope.servers import without_password
from keyscope.storefront import Storefront
from keyscope.types import CallOptions, CommandReply
from keyscope.workflow import Workflow

logger = logging.getLogger("keyscope")

Callback = Callable[[], Awaitable[None]]


class Keyscope:
    """Keyscope over a connection to NATS, which `close` closes.

    `prefix` is the service's; `actor` is who the events will name; `timeout` are the seconds that a call may take, all
    its attempts together. With `read_your_writes`, a query is answered from the highest position on that this client
    has seen.
    """

    def __init__(
        self,
        nc: Client,
        *,
        prefix: str = "keyscope",
        actor: str | None = None,
        timeout: float = 10.0,
        read_your_writes: bool = True,
    ) -> None:
        self._connection = Connection(nc, prefix=prefix, timeout=timeout)
        self._commands = Commands(self._connection, actor=actor)
        self.query = Query(self._connection, read_your_writes=read_your_writes)
        self.link = Links(self._commands, self.query)
        self.api_keys = ApiKeys(self._commands, self.query)
        self.sales_channels = SalesChannels(self._commands, self.query)
        self.jobs = Jobs(self._connection, self._commands)
        self.dead_jobs = DeadJobs(self._connection)
        self.events = Events(self._connection)
        self._closing: asyncio.Task[None] | None = None

    @property
    def nats(self) -> Client:
        """The connection itself."""
        return self._connection.nc

    @property
    def connection(self) -> Connection:
        """What the parts of this client share."""
        return self._connection

    @property
    def position(self) -> int:
        """The highest position seen, in replies to commands and in events."""
        return self._connection.position

    async def command(self, name: str, body: Any, **options: Unpack[CallOptions]) -> CommandReply:
        """Carry out any command, `link.create`, and answer all of its reply: `data`, `position` and `changed`."""
        return await self._commands.send(name, body, **options)

    def new_command_id(self) -> str:
        """An id for a command that you may have to send again yourself."""
        return self._commands.new_id()

    def workflow(self, id: str | None = None) -> Workflow:
        """Steps that are undone when a later one fails; see Workflow."""
        return Workflow(self._commands, self.query, self.link, id or self.new_command_id())

    async def storefront(self, *, max_entries: int = 100_000, stale_after: float = 2.0) -> Storefront:
        """What publishable tokens stand for, in this process' own memory; see Storefront."""
        storefront = Storefront(self._connection, self.query, max_entries=max_entries, stale_after=stale_after)
        await storefront.start()
        return storefront

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all subscriptions, send what waits to be sent, and close the connection.

        It may be called again. Whoever is cancelled here waits no longer; the connection is closed nevertheless.
        """
        self._connection.end(None)
        if self._closing is None:
            self._closing = asyncio.create_task(self._leave(), name="keyscope close")
        await asyncio.shield(self._closing)

    async def _leave(self) -> None:
        try:
            if self.nats.is_connected:
                await self.nats.drain()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            logger.warning("the connection was closed before all was sent: %s", _said(error))
        finally:
            await self.nats.close()


class Connecting:
    """What `connect` gives: await it, or enter it."""

    def __init__(self, connect: Callable[[], Awaitable[Keyscope]]) -> None:
        self._connect = connect
        self._client: Keyscope | None = None

    def __await__(self) -> Generator[Any, None, Keyscope]:
        return self._connect().__await__()

    async def __aenter__(self) -> Keyscope:
        self._client = await self
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()


def connect(
    servers: str | list[str] = "nats://127.0.0.1:4222",
    *,
    prefix: str = "keyscope",
    actor: str | None = None,
    timeout: float = 10.0,
    read_your_writes: bool = True,
    **options: Any,
) -> Connecting:
    """Connect to NATS: `async with await keyscope.connect() as ks`; it can be entered without `await` too.

    `options` are those of nats-py's `connect` (`user_credentials`, `tls`, …). A connection that is lost is tried again
    for ever, every half second unless `options` say otherwise. Raises Unavailable when no server answers at first.
    """

    async def start() -> Keyscope:
        nc = OwnClient()
        client = Keyscope(nc, prefix=prefix, actor=actor, timeout=timeout, read_your_writes=read_your_writes)
        await _open(nc, client.connection, servers, timeout, options)
        return client

    return Connecting(start)


async def _open(
    nc: Client, connection: Connection, servers: str | list[str], timeout: float, options: dict[str, Any]
) -> None:
    async def failed(error: Exception) -> None:
        errors.append(_said(error))
        logger.info("NATS: %s", _said(error))

    async def reconnected() -> None:
        connection.reconnected()

    async def closed() -> None:
        connection.end(Unavailable("the connection to NATS was closed"))

    errors: deque[str] = deque(maxlen=1)
    attempts = options.get("max_reconnect_attempts", -1)
    settings = {"name": "keyscope", "reconnect_time_wait": 0.5, "error_cb": failed, **options}
    settings["reconnected_cb"] = _both(reconnected, options.get("reconnected_cb"))
    settings["closed_cb"] = _both(closed, options.get("closed_cb"))
    # The first connection is tried once for each server, so that a wrong address is told at once.
    settings["max_reconnect_attempts"] = 1
    try:
        async with asyncio.timeout(timeout):
            await nc.connect(servers, **settings)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        with suppress(AssertionError):  # nats-py's, when a URL is none: nothing is open yet
            await nc.close()
        where = without_password(servers if isinstance(servers, str) else ",".join(servers))
        raise Unavailable(f"cannot connect to NATS at {where}: {(errors or [_said(error)])[-1]}") from None
    except BaseException:  # whoever is cancelled has nothing to close
        await nc.close()
        raise
    nc.options["max_reconnect_attempts"] = attempts


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _both(ours: Callback, theirs: Callback | None) -> Callback:
    async def call() -> None:
        await ours()
        if theirs is not None:
            await theirs()

    return call
