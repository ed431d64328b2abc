"""The envelope of an event: CloudEvents 1.0 in structured JSON mode.

The event store keeps the envelope as it will be published, but for `source` and `position`, which are known only
afterwards and appended by the relay; so publishing an event does not parse it.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from events.base import Event, parse_json
from events.catalog import event_class
from events.subjects import token
from events.types import Timestamp

TYPE_PREFIX = "keyscope."
SCHEMA_PREFIX = "urn:keyscope:event:"
DEFAULT_SOURCE = "/keyscope"

_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True, slots=True)
class Context:
    """Where an event comes from: the command, who sent it, its trace, and the event that caused it, if one did."""

    command_id: str
    actor: str | None = None
    traceparent: str | None = None
    cause: str | None = None

    def as_json_members(self) -> str:
        """The JSON members of this context, each followed by a comma; rendered once for all events of a command."""
        members = f'"commandid":{_quoted(self.command_id)},'
        if self.actor is not None:
            members += f'"actor":{_quoted(self.actor)},'
        if self.traceparent is not None:
            members += f'"traceparent":{_quoted(self.traceparent)},'
        if self.cause is not None:
            members += f'"cause":{_quoted(self.cause)},'
        return members


class CloudEvent(BaseModel):
    """An event as it is published."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(description="Unique for ever, and the same after a rebuild: the aggregate's id and its version")
    source: str = DEFAULT_SOURCE
    type: str = Field(examples=["keyscope.link.created"])
    subject: str = Field(description="The ids that it is about, percent-encoded, joined by a slash")
    time: Timestamp
    dataschema: str = Field(examples=["urn:keyscope:event:link.created:1"])
    datacontenttype: Literal["application/json"] = "application/json"
    commandid: str
    actor: str | None = None
    traceparent: str | None = None
    cause: str | None = Field(default=None, description="The id of the event that this one follows from")
    data: SerializeAsAny[Event]
    previous: int = Field(default=0, description="The position of the event before it, 0 for the first one ever")
    position: int = Field(default=0, description="Where it stands in the event store; orders everything")

    @property
    def name(self) -> str:
        """The event's name, `link.created`."""
        return self.data.event_name


def event_id(aggregate_id: str, aggregate_version: int) -> str:
    """The id of the event that took an aggregate to `aggregate_version`: `apk_01J…:7`."""
    return f"{token(aggregate_id)}:{aggregate_version}"


def encode(event: Event, *, version: int, time: str, context: str) -> bytes:
    """The envelope as it is stored. `context` comes from Context.as_json_members()."""
    head = (
        f'{{"specversion":"1.0","id":"{token(event.aggregate_id)}:{version}","type":"{TYPE_PREFIX}{event.event_name}",'
        f'"subject":"{"/".join(map(token, event.subject))}","time":"{time}",'
        f'"dataschema":"{SCHEMA_PREFIX}{event.topic}","datacontenttype":"application/json",{context}"data":'
    )
    return b"%b%b}" % (head.encode(), event.__pydantic_serializer__.to_json(event))


def published(stored: bytes, *, position: int, previous: int, source: str = DEFAULT_SOURCE) -> bytes:
    """The envelope as it is published: the stored one with its source and positions, the position last."""
    return b'%b,"source":%b,"previous":%d,"position":%d}' % (stored[:-1], _quoted_source(source), previous, position)


@lru_cache
def _quoted_source(source: str) -> bytes:
    return json.dumps(source).encode()


def without_private(stored: bytes) -> bytes:
    """The stored envelope without the fields that never leave the event store."""
    envelope = parse_json(stored)
    private = event_class(envelope["type"].removeprefix(TYPE_PREFIX)).private
    envelope["data"] = {name: value for name, value in envelope["data"].items() if name not in private}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def decode(text: bytes | str) -> CloudEvent:
    """The event in a stored or published envelope, upcast to its current version. Raises UnknownEvent, ValueError."""
    envelope: dict[str, Any] = parse_json(text)
    name, _, version = envelope["dataschema"].removeprefix(SCHEMA_PREFIX).rpartition(":")
    envelope["data"] = event_class(name).upcast(envelope["data"], int(version))
    return CloudEvent.model_validate(envelope)
