"""The relay itself: follow the event store, append to the stream, never skip, never repeat.

It keeps no state of its own. Where the stream ends is read from the stream; what follows, from the store. So it may be
killed anywhere, run twice, or meet an empty stream: the expected last sequence of every message lets only the
continuation in, and whoever is refused looks again.
"""

import asyncio
from dataclasses import dataclass

import structlog
from nats.errors import Error as NatsError

from events.envelope import decode
from services.relay.stream import End, EventStream, Fenced
from services.store.application import Store

BATCH = 2_000
LOOK_AGAIN_SECONDS = 2.0
"""Wake-ups are pushed. This is for one that was lost, and for a stream that was wiped while nothing happened."""
PAUSE_SECONDS = 0.2

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Relay:
    """One relay. `wake` is set whenever the store may have grown."""

    store: Store
    stream: EventStream
    wake: asyncio.Event

    async def run(self) -> None:
        """Relay until cancelled."""
        end: End | None = None
        whole = False
        while True:
            try:
                if not whole:
                    await self._refill_if_torn()
                    whole = True
                end = await self._follow(end)
            except Fenced as fenced:
                log.info("the stream ends elsewhere than expected; looking again", reason=str(fenced))
                end = None
                await asyncio.sleep(PAUSE_SECONDS)
            except (NatsError, TimeoutError) as error:
                log.warning("the stream cannot be reached; trying again", error=str(error) or type(error).__name__)
                end = None
                await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, end: End | None) -> End:
        """Append what is stored after `end`, then wait to be woken. Returns where the stream ends then."""
        end = end or await self.stream.end()
        rows = await asyncio.to_thread(self.store.recorder.notifications, end.position, BATCH)
        if rows:
            return await self.stream.append(end, rows)
        try:
            await asyncio.wait_for(self.wake.wait(), LOOK_AGAIN_SECONDS)
        except TimeoutError:
            now = await self.stream.end()
            if now != end:
                raise Fenced(f"it ends at {now}, not at {end}") from None
        self.wake.clear()
        return end

    async def _refill_if_torn(self) -> None:
        """A stream that lacks its beginning, or has holes, cannot be mended in order: it is emptied and filled anew."""
        first = await asyncio.to_thread(self.store.recorder.notifications, 0, 1)
        first_id = decode(first[0][2]).id if first else None
        if not await self.stream.is_whole(first_id):
            log.warning("the stream is torn: emptying it, and filling it from the event store")
            await self.stream.purge()
