"""What happens to a sales channel."""

from typing import ClassVar

from events.base import Event
from events.types import Metadata, Timestamp


class SalesChannelEvent(Event):
    """A fact of one channel; `id` is the channel's."""

    id: str

    @property
    def aggregate_id(self) -> str:
        return self.id


class SalesChannelCreated(SalesChannelEvent):
    """A channel exists."""

    event_name: ClassVar = "sales_channel.created"

    name: str
    description: str | None
    is_disabled: bool
    metadata: Metadata | None
    created_at: Timestamp


class SalesChannelUpdated(SalesChannelEvent):
    """The channel as it is after the update, whole."""

    event_name: ClassVar = "sales_channel.updated"

    name: str
    description: str | None
    is_disabled: bool
    metadata: Metadata | None
    updated_at: Timestamp


class SalesChannelDeleted(SalesChannelEvent):
    """The channel and its links are gone from every answer at once. `permanent`: also from those with `withDeleted`.

    The `link.dismissed` events of its keys follow, each with this event as its cause.
    """

    event_name: ClassVar = "sales_channel.deleted"

    deleted_at: Timestamp
    permanent: bool


class SalesChannelRestored(SalesChannelEvent):
    """The channel is back. The links that were deleted with it follow as `link.created` events."""

    event_name: ClassVar = "sales_channel.restored"

    updated_at: Timestamp
