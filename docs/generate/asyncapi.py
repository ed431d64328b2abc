"""The AsyncAPI 3 document: every channel there is, declared to FastStream, whose generator writes it.

The subscriber of jobs is the one that runs. The others are declared from the tables alone: the service handles them
with bare nats-py. FastStream's generator knows no replies, so those are added to what it wrote; and it makes payloads
from Python types, while ours are ready (schemas.py), so that each is declared by its title and put in afterwards.
"""

from importlib.metadata import version
from typing import Annotated, Any, cast

from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI
from nats.aio.client import Client
from pydantic import WithJsonSchema

from docs.generate.schemas import Schema, schemas
from events.catalog import EVENTS
from events.commands import COMMANDS
from events.queries import QUERIES
from events.subjects import ACTOR, COMMAND_ID, ERROR, ERROR_CODE, QUEUE_GROUP, TRACEPARENT, Subjects
from services.commands.desk import Desk
from services.commands.jobs import job_broker

DESCRIPTION = """\
Keyscope scopes publishable API keys to sales channels. Programs publish commands, subscribe to events and ask queries.
Bodies are JSON. `keyscope`, the first part of every subject, is a setting.
"""
Document = dict[str, Any]


def asyncapi() -> Document:
    """The whole document."""
    found = schemas()
    spec = AsyncAPI(
        _declared(),
        title="Keyscope",
        version=version("keyscope"),
        description=DESCRIPTION,
        license={"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        identifier="urn:keyscope",
    )
    document: Document = spec.to_specification().to_jsonable()
    components = document["components"] = {
        "schemas": {_key(name): _component(schema) for name, schema in found.items()},
        "messages": {_key(name): _message(name, schema) for name, schema in found.items()},
    }
    components["schemas"] |= {name: part for schema in found.values() for name, part in _definitions(schema).items()}
    _fill_channels(document)
    return document


def _declared() -> NatsBroker:
    """A broker that is never started: what it has is what the document describes."""
    subjects = Subjects()
    broker = job_broker(Client(), subjects, cast("Desk", None))
    broker.specification.url = ["nats://127.0.0.1:4222"]
    for name, command in COMMANDS.items():
        _receives(broker, subjects.command(command.entity, command.verb), f"commands.{name}", command.summary)
    for name, (_, summary) in QUERIES.items():
        _receives(broker, subjects.query(name), f"queries.{name}", f"{summary}.")
    for name, event in EVENTS.items():
        broker.publisher(
            subjects.event(name, *_parameters(name)).replace("%7B", "{").replace("%7D", "}"),
            title=f"events.{name}",
            description=" ".join((event.__doc__ or "").split()),
            schema=_payload(f"events.{name}"),
        )
    broker.publisher(
        f"{subjects.prefix}.outcome.{{command_id}}",
        title="outcomes",
        description="What came of a job. It is not kept: subscribe before you publish the job.",
        schema=_payload("outcomes"),
    )
    return broker


def _receives(broker: NatsBroker, subject: str, name: str, description: str) -> None:
    async def handle(body: Any) -> None:
        """Never called."""

    handle.__annotations__ = {"body": _payload(name)}
    broker.subscriber(subject, QUEUE_GROUP, title=name, description=description)(handle)


def _payload(name: str) -> Any:
    return Annotated[Any, WithJsonSchema({"title": name})]


def _parameters(event: str) -> list[str]:
    return ["{publishable_key_id}", "{sales_channel_id}"] if event.startswith("link.") else ["{id}"]


_ANSWER = {"commands": "replies", "queries": "answers"}
_PARAMETER = {
    "publishable_key_id": "The key's id.",
    "sales_channel_id": "The channel's id.",
    "id": "The key's or the channel's id.",
    "command_id": "The id of the job's command.",
}


def _fill_channels(document: Document) -> None:
    """Put messages, parameters and replies where FastStream has left room for them."""
    commands, replies = [f"commands.{name}" for name in COMMANDS], [f"replies.{name}" for name in COMMANDS]
    several = {"jobs": commands, "outcomes": [*replies, "error"]}
    channels, operations = document["channels"], document["operations"]
    for key in list(operations):
        _fill(key, channels[key], operations[key], several.get(key, [key]))
        kind, _, name = key.partition(".")
        if kind in _ANSWER:
            answer = f"{_ANSWER[kind]}.{name}"
            messages = [answer, "error"]
            channels[answer] = {
                "address": None,
                "description": "The reply subject of the request.",
                "messages": _message_references(messages),
            }
            operations[key]["reply"] = {
                "channel": {"$ref": f"#/channels/{answer}"},
                "messages": [{"$ref": f"#/channels/{answer}/messages/{message}"} for message in messages],
            }


def _fill(key: str, channel: Document, operation: Document, messages: list[str]) -> None:
    channel["messages"] = _message_references(messages)
    operation["messages"] = [{"$ref": f"#/channels/{key}/messages/{message}"} for message in messages]
    names = [name for name in _PARAMETER if f"{{{name}}}" in channel["address"]]
    if names:
        channel["parameters"] = {name: {"description": _PARAMETER[name]} for name in names}


def _message_references(messages: list[str]) -> Document:
    return {message: {"$ref": f"#/components/messages/{message}"} for message in messages}


_HEADERS = {
    "commands": {
        COMMAND_ID: "The command's id: the same again gets the first outcome and changes nothing.",
        ACTOR: "Who does it; the events name them.",
        TRACEPARENT: "The W3C trace context, which the events carry on.",
    },
    "events": {COMMAND_ID: "The event's id."},
    "error": {ERROR: "The message.", ERROR_CODE: "The code, as in HTTP."},
}


def _message(name: str, schema: Schema) -> Document:
    kind = name.partition("/")[0]
    content = "application/cloudevents+json" if kind == "events" else "application/json"
    message: Document = {
        "name": name,
        "title": schema["title"],
        "summary": schema["description"],
        "contentType": content,
        "payload": {"$ref": f"#/components/schemas/{_key(name)}"},
    }
    if kind in _HEADERS:
        headers = {header: {"type": "string", "description": text} for header, text in _HEADERS[kind].items()}
        message["headers"] = {"type": "object", "properties": headers}
    return message


def _component(schema: Schema) -> Schema:
    body = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "$defs")}
    return cast("Schema", _moved(body))


def _definitions(schema: Schema) -> Schema:
    return cast("Schema", _moved(schema.get("$defs", {})))


def _moved(part: Any) -> Any:
    """With references to `$defs` pointing to the components."""
    if isinstance(part, dict):
        return {name: _moved(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_moved(value) for value in part]
    return part.replace("#/$defs/", "#/components/schemas/") if isinstance(part, str) else part


def _key(name: str) -> str:
    """The names of schemas as keys of components, in which a slash may not stand."""
    return name.replace("/", ".")
