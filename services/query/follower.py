"""Follows the stream of events into the projector, whatever happens to the stream, the server or this process.

A push consumer with flow control delivers far faster than fetching does. It lives for one session; the next one begins
where the read model stands. A session ends when messages are missing, when nothing is heard any more, when the
connection was another one meanwhile, or when an event cannot be applied. The place in the stream is found by position:
sequence numbers are only a hint, since a wiped stream is filled again under others.

That no event is missed is not left to the stream: each says the position of the one before it, and an event whose
predecessor has not arrived is not applied. A stream with a hole is the relay's to mend; until then the session is
begun again and again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamState
from nats.js.errors import NotFoundError

from events.subjects import EVENTS_STREAM, PREVIOUS_POSITION, Subjects
from projections.projector import MissingEvents, Projector, Published, position_of

BATCH = 5_000
"""Events in one transaction."""

BUFFER = 20_000
"""Events in memory; beyond, the server is kept waiting."""

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
RETRY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)

log = structlog.get_logger("query")


class _SessionOver(Exception):
    """Begin anew where the read model stands; the message says why."""


class Follower:
    """Keeps a projector up with the stream.

    `caught_up` is set once everything that was in the stream has been applied, or when there is no stream yet.
    """

    def __init__(
        self, client: Client, subjects: Subjects, projector: Projector, applied: Callable[[int], None]
    ) -> None:
        self._client = client
        self._js = client.jetstream()
        self._subjects = subjects
        self._projector = projector
        self._applied = applied
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="projector")
        self.caught_up = asyncio.Event()
        self.state = "starting"
        self.behind = 0
        """Events of the stream that are not applied yet, as far as is known."""

    async def run(self) -> None:
        """Follows until cancelled."""
        failures = 0
        while True:
            try:
                await self._session()
            except NotFoundError:
                self.state, self.behind = "waiting for the stream", 0
                self.caught_up.set()
            except MissingEvents as missing:
                self.state = "stuck: the stream is not whole"
                log.error("the stream is not whole", because=str(missing))  # noqa: TRY400 - it is no bug of ours
            except (_SessionOver, NatsError, TimeoutError, OSError) as over:
                self.state = "connecting"
                log.warning("following again", because=str(over) or type(over).__name__)
            except Exception as error:
                self.state = f"stuck: {type(error).__name__}"
                log.exception("an event cannot be applied", position=self._projector.position)
            else:
                failures = 0
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def close(self) -> None:
        """Lets the batch that is being applied finish, and closes the read model."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._projector.close)

    async def _session(self) -> None:
        # The batch that the last session left behind must be through, and whoever waits for it must be told.
        loop = asyncio.get_running_loop()
        self._applied(await loop.run_in_executor(self._writer, self._projector.apply, ()))
        info = await self._js.stream_info(EVENTS_STREAM)
        start = await self._place(info.state)
        session = _Session(self._client, self._projector.position)
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, cb=session.receive)
        consumer = await self._js.add_consumer(
            EVENTS_STREAM,
            ConsumerConfig(
                description="Keyscope's read model",
                deliver_subject=inbox,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                ack_policy=AckPolicy.NONE,
                flow_control=True,
                idle_heartbeat=HEARTBEAT_SECONDS,
                max_deliver=1,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=30,
            ),
        )
        self.behind = consumer.num_pending or 0
        if not self.behind:
            self._is_up_to_date()
        else:
            self.state = "catching up"
        watch = asyncio.create_task(session.watch())
        apply = asyncio.create_task(self._apply(session))
        try:
            done, _ = await asyncio.wait((watch, apply), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (watch, apply):
                task.cancel()
            await asyncio.gather(watch, apply, return_exceptions=True)
            with suppress(NatsError, TimeoutError):
                await subscription.unsubscribe()
                await self._js.delete_consumer(EVENTS_STREAM, consumer.name)

    async def _apply(self, session: "_Session") -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await session.take()
            position = await loop.run_in_executor(self._writer, self._projector.apply, batch)
            self.behind = session.pending + len(session.buffer)
            self._applied(position)
            if not self.behind:
                self._is_up_to_date()

    def _is_up_to_date(self) -> None:
        self.state = "following"
        self.caught_up.set()

    async def _place(self, state: StreamState) -> int:
        """The sequence number after that of the last applied event."""
        first, last = max(state.first_seq, 1), state.last_seq
        if not state.messages or self._projector.position == 0:
            return first
        remembered = self._projector.stream_seq
        if first <= remembered <= last and await self._position_at(remembered) == (
            remembered,
            self._projector.position,
        ):
            return remembered + 1
        log.info("the stream is another one; looking for the place", position=self._projector.position)
        while first <= last:
            middle = (first + last) // 2
            sequence, position = await self._position_at(middle)
            if position <= self._projector.position:
                first = sequence + 1
            else:
                last = middle - 1
        return first

    async def _position_at(self, sequence: int) -> tuple[int, int]:
        """The sequence number and the position of the first event at or after `sequence`."""
        message = await self._js.get_msg(EVENTS_STREAM, seq=sequence, subject=self._subjects.events, next=True)
        return message.seq or 0, position_of(message.data or b"")


class _Session:
    """What one consumer has delivered and is not applied yet, and whether it is whole."""

    def __init__(self, client: Client, position: int) -> None:
        """`position` is that of the last event that is applied."""
        self._client = client
        self._position = position
        self._reconnects = client.stats["reconnects"]
        self._delivered = 0
        self._heard = asyncio.get_running_loop().time()
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer: deque[Published] = deque()
        self.pending = 0

    async def receive(self, message: Msg) -> None:
        """One message of the consumer: an event, a heartbeat, or the server asking whether it may go on."""
        if self._over.done():
            return  # what follows a gap must not be applied
        self._heard = asyncio.get_running_loop().time()
        if message.headers is not None and message.headers.get("Status") == "100":
            await self._control(message, message.headers)
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>; with a domain, two
        # tokens more after ACK and one more at the end
        tokens = message.reply.split(".")
        at = 5 if len(tokens) == 9 else 7
        stream_seq, consumer_seq, pending = int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
        if consumer_seq != self._delivered + 1:
            self._end(f"message {self._delivered + 1} of the consumer is missing")
            return
        self._delivered, self.pending = consumer_seq, pending
        position = position_of(message.data)
        if position > self._position:
            previous = int((message.headers or {}).get(PREVIOUS_POSITION, -1))
            if previous != self._position:
                self._end(f"the event at position {position} follows {previous}, and {self._position} was the last")
                return
            self._position = position
        self.buffer.append(Published(message.data, stream_seq))
        self._something.set()
        while len(self.buffer) >= BUFFER:
            self._room.clear()
            await self._room.wait()

    async def _control(self, message: Msg, headers: dict[str, str]) -> None:
        """Answering comes after what was delivered before it has found room in the buffer: that is the flow control."""
        for subject in (message.reply, headers.get("Nats-Consumer-Stalled")):
            if subject:
                await self._client.publish(subject)
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._delivered:
            self._end(f"the consumer has delivered {last} messages, {self._delivered} arrived")

    async def take(self) -> list[Published]:
        """The next batch, as soon as there is anything."""
        while not self.buffer:
            self._something.clear()
            await self._something.wait()
        batch = [self.buffer.popleft() for _ in range(min(BATCH, len(self.buffer)))]
        self._room.set()
        return batch

    async def watch(self) -> None:
        """Raises _SessionOver when the session is broken."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._over), 0.25)
            if self._client.stats["reconnects"] != self._reconnects:
                raise _SessionOver("the connection is a new one")
            if self._client.is_connected and loop.time() - self._heard > SILENCE_SECONDS:
                raise _SessionOver("nothing was heard from the stream")

    def _end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_exception(_SessionOver(why))
