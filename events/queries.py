"""What can be asked of the read model: the bodies of `keyscope.query.<endpoint>`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from events.types import Text


class Pagination(BaseModel):
    """Which part of the answer, in which order. `limit` and `offset` are other names of `take` and `skip`.

    Without `take` all rows are returned. `skip`, be it 0, asks for `metadata` with the count of all rows.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    take: Any = Field(default=None, examples=[20])
    skip: Any = Field(default=None, examples=[0])
    limit: Any = None
    offset: Any = None
    order: dict[str, Any] | list[dict[str, Any]] | None = Field(
        default=None,
        description="Fields with ASC or DESC; a linked field as `{sales_channels: {name: ASC}}`",
        examples=[{"title": "ASC"}],
    )
    after: Text | None = Field(
        default=None,
        description="Keyset pagination, whose pages cost the same however deep they are: null for the first page, then"
        " the `next` of the last answer's metadata. Goes with `take` and `order`, without `skip`",
    )


class Listing(BaseModel):
    """How the list of one relation is filtered, ordered and cut, for each row by itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    filters: dict[str, Any] | None = Field(default=None, description="On the linked entity")
    order: dict[str, Any] | list[dict[str, Any]] | None = None
    take: Any = None
    skip: Any = None


class GraphQuery(BaseModel):
    """Medusa's argument of `query.graph`, with the options that stand beside it there, `relations` and `position`.

    The compiler checks the rest: fields, filters and order are judged against the schema.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    entity: Any = Field(default=None, examples=["api_key"])
    fields: list[Any] | None = Field(default=None, examples=[["id", "title", "sales_channels.*"]])
    filters: dict[str, Any] | None = Field(default=None, examples=[{"id": "apk_123"}])
    pagination: Pagination | None = None
    relations: dict[str, Listing] | None = Field(
        default=None,
        description="Options of the lists that `fields` selects, by their path",
        examples=[{"sales_channels": {"filters": {"is_disabled": False}, "order": {"name": "ASC"}, "take": 10}}],
    )
    withDeleted: bool | None = Field(
        default=None, description="Deleted rows too; of the entity itself, not of its relations"
    )
    throwIfKeyNotFound: bool | None = Field(default=None, description="Refuse when a row of the `id` filter is missing")
    throwIfRelationNotFound: bool | list[str] | None = Field(
        default=None, description="Refuse when a selected relation leads nowhere; or only for the services listed"
    )
    initialData: Any = Field(
        default=None, description="Rows that the caller has: what is found is merged into them, in their order"
    )
    initialDataOnly: bool | None = Field(default=None, description="Look only for the rows of initialData")
    context: Any = Field(default=None, description="Accepted for Medusa's sake; nothing here depends on it")
    position: int | None = Field(default=None, ge=0, description="Answer only when the read model has passed this")


class ScopeQuery(BaseModel):
    """Which channels a publishable key's token sells through."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: Text = Field(description="What the header x-publishable-api-key carried")
    position: int | None = Field(default=None, ge=0)


class StatusQuery(BaseModel):
    """How far the read model is."""

    model_config = ConfigDict(frozen=True, extra="ignore")


QUERIES: dict[str, tuple[type[BaseModel], str]] = {
    "graph": (GraphQuery, "Medusa's query.graph over keys, channels and links"),
    "scope": (ScopeQuery, "The key and the sales channel ids of a publishable token"),
    "status": (StatusQuery, "How far the read model is, and how far behind the stream"),
}
