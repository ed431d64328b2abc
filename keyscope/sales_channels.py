"""`ks.sales_channels`: Medusa's Sales Channel Module."""

from collections.abc import Mapping
from typing import Any, Unpack, overload

from keyscope.entities import Entities, chosen
from keyscope.types import CallOptions, NewSalesChannel, SalesChannel, SalesChannelUpdate


class SalesChannels(Entities[SalesChannel]):
    """Sales channels."""

    _entity = "sales_channel"
    _model = "SalesChannel"

    @overload
    async def create(self, data: NewSalesChannel, **options: Unpack[CallOptions]) -> SalesChannel: ...
    @overload
    async def create(self, data: list[NewSalesChannel], **options: Unpack[CallOptions]) -> list[SalesChannel]: ...
    async def create(
        self, data: NewSalesChannel | list[NewSalesChannel], **options: Unpack[CallOptions]
    ) -> SalesChannel | list[SalesChannel]:
        """Create one or many."""
        return await self._command("create", data, options)  # type: ignore[no-any-return]

    async def update(
        self, target: str | list[str] | Mapping[str, Any], update: SalesChannelUpdate, **options: Unpack[CallOptions]
    ) -> Any:
        """Change the channel with this id, those with these ids, or all that a selector matches.

        Answers the channel; a list for a list of ids; for a selector the first channel or None, as Medusa does.
        """
        answer = await self._command("update", {**chosen(target), "update": update}, options)
        return next(iter(answer), None) if isinstance(target, Mapping) else answer

    async def upsert(self, data: Mapping[str, Any] | list[Mapping[str, Any]], **options: Unpack[CallOptions]) -> Any:
        """Update those with an id, which must exist, and create the others; one in, one out, and many in, many out."""
        return await self._command("upsert", data, options)

    async def delete(self, ids: str | list[str], **options: Unpack[CallOptions]) -> None:
        """Delete channels and their links, out of every answer."""
        await self._command("delete", ids, options)

    async def soft_delete(self, ids: str | list[str], **options: Unpack[CallOptions]) -> dict[str, list[str]]:
        """Delete channels and their links; `withDeleted` still shows them."""
        return await self._command("soft_delete", ids, options)  # type: ignore[no-any-return]

    async def restore(self, ids: str | list[str], **options: Unpack[CallOptions]) -> dict[str, list[str]]:
        """Bring deleted channels back, and the links that went with them."""
        return await self._command("restore", ids, options)  # type: ignore[no-any-return]
