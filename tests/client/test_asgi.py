"""Publishable keys in ASGI applications, answered as Medusa's store routes answer (golden area http_store)."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.types import ASGIApp

import keyscope
from keyscope.asgi import PublishableKeyMiddleware, dependency, error_handler
from keyscope.types import ApiKey, SalesChannel
from tests.support.service import Service

REQUIRED = {
    "type": "not_allowed",
    "message": "Publishable API key required in the request header: x-publishable-api-key. "
    "You can manage your keys in settings in the dashboard.",
}
INVALID = {"type": "not_allowed", "message": "A valid publishable key is required to proceed with the request"}


@pytest.fixture
async def key(ks: keyscope.Keyscope) -> ApiKey:
    return await ks.api_keys.create({"title": "Web", "type": "publishable"})


@pytest.fixture
async def channels(ks: keyscope.Keyscope, key: ApiKey) -> list[SalesChannel]:
    channels = await ks.sales_channels.create([{"name": "A"}, {"name": "B", "is_disabled": True}])
    await ks.link.create(
        [{"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": it["id"]}} for it in channels]
    )
    return channels


@pytest.fixture
async def scope(ks: keyscope.Keyscope) -> keyscope.Storefront:
    return await ks.storefront()


def behind_middleware(scope: keyscope.Storefront) -> ASGIApp:
    app = FastAPI()
    app.add_middleware(PublishableKeyMiddleware, storefront=lambda: scope, prefix="/store")

    @app.get("/store/ping")
    async def ping(request: Request) -> Any:
        return {"publishable_key_context": request.state.publishable_key_context}

    @app.get("/health")
    async def health() -> str:
        return "ok"

    return app


def with_dependency(scope: keyscope.Storefront) -> ASGIApp:
    app = FastAPI()
    app.add_exception_handler(keyscope.KeyscopeError, error_handler)

    @app.get("/store/ping")
    async def ping(request: Request, context: Annotated[dict[str, Any], Depends(dependency(scope))]) -> Any:
        assert request.state.publishable_key_context == context
        return {"publishable_key_context": context}

    @app.get("/health")
    async def health() -> str:
        return "ok"

    return app


@pytest.fixture(params=[behind_middleware, with_dependency])
async def http(request: pytest.FixtureRequest, scope: keyscope.Storefront) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=request.param(scope))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"x-publishable-api-key": ""}, {"x-publishable-api-key": "   "}])
async def test_without_a_key(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.get("/store/ping", headers=headers)
    assert (answer.status_code, answer.json()) == (400, REQUIRED)
    assert answer.headers["content-type"] == "application/json"


async def test_with_a_wrong_key(http: httpx.AsyncClient, ks: keyscope.Keyscope, key: ApiKey) -> None:
    secret = await ks.api_keys.create({"title": "S", "type": "secret"})
    for token in ("pk_nope", secret["token"], f"{key['token']}, {key['token']}", "ü"):
        answer = await http.get("/store/ping", headers={b"x-publishable-api-key": token.encode()})
        assert (answer.status_code, answer.json()) == (400, INVALID)


async def test_with_a_key(http: httpx.AsyncClient, key: ApiKey, channels: list[SalesChannel]) -> None:
    expected = {"key": key["token"], "sales_channel_ids": [channel["id"] for channel in channels]}
    for name in ("x-publishable-api-key", "X-PUBLISHABLE-API-KEY"):
        answer = await http.get("/store/ping", headers={name: key["token"]})
        assert (answer.status_code, answer.json()) == (200, {"publishable_key_context": expected})


async def test_with_a_key_that_is_gone(http: httpx.AsyncClient, ks: keyscope.Keyscope, key: ApiKey) -> None:
    await ks.api_keys.soft_delete(key["id"])
    answer = await http.get("/store/ping", headers={"x-publishable-api-key": key["token"]})
    assert (answer.status_code, answer.json()) == (400, INVALID)


async def test_elsewhere_no_key_is_needed(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health")).json() == "ok"


async def test_the_context_is_the_requests_own(
    http: httpx.AsyncClient, scope: keyscope.Storefront, key: ApiKey, channels: list[SalesChannel]
) -> None:
    context = (await scope.load(key["token"])).as_dict()
    context["sales_channel_ids"].clear()
    answer = await http.get("/store/ping", headers={"x-publishable-api-key": key["token"]})
    assert len(answer.json()["publishable_key_context"]["sales_channel_ids"]) == 2


async def test_when_the_service_does_not_answer(
    http: httpx.AsyncClient, service: Service, ks: keyscope.Keyscope, key: ApiKey
) -> None:
    await service.stop()
    ks.connection.bus.timeout = 0.2
    answer = await http.get("/store/ping", headers={"x-publishable-api-key": key["token"]})
    assert answer.status_code == 503
    assert answer.json()["type"] == "unavailable"
    await service.start()


async def test_websockets_and_the_lifespan(scope: keyscope.Storefront, key: ApiKey) -> None:
    sent: list[Any] = []
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    guarded = PublishableKeyMiddleware(app, scope)
    await guarded({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
    header = (b"x-publishable-api-key", key["token"].encode())
    await guarded({"type": "websocket", "path": "/", "headers": [header]}, receive, send)
    await guarded({"type": "lifespan"}, receive, send)
    assert [scope["type"] for scope in reached] == ["websocket", "lifespan"]
    assert reached[0]["state"]["publishable_key_context"]["key"] == key["token"]
