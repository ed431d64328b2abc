"""Every command: the shape of its body, and the one table of them all.

A body is Medusa's argument for the same call. Where Medusa takes one or many, so does the command, and an array is
one transaction. Unknown members of keys and channels are dropped, as Medusa drops them; a link names exactly its two
ends, since an unknown member there is a mistake that would link the wrong thing.
"""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    model_validator,
)

from events.api_key import KeyType
from events.types import Id, Metadata, Text


class Body(BaseModel):
    """A part of a command's body."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Exact(BaseModel):
    """A part of a command's body in which an unknown member is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_KEY = AliasChoices("publishable_key_id", "api_key_id")
"""A key is named once: as Medusa's code does, or as its documentation does. A second name is an extra member."""


def _both_names(schema: dict[str, Any]) -> None:
    one = schema["properties"].pop("publishable_key_id")
    schema["properties"] = {"publishable_key_id": one, "api_key_id": one}
    schema.pop("required", None)
    schema["oneOf"] = [{"required": ["publishable_key_id"]}, {"required": ["api_key_id"]}]


class OneKey(Exact):
    """Names one key."""

    model_config = ConfigDict(json_schema_extra=_both_names)

    id: Id = Field(validation_alias=_KEY)


class OneChannel(Exact):
    """Names one channel."""

    id: Id = Field(validation_alias="sales_channel_id")


class Pair(Exact):
    """A link's two ends. `data` is accepted for Medusa's sake and has no effect: a link has no columns of its own."""

    api_key: OneKey
    sales_channel: OneChannel
    data: Any = None


Ids = Id | Annotated[list[Id], Field(max_length=10_000)]


class SomeKeys(Exact):
    """Names one key or several."""

    model_config = ConfigDict(json_schema_extra=_both_names)

    named: Ids = Field(validation_alias=_KEY)

    @property
    def ids(self) -> list[str]:
        """The keys' ids, each once."""
        return as_ids(self.named)


class SomeChannels(Exact):
    """Names one channel or several."""

    named: Ids = Field(validation_alias="sales_channel_id")

    @property
    def ids(self) -> list[str]:
        """The channels' ids, each once."""
        return as_ids(self.named)


class Pairs(Exact):
    """Every pair of the named keys with the named channels."""

    api_key: SomeKeys
    sales_channel: SomeChannels
    data: Any = None


class Ends(Exact):
    """The links of the named keys, and those of the named channels. With `exactly`, only those between the two.

    `exactly` makes `link.restore` bring back also what was dismissed on purpose: that is how a dismissal is undone.
    """

    api_key: SomeKeys | None = None
    sales_channel: SomeChannels | None = None
    exactly: StrictBool = False

    @model_validator(mode="after")
    def _at_least_one(self) -> "Ends":
        if self.api_key is None and self.sales_channel is None:
            raise ValueError("name api_key, sales_channel or both")
        if self.exactly and (self.api_key is None or self.sales_channel is None):
            raise ValueError("exactly needs both api_key and sales_channel")
        return self


class LinkBatch(Exact):
    """Links to create and links to dismiss, in one transaction."""

    create: list[Pair] = Field(default=[], max_length=10_000)
    dismiss: list[Pairs] = Field(default=[], max_length=10_000)


class NewKey(Body):
    """A key to create. `created_by` falls back on the actor. An `id` may be the caller's; the token never is."""

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


class Named(Exact):
    """Keys or channels by their ids."""

    ids: Annotated[list[Id], Field(max_length=10_000)]


def as_ids(value: str | list[str]) -> list[str]:
    """One id or several as a list in which each stands once."""
    return [value] if isinstance(value, str) else list(dict.fromkeys(value))


MAX_ITEMS = 10_000
"""Items in one command, and pairs or links that one command may touch by naming ends."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command: where it is sent, and what its body may be by the first character of its JSON.

    (A union of them all would check just as well, but complain of every branch at once.)
    """

    entity: str
    verb: str
    bodies: dict[str, TypeAdapter[Any]]
    schema: TypeAdapter[Any]
    summary: str

    @property
    def name(self) -> str:
        """`link.create`."""
        return f"{self.entity}.{self.verb}"


def _spec(entity: str, verb: str, summary: str, **kinds: Any) -> CommandSpec:
    """`object`, `array` and `string`: the types that the body may have as such."""
    first = {"object": "{", "array": "[", "string": '"'}
    bodies = {first[name]: TypeAdapter(kind) for name, kind in kinds.items()}
    return CommandSpec(entity, verb, bodies, TypeAdapter(reduce(or_, kinds.values())), summary)


def _one_or_many(kind: Any) -> dict[str, Any]:
    return {"object": kind, "array": Annotated[list[kind], Field(max_length=MAX_ITEMS)]}


_BY_ID: dict[str, Any] = {"string": Id, "array": Annotated[list[Id], Field(max_length=MAX_ITEMS)], "object": Named}

_ALL = [
    _spec(
        "api_key",
        "create",
        "Create keys. The raw token of a secret key is in this reply alone.",
        **_one_or_many(NewKey),
    ),
    _spec("api_key", "update", "Change the title of keys.", object=UpdateKeys),
    _spec("api_key", "upsert", "Update the keys that have an id, create the others.", **_one_or_many(UpsertKey)),
    _spec("api_key", "revoke", "Revoke keys, now or at a time ahead.", object=RevokeKeys),
    _spec("api_key", "delete", "Delete revoked keys and their links, out of every answer.", **_BY_ID),
    _spec("api_key", "soft_delete", "Delete keys and their links; `withDeleted` still shows them.", **_BY_ID),
    _spec("api_key", "restore", "Bring deleted keys back, and the links that went with them.", **_BY_ID),
    _spec(
        "api_key",
        "authenticate",
        "The secret key whose raw token this is, or false.",
        object=Credentials,
        string=Text,
    ),
    _spec("sales_channel", "create", "Create channels.", **_one_or_many(NewChannel)),
    _spec("sales_channel", "update", "Change channels.", object=UpdateChannels),
    _spec(
        "sales_channel",
        "upsert",
        "Update the channels that have an id, create the others.",
        **_one_or_many(UpsertChannel),
    ),
    _spec("sales_channel", "delete", "Delete channels and their links, out of every answer.", **_BY_ID),
    _spec("sales_channel", "soft_delete", "Delete channels and their links; `withDeleted` still shows them.", **_BY_ID),
    _spec("sales_channel", "restore", "Bring deleted channels back, and the links that went with them.", **_BY_ID),
    _spec("link", "create", "Link keys with channels.", **_one_or_many(Pair)),
    _spec("link", "dismiss", "Take links away.", **_one_or_many(Pairs)),
    _spec("link", "batch", "Dismiss and create links in one transaction.", object=LinkBatch),
    _spec("link", "delete", "Take away every link of keys or of channels.", **_one_or_many(Ends)),
    _spec(
        "link", "restore", "Bring back what link.delete, or the deletion of an end, took away.", **_one_or_many(Ends)
    ),
]

COMMANDS: dict[str, CommandSpec] = {spec.name: spec for spec in _ALL}
"""Every command by its name, `link.create`."""
