"""What every command does, over request/reply and over the durable stream alike."""

import re
from typing import Any

import pytest
from nats.aio.client import Client

from tests.commands.conftest import Jobs, Requests, all_events

Door = Requests | Jobs
NOPE = {"api_key": {"api_key_id": "apk_nope"}, "sales_channel": {"sales_channel_id": "sc_nope"}}


def pair(key: str, channel: str, name: str = "api_key_id") -> dict[str, Any]:
    return {"api_key": {name: key}, "sales_channel": {"sales_channel_id": channel}}


async def data(door: Door, name: str, body: Any, **headers: str) -> Any:
    reply = await door.send(name, body, **headers)
    assert "data" in reply, reply
    assert reply["position"] >= 0
    return reply["data"]


async def error(door: Door, name: str, body: Any, **headers: str) -> dict[str, Any]:
    reply = await door.send(name, body, **headers)
    assert list(reply) == ["error"], reply
    refused: dict[str, Any] = reply["error"]
    return refused


async def a_key(door: Door, kind: str = "publishable") -> Any:
    return await data(door, "api_key.create", {"title": "K", "type": kind, "created_by": "ann"})


async def a_channel(door: Door, name: str = "C") -> Any:
    return await data(door, "sales_channel.create", {"name": name})


async def test_keys(door: Door) -> None:
    key = await a_key(door)
    assert re.fullmatch(r"apk_[0-9A-Z]{26}", key["id"])
    assert re.fullmatch(r"pk_[0-9a-f]{64}", key["token"])
    assert key["redacted"] == f"{key['token'][:6]}***{key['token'][-3:]}"
    assert (key["revoked_at"], key["deleted_at"], key["last_used_at"]) == (None, None, None)

    renamed = await data(door, "api_key.update", {"id": key["id"], "update": {"title": "New"}})
    assert (renamed["title"], renamed["token"]) == ("New", key["token"])
    assert await data(door, "api_key.update", {"id": [key["id"]], "update": {}}) == [renamed]

    assert (await error(door, "api_key.delete", key["id"]))["type"] == "not_allowed"
    later = await data(door, "api_key.revoke", {"id": key["id"], "revoke": {"revoked_by": "bob", "revoke_in": 3600}})
    assert later["revoked_at"] > renamed["updated_at"]
    assert (await error(door, "api_key.delete", [key["id"]]))["ids"] == [key["id"]]
    now = await data(door, "api_key.revoke", {"id": key["id"], "revoke": {"revoked_by": "bob", "revoke_in": -5}})
    assert now["revoked_at"] < later["revoked_at"]
    assert await data(door, "api_key.delete", {"ids": [key["id"]]}) is None
    assert (await error(door, "api_key.update", {"id": key["id"], "update": {"title": "x"}}))["type"] == "not_found"
    assert await data(door, "api_key.restore", key["id"]) == {
        "api_key_id": [key["id"]],
        "publishable_key_id": [key["id"]],
    }
    assert await data(door, "api_key.soft_delete", [key["id"]]) == {
        "api_key_id": [key["id"]],
        "publishable_key_id": [key["id"]],
    }


async def test_secret_keys(door: Door) -> None:
    secret, other = await data(
        door, "api_key.create", [{"title": t, "type": "secret", "created_by": "ann"} for t in "ab"]
    )
    assert re.fullmatch(r"sk_[0-9a-f]{64}", secret["token"])
    found = await data(door, "api_key.authenticate", {"token": secret["token"]})
    assert (found["id"], found["token"]) == (secret["id"], "")
    assert not set(found) & {"hash", "salt"}
    assert await data(door, "api_key.authenticate", "sk_nope") is False
    assert await data(door, "api_key.authenticate", "") is False
    await data(door, "api_key.revoke", {"id": secret["id"], "revoke": {"revoked_by": "bob"}})
    assert await data(door, "api_key.authenticate", secret["token"]) is False
    again = await error(door, "api_key.revoke", {"id": secret["id"], "revoke": {"revoked_by": "bob"}})
    assert again["ids"] == [secret["id"]]
    await data(door, "api_key.soft_delete", other["id"])
    assert await data(door, "api_key.authenticate", other["token"]) is False


