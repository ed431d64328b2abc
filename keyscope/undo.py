"""How what a command changed is put back: from its reply, the commands that undo it, and nothing else."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyscope.links import definition
from keyscope.types import CommandReply, LinkDefinition

Send = Callable[[str, Any], Awaitable[None]]
"""Carries out a command, with an id of its own."""

_LINK_TABLE = "ApiKeyApiKeySalesChannelSalesChannelLink"


async def created_links(reply: CommandReply, send: Send) -> None:
    """Dismiss the links that are new; those that were there before stay."""
    await _dismiss(_changed(reply, reply["data"]), send)


async def dismissed_links(reply: CommandReply, send: Send) -> None:
    """Bring back the links that went."""
    await _restore([definition(row) for row in reply["data"]], send)


async def deleted_links(reply: CommandReply, send: Send) -> None:
    """Bring back the links that went."""
    columns = reply["data"][1].get(_LINK_TABLE, {})
    pairs = zip(columns.get("publishable_key_id", []), columns.get("sales_channel_id", []), strict=True)
    await _restore([definition({"publishable_key_id": key, "sales_channel_id": it}) for key, it in pairs], send)


async def link_batch(reply: CommandReply, send: Send) -> None:
    """Both ways."""
    await _dismiss(_changed(reply, reply["data"]["created"]), send)
    await _restore([definition(row) for row in reply["data"]["dismissed"]], send)


async def created_keys(reply: CommandReply, send: Send) -> None:
    """Soft-delete the keys: a key that is not revoked can go no other way."""
    if ids := [row["id"] for row in _changed(reply, reply["data"])]:
        await send("api_key.soft_delete", ids)


async def created_channels(reply: CommandReply, send: Send) -> None:
    """Delete the channels."""
    if ids := [row["id"] for row in _changed(reply, reply["data"])]:
        await send("sales_channel.delete", ids)


def deleted(entity: str, ids: list[str]) -> Callable[[CommandReply, Send], Awaitable[None]]:
    """Restore those of the keys or channels that were there; their links come with them."""

    async def undo(reply: CommandReply, send: Send) -> None:
        if gone := sorted(set(ids) & set(reply["changed"])):
            await send(f"{entity}.restore", gone)

    return undo


def updated_keys(before: Mapping[str, Mapping[str, Any]]) -> Callable[[CommandReply, Send], Awaitable[None]]:
    """Put titles back."""

    async def undo(reply: CommandReply, send: Send) -> None:
        ids_by_title: dict[str, list[str]] = {}
        for id in reply["changed"]:
            ids_by_title.setdefault(before[id]["title"], []).append(id)
        for title, ids in ids_by_title.items():
            await send("api_key.update", {"id": ids, "update": {"title": title}})

    return undo


def updated_channels(
    before: Mapping[str, Mapping[str, Any]], touched: set[str]
) -> Callable[[CommandReply, Send], Awaitable[None]]:
    """Put back what was `touched` of names, descriptions, switches and metadata."""

    async def undo(reply: CommandReply, send: Send) -> None:
        for id in reply["changed"]:
            old = {name: value for name, value in before[id].items() if name in touched}
            metadata = old.get("metadata")
            if metadata is not None:
                # An update merges metadata with what is there, so that it is cleared first.
                old["metadata"] = None
            await send("sales_channel.update", {"id": id, "update": old})
            if metadata is not None:
                await send("sales_channel.update", {"id": id, "update": {"metadata": metadata}})

    return undo


def _changed(reply: CommandReply, rows: list[Any]) -> list[Any]:
    return [row for row in rows if row["id"] in reply["changed"]]


async def _dismiss(rows: list[Any], send: Send) -> None:
    if rows:
        await send("link.dismiss", [definition(row) for row in rows])


async def _restore(links: list[LinkDefinition], send: Send) -> None:
    if links:
        await send("link.restore", [{**link, "exactly": True} for link in links])
