"""What all parts of one client share."""

from collections.abc import Callable
from typing import Protocol

from nats.aio.client import Client, Srv

from keyscope.bus import Bus
from keyscope.errors import KeyscopeError
from keyscope.subjects import Subjects


class OwnClient(Client):
    """nats-py's client, which leaves no socket behind.

    nats-py (2.16) puts the next connection in the place of one whose handshake failed, and leaves that open.
    """

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)


class Source(Protocol):
    """Something that goes on receiving until it is told to end."""

    def reconnected(self) -> None:
        """The connection was lost and is back."""

    def end(self, error: KeyscopeError | None) -> None:
        """The connection is closed: by the caller, or for good by the `error`."""


class Connection:
    """The connection to NATS, and what is to be told when it comes back or goes."""

    def __init__(self, nc: Client, *, prefix: str, timeout: float) -> None:
        self.nc = nc
        self.bus = Bus(nc, timeout=timeout)
        self.subjects = Subjects(prefix)
        self.position = 0
        self.sources: set[Source] = set()

    def saw(self, position: int) -> None:
        """Remember `position`, if it is the highest seen."""
        self.position = max(self.position, position)

    def forget(self) -> None:
        """The positions seen are those of a history that is no more."""
        self.position = 0

    def reconnected(self) -> None:
        """Tell the sources."""
        self._tell(lambda source: source.reconnected())

    def end(self, error: KeyscopeError | None) -> None:
        """Tell the sources, and forget them."""
        self._tell(lambda source: source.end(error))
        self.sources.clear()

    def _tell(self, what: Callable[[Source], None]) -> None:
        for source in tuple(self.sources):
            what(source)
