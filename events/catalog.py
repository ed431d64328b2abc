"""Every event by name: the one table from a stored or published name to its class."""

from events.api_key import ApiKeyCreated, ApiKeyDeleted, ApiKeyRestored, ApiKeyRevoked, ApiKeyUpdated
from events.base import Event, UnknownEvent
from events.link import LinkCreated, LinkDismissed
from events.sales_channel import (
    SalesChannelCreated,
    SalesChannelDeleted,
    SalesChannelRestored,
    SalesChannelUpdated,
)

EVENTS: dict[str, type[Event]] = {
    event.event_name: event
    for event in (
        ApiKeyCreated,
        ApiKeyUpdated,
        ApiKeyRevoked,
        ApiKeyDeleted,
        ApiKeyRestored,
        SalesChannelCreated,
        SalesChannelUpdated,
        SalesChannelDeleted,
        SalesChannelRestored,
        LinkCreated,
        LinkDismissed,
    )
}


def event_class(name: str) -> type[Event]:
    """The class of the event called `name`. Raises UnknownEvent."""
    try:
        return EVENTS[name]
    except KeyError:
        raise UnknownEvent(f"no event is called {name!r} in this release") from None
