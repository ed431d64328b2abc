"""A read model that is filled by hand: each method publishes the event that the write side would."""

from pathlib import Path
from typing import Any

from pydantic_core import from_json

from events.api_key import ApiKeyCreated, ApiKeyDeleted, ApiKeyRestored, ApiKeyRevoked, ApiKeyUpdated
from events.base import Event
from events.envelope import Context, encode, published
from events.link import LinkCreated, LinkDismissed
from events.sales_channel import (
    SalesChannelCreated,
    SalesChannelDeleted,
    SalesChannelRestored,
    SalesChannelUpdated,
)
from projections.database import open_reader
from projections.graph import Plans, answer
from projections.projector import Projector, Published
from projections.question import read

CONTEXT = Context("command-1", actor="tester").as_json_members()
LONGEST = 1 << 20


def at(second: int) -> str:
    """An instant, as events carry it."""
    return f"2026-11-23T12:{second // 60 % 60:02}:{second % 60:02}.000Z"


class Stream:
    """Events as they are published, with positions that leave gaps."""

    def __init__(self) -> None:
        self.position = 0
        self.clock = 0
        self.events: list[Published] = []
        self._versions: dict[str, int] = {}

    def now(self) -> str:
        self.clock += 1
        return at(self.clock)

    def publish(self, event: Event) -> Published:
        previous, self.position = self.position, self.position + 1 + self.position % 3
        version = self._versions[event.aggregate_id] = self._versions.get(event.aggregate_id, 0) + 1
        text = published(
            encode(event, version=version, time=at(0), context=CONTEXT), position=self.position, previous=previous
        )
        self.events.append(Published(text, len(self.events) + 1))
        return self.events[-1]


class World(Stream):
    """A stream whose events are applied at once, and can be asked about."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.projector = Projector(path)
        self._reader = open_reader(path, longest=LONGEST)
        self._plans = Plans()

    def publish(self, event: Event) -> Published:
        published = super().publish(event)
        self.projector.apply([published])
        return published

    def graph(self, entity: str, fields: list[str], **more: Any) -> Any:
        question = read({"entity": entity, "fields": fields, **more})
        return from_json(answer(self._reader, question, self._plans.of(question.shape)))

    def data(self, entity: str, fields: list[str], **more: Any) -> Any:
        return self.graph(entity, fields, **more)["data"]

    def close(self) -> None:
        self._reader.close()
        self.projector.close()

    def key(self, id: str, title: str = "Key", type: str = "publishable", by: str = "tester") -> None:
        self.publish(
            ApiKeyCreated(
                id=id,
                token=f"pk_{id}" if type == "publishable" else "",
                redacted=f"{type[0]}k_{id[-3:]}***",
                title=title,
                type=type,
                created_by=by,
                created_at=self.now(),
            )
        )

    def rename(self, id: str, title: str) -> None:
        self.publish(ApiKeyUpdated(id=id, title=title, updated_at=self.now()))

    def revoke(self, id: str, by: str = "boss") -> None:
        now = self.now()
        self.publish(ApiKeyRevoked(id=id, revoked_by=by, revoked_at=now, updated_at=now))

    def delete_key(self, id: str, *, permanent: bool = False) -> None:
        self.publish(ApiKeyDeleted(id=id, deleted_at=self.now(), permanent=permanent))

    def restore_key(self, id: str) -> None:
        self.publish(ApiKeyRestored(id=id, updated_at=self.now()))

    def channel(
        self,
        id: str,
        name: str = "Channel",
        description: str | None = None,
        is_disabled: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.publish(
            SalesChannelCreated(
                id=id,
                name=name,
                description=description,
                is_disabled=is_disabled,
                metadata=metadata,
                created_at=self.now(),
            )
        )

    def change_channel(self, id: str, name: str, description: str | None = None, is_disabled: bool = False) -> None:
        self.publish(
            SalesChannelUpdated(
                id=id,
                name=name,
                description=description,
                is_disabled=is_disabled,
                metadata=None,
                updated_at=self.now(),
            )
        )

    def delete_channel(self, id: str, *, permanent: bool = False) -> None:
        self.publish(SalesChannelDeleted(id=id, deleted_at=self.now(), permanent=permanent))

    def restore_channel(self, id: str) -> None:
        self.publish(SalesChannelRestored(id=id, updated_at=self.now()))

    def link(self, key: str, channel: str, id: str | None = None) -> None:
        now = self.now()
        self.publish(
            LinkCreated(
                id=id or f"pksc_{key}_{channel}",
                publishable_key_id=key,
                sales_channel_id=channel,
                created_at=now,
                updated_at=now,
            )
        )

    def dismiss(self, key: str, channel: str, id: str | None = None) -> None:
        self.publish(
            LinkDismissed(
                id=id or f"pksc_{key}_{channel}",
                publishable_key_id=key,
                sales_channel_id=channel,
                created_at=at(0),
                deleted_at=self.now(),
                reason="dismissed",
            )
        )
