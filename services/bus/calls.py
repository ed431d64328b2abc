"""The endpoints of a micro service, off the wire: a request costs a third of what it does as a nats-py message.

nats-py stays in charge of the service (`$SRV` answers discovery, info and stats) and of its subscriptions. A request
is handed over while the bytes are read, and the replies of one turn of the event loop leave in one write.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.micro.request import Request
from nats.micro.service import Endpoint, EndpointConfig, Service

from events.errors import KeyscopeError
from services.bus.measures import Counter
from services.bus.replies import error_headers, failure
from services.bus.wire import message, send, take

log = structlog.get_logger(__name__)


def header_block(headers: Mapping[str, str] | None) -> bytes:
    """Headers as they go over the wire; nothing for none."""
    if not headers:
        return b""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


class Refusal:
    """A reply that is made once and sent many times: refusing must cost next to nothing."""

    __slots__ = ("counter", "tail")

    def __init__(self, error: KeyscopeError, counter: Counter) -> None:
        """`counter` counts how often it is sent."""
        self.counter = counter
        self.tail = message(b"", header_block(error_headers(error)), failure(error)).removeprefix(b"HPUB ")
        """What stands behind the reply's subject on the wire."""


def never() -> None:
    """For an endpoint that refuses nobody."""


class Call:
    """One request: what was asked, and `respond`, which is to be called once."""

    __slots__ = ("_calls", "_header", "_reply", "data", "subject")

    def __init__(self, calls: "Calls", subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        self._calls, self._reply, self._header = calls, reply, header
        self.subject = subject.decode("utf-8", "surrogateescape")
        self.data = data

    @property
    def headers(self) -> dict[str, str]:
        """The headers; of several with one name the last. What is not UTF-8 in them reads as lone surrogates."""
        if not self._header:
            return {}
        lines = self._header.decode("utf-8", "surrogateescape").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:-2])
        return {name.strip(): value.strip() for name, _, value in pairs}

    def respond(self, text: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Reply, if a reply was asked for. Raises MaxPayloadError."""
        if self._reply:
            self._calls.send(self._reply, text, headers)


class Calls:
    """Receives the requests of a service's endpoints, and sends their replies."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._frames: list[bytes] = []
        self._refusing: dict[str, Refusal] = {}
        self._something = asyncio.Event()
        self._sender = asyncio.create_task(self._send())

    async def add_endpoint(
        self,
        service: Service,
        receive: Callable[[Call], None],
        *,
        name: str,
        subject: str,
        queue_group: str,
        metadata: dict[str, str],
        refusal: Callable[[], Refusal | None] = never,
    ) -> None:
        """Add an endpoint whose requests go to `receive`, which must neither raise nor wait.

        When `refusal` gives one, each request is answered that at once, without being looked at, and so are the
        others of the same turn of the event loop: asking again for each would cost more than refusing it.
        """

        async def before_it_is_taken(request: Request) -> None:
            block = "".join(f"{name}: {value}\r\n" for name, value in (request.headers or {}).items())
            header = f"NATS/1.0\r\n{block}\r\n".encode("utf-8", "surrogateescape")
            receive(Call(self, request.subject.encode(), request._msg.reply.encode(), header, request.data))  # noqa: SLF001

        await service.add_endpoint(
            EndpointConfig(name, before_it_is_taken, queue_group=queue_group, subject=subject, metadata=metadata)
        )
        endpoint: Endpoint = service._endpoints[-1]  # noqa: SLF001 - there is no other way to it

        def taken(subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
            endpoint._num_requests += 1  # noqa: SLF001 - for $SRV.STATS
            refused = self._refusing.get(name) or refusal()
            if refused is not None:
                self._refusing[name] = refused
                refused.counter.add(1)
                self._frames += (b"HPUB ", reply, refused.tail) if reply else ()
                self._something.set()
                return
            receive(Call(self, subject, reply, header, data))

        subscription = endpoint._subscription  # noqa: SLF001
        assert subscription is not None
        await take(self._client, subscription, taken)

    def send(self, subject: bytes, text: bytes, headers: Mapping[str, str] | None) -> None:
        """Send a reply with the next write. Raises MaxPayloadError."""
        if len(text) > self._client.max_payload:
            raise MaxPayloadError
        self._frames.append(message(subject, header_block(headers), text))
        self._something.set()

    async def close(self) -> None:
        """Send what is left, and end."""
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        await self._flush()

    async def _send(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            await self._flush()

    async def _flush(self) -> None:
        frames, self._frames = self._frames, []
        self._refusing.clear()
        try:
            if frames:
                await send(self._client, b"".join(frames))
        except NatsError as error:
            log.warning("replies could not be sent; who waits will ask again", replies=len(frames), error=str(error))
