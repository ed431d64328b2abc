"""What every door answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ErrorBody(BaseModel):
    """Why not. Further members name the ids and fields concerned."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = Field(examples=["not_found"])
    message: str


class ErrorReply(BaseModel):
    """The answer when a command or query is refused."""

    error: ErrorBody


class CommandReply(BaseModel):
    """The answer to a command that was carried out: it is on disk."""

    data: Any = Field(description="The entities, in Medusa's shape")
    position: int = Field(description="The position that the event store reached with it: a query can wait for it")
    changed: list[str] = Field(
        default=[], description="The ids of the links, keys and channels that this command changed"
    )


class GraphReply(BaseModel):
    """The answer to a graph query."""

    data: list[Any]
    metadata: dict[str, Any] | None = Field(
        default=None, description="`skip`, `take`, `count`: present when skip was given"
    )


class ScopeReply(BaseModel):
    """The answer to a scope query."""

    key: dict[str, Any] = Field(description="The key: id, token, title, type, revoked_by, revoked_at")
    sales_channel_ids: list[str] = Field(description="The linked channels, in order of their ids")


class StatusReply(BaseModel):
    """The answer to a status query."""

    state: str = Field(description="following, catching up, waiting for the stream, connecting, or stuck and why")
    position: int = Field(description="The position up to which events are applied")
    behind: int = Field(description="How many events of the stream are not applied yet, as far as is known")
    schema_version: int
