"""A NATS connection that does nothing but request and reply, as cheaply as Python can.

The load generator shares the machine's cores with the service, so what it uses the service lacks. nats-py costs some
40 µs a request; this costs a tenth. It writes all requests of one wake-up at once and reads replies in place.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

Request = tuple[bytes, bytes, bytes]
"""(subject, header lines each ending in CRLF or nothing, body)"""

OnReply = Callable[[int, float, memoryview, bool], None]
"""(slot, seconds since its request, body, whether it has headers, as errors do)"""


def encode(request: Request, reply_to: bytes) -> bytes:
    """The request as it goes over the wire."""
    subject, headers, body = request
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply_to, len(body), body)
    size = len(headers) + 12
    return b"HPUB %b %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (subject, reply_to, size, size + len(body), headers, body)


class Wire(asyncio.Protocol):
    """One connection. Each of its slots has at most one request under way."""

    def __init__(self, on_reply: OnReply) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_reply = on_reply
        self._transport: Any = None
        self._out: list[bytes] = []
        self._sent: dict[int, float] = {}
        self._rest = b""
        self._parts: list[bytes] = []
        self._missing = 0
        self._inbox = b"_INBOX.bench%d." % id(self)

    def send(self, slot: int, request: Request) -> None:
        """Ask. It is written at the end of this wake-up, or by `flush`."""
        self._out.append(encode(request, self.reply_to(slot)))
        self._sent[slot] = perf_counter()

    def reply_to(self, slot: int) -> bytes:
        """The subject on which this slot's reply comes."""
        return b"%b%d" % (self._inbox, slot)

    def write(self, frames: list[bytes]) -> None:
        """Write requests that are encoded already. Nobody notes when: their replies bear no time."""
        self._transport.write(b"".join(frames))

    def flush(self) -> None:
        """Write what was sent."""
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    async def close(self) -> None:
        """Close the connection."""
        self._transport.close()
        with suppress(OSError):
            await self.lost

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.ready, self.lost):
            if not future.done():
                future.set_exception(exc or ConnectionError("NATS has closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._missing > len(data):  # a large reply: do not look at it until it is all there
            self._parts.append(data)
            self._missing -= len(data)
            return
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts.clear()
        elif self._rest:
            data = self._rest + data
        self._rest = b""
        self._missing = 0
        self._read(data)
        self.flush()

    def _read(self, data: bytes) -> None:
        view = memoryview(data)
        at, length = 0, len(data)
        while at < length:
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                return
            if data[at] not in b"MH" or not data.startswith((b"MSG ", b"HMSG "), at):
                self._control(data[at:end])
                at = end + 2
                continue
            words = data[at:end].split(b" ")
            stop = end + 2 + int(words[-1])
            if stop + 2 > length:
                self._parts = [data[at:]]
                self._missing = stop + 2 - length
                return
            with_headers = words[0] == b"HMSG"
            start = end + 2 + (int(words[-2]) if with_headers else 0)
            slot = int(words[1][len(self._inbox) :])
            now = perf_counter()
            self._on_reply(slot, now - self._sent.pop(slot, now), view[start:stop], with_headers)
            at = stop + 2

    def _control(self, line: bytes) -> None:
        if line.startswith(b"INFO"):
            options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "name": "load"}
            hello = json.dumps(options).encode()
            self._transport.write(b"CONNECT %b\r\nSUB %b* 1\r\nPING\r\n" % (hello, self._inbox))
        elif line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line == b"PONG":
            if not self.ready.done():
                self.ready.set_result(None)
        elif line.startswith(b"-ERR"):
            self._transport.close()
            for future in (self.ready, self.lost):
                if not future.done():
                    future.set_exception(ConnectionError(line.decode()))


async def connect(url: str, on_reply: OnReply) -> Wire:
    """A connection that is ready. Raises OSError."""
    place = urlsplit(url)
    _, wire = await asyncio.get_running_loop().create_connection(
        lambda: Wire(on_reply), place.hostname or "", place.port or 4222
    )
    await wire.ready
    return wire


async def ask(url: str, requests: Iterator[Request], at_once: int = 1) -> list[dict[str, Any]]:
    """All the replies, in order. Raises RuntimeError for the first that is an error."""
    replies: dict[int, dict[str, Any]] = {}
    left = enumerate(requests)
    done = asyncio.get_running_loop().create_future()
    under_way = 0

    def next_one() -> None:
        nonlocal under_way
        if (following := next(left, None)) is not None:
            wire.send(*following)
            under_way += 1

    def on_reply(slot: int, _: float, body: memoryview, with_headers: bool) -> None:
        nonlocal under_way
        under_way -= 1
        text = bytes(body)
        if with_headers and not done.done():
            done.set_exception(RuntimeError(text.decode()[:500] or "nobody serves"))
        replies[slot] = json.loads(text or b"{}")
        next_one()
        if not under_way and not done.done():
            done.set_result(None)

    wire = await connect(url, on_reply)
    try:
        for _ in range(at_once):
            next_one()
        wire.flush()
        if under_way:
            await asyncio.wait((done, wire.lost), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                wire.lost.result()
            done.result()
    finally:
        await wire.close()
    return [replies[slot] for slot in sorted(replies)]
