"""Events for a subscriber with a name, who goes on where he left off: a durable pull consumer."""

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict, deque

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyscope.connection import Connection
from keyscope.errors import InvalidData, KeyscopeError, Timeout, Unavailable
from keyscope.event import Event, parsed
from keyscope.stream import Since, Stream, another_history
from keyscope.subjects import EVENTS_STREAM

logger = logging.getLogger("keyscope")

BATCH = 64
ACK_SECONDS = 30.0
PULL_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
MISSED_HEARTBEATS = 2.5
REMEMBERED = 4096
"""How many ids of events are remembered, to pass over those that are delivered again."""

_SECOND = 1_000_000_000
_HANDLED = b"+ACK"
_IN_PROGRESS = b"+WPI"
_NOT_HANDLED = b"-NAK"


class DurableSource:
    """Events that the server delivers again until they are acknowledged, which happens when the next one is asked for.

    Several processes under the same name share the events between them. While one event takes long, the server is told
    that those behind it are in hand.
    """

    def __init__(self, connection: Connection, subjects: list[str], since: Since, name: str) -> None:
        if not name or not all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in name):
            raise InvalidData("durable must be a name of letters, digits, _ and -")
        self._connection = connection
        self._subjects = sorted(subjects)
        self._since: Since = since
        self._name = name
        self._stream = Stream(connection)
        self._inbox = connection.nc.new_inbox()
        self._pulls = 0
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._in_hand: deque[Msg] = deque()
        self._left = 0
        self._begin = 0
        self._epoch = ""
        self._current: Event | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._handled: OrderedDict[str, None] = OrderedDict()
        self._error: KeyscopeError | None = None
        self._ended = False

    async def start(self) -> None:
        """Make the consumer, if it is not there. Raises InvalidData when the name is taken for other events."""
        await self._ensure_consumer()
        self._subscription = await self._connection.nc.subscribe(f"{self._inbox}.*", cb=self._receive)
        self._keeper = asyncio.create_task(self._keep_in_hand(), name="keyscope durable")
        self._connection.sources.add(self)

    async def next(self) -> Event | None:
        """The next event, the one before being handled; None when the connection is closed."""
        await self._settle()
        while not self._ended:
            if self._left == 0:
                await self._pull()
            message = await self._next()
            self._left = 0 if message is None else self._left - 1
            event = None if message is None else parsed(message.data)
            if event is not None and event.position > self._begin and event.id not in self._handled:
                self._current = event
                return event
            if message is not None:
                await self._acknowledge()
        if self._error is not None:
            raise self._error
        return None

    async def stop(self) -> None:
        """Give back what was delivered and not acknowledged: it comes to whoever asks next."""
        self._connection.sources.discard(self)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._subscription is not None and self._connection.nc.is_connected:
            await self._subscription.unsubscribe()
            with contextlib.suppress(KeyscopeError, nats.errors.Error):  # the server does it by itself, only later
                await self._give_back()
        self._subscription = self._keeper = None
        self._in_hand.clear()

    def reconnected(self) -> None:
        """Pull again: the last request is lost."""
        self._arrived.put_nowait(None)

    def end(self, error: KeyscopeError | None) -> None:
        """Wake the subscriber up for the last time."""
        self._error, self._ended = error, True
        self._arrived.put_nowait(None)

    async def _receive(self, message: Msg) -> None:
        if message.data:
            self._in_hand.append(message)
        self._arrived.put_nowait(message)

    async def _settle(self) -> None:
        """The event handed out last is handled. Over a closed connection nobody can be told: it will come again."""
        event, self._current = self._current, None
        if event is not None:
            self._since = event.position
            self._handled[event.id] = None
            if len(self._handled) > REMEMBERED:
                self._handled.popitem(last=False)
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        handled = self._in_hand.popleft()
        if not self._ended:
            await self._connection.nc.publish(handled.reply, _HANDLED)

    async def _pull(self) -> None:
        self._pulls += 1
        self._left = BATCH
        request = {
            "batch": BATCH,
            "expires": int(PULL_SECONDS * _SECOND),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _SECOND),
        }
        await self._connection.nc.publish(self._next_subject, json.dumps(request).encode(), self._pull_inbox)

    @property
    def _next_subject(self) -> str:
        return f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS_STREAM}.{self._name}"

    @property
    def _pull_inbox(self) -> str:
        return f"{self._inbox}.{self._pulls}"

    async def _next(self) -> Msg | None:
        """The next message with an event; None when it is time to pull again."""
        while True:
            try:
                async with asyncio.timeout(MISSED_HEARTBEATS * HEARTBEAT_SECONDS):
                    message = await self._arrived.get()
            except TimeoutError:
                await self._look_again()
                return None
            if message is None or message.data:
                return message
            status = (message.headers or {}).get("Status")
            if status == "100" or message.subject != self._pull_inbox:
                continue
            if status in {"409", "503"}:
                # The consumer is gone, or was for a moment; there is nothing else to say this sooner.
                await asyncio.sleep(HEARTBEAT_SECONDS / 5)
                await self._look_again()
            return None

    async def _look_again(self) -> None:
        try:
            await self._ensure_consumer()
        except (Unavailable, Timeout) as error:
            logger.warning("the durable consumer %s is cut off, trying again: %s", self._name, error)

    async def _ensure_consumer(self) -> None:
        if not self._same_history(await self._stream.epoch()):
            return
        config = await self._stream.consumer(self._name)
        if config is None:
            place = await self._stream.find(self._since)
            if not self._same_history(place.epoch):
                return
            self._begin = place.position
            await self._stream.create_consumer(
                self._name,
                {
                    "durable_name": self._name,
                    "deliver_policy": "by_start_sequence",
                    "opt_start_seq": place.sequence,
                    "ack_policy": "explicit",
                    "ack_wait": int(ACK_SECONDS * _SECOND),
                    "max_ack_pending": 2 * BATCH,
                    "filter_subjects": self._subjects,
                },
            )
        elif sorted(config.get("filter_subjects") or [config.get("filter_subject", "")]) != self._subjects:
            raise InvalidData(f"the durable name {self._name} is taken for other events; choose another")

    def _same_history(self, epoch: str) -> bool:
        """Otherwise it has seen events that are no more, and is over."""
        if self._epoch and epoch not in ("", self._epoch):
            self._connection.forget()
            self.end(another_history())
        self._epoch = self._epoch or epoch
        return not self._ended

    async def _give_back(self) -> None:
        # The server would offer the first of them to the pull request that still waits, find that nobody listens there,
        # and put it behind the others. Asked about the consumer, it looks through its requests beforehand.
        await self._stream.consumer(self._name)
        await self._tell(_NOT_HANDLED)
        await self._connection.nc.flush()

    async def _keep_in_hand(self) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS / 3)
            await self._tell(_IN_PROGRESS)

    async def _tell(self, what: bytes) -> None:
        for message in tuple(self._in_hand):
            await self._connection.nc.publish(message.reply, what)
