"""A place to sell through."""

from typing import Any, Self

from pydantic_core import to_json

from events.base import Event
from events.commands import ChannelChange, NewChannel
from events.errors import InvalidData, NotFound
from events.sales_channel import (
    SalesChannelCreated,
    SalesChannelDeleted,
    SalesChannelRestored,
    SalesChannelUpdated,
)
from events.types import Metadata
from services.domain.aggregate import Aggregate

METADATA_LIMIT = 65_536
"""Bytes of JSON that a channel's metadata may have."""


class SalesChannel(Aggregate):
    """A sales channel; its fields are Medusa's."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.name = ""
        self.description: str | None = None
        self.is_disabled = False
        self.metadata: Metadata | None = None
        self.created_at = ""
        self.updated_at = ""
        self.deleted_at: str | None = None
        self.gone = False
        """Deleted for good: `withDeleted` does not show it either."""
        self.restored = False
        """It came back once: its links may be on their way still."""

    @staticmethod
    def create(id: str, new: NewChannel, now: str) -> SalesChannelCreated:
        """A new channel's first event. Raises InvalidData."""
        _must_be_bounded(new.metadata)
        return SalesChannelCreated(
            id=id,
            name=new.name,
            description=new.description,
            is_disabled=new.is_disabled,
            metadata=new.metadata,
            created_at=now,
        )

    @property
    def alive(self) -> bool:
        """Whether it exists for everyone but a restore."""
        return self.deleted_at is None

    def must_be_alive(self) -> None:
        """Raises NotFound for a deleted channel."""
        if not self.alive:
            raise NotFound(f"SalesChannel with id: {self.id} was not found", ids=[self.id])

    def update(self, change: ChannelChange, now: str) -> SalesChannelUpdated | None:
        """The named fields change; nothing happens when they already read so. Raises NotFound."""
        self.must_be_alive()
        given = change.model_fields_set
        after = SalesChannelUpdated(
            id=self.id,
            name=self.name if change.name is None else change.name,
            description=change.description if "description" in given else self.description,
            is_disabled=self.is_disabled if change.is_disabled is None else change.is_disabled,
            metadata=_merged(self.metadata, change.metadata) if "metadata" in given else self.metadata,
            updated_at=now,
        )
        _must_be_bounded(after.metadata)
        before = (self.name, self.description, self.is_disabled, self.metadata)
        return None if before == (after.name, after.description, after.is_disabled, after.metadata) else after

    def delete(self, now: str, *, permanent: bool) -> SalesChannelDeleted | None:
        """It goes; a deleted channel stays as it is, unless it goes for good now."""
        if self.alive or (permanent and not self.gone):
            return SalesChannelDeleted(id=self.id, deleted_at=now, permanent=permanent)
        return None

    def restore(self, now: str) -> SalesChannelRestored | None:
        """It comes back; a living channel stays as it is."""
        return None if self.alive else SalesChannelRestored(id=self.id, updated_at=now)

    def apply(self, event: Event) -> None:
        match event:
            case SalesChannelCreated():
                self._take(event)
                self.created_at = self.updated_at = event.created_at
            case SalesChannelUpdated():
                self._take(event)
                self.updated_at = event.updated_at
            case SalesChannelDeleted():
                self.deleted_at, self.gone = event.deleted_at, event.permanent
            case SalesChannelRestored():
                self.deleted_at, self.gone, self.restored = None, False, True
                self.updated_at = event.updated_at

    def _take(self, event: SalesChannelCreated | SalesChannelUpdated) -> None:
        self.name = event.name
        self.description = event.description
        self.is_disabled = event.is_disabled
        self.metadata = event.metadata

    def as_json(self) -> dict[str, Any]:
        """The channel as Medusa's module returns it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "is_disabled": self.is_disabled,
            "metadata": self.metadata,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": self.deleted_at,
        }

    def state(self) -> dict[str, Any]:
        return {**self.as_json(), "gone": self.gone, "restored": self.restored, "version": self.version}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        channel = cls(state["id"])
        vars(channel).update(state)
        return channel


def _must_be_bounded(metadata: Metadata | None) -> None:
    """An event must fit into a message of the bus, however often metadata are merged."""
    if metadata is not None and len(to_json(metadata)) > METADATA_LIMIT:
        raise InvalidData(f"metadata: more than {METADATA_LIMIT} bytes of JSON", fields=["metadata"])


def _merged(old: Metadata | None, new: Metadata | None) -> Metadata | None:
    """Medusa merges metadata by its top keys; a `""` takes a key away, null takes all (mergeMetadata)."""
    if new is None:
        return None
    return {name: value for name, value in {**(old or {}), **new}.items() if value != ""}
