"""What of the Admin routes the recorded cases do not say."""

import gzip
from typing import Any

import httpx
import pytest

import keyscope
from tests.support.http import bearer, client, gateway
from tests.support.service import Service

KEYS = "/admin/api-keys"
CHANNELS = "/admin/sales-channels"


async def create(admin: httpx.AsyncClient, path: str, **body: Any) -> Any:
    response = await admin.post(path, json=body)
    assert response.status_code == 200, response.text
    return next(iter(response.json().values()))


async def test_links_are_added_and_removed_in_one_transaction(admin: httpx.AsyncClient, ks: keyscope.Keyscope) -> None:
    key = await create(admin, KEYS, title="Web", type="publishable")
    first, second = [(await create(admin, CHANNELS, name=name))["id"] for name in ("A", "B")]
    await admin.post(f"{KEYS}/{key['id']}/sales-channels", json={"add": [first]})
    response = await admin.post(f"{KEYS}/{key['id']}/sales-channels", json={"add": [second], "remove": [first]})
    assert [channel["id"] for channel in response.json()["api_key"]["sales_channels"]] == [second]
    async with ks.events.links(since="beginning", follow=False) as events:
        found = [event async for event in events]
    assert [event.name for event in found] == ["link.created", "link.dismissed", "link.created"]
    assert found[1].command_id == found[2].command_id
    assert {event.actor for event in found} == {"user_01ADMIN"}

    refused = await admin.post(
        f"{KEYS}/{key['id']}/sales-channels", json={"add": [first, "sc_nope"], "remove": [second]}
    )
    assert refused.json()["message"] == "Sales channels with IDs sc_nope do not exist"
    retrieved = (await admin.get(f"{KEYS}/{key['id']}")).json()["api_key"]
    assert [channel["id"] for channel in retrieved["sales_channels"]] == [second]


async def test_what_does_not_exist_is_404_whatever_is_done_with_it(admin: httpx.AsyncClient) -> None:
    for method, path, body in (
        ("GET", f"{KEYS}/apk_nope", None),
        ("POST", f"{KEYS}/apk_nope", {"title": "x"}),
        ("POST", f"{KEYS}/apk_nope/revoke", {}),
        ("POST", f"{KEYS}/apk_nope/sales-channels", {}),
        ("POST", f"{KEYS}/apk_nope/sales-channels", {"add": ["sc_nope"]}),
        ("POST", f"{KEYS}/apk_nope/sales-channels", {"remove": ["sc_nope"]}),
        ("DELETE", f"{KEYS}/apk_nope", None),
        ("GET", f"{CHANNELS}/sc_nope", None),
        ("POST", f"{CHANNELS}/sc_nope", {}),
        ("DELETE", f"{CHANNELS}/sc_nope", None),
    ):
        response = await admin.request(method, path, json=body)
        assert (response.status_code, response.json()["type"]) == (404, "not_found"), (method, path)


async def test_a_deleted_thing_does_not_exist(admin: httpx.AsyncClient) -> None:
    channel = await create(admin, CHANNELS, name="A")
    assert (await admin.delete(f"{CHANNELS}/{channel['id']}")).status_code == 200
    assert (await admin.delete(f"{CHANNELS}/{channel['id']}")).status_code == 404
    key = await create(admin, KEYS, title="Web", type="publishable")
    unrevoked = await admin.delete(f"{KEYS}/{key['id']}")
    assert unrevoked.json()["message"] == f"Cannot delete api keys that are not revoked - {key['id']}"
    await admin.post(f"{KEYS}/{key['id']}/revoke")
    assert (await admin.delete(f"{KEYS}/{key['id']}")).json() == {"id": key["id"], "object": "api_key", "deleted": True}
    assert (await admin.delete(f"{KEYS}/{key['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=-1", "must not be negative"),
        ("order=nope", "nope"),
        ("created_at[$gt]=yesterday", "created_at"),
        ("$or=x", "Expected type: 'array' for field '$or', got: 'x'"),
        ("$or[0][type]=x", "Expected: 'publishable, secret' for field '$or, 0, type', but got: 'x'"),
        ("a.b.c=1", "Key accessor more than 2 levels deep: a.b.c"),
        ("nope=1&other[a]=2", "Unrecognized fields: 'nope, other'"),
        ("id[a]=b", "Expected type: 'string, array' for field 'id', got: '[object Object]'"),
    ],
)
async def test_a_wrong_parameter_is_named(admin: httpx.AsyncClient, query: str, message: str) -> None:
    response = await admin.get(f"{KEYS}?{query}")
    assert (response.status_code, response.json()["type"]) == (400, "invalid_data")
    assert message in response.json()["message"]


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'"x"', b"nul", b'{"title": NaN}', b"\xff", b'{"title": "\\ud800"}', b"[" * 9999]
)
async def test_a_wrong_body_is_refused(admin: httpx.AsyncClient, raw: bytes) -> None:
    response = await admin.post(KEYS, content=raw, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["type"]) == (400, "invalid_data")


async def test_a_large_body_is_refused(admin: httpx.AsyncClient) -> None:
    response = await admin.post(KEYS, content=b" " * 1_000_001)
    assert (response.status_code, response.json()["message"]) == (413, "request entity too large")


async def test_what_the_client_has_is_not_sent_again(admin: httpx.AsyncClient) -> None:
    channel = await create(admin, CHANNELS, name="A")
    path = f"{CHANNELS}/{channel['id']}"
    first = await admin.get(path)
    again = await admin.get(path, headers={"if-none-match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await admin.post(path, json={"name": "B"})
    changed = await admin.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["sales_channel"]["name"]) == (200, "B")


async def test_long_answers_are_packed_for_those_who_can_unpack(admin: httpx.AsyncClient) -> None:
    await create(admin, CHANNELS, name="A", description="long " * 1000)
    async with admin.stream("GET", CHANNELS, headers={"accept-encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        text = b"".join([chunk async for chunk in packed.aiter_raw()])
    plain = await admin.get(CHANNELS, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(text) == plain.content
    assert packed.headers["etag"] == plain.headers["etag"]


async def test_head_and_a_slash_at_the_end(admin: httpx.AsyncClient) -> None:
    response = await admin.head(f"{KEYS}/")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_open_to_all_are_health_and_documentation(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/health")).text == "OK"
    assert (await stranger.get("/openapi.json")).json()["openapi"] == "3.1.0"
    assert (await stranger.get("/docs")).status_code == 200
    nothing = await stranger.get("/<nope>'")
    assert nothing.status_code == 404
    assert "Cannot GET /%3Cnope%3E%27" in nothing.text


async def test_when_nobody_answers(service: Service) -> None:
    async with gateway(service) as running, client(running, **bearer()) as http:
        await service.stop()
        response = await http.get(KEYS, timeout=30)
        assert (response.status_code, response.json()["type"]) in {(503, "unavailable"), (504, "timeout")}
        assert (await http.get("/health")).text == "OK"
