"""The work on one batch: the aggregates it touches, and the events that it will store."""

from collections.abc import Iterable
from dataclasses import replace

from events.base import Event, UnknownEvent
from events.envelope import Context, event_id
from events.errors import InvalidData, NotFound, Unavailable
from events.subjects import LONGEST_TOKEN, token
from services.bus.measures import AGGREGATES
from services.commands.cache import AggregateCache
from services.domain.aggregate import Aggregate, Recorded
from services.domain.api_key import ApiKey
from services.domain.sales_channel import SalesChannel
from services.store.application import Store
from services.store.commit import StaleRead, Sweep

NEWER_RELEASE_MS = 1_000
"""Until a command may have come to a replica of the newer release."""


SETTLING_MS = 50
"""Until a channel's links may have come back: a step of two hundred keys takes some milliseconds."""


class Work:
    """One batch. Commands run on it one after the other; one that fails leaves no trace.

    Aggregates are changed in place and cached between batches, so whoever drops a batch must `forget` it.
    """

    def __init__(self, store: Store, cache: AggregateCache) -> None:
        self.store = store
        self.cache = cache
        self.events: list[Recorded] = []
        self.read: set[str] = set()
        self._absent: set[str] = set()
        self._touched: dict[str, Aggregate] = {}  # changed and not stored yet, however few the cache keeps
        self.tokens: list[tuple[str, str]] = []
        self.new_sweeps: list[Sweep] = []
        self.moved_sweeps: list[Sweep] = []
        self.done_sweeps: list[int] = []
        self.now = ""
        self.context = Context("")
        self._rendered = ""
        self._mark = (0, 0, 0, 0, 0)
        self.changed: list[str] = []

    def preload(self, ids: Iterable[str]) -> None:
        """Load all of these at once that are not cached: one question to the store instead of one each."""
        named = set(ids)
        missing = {id for id in named if id not in self._touched and self.cache.get(id) is None}
        AGGREGATES.add(len(named) - len(missing), "hit")
        AGGREGATES.add(len(missing), "miss")
        if len(missing) > 1:
            try:
                found = self.store.load_all(missing)
            except UnknownEvent:  # whichever command names it will meet it again, alone
                return
            for aggregate in found.values():
                self.cache.put(aggregate)
            self._absent |= missing - found.keys()

    def begin(self, context: Context, now: str) -> None:
        """The next command starts."""
        self.now = now
        self.context = context
        self._rendered = context.as_json_members()
        self.changed = []
        self._mark = (
            len(self.events),
            len(self.tokens),
            len(self.new_sweeps),
            len(self.moved_sweeps),
            len(self.done_sweeps),
        )

    def begin_step(self, now: str) -> None:
        """A step of a sweep starts: it has no command, its events bring their context along."""
        self.begin(Context(""), now)

    @property
    def first_event(self) -> int:
        """Where in `events` this command's begin."""
        return self._mark[0]

    def roll_back(self) -> None:
        """Undo what the current command did. Costs nothing when it did nothing."""
        events, tokens, new, moved, done = self._mark
        dropped = {recorded.originator_id for recorded in self.events[events:]}
        del self.events[events:], self.tokens[tokens:]
        del self.new_sweeps[new:], self.moved_sweeps[moved:], self.done_sweeps[done:]
        for id in dropped:
            self.cache.evict(id)
            del self._touched[id]
        for id in dropped:
            earlier = [recorded.event for recorded in self.events if recorded.originator_id == id]
            if earlier:
                self._touched[id] = (self._reloaded(id) or _new(id, earlier[0])).replay(earlier)

    def _reloaded(self, id: str) -> Aggregate | None:
        """What is stored of an aggregate that this batch has read. Raises StaleRead."""
        try:
            return self.store.load(id)
        except UnknownEvent:  # of a newer release, since it was read
            raise StaleRead({id}) from None

    def forget(self) -> None:
        """Drop every aggregate that this batch changed: it was not written."""
        for id in self._touched:
            self.cache.evict(id)

    def _load(self, id: str) -> Aggregate | None:
        self.read.add(id)
        aggregate = self._touched.get(id) or self.cache.get(id)
        if aggregate is None and id not in self._absent:
            aggregate = self._stored(id)
            if aggregate is not None:
                self.cache.put(aggregate)
        return aggregate

    def _stored(self, id: str) -> Aggregate | None:
        try:
            return self.store.load(id)
        except UnknownEvent:
            raise Unavailable(
                f"a newer release has changed {id}, and this one cannot read it: try again",
                retry_after_ms=NEWER_RELEASE_MS,
            ) from None

    def find_key(self, id: str) -> ApiKey | None:
        """The key, deleted or not; None when there never was one."""
        aggregate = self._load(id)
        return aggregate if isinstance(aggregate, ApiKey) else None

    def find_channel(self, id: str) -> SalesChannel | None:
        """The channel, deleted or not; None when there never was one."""
        aggregate = self._load(id)
        return aggregate if isinstance(aggregate, SalesChannel) else None

    def taken(self, id: str) -> bool:
        """Whether a key or a channel has, or had, this id."""
        return self._load(id) is not None

    def key(self, id: str) -> ApiKey:
        """The key, deleted or not. Raises NotFound when there never was one."""
        key = self.find_key(id)
        if key is None:
            raise NotFound(f"ApiKey with id: {id} was not found", ids=[id])
        return key

    def channel(self, id: str) -> SalesChannel:
        """The channel, deleted or not. Raises NotFound when there never was one."""
        channel = self.find_channel(id)
        if channel is None:
            raise NotFound(f"SalesChannel with id: {id} was not found", ids=[id])
        return channel

    def living_keys(self, ids: Iterable[str]) -> list[ApiKey]:
        """The keys with these ids, none of them deleted. Raises NotFound, which names all that are missing."""
        keys = {id: self.find_key(id) for id in ids}
        _none_missing("ApiKey", [id for id, key in keys.items() if key is None or not key.alive])
        return [key for key in keys.values() if key]

    def living_channels(self, ids: Iterable[str]) -> list[SalesChannel]:
        """The channels with these ids, none of them deleted. Raises NotFound, naming all that are missing."""
        channels = {id: self.find_channel(id) for id in ids}
        _none_missing("SalesChannel", [id for id, channel in channels.items() if channel is None or not channel.alive])
        return [channel for channel in channels.values() if channel]

    def create(self, event: Event) -> Aggregate:
        """A new aggregate begins with this event."""
        if len(token(event.aggregate_id)) > LONGEST_TOKEN:
            raise InvalidData(
                f"id: longer than {LONGEST_TOKEN} bytes as it stands in a subject, where it is percent-encoded",
                fields=["id"],
            )
        aggregate = _new(event.aggregate_id, event)
        self.read.add(aggregate.id)
        self.cache.put(aggregate)
        self._record(aggregate, event, self._rendered)
        return aggregate

    def caused_by(self, event: str) -> str:
        """The context for events that follow from the event with this id."""
        return replace(self.context, cause=event).as_json_members()

    def record(self, aggregate: Aggregate, event: Event, context: str | None = None) -> str:
        """The event happens to the aggregate; returns the event's id. `context`: another than the command's."""
        return self._record(aggregate, event, self._rendered if context is None else context)

    def sweeping(self, channel_id: str) -> bool:
        """Whether a sweep of the channel is unfinished."""
        begun = any(sweep.sales_channel_id == channel_id for sweep in self.new_sweeps)
        return begun or self.store.recorder.has_sweep(channel_id)

    def must_be_settled(self, channel: SalesChannel) -> None:
        """Raises Unavailable for a channel that was restored while its links are still on their way back.

        They come in the order of the channels' events, so what is linked or dismissed in between would not stay.
        """
        if channel.alive and channel.restored and self.sweeping(channel.id):
            raise Unavailable(
                f"the links of {channel.id} are still coming back: try again",
                retry_after_ms=SETTLING_MS,
                ids=[channel.id],
            )

    def _record(self, aggregate: Aggregate, event: Event, rendered: str) -> str:
        aggregate.apply(event)
        aggregate.version += 1
        self._touched[aggregate.id] = aggregate
        self.events.append(Recorded(aggregate.id, aggregate.version, event, self.now, rendered))
        self.changed.append(event.id)  # type: ignore[attr-defined]
        return event_id(aggregate.id, aggregate.version)


def _none_missing(model: str, missing: list[str]) -> None:
    if missing:
        raise NotFound(f'{model} with id "{", ".join(missing)}" not found', ids=missing)


def _new(id: str, event: Event) -> Aggregate:
    return ApiKey(id) if event.event_name == "api_key.created" else SalesChannel(id)