async def test_upsert(door: Door) -> None:
    key = await a_key(door)
    new, old = await data(
        door, "api_key.upsert", [{"id": key["id"], "title": "N"}, {"title": "P", "type": "secret", "created_by": "a"}]
    )
    assert (old["id"], old["title"], new["title"], new["token"][:3]) == (key["id"], "N", "P", "sk_")
    channel = await data(door, "sales_channel.upsert", {"name": "U"})
    assert (await data(door, "sales_channel.upsert", {"id": channel["id"], "is_disabled": True}))["is_disabled"] is True
    assert (await error(door, "sales_channel.upsert", {"id": "sc_nope", "name": "x"}))["type"] == "not_found"


async def test_channels(door: Door) -> None:
    one, two = await data(door, "sales_channel.create", [{"name": "A", "metadata": {"a": [1, {}]}}, {"name": "B"}])
    assert (one["metadata"], two["metadata"], two["description"], two["is_disabled"]) == (
        {"a": [1, {}]},
        None,
        None,
        False,
    )
    changed = await data(door, "sales_channel.update", {"id": one["id"], "update": {"metadata": {"b": 1}}})
    assert changed["metadata"] == {"a": [1, {}], "b": 1}
    assert await data(door, "sales_channel.delete", one["id"]) is None
    assert await data(door, "sales_channel.soft_delete", two["id"]) == {"sales_channel_id": [two["id"]]}
    assert await data(door, "sales_channel.restore", [one["id"], two["id"]]) == {
        "sales_channel_id": [one["id"], two["id"]]
    }


async def test_links(door: Door) -> None:
    key, one, two = await a_key(door), await a_channel(door, "1"), await a_channel(door, "2")
    [link] = await data(door, "link.create", pair(key["id"], one["id"]))
    assert re.fullmatch(r"pksc_[0-9A-Z]{26}", link["id"])
    assert (link["publishable_key_id"], link["sales_channel_id"], link["deleted_at"]) == (key["id"], one["id"], None)

    again = await door.send("link.create", pair(key["id"], one["id"], "publishable_key_id"))
    assert (again["data"], again["changed"]) == ([link], [])
    both = await data(
        door, "link.create", [pair(key["id"], two["id"]), pair(key["id"], one["id"]), pair(key["id"], two["id"])]
    )
    assert [row["sales_channel_id"] for row in both] == [two["id"], one["id"], two["id"]]
    assert both[0] == both[2]

    [gone] = await data(door, "link.dismiss", pair(key["id"], one["id"]))
    assert (gone["id"], gone["updated_at"]) == (link["id"], link["updated_at"])
    assert gone["deleted_at"]
    assert await data(door, "link.dismiss", pair(key["id"], one["id"])) == []
    assert await data(door, "link.dismiss", NOPE) == []
    assert await data(door, "link.dismiss", pair(key["id"], "sc_nope")) == []

    [back] = await data(door, "link.create", pair(key["id"], one["id"]))
    assert back["id"] != link["id"]
    assert back["created_at"] == link["created_at"]

    table = "ApiKeyApiKeySalesChannelSalesChannelLink"
    deleted = await data(door, "link.delete", {"api_key": {"publishable_key_id": key["id"]}})
    assert set(deleted[1][table]["sales_channel_id"]) == {one["id"], two["id"]}
    assert await data(door, "link.delete", {"api_key": {"publishable_key_id": [key["id"]]}}) == [None, {}]
    restored = await data(door, "link.restore", {"sales_channel": {"sales_channel_id": one["id"]}})
    assert restored == [None, {table: {"publishable_key_id": [key["id"]], "sales_channel_id": [one["id"]]}}]

    batch = await data(
        door, "link.batch", {"create": [pair(key["id"], two["id"])], "dismiss": [pair(key["id"], one["id"])]}
    )
    assert [row["sales_channel_id"] for row in batch["created"]] == [two["id"]]
    assert [row["sales_channel_id"] for row in batch["dismissed"]] == [one["id"]]
    assert await data(door, "link.restore", {"api_key": {"api_key_id": key["id"]}}) == [
        None, {table: {"publishable_key_id": [key["id"]], "sales_channel_id": [two["id"]]}},
    ]  # fmt: skip
    undone = await data(door, "link.restore", {**pair(key["id"], one["id"]), "exactly": True})
    assert undone == [None, {table: {"publishable_key_id": [key["id"]], "sales_channel_id": [one["id"]]}}]


