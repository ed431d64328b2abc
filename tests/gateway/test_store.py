"""What a publishable key opens, and what a proxy is told."""

import asyncio

import httpx
import pytest

import keyscope
from keyscope.asgi import HEADER, INVALID, MISSING
from tests.support.http import client, gateway, settled
from tests.support.service import Service

Link = tuple[keyscope.types.ApiKey, keyscope.types.SalesChannel]


@pytest.fixture
async def link(ks: keyscope.Keyscope) -> Link:
    """A publishable key that is linked with a channel."""
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    channel = await ks.sales_channels.create({"name": "Web"})
    await ks.link.create({"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}})
    await settled(ks)
    return key, channel


async def test_the_scope_of_a_key(stranger: httpx.AsyncClient, link: Link) -> None:
    key, channel = link
    for _ in range(2):  # asked, then remembered
        response = await stranger.get("/store/scope", headers={HEADER: key["token"]})
        assert response.json() == {
            "publishable_key_context": {"key": key["token"], "sales_channel_ids": [channel["id"]]}
        }


async def test_it_follows_the_links(stranger: httpx.AsyncClient, link: Link, ks: keyscope.Keyscope) -> None:
    key, channel = link
    await stranger.get("/store/scope", headers={HEADER: key["token"]})
    await ks.link.dismiss({"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}})
    async with asyncio.timeout(30):
        while (await stranger.get("/store/scope", headers={HEADER: key["token"]})).json()["publishable_key_context"][
            "sales_channel_ids"
        ]:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([], MISSING),
        ([(HEADER, "")], MISSING),
        ([(HEADER, "pk_nope")], INVALID),
        ([(HEADER, "sk_" + "0" * 64)], INVALID),
        ([(HEADER, "pk_" + "\u00e4" * 10)], INVALID),
        ([(HEADER, "pk_" + "0" * 9000)], INVALID),
        ([(HEADER, "pk_a"), (HEADER, "pk_b")], INVALID),
    ],
)
async def test_without_a_valid_key_there_is_nothing(
    stranger: httpx.AsyncClient, headers: list[tuple[str, str]], message: str
) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    for path in ("/store/scope", "/store/authorize", "/store/regions", "/store"):
        response = await stranger.get(path, headers=sent)
        assert (response.status_code, response.json()) == (400, {"type": "not_allowed", "message": message})


async def test_a_proxy_is_told_in_headers(stranger: httpx.AsyncClient, link: Link) -> None:
    key, channel = link
    for method, path in (
        ("GET", "/store/authorize"),
        ("POST", "/store/authorize/store/carts"),
        ("HEAD", "/store/authorize"),
    ):
        response = await stranger.request(method, path, headers={HEADER: key["token"]})
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["x-sales-channel-ids"] == channel["id"]
        assert response.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("query", "status"), [("", 400), ("?refuse=401", 401), ("?refuse=403", 403), ("?refuse=200", 400)]
)
async def test_a_proxy_may_choose_the_status_of_a_refusal(stranger: httpx.AsyncClient, query: str, status: int) -> None:
    response = await stranger.get(f"/store/authorize{query}", headers={HEADER: "pk_nope"})
    assert (response.status_code, response.json()["message"]) == (status, INVALID)
    assert (await stranger.get(f"/store/scope{query}", headers={HEADER: "pk_nope"})).status_code == 400


async def test_an_id_cannot_break_out_of_the_header(
    stranger: httpx.AsyncClient, link: Link, ks: keyscope.Keyscope
) -> None:
    key, channel = link
    odd = await ks.sales_channels.create({"name": "odd", "id": "a,b\u00e4 c"})
    await ks.link.create({"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": odd["id"]}})
    async with asyncio.timeout(30):
        while True:
            response = await stranger.get("/store/authorize", headers={HEADER: key["token"]})
            if response.headers["x-sales-channel-ids"] == f"a%2Cb%C3%A4%20c,{channel['id']}":
                return
            await asyncio.sleep(0.005)


async def test_what_is_no_route(stranger: httpx.AsyncClient, link: Link) -> None:
    for method, path in (("POST", "/store/scope"), ("GET", "/store/regions"), ("GET", "/store/scope/x")):
        response = await stranger.request(method, path, headers={HEADER: link[0]["token"]})
        assert (response.status_code, f"Cannot {method} {path}" in response.text) == (404, True)


async def test_when_the_key_must_be_asked_for_and_nobody_answers(service: Service, ks: keyscope.Keyscope) -> None:
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    other = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    await settled(ks)
    async with gateway(service) as running, client(running) as http:
        assert (await http.get("/store/scope", headers={HEADER: key["token"]})).status_code == 200
        await service.stop()
        assert (await http.get("/store/scope", headers={HEADER: key["token"]})).status_code == 200  # it is remembered
        response = await http.get("/store/authorize?refuse=403", headers={HEADER: other["token"]})
        assert (response.status_code, response.json()["type"], response.headers["retry-after"]) == (
            503,
            "unavailable",
            "1",
        )


async def test_pages_of_named_origins_may_ask(service: Service) -> None:
    preflight = {"origin": "https://shop.example", "access-control-request-method": "GET"}
    settings = {
        "http_store_origins": "https://shop.example, https://b.example",
        "http_admin_origins": "https://admin.example",
    }
    async with gateway(service, **settings) as running, client(running) as http:
        allowed = await http.options("/store/scope", headers={**preflight, "access-control-request-headers": HEADER})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        assert HEADER in allowed.headers["access-control-allow-headers"]
        refused = await http.get("/store/scope", headers={"origin": "https://shop.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "https://shop.example")
        other = await http.get("/store/scope", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        admin = await http.options("/admin/api-keys", headers={**preflight, "origin": "https://admin.example"})
        assert admin.headers["access-control-allow-origin"] == "https://admin.example"
        assert (await http.options("/admin/api-keys", headers=preflight)).status_code == 400
