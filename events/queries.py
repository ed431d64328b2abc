"""What can be asked of the read model: the bodies of `keyscope.query.<endpoint>`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from events.types import Text


class Pagination(BaseModel):
    """Which part of the answer, in which order. `limit` and `offset` are other names of `take` and `skip`.

    `after` is keyset pagination: the cursor that the last answer's metadata carried as `next`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    skip: Any = None
    take: Any = None
    limit: Any = None
    offset: Any = None
    order: dict[str, Any] | None = None
    after: Text | None = None


class GraphQuery(BaseModel):
    """Medusa's argument of `query.graph`, with the options that stand beside it there, and `position`.

    The compiler checks the rest: fields, filters and order are judged against the schema.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    entity: Any = Field(default=None, examples=["api_key"])
    fields: list[Any] = Field(default=[], examples=[["id", "title", "sales_channels.*"]])
    filters: dict[str, Any] | None = Field(default=None, examples=[{"id": "apk_123"}])
    pagination: Pagination | None = None
    context: dict[str, Any] | None = None
    withDeleted: bool = False
    throwIfKeyNotFound: bool = False
    throwIfRelationNotFound: bool | list[str] = False
    position: int | None = Field(default=None, ge=0, description="Answer only when the read model has passed this")


class ScopeQuery(BaseModel):
    """Which channels a publishable key's token sells through."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: Text = Field(description="What the header x-publishable-api-key carried")
    position: int | None = Field(default=None, ge=0)


QUERIES: dict[str, tuple[type[BaseModel], str]] = {
    "graph": (GraphQuery, "Medusa's query.graph over keys, channels and links"),
    "scope": (ScopeQuery, "The key and the sales channel ids of a publishable token"),
}
