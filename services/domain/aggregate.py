"""What both aggregates are to the library `eventsourcing`: an id, a version, and events that change them."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from events.base import Event


class Recorded(NamedTuple):
    """An event in its place: the library's domain event.

    `time` is when it was recorded; `context` the rendered members of events.envelope.Context.
    """

    originator_id: str
    originator_version: int
    event: Event
    time: str
    context: str


class Aggregate:
    """An event-sourced thing. `version` counts its events."""

    id: str
    version: int = 0

    def apply(self, event: Event) -> None:
        """Become what the event says. Never refuses: it has happened."""
        raise NotImplementedError

    def replay(self, events: Iterable[Event]) -> Self:
        """Apply events in order."""
        for event in events:
            self.apply(event)
            self.version += 1
        return self

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values: what a snapshot keeps."""
        raise NotImplementedError

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The aggregate that `state()` described."""
        raise NotImplementedError
