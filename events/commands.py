"""Every command: the shape of its body, and the one table of them all.

A body is Medusa's argument for the same call. Where Medusa takes one or many, so does the command, and an array is
one transaction. Unknown members of keys and channels are dropped, as Medusa drops them; a link names exactly its two
ends, since an unknown member there is a mistake that would link the wrong thing.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, TypeAdapter, model_validator

from events.api_key import KeyType
from events.types import Id, Metadata, Text


class Body(BaseModel):
    """A part of a command's body."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Exact(BaseModel):
    """A part of a command's body in which an unknown member is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OneKey(Exact):
    """Names one key, as Medusa's documentation does (`api_key_id`) or as its code does (`publishable_key_id`)."""

    publishable_key_id: Id | None = None
    api_key_id: Id | None = None

    @model_validator(mode="after")
    def _exactly_one_name(self) -> "OneKey":
        if (self.publishable_key_id is None) == (self.api_key_id is None):
            raise ValueError("name the key once, as publishable_key_id or as api_key_id")
        return self

    @property
    def id(self) -> str:
        """The key's id."""
        return self.publishable_key_id or self.api_key_id or ""


class OneChannel(Exact):
    """Names one channel."""

    sales_channel_id: Id

    @property
    def id(self) -> str:
        """The channel's id."""
        return self.sales_channel_id


class Pair(Exact):
    """A link's two ends. `data` is accepted for Medusa's sake and has no effect: a link has no columns of its own."""

    api_key: OneKey
    sales_channel: OneChannel
    data: Any = None


Ids = Id | Annotated[list[Id], Field(max_length=10_000)]


class SomeKeys(Exact):
    """Names one key or several."""

    publishable_key_id: Ids | None = None
    api_key_id: Ids | None = None

    @model_validator(mode="after")
    def _exactly_one_name(self) -> "SomeKeys":
        if (self.publishable_key_id is None) == (self.api_key_id is None):
            raise ValueError("name the keys once, as publishable_key_id or as api_key_id")
        return self

    @property
    def ids(self) -> list[str]:
        """The keys' ids, each once."""
        return as_ids(self.publishable_key_id if self.publishable_key_id is not None else self.api_key_id or [])


class SomeChannels(Exact):
    """Names one channel or several."""

    sales_channel_id: Ids

    @property
    def ids(self) -> list[str]:
        """The channels' ids, each once."""
        return as_ids(self.sales_channel_id)


class Pairs(Exact):
    """Every pair of the named keys with the named channels."""

    api_key: SomeKeys
    sales_channel: SomeChannels
    data: Any = None


class Ends(Exact):
    """The links of the named keys, and those of the named channels. With `exactly`, only those between the two."""

    api_key: SomeKeys | None = None
    sales_channel: SomeChannels | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> "Ends":
        if self.api_key is None and self.sales_channel is None:
            raise ValueError("name api_key, sales_channel or both")
        return self


class LinkBatch(Exact):
    """Links to create and links to dismiss, in one transaction."""

    create: list[Pair] = Field(default=[], max_length=10_000)
    dismiss: list[Pairs] = Field(default=[], max_length=10_000)


class NewKey(Body):
    """A key to create. `created_by` falls back on the actor. An `id` or a publishable `token` may be the caller's."""

    id: Id | None = None
    title: Text
    type: KeyType
    created_by: Text | None = None


class KeyChange(Body):
    """What can be updated of a key. Without a title nothing changes."""

    title: Text | None = None


class Revocation(Body):
    """Who revokes, and in how many seconds; 0, a negative number or nothing is now."""

    revoked_by: Text | None = None
    revoke_in: StrictInt | StrictFloat | None = Field(default=None, le=10_000_000_000)


class NewChannel(Body):
    """A channel to create."""

    id: Id | None = None
    name: Text
    description: Text | None = None
    is_disabled: StrictBool = False
    metadata: Metadata | None = None


