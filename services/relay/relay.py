"""The relay itself: follow the event store, append to the stream, never skip, never repeat.

It keeps no state of its own. Where the stream ends is read from the stream; what follows, from the store. So it may be
killed anywhere, run twice, or meet an empty stream: the expected last sequence of every message lets only the
continuation in, and whoever is refused looks again.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import uniform
from time import monotonic
from typing import TypeVar

import structlog
from eventsourcing.persistence import PersistenceError
from nats.errors import Error as NatsError

from events.base import UnknownEvent
from events.subjects import EVENTS_STREAM
from services.bus import tracing
from services.bus.measures import RELAYED
from services.bus.streams import AnotherHistory
from services.bus.trouble import said
from services.relay.stream import End, EventStream, Fenced, Told
from services.store.application import Store
from services.store.commit import LostEvents

BATCH = 2_000
BUSY = 8
LINGER_SECONDS = 0.002
"""After more than BUSY events at once the relay waits so long for more: half the rounds, half their cost."""
FEW = 64
"""Events that are read on the event loop, in some 100 µs: a thread would cost as much again to ask."""
LOOK_AGAIN_SECONDS = 2.0
"""Wake-ups are pushed. This is for one that was lost, and for a stream that somebody wiped or cut meanwhile."""
PAUSE_SECONDS = 0.2

log = structlog.get_logger(__name__)

R = TypeVar("R")


@dataclass(slots=True)
class Relay:
    """One relay. `wake` is set whenever the store may have grown."""

    store: Store
    stream: EventStream
    wake: asyncio.Event
    stopping: asyncio.Event
    look_at: float = 0.0
    """When to look at the stream again."""
    position: int = 0
    """Where the stream ended last."""
    fenced: bool = False
    """Somebody else has just written to the stream."""
    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "relay"))

    async def run(self) -> None:
        """Relay until `stopping` is set (and `wake`, to see it) or until cancelled.

        Raises AnotherHistory and LostEvents.

        Cancelling alone is not enough: Python 3.11's asyncio.wait_for, which nats-py uses, can swallow it.
        """
        end: End | None = None
        while not self.stopping.is_set():
            try:
                end = await self._follow(end)
            except Fenced as fenced:
                log.info("the stream ends elsewhere than expected; looking again", reason=str(fenced))
                end, self.fenced = None, True
            except LostEvents:  # what was read before may be in the stream, or on its way there
                raise
            except PersistenceError as error:
                log.warning("the event store cannot be read; trying again", error=str(error).strip())
                await asyncio.sleep(PAUSE_SECONDS)
            except UnknownEvent as unknown:
                log.error("a newer release must relay what it has stored", because=str(unknown))  # noqa: TRY400
                end = None
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            except (NatsError, TimeoutError) as error:
                log.warning("the stream cannot be reached or written; trying again", error=said(error))
                end = None
                await asyncio.sleep(PAUSE_SECONDS)

    def lag(self) -> int:
        """Events in the store that the stream does not have. Asks the store."""
        return max(0, self.store.recorder.position() - self.position)

    async def _follow(self, end: End | None) -> End:
        """Append what is stored after `end`, or wait to be woken. Returns where the stream ends then."""
        was_fenced = self.fenced
        if was_fenced:
            await self._stand_by()
            self.fenced = False
        if end is None or monotonic() >= self.look_at:
            await self._look(end)
            end = await self.stream.end()
        self.position = end.position
        rows = await self._after(end.position)
        if was_fenced:
            rows = rows[:1]  # of several only the last is answered: what the first was refused for would stay unknown
        if rows:
            begun = monotonic()
            end = await self.stream.append(end, rows)
            self.position = end.position
            RELAYED.add(len(rows))
            if tracing.spans is not None:
                traceparents = (tracing.traceparent_of(stored) for _, _, stored in rows)
                tracing.spans.batch(
                    "publish", traceparents, monotonic() - begun, events=len(rows), position=end.position
                )
            if len(rows) > BUSY:
                await asyncio.sleep(LINGER_SECONDS)
            return end
        with suppress(TimeoutError):
            async with asyncio.timeout(max(self.look_at - monotonic(), 0)):
                await self.wake.wait()
        self.wake.clear()
        return end

    async def _after(self, position: int) -> list[tuple[int, str, bytes]]:
        recorder = self.store.recorder
        if recorder.at_hand:
            rows = recorder.notifications(position, FEW)
            if len(rows) < FEW:
                return rows
        return await self._read(recorder.notifications, position, BATCH)

    async def _read(self, question: Callable[..., R], *arguments: int) -> R:
        return await asyncio.get_running_loop().run_in_executor(self.reader, question, *arguments)

    async def close(self) -> None:
        """Wait for the question that the store is being asked; only then may it be closed."""
        await asyncio.to_thread(self.reader.shutdown)

    async def same_history(self) -> None:
        """Raises AnotherHistory for a stream that this event store has not filled, unless its epoch is the previous."""
        epoch = await self._read(self.store.recorder.epoch)
        told = await self.stream.declare(epoch.id)
        if told is not None and told == epoch.previous:
            log.warning("a new epoch: making the stream anew, and filling it from the event store", epoch=epoch.id)
            await self.stream.remove()
            await self.stream.declare(epoch.id)
            return
        if told not in (None, epoch.id):
            raise AnotherHistory(
                f"the stream {EVENTS_STREAM} was filled from another event store (epoch {told}, and this one's is "
                f"{epoch.id}): give this store a NATS account of its own, or delete that stream"
            )
        if (last := await self._last()) is not None:
            there = await self._read(self.store.recorder.notifications, last.position - 1, 1)
            if not there or (there[0][0], Told.of(there[0][2]).id) != (last.position, last.id):
                raise AnotherHistory(
                    f"the stream {EVENTS_STREAM} ends with event {last.id} at position {last.position}, which the "
                    "event store does not have: has an older copy of the store been put back? `keyscope new-epoch` "
                    "lets the stream and the read models be made anew from this store"
                )
        if told is None:
            await self.stream.adopt(epoch.id)

    async def _last(self) -> Told | None:
        try:
            return await self.stream.last()
        except ValueError:
            log.warning("the stream does not end with an event: emptying it, and filling it from the event store")
            await self.stream.purge()
            return None

    async def _stand_by(self) -> None:
        """Leave it to the other relay as long as the stream grows."""
        before = None
        while not self.stopping.is_set() and before != (end := await self.stream.end()):
            before = end
            await asyncio.sleep(uniform(PAUSE_SECONDS, 3 * PAUSE_SECONDS))  # noqa: S311 - so that relays part

    async def _look(self, end: End | None) -> None:
        """See whether the stream is what it should be. One that is torn is emptied, and then filled anew.

        A stream that lacks its beginning, or has holes, cannot be mended in order. One that is gone is made again.
        """
        await self.same_history()
        first = await self._read(self.store.recorder.notifications, 0, 1)
        if not await self.stream.is_whole(Told.of(first[0][2]).id if first else None):
            log.warning("the stream is torn: emptying it, and filling it from the event store")
            await self.stream.purge()
        elif end is not None and end != await self.stream.end():
            log.warning("the stream was changed behind the relay's back: going on from where it ends now")
        self.look_at = monotonic() + LOOK_AGAIN_SECONDS
