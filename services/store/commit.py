"""What one transaction of the event store takes, and why it may be refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from eventsourcing.persistence import PersistenceError, StoredEvent

from services.domain.aggregate import Recorded

Direction = Literal["dismiss", "restore"]


class StaleRead(Exception):
    """Another replica changed an aggregate that this batch had read; nothing was written. `ids`: what it changed."""

    def __init__(self, ids: set[str]) -> None:
        super().__init__("the batch read what another replica has changed since")
        self.ids = ids


class LostEvents(PersistenceError):
    """The store lacks an event that it had before. Whatever else is remembered of it may be wrong, too: start again."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the event store has lost the event at position {position}, which it had confirmed: "
            "has a standby that lagged taken over, or an older copy been put back?"
        )


@dataclass(frozen=True, slots=True)
class Epoch:
    """A history of events. A store that is put back to an earlier one begins a new epoch, after `previous`."""

    id: str
    previous: str | None = None


class Outcome(NamedTuple):
    """The reply to a command, kept for ever under the command's id."""

    command_id: str
    reply: bytes


@dataclass(frozen=True, slots=True)
class Sweep:
    """Links still to be dismissed or restored because their channel was: the work that outlives its command.

    `time` and `context` are those of the channel's event, `cursor` the last key seen.
    """

    sales_channel_id: str
    direction: Direction
    time: str
    context: str
    cursor: str = ""
    id: int = 0


@dataclass(slots=True)
class Commit:
    """One batch. `settle` is told the positions of the events and gives the outcomes to keep."""

    events: Sequence[Recorded]
    settle: Callable[[Sequence[int], int], Sequence[Outcome]]
    """(positions of the events, position of the store after them) -> outcomes."""
    known_position: int
    """The batch has seen every event up to here."""
    read: set[str] = field(default_factory=set)
    """The aggregates that it read."""
    tokens: Sequence[tuple[str, str]] = ()
    """(token or fingerprint, key id) that must be free."""
    new_sweeps: Sequence[Sweep] = ()
    moved_sweeps: Sequence[Sweep] = ()
    done_sweeps: Sequence[int] = ()

    @property
    def has_sweeps(self) -> bool:
        """Whether it changes sweeps, as few do."""
        return bool(self.new_sweeps or self.moved_sweeps or self.done_sweeps)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a transaction did."""

    positions: Sequence[int]
    position: int
    foreign: set[str]
    """Aggregates that other replicas changed meanwhile, which the batch had not read."""
    others: Sequence[tuple[int, StoredEvent]] = ()
    """Those changes with their positions, in order; empty when they were too many."""
