"""An event as a subscriber gets it."""

import json
import logging
from typing import Any, NamedTuple

TYPE_PREFIX = "keyscope."

logger = logging.getLogger("keyscope")


class Event(NamedTuple):
    """A fact, in the terms of its CloudEvent."""

    name: str
    """`link.created`, `link.dismissed`, `api_key.revoked`, …"""
    data: dict[str, Any]
    """The fact itself; `docs/schemas` has a JSON Schema for each name."""
    position: int
    """Where it stands among all events. It orders them, and `since=` takes it."""
    id: str
    """Unique for ever, and the same when the stream was filled again."""
    time: str
    """When, in UTC with milliseconds."""
    command_id: str
    """The command that it came from."""
    actor: str | None
    """Who sent that command."""
    cause: str | None
    """The id of the event that this one follows from: the channel's deletion, for a link that went with it."""
    traceparent: str | None

    @property
    def type(self) -> str:
        """The CloudEvents type, `keyscope.link.created`."""
        return TYPE_PREFIX + self.name


def parsed(text: bytes) -> Event | None:
    """The event in a published envelope; None, and a word in the log, when it holds none."""
    try:
        envelope = json.loads(text)
        get = envelope.get
        return Event(
            envelope["type"].removeprefix(TYPE_PREFIX),
            envelope["data"],
            envelope["position"],
            envelope["id"],
            envelope["time"],
            envelope["commandid"],
            get("actor"),
            get("cause"),
            get("traceparent"),
        )
    except (ValueError, TypeError, AttributeError, KeyError):
        logger.warning("a message in the stream of events is no event, and was passed over: %.200r", text)
        return None
