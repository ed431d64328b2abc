"""The shapes of arguments and results: plain dicts, named for a type checker. Names and shapes are Medusa's."""

from typing import Any, Literal, TypedDict

KeyType = Literal["publishable", "secret"]


class CallOptions(TypedDict, total=False):
    """What any command takes besides its body."""

    command_id: str
    """The command's own id. The same id again, now or in a year, gets the first outcome and changes nothing."""
    timeout: float
    """Seconds for all attempts together."""
    actor: str
    """Who does it, instead of the actor of the connection."""
    traceparent: str
    """The W3C trace context that its events will carry."""


class CommandReply(TypedDict):
    """The answer to a command that was carried out: it is on disk."""

    data: Any
    position: int
    changed: list[str]
    """The ids of the links, keys and channels that this command changed."""


class ApiKeyEnd(TypedDict, total=False):
    """Names the key, or keys where several may stand, by one of these two."""

    api_key_id: str | list[str]
    publishable_key_id: str | list[str]


class SalesChannelEnd(TypedDict):
    """Names the channel, or channels where several may stand."""

    sales_channel_id: str | list[str]


class LinkDefinition(TypedDict):
    """The two ends of a link."""

    api_key: ApiKeyEnd
    sales_channel: SalesChannelEnd


class LinkEnds(TypedDict, total=False):
    """One end, or both: which links `link.delete` and `link.restore` mean."""

    api_key: ApiKeyEnd
    sales_channel: SalesChannelEnd


class LinkRow(TypedDict):
    """A link."""

    id: str
    publishable_key_id: str
    sales_channel_id: str
    created_at: str
    updated_at: str
    deleted_at: str | None


class LinkBatchResult(TypedDict):
    """What `link.batch` did: the links asked for, and those that it took away."""

    created: list[LinkRow]
    dismissed: list[LinkRow]


class NewApiKey(TypedDict, total=False):
    """A key to create: `title` and `type` are needed, and `created_by` unless the connection has an actor."""

    id: str
    title: str
    type: KeyType
    created_by: str


class ApiKeyUpdate(TypedDict, total=False):
    """What can be updated of a key."""

    title: str


class Revocation(TypedDict, total=False):
    """Who revokes (unless the connection has an actor), and in how many seconds; now, if not told."""

    revoked_by: str
    revoke_in: float


class ApiKey(TypedDict):
    """A key. `token` is readable for a publishable key; of a secret one, in the answer to its creation alone."""

    id: str
    token: str
    redacted: str
    title: str
    type: KeyType
    last_used_at: str | None
    created_by: str
    revoked_by: str | None
    revoked_at: str | None
    created_at: str
    updated_at: str
    deleted_at: str | None


class NewSalesChannel(TypedDict, total=False):
    """A channel to create: `name` is needed."""

    id: str
    name: str
    description: str | None
    is_disabled: bool
    metadata: dict[str, Any] | None


class SalesChannelUpdate(TypedDict, total=False):
    """What can be updated of a channel. `metadata` is merged; `""` removes a member, None all of it."""

    name: str
    description: str | None
    is_disabled: bool
    metadata: dict[str, Any] | None


class SalesChannel(TypedDict):
    """A channel."""

    id: str
    name: str
    description: str | None
    is_disabled: bool
    metadata: dict[str, Any] | None
    created_at: str
    updated_at: str
    deleted_at: str | None


class ListConfig(TypedDict, total=False):
    """How `retrieve`, `list` and `list_and_count` answer."""

    select: list[str]
    relations: list[str]
    skip: int
    take: int
    order: dict[str, Any]
    withDeleted: bool


class GraphOptions(TypedDict, total=False):
    """Options of a graph query: raise NotFound when an id of the filters, or a relation, is not there."""

    throwIfKeyNotFound: bool
    throwIfRelationNotFound: bool | list[str]
    initialData: list[Any]
    """Rows that the caller has: what is found is merged into them, in their order."""
    initialDataOnly: bool


class Listing(TypedDict, total=False):
    """How the list of one relation is filtered, ordered and cut, for each row by itself."""

    filters: dict[str, Any]
    order: dict[str, Any] | list[dict[str, Any]]
    take: int
    skip: int


class GraphQuery(GraphOptions, total=False):
    """A graph query, as Medusa's `query.graph` takes it. Fields: `["id", "title", "sales_channels.*"]`."""

    entity: str
    fields: list[str]
    filters: dict[str, Any] | None
    pagination: dict[str, Any] | None
    relations: dict[str, Listing]
    """Options of the lists that `fields` selects, by their path: `{"sales_channels": {"take": 10}}`."""
    context: Any
    withDeleted: bool
    position: int
    """Answer only from this position on. Without it, from what this client has seen; 0 does not wait."""


class GraphMetadata(TypedDict, total=False):
    """Where the part that was asked for stands in the whole."""

    skip: int
    take: int
    count: int
    next: str


class _GraphAnswer(TypedDict):
    data: list[Any]


class GraphAnswer(_GraphAnswer, total=False):
    """The rows; `metadata` is there when `skip` was asked for."""

    metadata: GraphMetadata


class ReadModelStatus(TypedDict):
    """How far the read model is."""

    state: str
    """`following`, `catching up`, `waiting for the stream`, `connecting`, or `stuck` and why."""
    position: int
    behind: int
    """How many events of the stream are not applied yet."""
    schema_version: int


class Scope(TypedDict):
    """What a publishable token stands for: its key, and the ids of the channels that it sells through."""

    key: dict[str, Any]
    sales_channel_ids: list[str]
