"""What the routes take: parameters in the query string and bodies, one model each.

Unknown members are refused on the outermost level and dropped below it, as Medusa does; validation.py has the words.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

KeyType = Literal["publishable", "secret"]
OneOrMany = StrictStr | list[StrictStr]
Number = Annotated[float, Strict()]
Metadata = dict[str, Any]

_INTEGER = re.compile(r"\s*([+-]?\d{1,15})")
_BOOLEANS = {"true": True, "false": False}


def _number(value: Any) -> Any:
    """A text as JavaScript's parseInt reads it; what it cannot read stays."""
    match = _INTEGER.match(value) if isinstance(value, str) else None
    return int(match[1]) if match else value


def _boolean(value: Any) -> Any:
    return _BOOLEANS.get(value, value) if isinstance(value, str) else value


def _boolean_text(value: Any) -> Any:
    """`true` or `false` in any case."""
    if not isinstance(value, str):
        return value
    if value.lower() not in _BOOLEANS:
        raise PydanticCustomError("words", "Invalid input")
    return _BOOLEANS[value.lower()]


Integer = Annotated[Number, BeforeValidator(_number, json_schema_input_type=int)]


_COUNT: dict[str, Any] = {"minimum": 0, "maximum": 1_000_000}


class Loose(BaseModel):
    """Drops what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Operators(Loose):
    """Comparisons of a time with others."""

    eq: OneOrMany = Field(default="", alias="$eq")
    ne: OneOrMany = Field(default="", alias="$ne")
    in_: list[StrictStr] = Field(default=[], alias="$in")
    nin: list[StrictStr] = Field(default=[], alias="$nin")
    like: StrictStr = Field(default="", alias="$like")
    ilike: StrictStr = Field(default="", alias="$ilike")
    re: StrictStr = Field(default="", alias="$re")
    contains: StrictStr = Field(default="", alias="$contains")
    gt: StrictStr = Field(default="", alias="$gt")
    gte: StrictStr = Field(default="", alias="$gte")
    lt: StrictStr = Field(default="", alias="$lt")
    lte: StrictStr = Field(default="", alias="$lte")


Time = OneOrMany | Operators


class Select(Loose):
    """Which fields the answer has."""

    fields: StrictStr = Field(
        default="",
        description="Names, separated by commas, instead of the default ones; `+name` adds one to these, `-name` takes "
        "one away, `*relation` or `relation.*` selects all of a relation",
        examples=["id,title,*sales_channels"],
    )


class Page(Select):
    """Which part of a list, in which order."""

    offset: Integer = Field(default=0, description="How many rows to pass over", json_schema_extra=_COUNT)
    limit: Integer = Field(default=20, description="How many rows at most", json_schema_extra=_COUNT)
    order: StrictStr = Field(
        default="", description="The field to order by, `-field` for descending", examples=["-created_at"]
    )
    with_deleted: Annotated[StrictBool, BeforeValidator(_boolean, json_schema_input_type=bool)] = Field(
        default=False, description="Accepted for Medusa's sake, where it has no effect either"
    )


class KeyFilters(Loose):
    """Which keys."""

    q: StrictStr = Field(default="", description="Words, each of which is in the title or the redacted token")
    id: OneOrMany = ""
    title: OneOrMany = ""
    token: OneOrMany = ""
    type: KeyType = "publishable"
    created_at: Time = ""
    updated_at: Time = ""
    deleted_at: Time = ""
    revoked_at: Time = ""


class ChannelFilters(Loose):
    """Which channels."""

    q: StrictStr = Field(default="", description="Words, each of which is in the name or the description")
    id: OneOrMany = ""
    name: OneOrMany = ""
    description: StrictStr = ""
    is_disabled: Annotated[StrictBool, BeforeValidator(_boolean_text, json_schema_input_type=bool)] = False
    created_at: Time = ""
    updated_at: Time = ""
    deleted_at: Time = ""


class SelectOnly(Select):
    """The parameters of a route about one thing."""

    model_config = ConfigDict(extra="forbid")


class ListKeys(KeyFilters, Page):
    """The parameters of the list of keys."""

    model_config = ConfigDict(extra="forbid")

    and_: list[KeyFilters] = Field(default=[], alias="$and")
    or_: list[KeyFilters] = Field(default=[], alias="$or")


class ListChannels(ChannelFilters, Page):
    """The parameters of the list of channels."""

    model_config = ConfigDict(extra="forbid")

    and_: list[ChannelFilters] = Field(default=[], alias="$and")
    or_: list[ChannelFilters] = Field(default=[], alias="$or")
    location_id: OneOrMany = Field(
        default="", description="Accepted for Medusa's sake: no channel has a stock location"
    )
    publishable_key_id: OneOrMany = Field(default="", description="The channels of these keys")


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CreateKey(Body):
    """A key to create."""

    title: StrictStr
    type: KeyType


class UpdateKey(Body):
    """A key's new title."""

    title: StrictStr


class RevokeKey(Body):
    """When to revoke: in so many seconds, or now."""

    revoke_in: Number = 0


class ChangeLinks(Body):
    """Channels to link the key with, and others that it shall no longer be linked with."""

    add: list[StrictStr] = []
    remove: list[StrictStr] = []


class CreateChannel(Body):
    """A channel to create."""

    name: StrictStr
    description: StrictStr | None = None
    is_disabled: StrictBool = False
    metadata: Metadata | None = None


class UpdateChannel(Body):
    """What to change of a channel. A metadata value of `""` removes that name; null clears all."""

    name: StrictStr = ""
    description: StrictStr | None = None
    is_disabled: StrictBool = False
    metadata: Metadata | None = None


class Listen(BaseModel):
    """Which events to send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key_id: StrictStr = Field(default="", description="Link events of this key only")
    sales_channel_id: StrictStr = Field(default="", description="Link events of this channel only")
    name: StrictStr = Field(
        default="",
        pattern=r"^((link|api_key|sales_channel)\.(\*|[a-z]+)(,|$))*$",
        description="Only events called so, separated by commas",
        examples=["link.created,api_key.revoked"],
    )
    since: StrictStr = Field(
        default="now", description="`now`, `beginning`, a position, or a time in ISO 8601", examples=["beginning"]
    )
