"""What the routes answer, for the OpenAPI document. `fields` decides what of it is there, so nothing is required."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.gateway.parameters import KeyType

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class SalesChannel(BaseModel):
    """A sales channel."""

    id: str = ""
    name: str = ""
    description: str | None = None
    is_disabled: bool = False
    metadata: dict[str, Any] | None = None
    created_at: Time = ""
    updated_at: Time = ""
    deleted_at: Time | None = None


class ApiKey(BaseModel):
    """An API key. The token of a secret one is in the answer that creates it and nowhere else."""

    id: str = ""
    token: str = ""
    redacted: str = ""
    title: str = ""
    type: KeyType = "publishable"
    last_used_at: Time | None = None
    created_by: str = ""
    revoked_by: str | None = None
    revoked_at: Time | None = None
    created_at: Time = ""
    updated_at: Time = ""
    deleted_at: Time | None = None
    sales_channels: list[SalesChannel] = []


class Listed(BaseModel):
    """A part of a list."""

    count: int = Field(description="How many there are")
    offset: int
    limit: int


class KeyAnswer(BaseModel):
    """One key."""

    api_key: ApiKey


class KeysAnswer(Listed):
    """Keys."""

    api_keys: list[ApiKey]


class ChannelAnswer(BaseModel):
    """One channel."""

    sales_channel: SalesChannel


class ChannelsAnswer(Listed):
    """Channels."""

    sales_channels: list[SalesChannel]


class DeletedAnswer(BaseModel):
    """What is deleted."""

    id: str
    object: Literal["api_key", "sales-channel"]
    deleted: Literal[True]


class Scope(BaseModel):
    """What a storefront sells through."""

    key: str = Field(description="The publishable token")
    sales_channel_ids: list[str]


class ScopeAnswer(BaseModel):
    """The context of a publishable key."""

    publishable_key_context: Scope


class Failure(BaseModel):
    """Why not."""

    type: str = Field(examples=["not_found"])
    message: str
    code: str | None = Field(default=None, examples=["unknown_error"])


class NotSignedIn(BaseModel):
    """The credentials are missing or not valid."""

    message: str
