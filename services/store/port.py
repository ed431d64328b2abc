"""What an event store must be able to do. Two keep it: sqlite.py, one file; postgres.py, a server for many replicas."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from eventsourcing.persistence import StoredEvent

from services.store.commit import Commit, Committed, Epoch, Sweep


class StorePort(Protocol):
    """An event store's rows. Synchronous; several threads may read while one writes.

    Positions are those of the notification log: they grow in the order of the commits, so whoever has read up to one
    has missed nothing before it. Every method raises eventsourcing.persistence.PersistenceError when the database
    fails or cannot be reached, and LostEvents when it has gone back behind what was read from it or written to it.
    """

    at_hand: ClassVar[bool]
    """Whether reading a few rows takes so little that an event loop may wait for it."""

    def insert_batch(self, stored: Sequence[StoredEvent], commit: Commit) -> Committed:
        """Write a batch: all of it, synced to disk, or nothing.

        Raises StaleRead, and IntegrityError when a version, a token or a command id is taken. After any other error
        it is not known whether the batch was written: the commands' outcomes tell.
        """

    def alone(self, position: int, limit: int) -> AbstractContextManager[list[tuple[int, StoredEvent]]]:
        """While inside, what this thread reads stays true until its first batch, if the database can promise that.

        Gives the events after a position, as `events_after` does.
        """

    async def follow(self, grown: Callable[[], None]) -> None:
        """Call `grown` whenever anybody has committed, until cancelled. Returns at once if the database cannot tell."""

    def epoch(self) -> Epoch:
        """The epoch of this history; the stream that is filled from it bears its id."""

    def new_epoch(self) -> Epoch:
        """Begin a new one: the stream of the old one is emptied by the relay, and filled again."""

    def position(self) -> int:
        """The position of the last event; 0 when there is none."""

    def changed_since(self, position: int) -> tuple[int, set[str]]:
        """(the position now, the aggregates that changed after `position`)."""

    def events_after(self, position: int, limit: int) -> list[tuple[int, StoredEvent]]:
        """The events after a position with their positions, in order."""

    def outcomes(self, command_ids: Sequence[str]) -> dict[str, bytes]:
        """The kept replies to those of the commands that were carried out before."""

    def api_key_of(self, token: str) -> str | None:
        """The id of the key that has this token (or fingerprint of a secret one)."""

    def keys_of(self, sales_channel_id: str, *, after: str = "", limit: int) -> list[str]:
        """Ids of keys that the channel is or was once linked with, in order, after the given one.

        The index that tells is brought up to date first: it follows the events in bulk, which costs a link a fifth of
        what a row at a time would.
        """

    def index_links(self) -> None:
        """Let the index of channels to keys follow the events."""

    def has_sweep(self, sales_channel_id: str) -> bool:
        """Whether a sweep of this channel is unfinished."""

    def next_sweep(self) -> Sweep | None:
        """The oldest unfinished sweep."""

    def notifications(self, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """(position, topic, stored text) of the events after a position, in order."""

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """One aggregate's events (what eventsourcing's AggregateRecorder asks for)."""

    def select_events_of(self, originator_ids: Sequence[str]) -> Iterable[StoredEvent]:
        """The events of several aggregates: one aggregate after the other, each one's in order."""

    def close(self) -> None:
        """Close its files or connections."""
