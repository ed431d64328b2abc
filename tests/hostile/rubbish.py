"""Messages that nobody should send: valid ones that are bent, and bytes of no meaning."""

import json
import random
from collections.abc import Callable
from typing import Any

from events.commands import COMMANDS

VALUES: list[Any] = [
    None, True, False, 0, -1, 1e308, -0.0, 2**63, 2**64, 10**400, "", " ", "a", "\x00", "a\x00b", "é" * 50, "x" * 5_000,
    "' OR 1=1 --", "\"; DROP TABLE api_key; --", "%", "_", "*", ">", "$JS.API.STREAM.DELETE.KEYSCOPE_EVENTS",
    "../../etc/passwd",
    "apk_1", "sc_1", "2026-11-23T12:00:00.000Z", "9999-99-99", [], [[]], {}, {"": {}}, [None], ["apk_1"] * 50,
    {"$in": []}, {"$and": [{}]}, {"$like": "%"}, {"$re": "(a+)+$"}, {"$gt": None}, {"__proto__": 1},
    {"$ne": {"$ne": 1}},
]  # fmt: skip

NAMES = [
    "id", "ids", "api_key", "sales_channel", "api_key_id", "publishable_key_id", "sales_channel_id", "title",
    "type", "name",
    "metadata", "update", "revoke", "revoke_in", "selector", "create", "dismiss", "token", "entity", "fields",
    "filters",
    "pagination", "order", "take", "skip", "position", "withDeleted", "$or", "$not", "__class__", "", "x' --",
]  # fmt: skip

QUERIES: list[Any] = [
    {"entity": "api_key", "fields": ["id", "sales_channels.*"], "filters": {"id": "apk_1"}},
    {
        "entity": "sales_channel",
        "fields": ["*", "publishable_api_keys.id"],
        "pagination": {"take": 5, "order": {"id": "ASC"}},
    },
    {"token": "pk_1"},
]

BODIES: list[Any] = [
    {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_1"}},
    {"create": [], "dismiss": []},
    {"id": "apk_1", "update": {"title": "t"}},
    {"id": "apk_1", "revoke": {"revoke_in": 1}},
    {"selector": {"title": "t"}, "update": {"title": "u"}},
    {"id": "sc_1", "name": "n", "metadata": {"a": [1]}},
    {"title": "t", "type": "publishable", "created_by": "u"},
    ["apk_1"],
    "apk_1",
    {"token": "sk_1"},
]

RAW = [
    b"", b"{", b"}", b"null", b"NaN", b"[NaN]", b'{"id": Infinity}', b'"\\ud800"', b'{"id": "\\ud800"}',
    b"\xff\xfe", b"\x00" * 10,
    b'{"id":"a","id":"b"}', b"[" * 100_000, b'{"a":' * 20_000, b"1" * 5_000, b'"' + b"a" * 500_000 + b'"',
    b"\xef\xbb\xbf{}",
    b'{"filters":' + b'{"$not":' * 500 + b"{}" + b"}" * 501,
]  # fmt: skip

COMMAND_NAMES = [*COMMANDS, "no.such", "link", "link.create.more", "x" * 200]
ENDPOINTS = ["graph", "scope", "status"]


def message(chance: random.Random, bodies: list[Any]) -> bytes:
    """One message, bent somehow."""
    return chance.choice(_WAYS)(chance, bodies)


def headers(chance: random.Random) -> dict[str, str] | None:
    """Headers, mostly none."""
    if chance.random() < 0.7:
        return None
    name = chance.choice(["Nats-Msg-Id", "Keyscope-Actor", "traceparent", "X-Anything"])
    return {name: chance.choice(["", "a", "x" * 2_000, "\x01", "é", "00-" + "a" * 32, "' OR 1=1", "a" * 64])}


def _bent(chance: random.Random, bodies: list[Any]) -> bytes:
    body = json.loads(json.dumps(chance.choice(bodies)))
    for _ in range(chance.randint(1, 3)):
        body = _bend(chance, body)
    try:
        return json.dumps(body).encode()
    except (ValueError, UnicodeEncodeError):
        return b"null"


def _bend(chance: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        if chance.random() < 0.2:
            return {**value, chance.choice(NAMES): chance.choice(VALUES)}
        return {**value, name: _bend(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.6:
        return [*value[:-1], _bend(chance, value[-1])]
    return chance.choice(VALUES)


def _flipped(chance: random.Random, bodies: list[Any]) -> bytes:
    text = bytearray(json.dumps(chance.choice(bodies)).encode())
    for _ in range(chance.randint(1, 5)):
        text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text)


def _cut(chance: random.Random, bodies: list[Any]) -> bytes:
    text = json.dumps(chance.choice(bodies)).encode()
    return text[: chance.randrange(len(text))]


def _raw(chance: random.Random, _: list[Any]) -> bytes:
    return chance.choice(RAW) if chance.random() < 0.2 else chance.randbytes(chance.randrange(64))


_WAYS: list[Callable[[random.Random, list[Any]], bytes]] = [_bent, _bent, _bent, _bent, _flipped, _cut, _raw]
