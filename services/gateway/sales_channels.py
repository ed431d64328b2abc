"""`/admin/sales-channels`."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keyscope import Keyscope, NotFound
from services.gateway.answers import answer
from services.gateway.fields import selected
from services.gateway.listing import page
from services.gateway.openapi import described
from services.gateway.parameters import CreateChannel, ListChannels, Select, SelectOnly, UpdateChannel
from services.gateway.requests import actor, body, query
from services.gateway.shapes import ChannelAnswer, ChannelsAnswer, DeletedAnswer

DEFAULTS = ("id", "name", "description", "is_disabled", "created_at", "updated_at", "deleted_at", "metadata")


def routes(ks: Keyscope) -> APIRouter:
    """The routes over channels."""
    router = APIRouter(prefix="/admin/sales-channels", tags=["Sales channels"], default_response_class=Response)

    @router.get("", **described("List channels", ChannelsAnswer, parameters=ListChannels))
    async def list_channels(request: Request) -> Response:
        asked = query(request, ListChannels)
        return answer(request, await page(ks, "sales_channel", "sales_channels", asked, DEFAULTS, _links(asked)))

    @router.post("", **described("Create a channel", ChannelAnswer, body=CreateChannel, parameters=SelectOnly))
    async def create_channel(request: Request) -> Response:
        new = await body(request, CreateChannel)
        asked = query(request, SelectOnly)
        reply = await ks.command("sales_channel.create", new.model_dump(exclude_unset=True), actor=actor(request))
        return answer(request, {"sales_channel": await _read(ks, reply["data"]["id"], asked)})

    @router.get("/{id}", **described("Retrieve a channel", ChannelAnswer, parameters=SelectOnly))
    async def retrieve_channel(request: Request, id: str) -> Response:
        return answer(request, {"sales_channel": await _read(ks, id, query(request, SelectOnly))})

    @router.post("/{id}", **described("Change a channel", ChannelAnswer, body=UpdateChannel, parameters=SelectOnly))
    async def update_channel(request: Request, id: str) -> Response:
        change = await body(request, UpdateChannel)
        asked = query(request, SelectOnly)
        arguments = {"id": id, "update": change.model_dump(exclude_unset=True)}
        try:
            await ks.command("sales_channel.update", arguments, actor=actor(request))
        except NotFound:
            raise NotFound(f'Sales channel with id "{id}" not found') from None
        return answer(request, {"sales_channel": await _read(ks, id, asked)})

    @router.delete("/{id}", **described("Delete a channel, and its links", DeletedAnswer))
    async def delete_channel(request: Request, id: str) -> Response:
        try:
            reply = await ks.command("sales_channel.soft_delete", [id], actor=actor(request))
        except NotFound:
            raise _not_found(id) from None
        if not reply["changed"]:
            raise _not_found(id)
        return answer(request, {"id": id, "object": "sales-channel", "deleted": True})

    return router


def _links(asked: ListChannels) -> dict[str, Any] | None:
    """What the parameters about other things mean for the channels. Nothing is kept here about stock locations."""
    if asked.location_id:
        return {"id": []}
    return {"api_keys_link": {"publishable_key_id": asked.publishable_key_id}} if asked.publishable_key_id else None


async def _read(ks: Keyscope, id: str, asked: Select) -> dict[str, Any]:
    fields = selected(asked.fields if "fields" in asked.model_fields_set else None, DEFAULTS)
    found = (await ks.query.graph(entity="sales_channel", fields=fields, filters={"id": id}))["data"]
    if not found:
        raise _not_found(id)
    row: dict[str, Any] = found[0]
    return row


def _not_found(id: str) -> NotFound:
    return NotFound(f"Sales channel with id: {id} not found")
