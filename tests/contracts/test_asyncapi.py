"""The AsyncAPI document: valid by AsyncAPI's own schema, whole, and about the subjects that there are."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from docs.generate.files import DOCS
from events.catalog import EVENTS
from events.commands import COMMANDS
from events.queries import QUERIES
from events.subjects import Subjects

DOCUMENT = json.loads((DOCS / "asyncapi.json").read_text())
META = json.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_text())
ADDRESSES = {channel["address"]: name for name, channel in DOCUMENT["channels"].items() if channel["address"]}


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        here = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return here + [ref for value in part.values() for ref in _references(value)]
    return [ref for value in part for ref in _references(value)] if isinstance(part, list) else []


def _resolved(reference: str) -> Any:
    part: Any = DOCUMENT
    for token in reference.removeprefix("#/").split("/"):
        part = part[token.replace("~1", "/").replace("~0", "~")]
    return part


def test_valid() -> None:
    jsonschema.Draft7Validator(META).validate(DOCUMENT)


def test_the_schema_of_asyncapi_is_one_that_refuses() -> None:
    broken = {**DOCUMENT, "operations": {"x": {"action": "shout", "channel": {"$ref": "#/channels/jobs"}}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(META).validate(broken)


def test_faststream_reads_it() -> None:
    assert ApplicationSchema.model_validate(DOCUMENT).asyncapi == "3.0.0"


def test_every_reference_leads_somewhere() -> None:
    for reference in set(_references(DOCUMENT)):
        assert _resolved(reference)


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        closed = {**schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator.check_schema(closed)
        assert schema.get("description"), name


def test_every_subject_is_described() -> None:
    subjects = Subjects()
    commands = {subjects.command(spec.entity, spec.verb) for spec in COMMANDS.values()}
    queries = {subjects.query(name) for name in QUERIES}
    assert commands | queries | {subjects.jobs} <= set(ADDRESSES)
    for name in EVENTS:
        assert any(re.match(rf"keyscope\.evt\.{re.escape(name)}\.\{{", address) for address in ADDRESSES), name


def test_every_request_has_a_reply_that_may_be_an_error() -> None:
    for name, operation in DOCUMENT["operations"].items():
        if name.startswith(("commands.", "queries.")):
            references = [_resolved(message["$ref"]) for message in operation["reply"]["messages"]]
            assert {"$ref": "#/components/messages/error"} in references, name


def test_parameters_are_those_of_the_address() -> None:
    for name, channel in DOCUMENT["channels"].items():
        named = set(re.findall(r"\{(\w+)\}", channel["address"] or ""))
        assert named == set(channel.get("parameters", {})), name
