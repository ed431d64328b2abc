"""What the events up to some point say of keys, channels and links."""

from collections.abc import Iterable

from keyscope import Event

Pair = tuple[str, str]
"""The ids of a key and of a channel."""


class History:
    """The state that events lead to."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)
        self.last_of_pair: dict[Pair, Event] = {}
        self.last_of_id: dict[str, Event] = {}
        self.kinds: dict[str, str] = {}
        """Of keys: publishable or secret."""
        self.revoked: set[str] = set()
        for event in self.events:
            thing = thing_of(event)
            if isinstance(thing, tuple):
                self.last_of_pair[thing] = event
            else:
                self._note(thing, event)

    def _note(self, id: str, event: Event) -> None:
        self.last_of_id[id] = event
        if event.name == "api_key.created":
            self.kinds[id] = event.data["type"]
        if event.name == "api_key.revoked":
            self.revoked.add(id)

    def is_there(self, id: str) -> bool:
        """Whether it was created and is not deleted."""
        last = self.last_of_id.get(id)
        return last is not None and not last.name.endswith(".deleted")

    def is_linked(self, thing: Pair | str | None) -> bool:
        """Whether it is a pair that is linked."""
        last = self.last_of_pair.get(thing) if isinstance(thing, tuple) else None
        return last is not None and last.name == "link.created"

    def pair_of_link(self, id: str) -> Pair | None:
        """The pair whose link has, or had last, this id."""
        return next((pair for pair, event in self.last_of_pair.items() if event.data["id"] == id), None)

    def came_back(self, pair: Pair) -> bool:
        """Whether the link is there because it came back with its key or channel."""
        return self.is_linked(pair) and self.last_of_pair[pair].cause is not None

    def gone_because(self, thing: Pair | str | None) -> str:
        """Why the link is gone; "" when it is there or never was."""
        last = self.last_of_pair.get(thing) if isinstance(thing, tuple) else None
        return str(last.data["reason"]) if last and last.name == "link.dismissed" else ""


def thing_of(event: Event) -> Pair | str:
    """What an event is about: a pair, or the key or channel with an id."""
    if event.name.startswith("link."):
        return event.data["publishable_key_id"], event.data["sales_channel_id"]
    id: str = event.data["id"]
    return id
