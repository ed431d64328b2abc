"""Medusa's workflows, each a function of a client: what they check, what they do, what they answer.

Each is one command, and so one transaction; there is nothing to compensate within them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keyscope.client import Keyscope
from keyscope.errors import InvalidData
from keyscope.types import (
    ApiKey,
    ApiKeyUpdate,
    NewApiKey,
    NewSalesChannel,
    Revocation,
    SalesChannel,
    SalesChannelUpdate,
)


async def link_sales_channels_to_api_key_workflow(
    ks: Keyscope, *, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> None:
    """Link a key with some channels, and no longer with others. Raises InvalidData when one to add does not exist."""
    if add:
        there = await ks.sales_channels.list({"id": list(add)}, {"select": ["id"]})
        missing = [id for id in dict.fromkeys(add) if id not in {channel["id"] for channel in there}]
        if missing:
            raise InvalidData(f"Sales channels with IDs {', '.join(missing)} do not exist")
    async with ks.workflow() as flow:
        await flow.link_sales_channels_to_api_key_step(id=id, add=add, remove=remove)


async def create_api_keys_workflow(ks: Keyscope, *, api_keys: list[NewApiKey]) -> list[ApiKey]:
    """Create keys."""
    return await ks.api_keys.create(api_keys)


async def update_api_keys_workflow(ks: Keyscope, *, selector: Mapping[str, Any], update: ApiKeyUpdate) -> list[ApiKey]:
    """Change the titles of the keys that match."""
    return await ks.api_keys.update(selector, update)  # type: ignore[no-any-return]


async def revoke_api_keys_workflow(ks: Keyscope, *, selector: Mapping[str, Any], revoke: Revocation) -> list[ApiKey]:
    """Revoke the keys that match."""
    return await ks.api_keys.revoke(selector, revoke)  # type: ignore[no-any-return]


async def delete_api_keys_workflow(ks: Keyscope, *, ids: list[str]) -> None:
    """Delete revoked keys, and their links. Raises NotAllowed when one is not revoked."""
    await ks.api_keys.delete(ids)


async def create_sales_channels_workflow(
    ks: Keyscope, *, sales_channels_data: list[NewSalesChannel]
) -> list[SalesChannel]:
    """Create channels."""
    return await ks.sales_channels.create(sales_channels_data)


async def update_sales_channels_workflow(
    ks: Keyscope, *, selector: Mapping[str, Any], update: SalesChannelUpdate
) -> SalesChannel:
    """Change the channels that match; answers the first of them."""
    return await ks.sales_channels.update(selector, update)  # type: ignore[no-any-return]


async def delete_sales_channels_workflow(ks: Keyscope, *, ids: list[str]) -> None:
    """Soft-delete channels, and their links."""
    await ks.sales_channels.soft_delete(ids)
