"""nats-py's client, with a flush that what was sent before it cannot be overtaken by, and no socket left behind."""

from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, Srv
from nats.aio.client import Client as Plain


class Client(Plain):
    """Draining a subscription loses no request.

    nats-py (2.16) writes the PING of a flush at once, past commands that still wait to be written, such as the UNSUB of
    a drain. Then the PONG comes before the server has read the UNSUB, the subscription is thrown away, and requests
    that are still sent to it are dropped without an answer.
    """

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Everything sent so far has reached the server. Raises what nats-py's raises."""
        if self.is_connected:
            await self._flush_pending(force_flush=True)
        await super().flush(timeout)

    async def drain(self) -> None:
        """Leave when all is handled and sent. From a server that is away there is nobody to take leave of."""
        if self.is_reconnecting:
            await self.close()
        else:
            await super().drain()

    async def _connect_to_server(self, s: Srv) -> None:
        """nats-py (2.16) puts the next connection in the place of one whose handshake failed, and leaves that open."""
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """What waits is written at once, or dropped if the connection is gone.

        nats-py (2.16) writes it after a while, and raises what the event loop says if the connection went meanwhile.
        """
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            if self._pending and not writer.is_closing():
                writer.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)