async def test_an_array_is_all_or_nothing(door: Door, client: Client) -> None:
    key, one = await a_key(door), await a_channel(door)
    before = len(await all_events(client, 2))
    refused = await error(door, "link.create", [pair(key["id"], one["id"]), pair(key["id"], "sc_nope")])
    assert (refused["type"], refused["ids"]) == ("not_found", ["sc_nope"])
    assert "sc_nope" in refused["message"]
    assert (await error(door, "link.batch", {"dismiss": [], "create": [pair("apk_nope", one["id"])]}))["ids"] == [
        "apk_nope"
    ]
    assert len(await all_events(client, before)) == before
    assert await data(door, "link.dismiss", pair(key["id"], one["id"])) == []


async def test_what_may_not_be_linked(door: Door) -> None:
    key, secret, channel = await a_key(door), await a_key(door, "secret"), await a_channel(door)
    assert (await error(door, "link.create", pair(secret["id"], channel["id"])))["type"] == "not_allowed"
    await data(door, "api_key.revoke", {"id": key["id"], "revoke": {"revoked_by": "bob"}})
    assert (await error(door, "link.create", pair(key["id"], channel["id"])))["type"] == "not_allowed"
    await data(door, "sales_channel.soft_delete", channel["id"])
    assert (await error(door, "link.create", pair((await a_key(door))["id"], channel["id"])))["type"] == "not_found"


async def test_deleting_a_channel_takes_links_along_and_restoring_brings_those_back(door: Door, client: Client) -> None:
    channel = await a_channel(door)
    keys = await data(door, "api_key.create", [{"title": "k", "type": "publishable", "created_by": "a"}] * 3)
    await data(door, "link.create", [pair(key["id"], channel["id"]) for key in keys])
    await data(door, "link.dismiss", pair(keys[0]["id"], channel["id"]))
    await data(door, "sales_channel.delete", channel["id"], **{"Keyscope-Actor": "bob"})
    await data(door, "sales_channel.restore", channel["id"])
    events = await all_events(client, 1 + 3 + 3 + 1 + 1 + 2 + 1 + 2)
    names = [event["type"].removeprefix("keyscope.") for event in events[8:]]
    assert names == ["sales_channel.deleted", *["link.dismissed"] * 2, "sales_channel.restored", *["link.created"] * 2]
    deletion, *swept = events[8:11]
    assert {event["cause"] for event in swept} == {deletion["id"]}
    assert {event["actor"] for event in swept} == {"bob"}
    assert {event["commandid"] for event in swept} == {deletion["commandid"]}
    assert {event["data"]["reason"] for event in swept} == {"sales_channel.deleted"}
    assert {event["data"]["publishable_key_id"] for event in events[12:]} == {key["id"] for key in keys[1:]}
    assert all(event["data"]["restored"] for event in events[12:])


async def test_ids_of_the_callers_own(door: Door) -> None:
    strange = "ключ one/two.*>"
    key = await data(door, "api_key.create", {"id": strange, "title": "K", "type": "publishable", "created_by": "a"})
    channel = await data(door, "sales_channel.create", {"id": "web.shop", "name": "W"})
    assert (key["id"], channel["id"]) == (strange, "web.shop")
    [link] = await data(door, "link.create", pair(strange, "web.shop"))
    assert link["publishable_key_id"] == strange
    taken = await error(door, "sales_channel.create", {"id": "web.shop", "name": "again"})
    assert (taken["type"], taken["ids"]) == ("duplicate_error", ["web.shop"])
    assert (
        await error(door, "api_key.create", [{"id": "x", "title": "K", "type": "publishable", "created_by": "a"}] * 2)
    )["type"] == "duplicate_error"


