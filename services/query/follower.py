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
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter

import apsw
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamState
from nats.js.errors import NotFoundError, ServiceUnavailableError

from events.subjects import EPOCH, EVENTS_STREAM, Subjects
from projections.projector import MissingEvents, Projector, Published, position_of
from services.bus import tracing
from services.bus.measures import APPLYING, PROJECTED
from services.bus.tasks import end
from services.bus.trouble import Seldom, said
from services.bus.wire import give_back, take

BATCH = 5_000
"""Events in one transaction."""

FEW = 32
"""Events that are applied on the event loop, in at most half a millisecond: a thread that must share the interpreter
takes three times as long for them."""

LOG_PAGES = 4_000
"""How long the read model's write-ahead log grows before it is folded into the file."""

BUFFER = 20_000
"""Events in memory; beyond, the server is kept waiting."""

_CONTROL = re.compile(rb"^(Nats-[A-Za-z-]+): *(\S+)", re.MULTILINE)
"""Headers of a message without a payload: a heartbeat, or a question of flow control."""

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
LOOK_SECONDS = 5.0
"""How often an idle follower asks the stream itself whether there is more than its consumer has delivered."""
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
        self._folder = ThreadPoolExecutor(1, thread_name_prefix="folding")
        self._folding: asyncio.Future[None] | None = None
        self.caught_up = asyncio.Event()
        self._session: _Session | None = None
        self.state = "starting"
        self.no_room = False
        """The disk was full, or failed, since this began."""

    @property
    def behind(self) -> int:
        """Events of the stream that are not applied yet, as far as is known; a batch that hangs counts, too."""
        return self._session.behind if self._session else 0

    async def run(self) -> None:
        """Follows until cancelled."""
        failures, seldom = 0, Seldom()
        while True:
            try:
                await self._follow()
            except NotFoundError:
                self.state, self._session = "waiting for the stream", None
                self.caught_up.set()
            except MissingEvents as missing:
                self.state = "stuck: the stream is not whole"
                log.error("the stream is not whole", because=str(missing))  # noqa: TRY400 - it is no bug of ours
            except (apsw.FullError, apsw.IOError) as error:
                self.state, self.no_room = f"stuck: the read model cannot be written ({error})", True
                log.error("the read model cannot be written; trying again", because=str(error))  # noqa: TRY400 - as above
            except (_SessionOver, NatsError, TimeoutError, OSError) as over:
                self.state = "connecting"
                if seldom(said(over)):
                    log.warning("following again", because=said(over))
            except Exception as error:
                self.state = f"stuck: {type(error).__name__}"
                log.exception("an event cannot be applied", position=self._projector.position)
            else:
                failures = 0
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def close(self) -> None:
        """Lets the batch that is being applied finish, and closes the read model."""
        await asyncio.to_thread(self._folder.shutdown)
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._projector.close)

    async def _follow(self) -> None:
        # The batch that the last session left behind must be through, and whoever waits for it must be told.
        loop = asyncio.get_running_loop()
        self._applied(await loop.run_in_executor(self._writer, self._projector.apply, ()))
        info = await self._js.stream_info(EVENTS_STREAM)
        epoch = (info.config.metadata or {}).get(EPOCH)
        if epoch is not None and epoch != self._projector.epoch:
            self._applied(await loop.run_in_executor(self._writer, self._projector.begin, epoch))
        start = await self._place(info.state)
        session = _Session(self._client, start - 1)
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        await take(self._client, subscription, session.receive)
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
        session.begin(consumer.num_pending or 0)
        self._session = session
        if not self.behind:
            self._is_up_to_date()
        else:
            self.state = "catching up"
        watch = asyncio.create_task(session.watch())
        apply = asyncio.create_task(self._apply(session))
        look = asyncio.create_task(self._look(session))
        try:
            done, _ = await asyncio.wait((watch, apply, look), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end((watch, apply, look))
            give_back(self._client, subscription)
            with suppress(NatsError, TimeoutError):
                await subscription.unsubscribe()
                await self._js.delete_consumer(EVENTS_STREAM, consumer.name)

    async def _apply(self, session: "_Session") -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await session.take()
            begun = perf_counter()
            if len(batch) <= FEW:
                position = self._projector.apply(batch)
            else:
                position = await loop.run_in_executor(self._writer, self._projector.apply, batch)
            APPLYING.observe(seconds := perf_counter() - begun)
            PROJECTED.add(len(batch))
            if tracing.spans is not None:
                traceparents = (tracing.traceparent_of(event.text) for event in batch)
                tracing.spans.batch("apply", traceparents, seconds, events=len(batch), position=position)
            session.in_hand = 0
            self._applied(position)
            if not self.behind:
                self._is_up_to_date()
            await self._fold_log()

    async def _fold_log(self) -> None:
        """Most of it is folded while events are applied; for the little that is left they wait."""
        loop = asyncio.get_running_loop()
        if self._folding is None:
            if self._projector.log_pages >= LOG_PAGES:
                self._folding = loop.run_in_executor(self._folder, self._projector.checkpoint_beside)
        elif self._folding.done():
            folding, self._folding = self._folding, None
            folding.result()
            await loop.run_in_executor(self._writer, self._projector.checkpoint)

    async def _look(self, session: "_Session") -> None:
        """Raises _SessionOver when the stream has had more for a while than its consumer, though it lives, delivers."""
        there = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if there > session.stream_seq and not session.buffer:
                raise _SessionOver(f"the stream has message {there}, the consumer has delivered {session.stream_seq}")
            with suppress(ServiceUnavailableError, TimeoutError):
                there = (await self._js.stream_info(EVENTS_STREAM)).state.last_seq

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

    def __init__(self, client: Client, stream_seq: int) -> None:
        self.stream_seq = stream_seq
        """The last message of the stream that was delivered."""
        self._client = client
        self._reconnects = client.stats["reconnects"]
        self._delivered = 0
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._something = asyncio.Event()
        self._owed: list[str] = []  # where the server waits for a word before it sends more
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer: deque[Published] = deque()
        self.in_hand = 0
        """Messages that were taken and are not applied yet."""
        self._pending = 0

    @property
    def behind(self) -> int:
        """What is not applied yet: in hand, in the buffer, and in the stream."""
        return self.in_hand + len(self.buffer) + self._pending

    def begin(self, pending: int) -> None:
        """So much is in the stream for the consumer, less what has arrived since."""
        if not self._delivered:
            self._pending = pending

    def receive(self, _: bytes, reply: bytes, header: bytes, text: bytes) -> None:
        """One message of the consumer: an event, a heartbeat, or the server asking whether it may go on."""
        if self._over.done():
            return  # what follows a gap must not be applied
        self._heard = self._loop.time()
        if not text:
            self._control(reply, _CONTROL.findall(header))
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>; with a domain, two
        # tokens more after ACK and one more at the end
        tokens = reply.split(b".")
        at = 5 if len(tokens) == 9 else 7
        stream_seq, consumer_seq, pending = int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
        if consumer_seq != self._delivered + 1:
            self._end(f"message {self._delivered + 1} of the consumer is missing")
            return
        self._delivered, self._pending, self.stream_seq = consumer_seq, pending, stream_seq
        self.buffer.append(Published(text, stream_seq))
        self._something.set()

    def _control(self, reply: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"Nats-Consumer-Stalled":
                self._owed.append(value.decode())
            elif name == b"Nats-Last-Consumer" and int(value) != self._delivered:
                self._end(f"the consumer has delivered {int(value)} messages, {self._delivered} arrived")
        if reply:
            self._owed.append(reply.decode())
        self._something.set()

    async def take(self) -> list[Published]:
        """The next batch, as soon as there is anything."""
        while True:
            if self._owed and len(self.buffer) < BUFFER:
                # The server goes on when it is answered, and that is when there is room: this is the flow control.
                owed, self._owed = self._owed, []
                for subject in owed:
                    await self._client.publish(subject)
            if self.buffer:
                self.in_hand = min(BATCH, len(self.buffer))
                return [self.buffer.popleft() for _ in range(self.in_hand)]
            self._something.clear()
            await self._something.wait()

    async def watch(self) -> None:
        """Raises _SessionOver when the session is broken."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await asyncio.shield(self._over)
            if self._client.stats["reconnects"] != self._reconnects:
                raise _SessionOver("the connection is a new one")
            if self._client.is_connected and loop.time() - self._heard > SILENCE_SECONDS:
                raise _SessionOver("nothing was heard from the stream")

    def _end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_exception(_SessionOver(why))
