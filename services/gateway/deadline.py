"""Requests must come in whole within some time, and their heads within some length.

uvicorn waits for both for ever, and takes only so many connections: a client that opens them all and asks for nothing
would keep everybody else out.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 20.0
"""From the opening of the connection, or a later request's first byte, to the end of the request's body."""
HEAD_BYTES = 64 * 1024
"""About how long a request's first line and headers may be."""
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """uvicorn's, with both limits."""

    _due: asyncio.TimerHandle | None = None
    _head = 0
    """Bytes that came since the head that is on its way began; when none is, 0."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._head
        super().data_received(data)
        if before and self._head == before:  # nothing but more of that head
            self._head += len(data)
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()
        self._head = 1

    def on_headers_complete(self) -> None:
        self._head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._end()
        super().on_message_complete()

    def _begin(self) -> None:
        self._end()
        self._due = self.loop.call_later(REQUEST_SECONDS, self._late)

    def _end(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        self.transport.abort()
