"""One JSON Schema (draft 2020-12) for each command, its reply, each event, each query and its answer.

Made from the tables COMMANDS, RESULTS, EVENTS and QUERIES, so that nothing is listed by hand.
"""

from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from events.base import Event
from events.catalog import EVENTS
from events.commands import COMMANDS
from events.envelope import SCHEMA_PREFIX, TYPE_PREFIX, CloudEvent
from events.errors import ERRORS
from events.queries import QUERIES
from events.replies import CommandReply, ErrorReply, GraphReply, ScopeReply, StatusReply
from events.results import RESULTS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANSWERS: dict[str, type[BaseModel]] = {"graph": GraphReply, "scope": ScopeReply, "status": StatusReply}
_ALWAYS = ("specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype", "commandid")


class Plain(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names."""

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def schema_of(kind: type[BaseModel] | TypeAdapter[Any], *, sent: bool) -> Schema:
    """The schema of what is `sent` by Keyscope, or of what it receives."""
    mode: Literal["serialization", "validation"] = "serialization" if sent else "validation"
    if isinstance(kind, TypeAdapter):
        return kind.json_schema(mode=mode, schema_generator=Plain)
    return kind.model_json_schema(mode=mode, schema_generator=Plain)


def schemas() -> dict[str, Schema]:
    """Every schema by its name, `commands/link.create`, which is also its path under docs/schemas."""
    found: dict[str, Schema] = {}
    for name, spec in COMMANDS.items():
        found[f"commands/{name}"] = _named("command", name, spec.summary, schema_of(spec.schema, sent=False))
        found[f"replies/{name}"] = _named("reply", name, f"The answer to {name}.", command_reply(name))
    for name, event in EVENTS.items():
        found[f"events/{name}"] = event_schema(event)
    for name, (query, summary) in QUERIES.items():
        found[f"queries/{name}"] = _named("query", name, f"{summary}.", schema_of(query, sent=False))
        answer = schema_of(ANSWERS[name], sent=True)
        found[f"answers/{name}"] = _named("answer", name, f"The answer to the query {name}.", answer)
    found["error"] = _named("error", "", "The answer when a command or query is refused.", error_reply())
    return found


def command_reply(name: str) -> Schema:
    """The whole reply of one command."""
    schema = schema_of(CommandReply, sent=True)
    result = schema_of(RESULTS[name], sent=True)
    definitions = result.pop("$defs", {})
    schema["properties"]["data"] = result
    return {**schema, "required": ["data", "position", "changed"], "$defs": definitions}


def event_data(event: type[Event]) -> Schema:
    """The `data` of an event, as it leaves the event store."""
    schema = schema_of(event, sent=True)
    for name in event.private:
        del schema["properties"][name]
    schema["required"] = [name for name in schema["required"] if name not in event.private]
    return schema


def event_schema(event: type[Event]) -> Schema:
    """An event as it is published: the envelope, with its data."""
    schema = schema_of(CloudEvent, sent=True)
    data = event_data(event)
    definitions = data.pop("$defs", {})
    schema.pop("$defs", None)
    members = schema["properties"]
    members["type"] = {"const": TYPE_PREFIX + event.event_name}
    members["dataschema"] = {"const": SCHEMA_PREFIX + event.topic}
    members["data"] = data
    for name in ("actor", "traceparent", "cause"):
        members[name] = {**members[name], "type": "string"}
        members[name].pop("anyOf")
        members[name].pop("default")  # absent, not null
    schema["required"] = [*_ALWAYS, "data", "position"]
    schema["$defs"] = definitions
    return _named("event", f"{event.event_name}:{event.version}", _first(event), schema)


def error_reply() -> Schema:
    """An error reply, with the types that there are."""
    schema = schema_of(ErrorReply, sent=True)
    schema["$defs"]["ErrorBody"]["properties"]["type"] = {"enum": list(ERRORS)}
    return schema


def _named(kind: str, name: str, description: str, schema: Schema) -> Schema:
    rest = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if not rest.get("$defs", True):
        del rest["$defs"]
    title = f"{kind} {name}".strip()
    return {
        "$schema": DIALECT,
        "$id": f"urn:keyscope:{title.replace(' ', ':')}",
        "title": title,
        "description": description,
        **rest,
    }


def _first(model: type[Any]) -> str:
    return " ".join((model.__doc__ or "").split())
