"""The graph: entities, their columns and their relations, as Medusa names them.

Everything that a query may name stands here, and only what stands here ever becomes part of an SQL text.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a column holds, and so which operators and values fit it (as PostgreSQL's types decide in Medusa)."""

    TEXT = "text"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp with time zone"
    JSON = "jsonb"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `identifies`: an explicit null as its filter is a mistake, never a wish for every row."""

    name: str
    kind: Kind = Kind.TEXT
    nullable: bool = False
    identifies: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A way from one entity to another through the link table.

    `near` is the link's column that names the entity where the relation starts (None: it starts at the link itself),
    `far` the one that names the entity where it ends (of a relation to the link rows: what they are ordered by).
    """

    name: str
    target: str
    near: str | None
    far: str
    service: str
    """Medusa's name of the service that holds the target, as `throwIfRelationNotFound` lists them."""

    @property
    def many(self) -> bool:
        """Whether it leads to a list."""
        return self.near is not None

    @property
    def to_link(self) -> bool:
        """Whether it leads to the link rows themselves."""
        return self.target == "link"


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity of the graph and its table."""

    table: str
    name: str
    """What Medusa calls it in messages."""
    model: str
    """What Medusa's ORM calls it in messages about properties."""
    columns: dict[str, Column]
    relations: dict[str, Relation]
    searchable: tuple[str, ...]
    """The columns that `q` looks into."""
    primary_keys: tuple[str, ...]
    """The columns that satisfy `throwIfKeyNotFound`."""
    hideable: bool
    """Whether rows can be deleted for good, which hides them from `withDeleted` too."""


LINK_SERVICE = "ApiKeyApiKeySalesChannelSalesChannelLink"


def _columns(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


def _relations(*relations: Relation) -> dict[str, Relation]:
    return {relation.name: relation for relation in relations}


_TIMES = (
    Column("created_at", Kind.TIMESTAMP),
    Column("updated_at", Kind.TIMESTAMP),
    Column("deleted_at", Kind.TIMESTAMP, nullable=True),
)

API_KEY = Entity(
    table="api_key",
    name="ApiKey",
    model="ApiKey",
    columns=_columns(
        Column("id", identifies=True),
        Column("token"),
        Column("redacted"),
        Column("title"),
        Column("type"),
        Column("last_used_at", Kind.TIMESTAMP, nullable=True),
        Column("created_by"),
        Column("revoked_by", nullable=True),
        Column("revoked_at", Kind.TIMESTAMP, nullable=True),
        *_TIMES,
    ),
    relations=_relations(
        Relation("sales_channels_link", "link", "publishable_key_id", "sales_channel_id", LINK_SERVICE),
        Relation("sales_channels", "sales_channel", "publishable_key_id", "sales_channel_id", "sales_channel"),
    ),
    searchable=("title", "redacted"),
    primary_keys=("id",),
    hideable=True,
)

SALES_CHANNEL = Entity(
    table="sales_channel",
    name="SalesChannel",
    model="SalesChannel",
    columns=_columns(
        Column("id", identifies=True),
        Column("name"),
        Column("description", nullable=True),
        Column("is_disabled", Kind.BOOLEAN),
        Column("metadata", Kind.JSON, nullable=True),
        *_TIMES,
    ),
    relations=_relations(
        Relation("api_keys_link", "link", "sales_channel_id", "publishable_key_id", LINK_SERVICE),
        Relation("publishable_api_keys", "api_key", "sales_channel_id", "publishable_key_id", "api_key"),
    ),
    searchable=("name", "description"),
    primary_keys=("id",),
    hideable=True,
)

LINK = Entity(
    table="link",
    name="LinkPublishableApiKeySalesChannel",
    model="LinkModel",
    columns=_columns(
        Column("publishable_key_id", identifies=True),
        Column("sales_channel_id", identifies=True),
        Column("id", identifies=True),
        *_TIMES,
    ),
    relations=_relations(
        Relation("api_key", "api_key", None, "publishable_key_id", "api_key"),
        Relation("sales_channel", "sales_channel", None, "sales_channel_id", "sales_channel"),
    ),
    searchable=(),
    primary_keys=("id", "publishable_key_id", "sales_channel_id"),
    hideable=False,
)

ENTITIES: dict[str, Entity] = {entity.table: entity for entity in (API_KEY, SALES_CHANNEL, LINK)}

ALIASES: dict[str, Entity] = {
    "api_key": API_KEY,
    "api_keys": API_KEY,
    "sales_channel": SALES_CHANNEL,
    "sales_channels": SALES_CHANNEL,
    "publishable_api_key_sales_channel": LINK,
    "publishable_api_key_sales_channels": LINK,
}
"""The entry points of a graph query, exactly these."""
