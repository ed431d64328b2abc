"""The composition root: what each service gets, and the one table of them all."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from events.subjects import Subjects
from keyscope.servers import without_password
from projections.database import versioned
from services.bus.client import Client
from services.bus.measures import CHECKS
from services.bus.streams import StreamMismatch
from services.bus.trouble import Seldom, said
from services.commands import service as commands
from services.query import service as query
from services.relay import service as relay
from services.runtime.credentials import options
from services.runtime.failures import Exit, Failure
from services.runtime.locks import hold
from services.runtime.settings import Settings
from services.store.commit import LostEvents

LEAST_PAYLOAD = 256 * 1024
"""Bytes that the broker must take: those of an event whose texts are as long as they may be, and some more."""

log = structlog.get_logger("nats")


class Stopped(Exception):
    """The process was asked to stop before there was a connection."""


@dataclass(slots=True)
class _Trouble:
    """Of one connection. What `met` raises before there is one, connecting raises."""

    name: str
    servers: str
    stopping: asyncio.Event
    connected: bool = False
    seldom: Seldom = field(default_factory=Seldom)

    async def met(self, error: Exception) -> None:
        if not self.connected and self.stopping.is_set():
            raise Stopped
        if self.seldom(said(error)):
            log.warning("connection error", connection=self.name, servers=self.servers, error=said(error))
        if not self.connected and "authorization violation" in str(error).lower():
            raise Failure(Exit.UNREACHABLE, f"the NATS at {self.servers} refuses the credentials")


@dataclass(frozen=True, slots=True)
class Context:
    """What the services of one process share."""

    settings: Settings
    stopping: asyncio.Event
    """Set: drain and return."""
    lost: Callable[[Exception], None]
    """To be told when a connection has closed for good, though nobody wanted it to."""

    @property
    def subjects(self) -> Subjects:
        """The subjects under the prefix of the settings."""
        return Subjects(self.settings.prefix)

    async def connect(self, name: str, reconnected: Callable[[], None] | None = None) -> Client:
        """A connection to NATS that shows up as `name`. It is tried for ever, and tried again when it breaks.

        `reconnected` is told when it is back. Raises Failure when NATS refuses the credentials, Stopped when it is not
        there and the process is to stop.
        """
        settings = self.settings
        servers = without_password(",".join(settings.nats_servers))
        trouble = _Trouble(name, servers, self.stopping)

        async def on_disconnect() -> None:
            if not self.stopping.is_set():
                log.warning("disconnected", connection=name)

        async def on_reconnect() -> None:
            log.info("connected again", connection=name)
            if reconnected is not None:
                reconnected()

        async def on_close() -> None:
            if trouble.connected and not self.stopping.is_set():
                self.lost(ConnectionError(f"the connection {name} was closed by NATS"))

        client = Client()
        await client.connect(
            servers=settings.nats_servers,
            name=name,
            **options(settings),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # seconds; its type is too narrow
            error_cb=trouble.met,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
            closed_cb=on_close,
        )
        await _takes_events(client, servers)
        trouble.connected = True
        CHECKS[f"broker ({name})"] = lambda: None if client.is_connected else "not connected"
        return client


async def _takes_events(client: Client, servers: str) -> None:
    if client.max_payload < LEAST_PAYLOAD:
        await client.close()
        raise Failure(
            Exit.CONFIG,
            f"the NATS at {servers} takes messages of {client.max_payload} bytes; an event may have {LEAST_PAYLOAD}: "
            "raise its max_payload",
        )


@contextmanager
def _refused() -> Iterator[None]:
    """A stream that is not what it must be, or a store that is not what it was, is for the user to mend."""
    try:
        yield
    except (StreamMismatch, LostEvents) as mismatch:
        raise Failure(Exit.DIVERGED, str(mismatch)) from mismatch


async def _commands(context: Context, ready: Callable[[], None]) -> None:
    with _refused():
        await commands.serve(
            connect=context.connect,
            store=context.settings.event_store_url,
            subjects=context.subjects,
            ready=ready,
            stopping=context.stopping,
            replicas=context.settings.replicas,
        )


async def _relay(context: Context, ready: Callable[[], None]) -> None:
    with _refused():
        await relay.serve(
            connect=context.connect,
            store=context.settings.event_store_url,
            subjects=context.subjects,
            source=context.settings.source,
            ready=ready,
            stopping=context.stopping,
            replicas=context.settings.replicas,
        )


async def _query(context: Context, ready: Callable[[], None]) -> None:
    database = context.settings.read_model_path
    lock = hold(database.with_name(f"{database.name}.lock"), f"the read model {database}")
    try:
        await query.serve(
            connect=context.connect,
            database=database,
            check_seconds=context.settings.self_check_seconds,
            subjects=context.subjects,
            ready=ready,
            stopping=context.stopping,
        )
    finally:
        os.close(lock)


async def _gateway(context: Context, ready: Callable[[], None]) -> None:
    from services.runtime import gateway  # the web framework: only the process that serves HTTP needs it

    await gateway.serve(context, ready)


def _event_store(settings: Settings) -> str:
    return without_password(settings.event_store_url.removeprefix("sqlite:///"))


def _read_model(settings: Settings) -> Path:
    return versioned(settings.read_model_path)


def _no_database(_: Settings) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Service:
    """How a service is started, and what to say about its database."""

    serve: Callable[[Context, Callable[[], None]], Coroutine[Any, Any, None]]
    database: Callable[[Settings], object]
    remedy: str
    """What to do when that is damaged."""


RESTORE = "put it back from a backup"
REBUILD = "delete it, it is built again from the events"

SERVICES: dict[str, Service] = {
    "commands": Service(_commands, _event_store, RESTORE),
    "relay": Service(_relay, _event_store, RESTORE),
    "query": Service(_query, _read_model, REBUILD),
    "gateway": Service(_gateway, _no_database, RESTORE),
}