async def test_the_same_command_again_gets_the_first_outcome(door: Door, client: Client) -> None:
    key, channel = await a_key(door), await a_channel(door)
    once = {"Nats-Msg-Id": "once"}
    first = await door.send("link.create", pair(key["id"], channel["id"]), **once)
    await data(door, "link.dismiss", pair(key["id"], channel["id"]))
    requests = Requests(client)  # whichever door it comes through
    assert await requests.send("link.create", pair(key["id"], channel["id"]), **once) == first
    assert await data(door, "link.dismiss", pair(key["id"], channel["id"])) == []

    twice = {"Nats-Msg-Id": "refused"}
    refused = await door.send("link.create", pair(key["id"], "sc_later"), **twice)
    assert refused["error"]["type"] == "not_found"
    await data(door, "sales_channel.create", {"id": "sc_later", "name": "L"})
    assert await requests.send("link.create", pair(key["id"], "sc_later"), **twice) == refused


async def test_a_repeated_creation_does_not_show_the_secret_again(door: Door, client: Client) -> None:
    new = {"title": "S", "type": "secret", "created_by": "ann"}
    first = await door.send("api_key.create", new, **{"Nats-Msg-Id": "secret-once"})
    again = await Requests(client).send("api_key.create", new, **{"Nats-Msg-Id": "secret-once"})
    assert again["data"] == {**first["data"], "token": ""}
    assert await data(door, "api_key.authenticate", first["data"]["token"])


async def test_who_and_why_stand_in_the_events(door: Door, client: Client) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await data(
        door, "sales_channel.create", {"name": "W"},
        **{"Nats-Msg-Id": "cmd-7", "Keyscope-Actor": "ann", "traceparent": traceparent},
    )  # fmt: skip
    [event] = await all_events(client, 1)
    assert (event["commandid"], event["actor"], event["traceparent"]) == ("cmd-7", "ann", traceparent)
    assert (event["specversion"], event["position"]) == ("1.0", 1)
    assert event["on"] == f"keyscope.evt.sales_channel.created.{event['data']['id']}"


WRONG: list[tuple[str, Any, str]] = [
    ("link.create", b"", "not JSON"),
    ("link.create", b"{", "JSON"),
    ("link.create", b"\xff\xfe", "not JSON"),
    ("link.create", b'"text"', "expected an object or an array"),
    ("link.create", b"null", "expected an object or an array"),
    ("link.create", [1], "0: "),
    ("link.create", {}, "api_key: Field required; sales_channel: Field required"),
    ("link.create", {"api_key": {"api_key_id": "a"}}, "sales_channel: Field required"),
    ("link.create", pair("", "sc_1"), "api_key.api_key_id: "),
    ("link.create", pair(" ", "sc_1"), "api_key.api_key_id: "),
    ("link.create", pair("a\x00b", "sc_1"), "api_key.api_key_id: "),
    ("link.create", pair("a\nb", "sc_1"), "api_key.api_key_id: "),
    ("link.create", {"api_key": {"api_key_id": None}, "sales_channel": {"sales_channel_id": 7}}, "sales_channel_id: "),
    ("link.create", pair("x" * 900_000, "sc_1"), "api_key.api_key_id: "),
    ("link.create", {**pair("a", "b"), "region": {"region_id": "r"}}, "region: "),
    ("link.create", {"nope": {"x": 1}, "sales_channel": {"sales_channel_id": "b"}}, "nope: "),
    ("link.create", b'{"api_key":{"api_key_id":"\\ud800"},"sales_channel":{"sales_channel_id":"b"}}', "JSON"),
    ("link.create", b"[" * 100_000, "JSON"),
    ("link.create", [pair("a", "b")] * 10_001, "10000"),
    ("link.dismiss", pair([f"k{n}" for n in range(101)], [f"c{n}" for n in range(100)]), "10000"),  # type: ignore[arg-type]
    ("link.delete", {}, "name api_key, sales_channel or both"),
    ("link.delete", {"api_key": {"publishable_key_id": None}}, "api_key.publishable_key_id"),
    ("link.restore", {"api_key": {"api_key_id": "a"}, "exactly": True}, "exactly"),
    ("api_key.create", {"title": "t", "created_by": "a"}, "type: Field required"),
    ("api_key.create", {"type": "publishable", "created_by": "a"}, "title: Field required"),
    ("api_key.create", {"title": "t", "type": "publishable"}, "created_by: Field required"),
    ("api_key.create", {"title": 1, "type": "nope", "created_by": "a"}, "type: "),
    ("api_key.update", {"update": {"title": "x"}}, "id or selector"),
    ("api_key.update", {"id": None, "update": {"title": "x"}}, "id or selector"),
    ("api_key.revoke", {"id": "a", "revoke": {"revoke_in": "60"}}, "revoke.revoke_in"),
    ("api_key.delete", [None], "0: "),
    ("api_key.authenticate", {"token": None}, "token: "),
    ("sales_channel.create", {"description": "d"}, "name: Field required"),
    ("sales_channel.create", {"name": "n", "is_disabled": "no"}, "is_disabled: "),
    ("sales_channel.create", {"name": "n", "metadata": "x"}, "metadata: "),
    ("sales_channel.create", b'{"name":"n","metadata":{"x":NaN}}', "not JSON"),
    ("sales_channel.create", {"name": "n\x00"}, "name: "),
    ("link.explode", {}, "there is no command 'link.explode'"),
    ("nope", {}, "there is no command 'nope'"),
]


