"""The generated regions of the reference pages: Markdown from the tables and models that the service runs on."""

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import typer
from pydantic import BaseModel
from typer.main import get_command

from docs.generate.schemas import ANSWERS, Schema, event_data, schema_of
from events import commands as command_bodies
from events import errors as error_tree
from events.catalog import EVENTS
from events.commands import COMMANDS
from events.envelope import SCHEMA_PREFIX, CloudEvent
from events.queries import QUERIES
from events.results import RESULTS
from events.subjects import Subjects
from keyscope.cli.app import app
from projections import limits
from projections.conditions import OPERATORS
from projections.model import ALIASES, ENTITIES, Entity, Kind
from services.bus.streams import dead_jobs_stream, events_stream, jobs_stream
from services.commands import reading, writer
from services.query import progress, readers, turns
from services.runtime.settings import Settings

SUBJECTS = Subjects()


def commands() -> str:
    """Each command: where, with what, and what comes back."""
    parts = []
    for name, spec in COMMANDS.items():
        parts.append(f"### `{name}`\n\n{spec.summary}\n")
        parts.append(f"- Subject: `{SUBJECTS.command(spec.entity, spec.verb)}`")
        parts.append(f"- Body: {_kind(schema_of(spec.schema, sent=False))}")
        parts.append(f"- Reply `data`: {_kind(schema_of(RESULTS[name], sent=True))}")
        parts.append(f"- Schemas: [body](../schemas/commands/{name}.json), [reply](../schemas/replies/{name}.json)\n")
    return "\n".join(parts)


def shapes() -> str:
    """Every part of a command's body."""
    return _definitions(schema_of(spec.schema, sent=False) for spec in COMMANDS.values())


def results() -> str:
    """Every part of a command's result."""
    return _definitions(schema_of(result, sent=True) for result in RESULTS.values())


def envelope() -> str:
    """The members of the CloudEvents envelope."""
    members = schema_of(CloudEvent, sent=True)["properties"]
    members["data"] = {"type": "object", "description": "What happened: see the events below"}
    return table(
        ("member", "type", "what"),
        ((f"`{name}`", _kind(part), _description(part)) for name, part in members.items()),
    )


def events() -> str:
    """Each event: its subject and its data."""
    parts = []
    for name, event in EVENTS.items():
        ids = ("<key id>", "<channel id>") if name.startswith("link.") else ("<id>",)
        subject = ".".join((SUBJECTS.prefix, "evt", name, *ids))
        schema = event_data(event)
        parts.append(f"### `{name}`\n\n{_sentence(event)}\n")
        parts.append(f"- Subject: `{subject}`")
        parts.append(f"- `dataschema`: `{SCHEMA_PREFIX}{event.topic}`, [schema](../schemas/events/{name}.json)")
        if event.private:
            kept = " and ".join(f"`{field}`" for field in sorted(event.private))
            parts.append(f"- Kept in the event store, never published: {kept}")
        parts.append(f"\n{_members(schema)}\n")
    return "\n".join(parts)


def queries() -> str:
    """Each query endpoint: its body and its answer."""
    parts = []
    for name, (query, summary) in QUERIES.items():
        parts.append(f"### `{SUBJECTS.query(name)}`\n\n{summary}.\n")
        parts.append(f"Body ([schema](../schemas/queries/{name}.json)):\n")
        asked = schema_of(query, sent=False)
        parts.append(f"{_members(asked) if asked['properties'] else 'An empty object, `{}`.'}\n")
        if asked.get("$defs"):
            parts.append(_definitions([{"$defs": asked["$defs"]}]))
        parts.append(f"Answer ([schema](../schemas/answers/{name}.json)):\n")
        parts.append(f"{_members(schema_of(ANSWERS[name], sent=True))}\n")
    return "\n".join(parts)


def entities() -> str:
    """Each entity of the graph: its names, columns and relations."""
    return "\n".join(_entity(entity) for entity in ENTITIES.values())


def _entity(entity: Entity) -> str:
    names = " or ".join(f"`{alias}`" for alias, aliased in ALIASES.items() if aliased is entity)
    columns = table(
        ("field", "type", "null"),
        ((f"`{c.name}`", _KINDS[c.kind], "may be" if c.nullable else "") for c in entity.columns.values()),
    )
    relations = table(
        ("relation", "leads to"),
        (
            (f"`{name}`", f"{'a list of' if relation.many else 'one'} `{_alias(ENTITIES[relation.target])}`")
            for name, relation in entity.relations.items()
        ),
    )
    search = " and ".join(f"`{name}`" for name in entity.searchable) or "nothing"
    return f"### {names}\n\n{columns}\n\n{relations}\n\n`q` looks into {search}.\n"


def _alias(entity: Entity) -> str:
    return next(alias for alias, aliased in ALIASES.items() if aliased is entity)


_KINDS = {Kind.TEXT: "text", Kind.BOOLEAN: "boolean", Kind.TIMESTAMP: "time", Kind.JSON: "JSON"}


