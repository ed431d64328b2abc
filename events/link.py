"""What happens to a link. A link belongs to the key: its events stand in the key's stream."""

from typing import Any, ClassVar, Literal

from events.base import Event, Upcast
from events.types import Timestamp

DismissReason = Literal["dismissed", "link.deleted", "api_key.deleted", "sales_channel.deleted"]
"""Why a link went: on purpose by itself, by `link.delete`, or because one of its ends was deleted."""


class LinkEvent(Event):
    """A fact of the link between one key and one channel; `id` is the link row's (`pksc_…`)."""

    id: str
    publishable_key_id: str
    sales_channel_id: str

    @property
    def aggregate_id(self) -> str:
        return self.publishable_key_id

    @property
    def subject(self) -> tuple[str, ...]:
        return (self.publishable_key_id, self.sales_channel_id)


class LinkCreated(LinkEvent):
    """The key sells through the channel. `restored`: the link was there before and came back with its old id."""

    event_name: ClassVar = "link.created"

    created_at: Timestamp
    updated_at: Timestamp
    restored: bool = False


def _reason_was_always_a_dismissal(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "reason": "dismissed"}


class LinkDismissed(LinkEvent):
    """The key no longer sells through the channel. Version 1 had no `reason`: every dismissal was on purpose."""

    event_name: ClassVar = "link.dismissed"
    version: ClassVar = 2
    upcasts: ClassVar[dict[int, Upcast]] = {1: _reason_was_always_a_dismissal}

    created_at: Timestamp
    deleted_at: Timestamp
    reason: DismissReason
