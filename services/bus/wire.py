"""Where nats-py's public calls cost more than the work itself: many small messages.

Sending an event costs nats-py 20 to 30 µs, receiving one 10 to 18; written out as here, each costs 3 to 6 (measured in
benchmarks/README.md). Connecting, credentials, TLS, reconnecting and everything else stay the library's: this module
only hands it bytes to send, and takes the messages of a subscription before it looks at them. It uses names that
nats-py keeps to itself, so tests/bus run it against every version that the lock file takes.
"""

import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, OutboundBufferLimitError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

Receive = Callable[[bytes, bytes, bytes, bytes], None]
"""(subject, reply subject, header block, payload) of one message; reply subject and header block may be empty."""

_CRLF = b"\r\n"


def message(subject: bytes, header: bytes, payload: bytes) -> bytes:
    """A message as it goes over the wire. `header` is a whole header block, or empty."""
    if not header:
        return b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(header), len(header) + len(payload), header, payload)


async def send(client: Client, frames: bytes) -> None:
    """Send messages that are written out already. They are buffered as those of `publish` are, up to the same size.

    Raises ConnectionClosedError, OutboundBufferLimitError.
    """
    if client.is_closed:
        raise ConnectionClosedError
    if not client.is_connected and len(frames) + client.pending_data_size > client._max_pending_size:
        raise OutboundBufferLimitError
    await client._send_command(frames)
    if client._flush_queue is not None and client._flush_queue.empty():
        await client._flush_pending()


async def flush(client: Client) -> None:
    """Return when the server has taken all that was sent before.

    nats-py's own `flush` (2.16) writes its PING at once, ahead of what still waits to be written.
    Raises FlushTimeoutError (a TimeoutError) after 10 seconds, ConnectionClosedError.
    """
    await client._flush_pending(force_flush=True)
    await client.flush()


async def take(client: Client, subscription: Subscription, receive: Receive) -> None:
    """Let `receive` have each message of the subscription, at once and in order, instead of the subscription.

    It is called while the bytes are read, so it must neither raise, nor wait, nor take long. The subscription stays
    taken when the client reconnects, until it is given back.
    """
    while client._ps.state != AWAITING_CONTROL_LINE:
        await asyncio.sleep(0)  # the library is in the middle of a message
    if not isinstance(client._ps, _Taker):
        client._ps = _Taker(client, bytes(client._ps.buf))
    client._ps.taken[b"%d" % subscription._id] = receive


def give_back(client: Client, subscription: Subscription) -> None:
    """Take its messages no longer: it has ended."""
    if isinstance(client._ps, _Taker):
        client._ps.taken.pop(b"%d" % subscription._id, None)


class _Taker(Parser):
    """The library's parser for all but the subscriptions that are taken, by their number."""

    def __init__(self, client: Client, begun: bytes) -> None:
        super().__init__(client)
        self._rest = begun
        self.taken: dict[bytes, Receive] = {}

    def reset(self) -> None:
        """A new connection: nothing of the old one will be completed."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Take what is ours, leave the rest to the library, one whole protocol message after the other."""
        if self._rest:
            data = self._rest + data
        at, length = 0, len(data)
        while (line := data.find(_CRLF, at)) >= 0:
            stop = line + 2
            words = data[at:line].split()
            if words and words[0] in (b"HMSG", b"MSG"):
                stop += int(words[-1]) + 2
                if stop > length:
                    break
                receive = self.taken.get(words[2])
                if receive is not None:
                    body = line + 2
                    has_header = words[0] == b"HMSG"
                    if has_header:
                        body += int(words[-2])
                    reply = words[3] if len(words) == 5 + has_header else b""
                    receive(words[1], reply, data[line + 2 : body], data[body : stop - 2])
                    at = stop
                    continue
            await super().parse(data[at:stop])
            at = stop
        self._rest = data[at:]
