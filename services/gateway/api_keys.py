"""`/admin/api-keys`."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keyscope import InvalidData, Keyscope, NotAllowed, NotFound
from services.gateway.answers import answer
from services.gateway.fields import selected
from services.gateway.listing import page
from services.gateway.openapi import described
from services.gateway.parameters import ChangeLinks, CreateKey, ListKeys, RevokeKey, Select, SelectOnly, UpdateKey
from services.gateway.requests import actor, body, query
from services.gateway.shapes import DeletedAnswer, KeyAnswer, KeysAnswer
from services.gateway.signing_in import SignIn

DEFAULTS = (
    "id",
    "title",
    "token",
    "redacted",
    "type",
    "last_used_at",
    "updated_at",
    "created_at",
    "created_by",
    "revoked_at",
    "revoked_by",
    "sales_channels.id",
    "sales_channels.name",
)
ONLY_PUBLISHABLE = "Sales channels can only be associated with publishable API keys"


def routes(ks: Keyscope, sign_in: SignIn) -> APIRouter:
    """The routes over keys."""
    router = APIRouter(prefix="/admin/api-keys", tags=["API keys"], default_response_class=Response)

    @router.get("", **described("List keys", KeysAnswer, parameters=ListKeys))
    async def list_keys(request: Request) -> Response:
        asked = query(request, ListKeys)
        return answer(request, await page(ks, "api_key", "api_keys", asked, DEFAULTS))

    @router.post("", **described("Create a key", KeyAnswer, body=CreateKey, parameters=SelectOnly))
    async def create_key(request: Request) -> Response:
        new = await body(request, CreateKey)
        query(request, SelectOnly)
        reply = await ks.command("api_key.create", [new.model_dump()], actor=actor(request))
        return answer(request, {"api_key": reply["data"][0]})

    @router.get("/{id}", **described("Retrieve a key", KeyAnswer, parameters=SelectOnly))
    async def retrieve_key(request: Request, id: str) -> Response:
        return answer(request, {"api_key": await _read(ks, id, query(request, SelectOnly))})

    @router.post("/{id}", **described("Change a key's title", KeyAnswer, body=UpdateKey, parameters=SelectOnly))
    async def update_key(request: Request, id: str) -> Response:
        change = await body(request, UpdateKey)
        asked = query(request, SelectOnly)
        await _command(ks, request, "api_key.update", {"id": id, "update": change.model_dump()}, id)
        return answer(request, {"api_key": await _read(ks, id, asked)})

    @router.delete("/{id}", **described("Delete a revoked key", DeletedAnswer))
    async def delete_key(request: Request, id: str) -> Response:
        reply = await _command(ks, request, "api_key.delete", [id], id)
        if not reply["changed"]:
            raise _not_found(id)
        sign_in.forget(id)
        return answer(request, {"id": id, "object": "api_key", "deleted": True})

    @router.post("/{id}/revoke", **described("Revoke a key", KeyAnswer, body=RevokeKey, parameters=SelectOnly))
    async def revoke_key(request: Request, id: str) -> Response:
        revoke = await body(request, RevokeKey)
        asked = query(request, SelectOnly)
        await _command(ks, request, "api_key.revoke", {"id": id, "revoke": revoke.model_dump()}, id)
        sign_in.forget(id)
        return answer(request, {"api_key": await _read(ks, id, asked)})

    @router.post(
        "/{id}/sales-channels",
        **described("Change the channels of a key", KeyAnswer, body=ChangeLinks, parameters=SelectOnly),
    )
    async def change_links(request: Request, id: str) -> Response:
        change = await body(request, ChangeLinks)
        asked = query(request, SelectOnly)
        await _change_links(ks, request, id, change)
        return answer(request, {"api_key": await _read(ks, id, asked)})

    return router


async def _read(ks: Keyscope, id: str, asked: Select) -> dict[str, Any]:
    fields = selected(asked.fields if "fields" in asked.model_fields_set else None, DEFAULTS)
    found = (await ks.query.graph(entity="api_key", fields=fields, filters={"id": id}))["data"]
    if not found:
        raise _not_found(id)
    row: dict[str, Any] = found[0]
    return row


async def _command(ks: Keyscope, request: Request, name: str, arguments: Any, id: str) -> Any:
    try:
        return await ks.command(name, arguments, actor=actor(request))
    except NotFound:
        raise _not_found(id) from None


async def _change_links(ks: Keyscope, request: Request, id: str, change: ChangeLinks) -> None:
    """Both in one transaction. What Medusa looks up before, the command refuses; then its reason is looked up."""
    if not change.add:
        await _must_be_publishable(ks, id)
    if not change.add and not change.remove:
        return
    links = {"create": _links(id, change.add), "dismiss": _links(id, change.remove)}
    try:
        await ks.command("link.batch", links, actor=actor(request))
    except (NotFound, NotAllowed) as error:
        await _must_be_publishable(ks, id)
        there = await ks.sales_channels.list({"id": change.add}, {"select": ["id"]})
        missing = set(change.add) - {channel["id"] for channel in there}
        if missing:
            named = ", ".join(id for id in dict.fromkeys(change.add) if id in missing)
            raise InvalidData(f"Sales channels with IDs {named} do not exist") from error
        raise


async def _must_be_publishable(ks: Keyscope, id: str) -> None:
    found = (await ks.query.graph(entity="api_key", fields=["type"], filters={"id": id}))["data"]
    if not found:
        raise _not_found(id)
    if found[0]["type"] != "publishable":
        raise InvalidData(ONLY_PUBLISHABLE)


def _links(id: str, channels: Iterable[str]) -> list[dict[str, Any]]:
    return [{"api_key": {"publishable_key_id": id}, "sales_channel": {"sales_channel_id": it}} for it in channels]


def _not_found(id: str) -> NotFound:
    return NotFound(f"API Key with id: {id} was not found")
