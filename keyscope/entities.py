"""What keys and channels have in common: reading them one by one or as a list, in Medusa's modules' shapes."""

import builtins
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from keyscope.commands import Commands
from keyscope.errors import InvalidData, NotFound
from keyscope.query import Query
from keyscope.types import CallOptions, ListConfig

Row = TypeVar("Row")

_PARTS = ("skip", "take", "order")


class Entities(Generic[Row]):
    """Keys, or channels."""

    _entity: str
    """As the bus calls it: `api_key`."""
    _model: str
    """As Medusa's messages call it: `ApiKey`."""

    def __init__(self, commands: Commands, query: Query) -> None:
        self._commands = commands
        self._query = query

    async def retrieve(self, id: str, config: ListConfig | None = None) -> Row:
        """The one with this id. Raises NotFound."""
        if not is_id(id):
            raise InvalidData("id must be a string that is not blank")
        rows = await self.list({"id": id}, config)
        if not rows:
            raise NotFound(f"{self._model} with id: {id} was not found")
        return rows[0]

    async def list(
        self, filters: Mapping[str, Any] | None = None, config: ListConfig | None = None
    ) -> builtins.list[Row]:
        """Those that match, all of them unless `config` has `take`; by id unless it has `order`."""
        rows, _ = await self._read(filters, config or {}, {})
        return rows

    async def list_and_count(
        self, filters: Mapping[str, Any] | None = None, config: ListConfig | None = None
    ) -> tuple[builtins.list[Row], int]:
        """A part of those that match, and how many match."""
        rows, metadata = await self._read(filters, config or {}, {"skip": 0})
        return rows, metadata["count"]

    async def _read(
        self, filters: Mapping[str, Any] | None, config: ListConfig, pagination: dict[str, Any]
    ) -> tuple[builtins.list[Row], dict[str, Any]]:
        pagination |= {part: value for part, value in config.items() if part in _PARTS and value is not None}
        relations = [f"{relation}.*" for relation in config.get("relations") or []]
        answer = await self._query.graph(
            entity=self._entity,
            fields=["id", *(config.get("select") or ["*"]), *relations],
            filters=dict(filters or {}),
            pagination=pagination,
            withDeleted=config.get("withDeleted", False),
        )
        return answer["data"], cast("dict[str, Any]", answer.get("metadata", {}))

    async def _command(self, verb: str, body: Any, options: CallOptions) -> Any:
        return await self._commands.data(f"{self._entity}.{verb}", body, options)


def is_id(value: Any) -> bool:
    """Whether `value` can be an id: in Medusa an absent or empty one would mean every row."""
    return isinstance(value, str) and bool(value.strip())


def chosen(target: str | list[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Medusa's `idOrSelector` as the member of a command's body that says the same."""
    return {"selector": target} if isinstance(target, Mapping) else {"id": target}
