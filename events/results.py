"""What stands under `data` in the reply to each command: Medusa's shapes."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from events.api_key import KeyType
from events.types import Metadata, Timestamp


class Row(BaseModel):
    """What all rows have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    created_at: Timestamp
    updated_at: Timestamp
    deleted_at: Timestamp | None


class ApiKeyRow(Row):
    """A key."""

    token: str = Field(description="Readable for a publishable key; of a secret one only in the reply that created it")
    redacted: str = Field(examples=["pk_0a1***f2e"])
    title: str
    type: KeyType
    last_used_at: Timestamp | None
    created_by: str
    revoked_by: str | None
    revoked_at: Timestamp | None


class SalesChannelRow(Row):
    """A channel."""

    name: str
    description: str | None
    is_disabled: bool
    metadata: Metadata | None


class LinkRow(Row):
    """A link between a key and a channel."""

    publishable_key_id: str
    sales_channel_id: str


class LinkBatchResult(BaseModel):
    """The links asked for, and those that were taken away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: list[LinkRow]
    dismissed: list[LinkRow]


class LinkColumns(BaseModel):
    """Links as two columns of ids, pair by pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    publishable_key_id: list[str]
    sales_channel_id: list[str]


class LinkTable(BaseModel):
    """The links concerned, under Medusa's name of the link; nothing when there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    links: LinkColumns | None = Field(default=None, alias="ApiKeyApiKeySalesChannelSalesChannelLink")


class KeyIds(BaseModel):
    """The keys' ids, under both of their names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key_id: list[str]
    publishable_key_id: list[str]


class ChannelIds(BaseModel):
    """The channels' ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sales_channel_id: list[str]


Keys = Annotated[ApiKeyRow | list[ApiKeyRow], Field(description="One for one, an array for an array or a selector")]
Channels = Annotated[
    SalesChannelRow | list[SalesChannelRow], Field(description="One for one, an array for an array or a selector")
]
Found = tuple[None, LinkTable]

_SHAPES: dict[str, Any] = {
    "api_key.create": Keys,
    "api_key.update": Keys,
    "api_key.upsert": Keys,
    "api_key.revoke": Keys,
    "api_key.delete": None,
    "api_key.soft_delete": KeyIds,
    "api_key.restore": KeyIds,
    "api_key.authenticate": ApiKeyRow | Literal[False],
    "sales_channel.create": Channels,
    "sales_channel.update": Channels,
    "sales_channel.upsert": Channels,
    "sales_channel.delete": None,
    "sales_channel.soft_delete": ChannelIds,
    "sales_channel.restore": ChannelIds,
    "link.create": list[LinkRow],
    "link.dismiss": list[LinkRow],
    "link.batch": LinkBatchResult,
    "link.delete": Found,
    "link.restore": Found,
}

RESULTS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(shape) for name, shape in _SHAPES.items()}
"""The shape of each command's result, by the command's name."""
