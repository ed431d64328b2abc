"""A list with its count, from a route's parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

from keyscope import Keyscope
from services.gateway.fields import selected
from services.gateway.parameters import Page


async def page(
    ks: Keyscope,
    entity: str,
    name: str,
    asked: Page,
    defaults: Iterable[str],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`{<name>: […], count, offset, limit}`. `more` are filters besides those of the parameters. Raises InvalidData."""
    filters = asked.model_dump(by_alias=True, exclude_unset=True, exclude=_NO_FILTERS)
    offset, limit = int(asked.offset), int(asked.limit)
    result = await ks.query.graph(
        entity=entity,
        fields=selected(asked.fields if "fields" in asked.model_fields_set else None, defaults),
        filters={**filters, **(more or {})},
        pagination={"skip": offset, "take": limit, **_order(asked.order)},
    )
    return {name: result["data"], "count": result["metadata"]["count"], "offset": offset, "limit": limit}


_NO_FILTERS = {"fields", "offset", "limit", "order", "with_deleted", "location_id", "publishable_key_id"}


def _order(field: str) -> dict[str, Any]:
    """`-sales_channels.name` as `{order: {sales_channels: {name: DESC}}}`."""
    if not field:
        return {}
    direction: Any = "DESC" if field.startswith("-") else "ASC"
    for part in reversed(field.removeprefix("-").split(".")):
        direction = {part: direction}
    return {"order": direction}