def operators() -> str:
    """Every filter operator, with the kinds of fields that it fits."""
    names = list(dict.fromkeys(name for kind in OPERATORS.values() for name in kind))
    return table(
        ("operator", *_KINDS.values()),
        ((f"`{name}`", *("yes" if name in OPERATORS[kind] else "" for kind in _KINDS)) for name in names),
    )


def query_limits() -> str:
    """What a query may cost."""
    return _limits(*_documented(limits), (progress, "WAIT_SECONDS"), (readers, "MAX_QUEUED"), (turns, "MOST_WAITING"))


def command_limits() -> str:
    """What a command may cost."""
    return _limits(
        (reading, "MAX_BODY"), (command_bodies, "MAX_ITEMS"), (writer, "QUEUE_LIMIT"), (writer, "QUEUE_WEIGHT")
    )


def _limits(*constants: tuple[ModuleType, str]) -> str:
    """Constants, with the docstring that stands below each."""
    rows = ((f"`{name}`", f"{getattr(module, name):,}", _docstrings(module)[name]) for module, name in constants)
    return table(("limit", "value", "of what"), rows)


def _documented(module: ModuleType) -> Iterator[tuple[ModuleType, str]]:
    return ((module, name) for name in _docstrings(module))


def _docstrings(module: ModuleType) -> dict[str, str]:
    """The docstrings of a module's constants, which only the source knows."""
    return {
        ast.unparse(statement.targets[0]): " ".join(str(below.value.value).split())
        for statement, below in pairwise(ast.parse(inspect.getsource(module)).body)
        if isinstance(statement, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def streams() -> str:
    """The streams of JetStream."""
    rows = (
        (f"`{s.name}`", f"`{' '.join(s.subjects or [])}`", str(s.retention.value if s.retention else ""), s.description)
        for s in (events_stream(SUBJECTS), jobs_stream(SUBJECTS), dead_jobs_stream(SUBJECTS))
    )
    return table(("stream", "subjects", "retention", "what"), rows)


def errors() -> str:
    """The table at the head of the error tree."""
    return "\n".join(line for line in inspect.getdoc(error_tree).splitlines() if line.startswith("|"))  # type: ignore[union-attr]


def settings() -> str:
    """Every setting, with its default."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append((f"`KEYSCOPE_{name.upper()}`", default, field.description or ""))
    return table(("variable", "default", "what"), rows)


def command_line() -> str:
    """Every command of `keyscope`, as typer describes it."""
    return "\n".join(_help(get_command(app), "keyscope"))


def _help(command: Any, name: str) -> Iterator[str]:
    """What `--help` says, for this command and those below it."""
    context = typer.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    yield f"## `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
    for below in getattr(command, "commands", {}).values():
        yield from _help(below, f"{name} {below.name}")


def _definitions(found: Iterable[Schema]) -> str:
    """The named parts of schemas, each once, in the order of their names."""
    parts: Schema = {}
    for schema in found:
        parts.update(schema.get("$defs", {}))
        if "title" in schema:
            parts[schema["title"]] = schema
    return "\n".join(
        f"#### {name}\n\n{part['description']}\n\n{_members(part)}\n" for name, part in sorted(parts.items())
    )


def _members(schema: Schema) -> str:
    needed = schema.get("required", [])
    return table(
        ("member", "type", "needed", "what"),
        (
            (f"`{name}`", _kind(part), "yes" if name in needed else "", _description(part))
            for name, part in schema.get("properties", {}).items()
        ),
    )


def _description(part: Schema) -> str:
    examples = ", ".join(f"`{_code(example)}`" for example in part.get("examples", []))
    return ". ".join(filter(None, [part.get("description", ""), examples and f"For example {examples}"]))


def _code(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _kind(schema: Schema) -> str:
    """A JSON type in words, as `text or null`, `array of LinkRow`."""
    name = schema["$ref"].rpartition("/")[2] if "$ref" in schema else schema.get("title", "")
    if name:
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{_code(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{_code(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    return _TYPES.get(schema.get("type", ""), _any)(schema)


def _any(_: Schema) -> str:
    return "anything"


def _text(schema: Schema) -> str:
    return "time" if schema.get("format") == "date-time" else "text"


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"`[`{', '.join(_kind(part) for part in schema['prefixItems'])}`]`"
    most = f" of up to {schema['maxItems']:,}" if "maxItems" in schema else " of"
    return f"array{most} {_kind(schema.get('items', {}))}"


def _object(schema: Schema) -> str:
    values = schema.get("additionalProperties")
    return f"object of {_kind(values)}" if isinstance(values, dict) else "object"


_TYPES: dict[str, Callable[[Schema], str]] = {
    "string": _text,
    "array": _array,
    "object": _object,
    "integer": lambda _: "whole number",
    "number": lambda _: "number",
    "boolean": lambda _: "boolean",
    "null": lambda _: "`null`",
}


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A table of Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)