async def test_rubbish_gets_a_clear_answer_and_costs_nothing(
    requests: Requests, client: Client, subtests: pytest.Subtests
) -> None:
    for name, body, says in WRONG:
        with subtests.test(name=name, body=str(body)[:80]):
            refused = await error(requests, name, body)
            assert refused["type"] == "invalid_data"
            assert says in refused["message"]
            assert len(refused["message"]) < 2_000
            assert not re.search(r"Traceback|pydantic|Error\(|SELECT|/\w+/\w+\.py", refused["message"])
    assert (await a_channel(requests))["name"] == "C"
    assert len(await all_events(client, 1)) == 1


async def test_jobs_that_cannot_be_read_are_ended_with_a_reason(write_side: object, client: Client) -> None:
    outcomes = await client.subscribe("keyscope.outcome.>")
    js = client.jetstream(timeout=10)
    for name, body in (("link.create", b"rubbish"), ("no.such", b"{}"), ("link.create", b"{}")):
        await js.publish(f"keyscope.job.{name}", body)
    seen = [await outcomes.next_msg(timeout=10) for _ in range(3)]
    assert all(b"invalid_data" in outcome.data for outcome in seen)
    assert (await js.stream_info("KEYSCOPE_JOBS")).state.messages == 0


@pytest.mark.parametrize(
    "headers", [{"Nats-Msg-Id": "x" * 256}, {"Keyscope-Actor": "a\x01b"}], ids=["a long id", "a control character"]
)
async def test_wrong_headers(requests: Requests, headers: dict[str, str]) -> None:
    refused = await error(requests, "sales_channel.create", {"name": "n"}, **headers)
    assert refused["fields"] == list(headers)


async def test_ten_thousand_pairs_in_one_command(requests: Requests) -> None:
    keys = await data(requests, "api_key.create", [{"title": "k", "type": "publishable", "created_by": "a"}] * 100)
    channels = await data(requests, "sales_channel.create", [{"name": "c"}] * 100)
    pairs = [pair(key["id"], channel["id"]) for key in keys for channel in channels]
    rows = await data(requests, "link.create", pairs)
    assert len(rows) == 10_000
    assert [(row["publishable_key_id"], row["sales_channel_id"]) for row in rows[:101]] == [
        (one["api_key"]["api_key_id"], one["sales_channel"]["sales_channel_id"]) for one in pairs[:101]
    ]
    gone = await data(requests, "link.delete", {"sales_channel": {"sales_channel_id": channels[0]["id"]}})
    assert len(gone[1]["ApiKeyApiKeySalesChannelSalesChannelLink"]["publishable_key_id"]) == 100
