"""`ks.link`: Medusa's `link`, between keys and channels."""

from collections.abc import Mapping
from typing import Any, Unpack

from keyscope.commands import Commands
from keyscope.entities import is_id
from keyscope.errors import InvalidData
from keyscope.query import Query
from keyscope.types import (
    CallOptions,
    LinkBatchResult,
    LinkDefinition,
    LinkEnds,
    LinkRow,
)

ENTITY = "publishable_api_key_sales_channel"
COLUMNS = ["id", "publishable_key_id", "sales_channel_id", "created_at", "updated_at", "deleted_at"]


class Links:
    """Which publishable key sells through which channel."""

    def __init__(self, commands: Commands, query: Query) -> None:
        self._commands = commands
        self._query = query

    async def create(
        self, links: LinkDefinition | list[LinkDefinition], **options: Unpack[CallOptions]
    ) -> list[LinkRow]:
        """Link; all of an array, or nothing. What is linked already comes back as it is."""
        return await self._do("create", links, options)  # type: ignore[no-any-return]

    async def dismiss(
        self, links: LinkDefinition | list[LinkDefinition], **options: Unpack[CallOptions]
    ) -> list[LinkRow]:
        """Take links away, all of an array or nothing. Answers those that were there."""
        return await self._do("dismiss", links, options)  # type: ignore[no-any-return]

    async def batch(
        self,
        *,
        create: list[LinkDefinition] | None = None,
        dismiss: list[LinkDefinition] | None = None,
        **options: Unpack[CallOptions],
    ) -> LinkBatchResult:
        """Create some and dismiss others in one transaction."""
        body = {"create": create or [], "dismiss": dismiss or []}
        return await self._do("batch", body, options)  # type: ignore[no-any-return]

    async def delete(self, ends: LinkEnds | list[LinkEnds], **options: Unpack[CallOptions]) -> list[Any]:
        """Take away every link of keys or of channels.

        Answers `[None, {"ApiKeyApiKeySalesChannelSalesChannelLink": {…}}]` with two columns of ids, pair by pair,
        `publishable_key_id` and `sales_channel_id`; or `[None, {}]`.
        """
        return await self._do("delete", ends, options)  # type: ignore[no-any-return]

    async def restore(self, ends: LinkEnds | list[LinkEnds], **options: Unpack[CallOptions]) -> list[Any]:
        """Bring back what `delete` took away; with both ends named, those very links. Answers as `delete` does."""
        return await self._do("restore", ends, options)  # type: ignore[no-any-return]

    async def list(
        self, links: LinkDefinition | list[LinkDefinition], options: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """Those of the named links that are there: rows, or with `{"asLinkDefinition": True}` what `create` takes."""
        pairs = [_condition(link) for link in (links if isinstance(links, list) else [links])]
        if not pairs:
            return []
        filters = pairs[0] if len(pairs) == 1 else {"$or": pairs}
        answer = await self._query.graph(entity=ENTITY, fields=COLUMNS, filters=filters)
        if (options or {}).get("asLinkDefinition"):
            return [definition(row) for row in answer["data"]]
        return answer["data"]

    async def _do(self, verb: str, body: Any, options: CallOptions) -> Any:
        return await self._commands.data(f"link.{verb}", body, options)


def definition(row: Mapping[str, Any]) -> LinkDefinition:
    """The pair that a link's row is about."""
    return {
        "api_key": {"publishable_key_id": row["publishable_key_id"]},
        "sales_channel": {"sales_channel_id": row["sales_channel_id"]},
    }


def pair(link: LinkDefinition) -> tuple[str, str]:
    """The ids of the key and of the channel."""
    condition = _condition(link)
    return condition["publishable_key_id"], condition["sales_channel_id"]


def _condition(link: LinkDefinition) -> dict[str, Any]:
    """The filter that finds the link. Raises InvalidData."""
    if set(_members(link)) != {"api_key", "sales_channel"}:
        raise InvalidData("a link is named by its two ends, api_key and sales_channel")
    return {
        "publishable_key_id": _ids(link["api_key"], "api_key", ("publishable_key_id", "api_key_id")),
        "sales_channel_id": _ids(link["sales_channel"], "sales_channel", ("sales_channel_id",)),
    }


def _ids(end: Any, entity: str, names: tuple[str, ...]) -> Any:
    """The id, or ids, that one end of a link names by one of the `names`."""
    members = _members(end)
    if len(members) != 1 or not members.keys() <= set(names):
        raise InvalidData(f"{entity}: name it once, as {' or as '.join(names)}")
    (value,) = members.values()
    if not all(is_id(id) for id in (value if isinstance(value, list) else [value])):
        raise InvalidData(f"{entity}: every id must be a string that is not blank")
    return value


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
