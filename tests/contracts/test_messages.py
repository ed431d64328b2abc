"""Real messages fit the committed schemas: every command, every reply, every event, every query and answer."""

import json
from typing import Any

import jsonschema
import nats
import pytest
from nats.aio.client import Client

from docs.generate.files import SCHEMAS
from events.catalog import EVENTS
from events.commands import COMMANDS
from events.queries import QUERIES
from tests.support.service import Service

KEY, CHANNEL = {"api_key_id": "apk_1"}, {"sales_channel_id": "sc_1"}
PAIR = {"api_key": KEY, "sales_channel": CHANNEL}
SECRET: dict[str, Any] = {"id": "apk_2", "title": "Server", "type": "secret", "created_by": "me"}

STORY: list[tuple[str, Any]] = [
    ("api_key.create", {"id": "apk_1", "title": "Web", "type": "publishable", "created_by": "me"}),
    ("api_key.create", [SECRET]),
    ("api_key.authenticate", {"token": "sk_wrong"}),
    ("api_key.update", {"id": "apk_1", "update": {"title": "Webshop"}}),
    ("api_key.update", {"selector": {"title": "Webshop"}, "update": {"title": "Web"}}),
    ("api_key.upsert", {"title": "New", "type": "publishable", "created_by": "me"}),
    ("sales_channel.create", {"id": "sc_1", "name": "One", "metadata": {"region": "eu"}}),
    ("sales_channel.create", [{"id": "sc_2", "name": "Two", "description": "The second", "is_disabled": True}]),
    ("sales_channel.update", {"id": ["sc_2"], "update": {"metadata": {"a": 1}}}),
    ("sales_channel.upsert", [{"id": "sc_2", "name": "Three"}]),
    (
        "link.create",
        [PAIR, {"api_key": {"publishable_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_2"}}],
    ),
    ("link.dismiss", PAIR),
    ("link.batch", {"create": [PAIR], "dismiss": [{"api_key": KEY, "sales_channel": {"sales_channel_id": ["sc_2"]}}]}),
    ("link.delete", {"api_key": KEY}),
    ("link.restore", {"api_key": KEY}),
    ("link.restore", {"api_key": KEY, "sales_channel": CHANNEL, "exactly": True}),
    ("link.delete", {"sales_channel": {"sales_channel_id": "sc_nobody"}}),
    ("sales_channel.soft_delete", "sc_1"),
    ("sales_channel.restore", ["sc_1"]),
    ("sales_channel.delete", {"ids": ["sc_2"]}),
    ("api_key.soft_delete", ["apk_1"]),
    ("api_key.restore", "apk_1"),
    ("api_key.revoke", {"id": "apk_1", "revoke": {"revoked_by": "me"}}),
    ("api_key.delete", "apk_1"),
]

QUESTIONS: list[tuple[str, Any]] = [
    ("graph", {"entity": "api_key", "fields": ["*", "sales_channels.*"], "pagination": {"skip": 0, "take": 5}}),
    ("graph", {"entity": "sales_channel", "fields": ["name"], "filters": {"name": {"$like": "O%"}}}),
    ("status", {}),
]

REFUSED: list[tuple[str, Any]] = [
    ("cmd.link.create", PAIR | {"sales_channel": {"sales_channel_id": "sc_9"}}),
    ("cmd.link.create", {"nonsense": 1}),
    ("cmd.nothing.at_all", {}),
    ("query.graph", {"entity": "nothing"}),
    ("query.scope", {"token": "pk_wrong"}),
]


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


async def _ask(nc: Client, subject: str, body: Any) -> tuple[Any, dict[str, str]]:
    reply = await nc.request(f"keyscope.{subject}", json.dumps(body).encode(), timeout=10)
    return json.loads(reply.data), reply.headers or {}


async def test_messages_fit_their_schemas(service: Service) -> None:
    nc = await nats.connect(service.settings.nats_servers[0])
    position = 0
    for name, body in STORY:
        _validator(f"commands/{name}").validate(body)
        reply, _ = await _ask(nc, f"cmd.{name}", body)
        _validator(f"replies/{name}").validate(reply)
        position = max(position, reply["position"])
    for name, body in QUESTIONS:
        _validator(f"queries/{name}").validate(body)
        answer, _ = await _ask(nc, f"query.{name}", body)
        _validator(f"answers/{name}").validate(answer)
    for subject, body in REFUSED:
        refusal, headers = await _ask(nc, subject, body)
        _validator("error").validate(refusal)
        assert headers["Nats-Service-Error"]
        assert headers["Nats-Service-Error-Code"].isdecimal()
    seen = await _events(nc, position)
    await nc.close()

    assert {name for name, _ in STORY} == set(COMMANDS)
    assert {name for name, _ in QUESTIONS} | {"scope"} == set(QUERIES)
    assert seen == set(EVENTS)


async def test_a_scope_fits_its_schema(service: Service) -> None:
    nc = await nats.connect(service.settings.nats_servers[0])
    key, _ = await _ask(nc, "cmd.api_key.create", {"title": "Web", "type": "publishable", "created_by": "me"})
    question = {"token": key["data"]["token"], "position": key["position"]}
    _validator("queries/scope").validate(question)
    answer, _ = await _ask(nc, "query.scope", question)
    _validator("answers/scope").validate(answer)
    await nc.close()


async def _events(nc: Client, position: int) -> set[str]:
    """The names of all events in the stream, up to `position` at least; each is validated."""
    seen: set[str] = set()
    subscription = await nc.jetstream().subscribe("keyscope.evt.>", ordered_consumer=True)
    reached = 0
    while reached < position:
        message = await subscription.next_msg(timeout=10)
        event = json.loads(message.data)
        name = event["type"].removeprefix("keyscope.")
        _validator(f"events/{name}").validate(event)
        assert message.subject == f"keyscope.evt.{name}.{event['subject'].replace('/', '.')}"
        reached = event["position"]
        seen.add(name)
    return seen


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("link.create", {"api_key": KEY}),
        ("link.create", {"api_key": KEY | {"publishable_key_id": "apk_1"}, "sales_channel": CHANNEL}),
        ("link.create", PAIR | {"other": 1}),
        ("link.create", {"api_key": {"api_key_id": ""}, "sales_channel": CHANNEL}),
        ("link.create", "apk_1"),
        ("api_key.create", {"title": "Web", "type": "public"}),
        ("api_key.create", {"type": "secret"}),
        ("sales_channel.create", [{"name": None}]),
        ("api_key.delete", 5),
    ],
)
async def test_a_schema_refuses_what_the_service_refuses(service: Service, name: str, body: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _validator(f"commands/{name}").validate(body)
    nc = await nats.connect(service.settings.nats_servers[0])
    refusal, _ = await _ask(nc, f"cmd.{name}", body)
    await nc.close()
    assert refusal["error"]["type"] == "invalid_data"
