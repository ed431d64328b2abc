"""An ordered consumer: every event once, in order of position, whatever happens to connections, consumers and streams.

The library's own ordered consumer begins at the start of the stream when it is reset before its first message, and
passes over messages that its queue had no room for; so this one keeps its own account. Messages of one consumer are
numbered without gaps, and heartbeats tell the last number: at a gap, a silence or a reconnection a new consumer begins
where the last event handled stands. An event whose position has been passed is not handled again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyscope.errors import KeyscopeError, UnexpectedState
from keyscope.event import Event, parsed
from keyscope.stream import Place, Stream

logger = logging.getLogger("keyscope")

MISSED_HEARTBEATS = 2.5
LONGEST_PAUSE = 2.0
_SECOND = 1_000_000_000

Handle = Callable[[Event], Awaitable[None]]
CaughtUp = Callable[[], None]


def _nothing() -> None:
    pass


class Feed:
    """Events of some subjects from a place on, each handed to `handle`, one at a time.

    `caught_up` is called whenever all events that the stream had a moment ago have been handled: with the last of them,
    with every heartbeat, and at the start if there is none. While `handle` waits, at most a window of the server's flow
    control waits behind it. When the stream has become one of another history, whose positions begin anew,
    `another_history` is called, and the feed goes on with what comes from then on.
    """

    def __init__(
        self,
        nc: Client,
        stream: Stream,
        subjects: list[str],
        handle: Handle,
        *,
        caught_up: CaughtUp = _nothing,
        another_history: CaughtUp = _nothing,
        heartbeat: float = 5.0,
    ) -> None:
        self._nc = nc
        self._stream = stream
        self._subjects = subjects
        self._handle = handle
        self._caught_up = caught_up
        self._another_history = another_history
        self._heartbeat = heartbeat
        self._place = Place(0, 1, "")
        self._consumer: _Consumer | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """The position of the last event handled; at first, of the place where the feed began."""
        return self._place.position

    async def start(self, place: Place) -> None:
        """Begin at `place`. When this returns, no later event will be missed. Raises Unavailable."""
        self._place = place
        await self._renew()
        self._keeper = asyncio.create_task(self._keep(), name="keyscope feed")

    async def stop(self) -> None:
        """Handle no more events."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        await self._drop()

    def renew(self) -> None:
        """Make a new consumer: the old one has lost messages, or may have."""
        self._broken.set()

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat):  # wait_for (3.11) may swallow a cancellation
                    await self._broken.wait()
            if self._broken.is_set() or (self._consumer is not None and self._consumer.silence > self._patience):
                self._broken.clear()
                await self._renew_at_last()

    @property
    def _patience(self) -> float:
        return MISSED_HEARTBEATS * self._heartbeat

    async def _renew_at_last(self) -> None:
        pause = 0.05
        while True:
            try:
                await self._renew()
            except KeyscopeError as error:
                logger.warning("the feed of events is cut off, trying again: %s", error)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _renew(self) -> None:
        await self._drop()
        place = await self._stream.resume(self._place)
        if self._place.epoch and place.epoch not in ("", self._place.epoch):
            self._another_history()
            place = await self._stream.find("now")
        self._place = place
        consumer = self._consumer = _Consumer(self, self._nc.new_inbox())
        consumer.subscription = await self._nc.subscribe(consumer.inbox, cb=consumer.receive)
        nothing_waits = await self._stream.create_consumer(
            consumer.inbox.rpartition(".")[2],
            {
                "deliver_subject": consumer.inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self._place.sequence,
                "ack_policy": "none",
                "max_deliver": 1,
                "filter_subjects": self._subjects,
                "flow_control": True,
                "idle_heartbeat": int(self._heartbeat * _SECOND),
                "inactive_threshold": int(max(5.0, self._patience) * _SECOND),
                "mem_storage": True,
                "num_replicas": 1,
            },
        )
        if nothing_waits:
            self._caught_up()

    async def _drop(self) -> None:
        if self._consumer is not None and self._consumer.subscription is not None:
            with contextlib.suppress(Exception):  # the connection may be gone, and the subscription with it
                await self._consumer.subscription.unsubscribe()
        self._consumer = None

    async def take(self, consumer: "_Consumer", message: Msg) -> None:
        """Handle the event in `message`, if it is the next one of the present consumer."""
        if consumer is not self._consumer:
            return
        sequence, number, pending = _counters(message.reply)
        if number != consumer.number + 1:
            self.renew()
            return
        position = await self._hand_over(message.data)
        if consumer is not self._consumer:
            return
        consumer.number = number
        self._place = replace(self._place, position=position, sequence=sequence + 1)
        if pending == 0:
            self._caught_up()

    async def _hand_over(self, text: bytes) -> int:
        """The position that is reached with the event in `text`."""
        passed = self._place.position
        event = parsed(text)
        if event is None or event.position <= passed:
            return passed
        await self._handle(event)
        return event.position

    async def answer(self, reply: str) -> None:
        """Tell the server that everything up to its flow control message is handled."""
        await self._nc.publish(reply)

    def idle(self, consumer: "_Consumer", last_number: int) -> None:
        """The server has nothing more to send than `last_number` messages."""
        if consumer is self._consumer:
            if last_number == consumer.number:
                self._caught_up()
            else:
                self.renew()


class _Consumer:
    """One consumer's account: the number of the last message from it, and when it was heard of."""

    def __init__(self, feed: Feed, inbox: str) -> None:
        self.inbox = inbox
        self.subscription: Subscription | None = None
        self.number = 0
        self._feed = feed
        self._now = asyncio.get_running_loop().time
        self._heard = self._now()
        self._busy = False

    @property
    def silence(self) -> float:
        """Seconds since something came, unless its handling is what takes so long."""
        return 0.0 if self._busy else self._now() - self._heard

    async def receive(self, message: Msg) -> None:
        self._busy = True
        try:
            if message.data:
                await self._feed.take(self, message)
            else:
                await self._control(message)
        finally:
            self._busy = False
            self._heard = self._now()

    async def _control(self, message: Msg) -> None:
        headers = message.headers or {}
        if headers.get("Status") != "100":
            logger.warning("the server ended the feed of events: %s", headers.get("Description", "no reason given"))
            self._feed.renew()
            return
        answer = message.reply or headers.get("Nats-Consumer-Stalled")
        if answer:
            await self._feed.answer(answer)
        if (last := headers.get("Nats-Last-Consumer")) is not None:
            self._feed.idle(self, int(last))


def _counters(reply: str) -> tuple[int, int, int]:
    """Stream sequence, consumer sequence and the number of messages pending, from the subject of acknowledgement.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, and since 2.10 perhaps with
    domain and account before the stream (and more to come behind).
    """
    parts = reply.split(".")
    shift = 0 if len(parts) == 9 else 2
    try:
        return int(parts[5 + shift]), int(parts[6 + shift]), int(parts[8 + shift])
    except (IndexError, ValueError):
        raise UnexpectedState(f"a message from JetStream came without its counters: {reply}") from None