class ChannelChange(Body):
    """What can be updated of a channel. `metadata` is merged key by key (a `""` removes one); null clears it."""

    name: Text | None = None
    description: Text | None = None
    is_disabled: StrictBool | None = None
    metadata: Metadata | None = None


class Chosen(Body):
    """Which keys or channels: an `id`, several, or a `selector` as the filters of a graph query."""

    id: Ids | None = None
    selector: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Chosen":
        if (self.id is None) == (self.selector is None):
            raise ValueError("name either id or selector")
        return self


class UpdateKeys(Chosen):
    """Keys, and what to change of them."""

    update: KeyChange


class RevokeKeys(Chosen):
    """Keys, and how to revoke them."""

    revoke: Revocation


class UpdateChannels(Chosen):
    """Channels, and what to change of them."""

    update: ChannelChange


class UpsertKey(KeyChange):
    """A key to update (with an `id` that exists) or to create."""

    id: Id | None = None
    type: KeyType | None = None
    created_by: Text | None = None


class UpsertChannel(ChannelChange):
    """A channel to update (with an `id`) or to create."""

    id: Id | None = None


class Credentials(Body):
    """A secret key's raw token, to be authenticated."""

    token: Text


def as_ids(value: str | list[str]) -> list[str]:
    """One id or several as a list in which each stands once."""
    return [value] if isinstance(value, str) else list(dict.fromkeys(value))


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command: where it is sent and what its body may be."""

    entity: str
    verb: str
    body: TypeAdapter[Any]
    summary: str

    @property
    def name(self) -> str:
        """`link.create`."""
        return f"{self.entity}.{self.verb}"


MAX_ITEMS = 10_000


def _one_or_many(kind: Any) -> Any:
    return kind | Annotated[list[kind], Field(max_length=MAX_ITEMS)]


_TABLE: list[tuple[str, str, Any, str]] = [
    ("api_key", "create", _one_or_many(NewKey), "Create keys. The raw token of a secret key is in this reply alone."),
    ("api_key", "update", UpdateKeys, "Change the title of keys."),
    ("api_key", "upsert", _one_or_many(UpsertKey), "Update the keys that exist and create the others."),
    ("api_key", "revoke", RevokeKeys, "Revoke keys, now or at a time ahead."),
    ("api_key", "delete", Ids, "Delete revoked keys and their links, out of every answer."),
    ("api_key", "soft_delete", Ids, "Delete keys and their links; `withDeleted` still shows them."),
    ("api_key", "restore", Ids, "Bring deleted keys back, and the links that went with them."),
    ("api_key", "authenticate", Credentials | Text, "The secret key whose raw token this is, or false."),
    ("sales_channel", "create", _one_or_many(NewChannel), "Create channels."),
    ("sales_channel", "update", UpdateChannels, "Change channels."),
    ("sales_channel", "upsert", _one_or_many(UpsertChannel), "Update the channels that have an id and create the others."),
    ("sales_channel", "delete", Ids, "Delete channels and their links, out of every answer."),
    ("sales_channel", "soft_delete", Ids, "Delete channels and their links; `withDeleted` still shows them."),
    ("sales_channel", "restore", Ids, "Bring deleted channels back, and the links that went with them."),
    ("link", "create", _one_or_many(Pair), "Link keys with channels."),
    ("link", "dismiss", _one_or_many(Pairs), "Take links away."),
    ("link", "batch", LinkBatch, "Create and dismiss links in one transaction."),
    ("link", "delete", _one_or_many(Ends), "Take away every link of keys or of channels."),
    ("link", "restore", _one_or_many(Ends), "Bring back what link.delete took away; with both ends named, those very links."),
]

COMMANDS: dict[tuple[str, str], CommandSpec] = {
    (entity, verb): CommandSpec(entity, verb, TypeAdapter(body), summary) for entity, verb, body, summary in _TABLE
}
