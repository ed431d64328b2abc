"""Whether an answer that Medusa could not give is right: it must be what its parts give, put together."""

from typing import Any

from keyscope import Keyscope

Ids = frozenset[str]


async def is_its_parts(ks: Keyscope, query: dict[str, Any]) -> bool:
    """Whether the rows of a filtered query are those that the parts of its filter lead to, each asked for by itself.

    `$and` and members of one object intersect, `$or` unites, `$not` takes away: of all rows at the root, of those that
    have a value within a field.
    """
    entity, filters = query["entity"], query["filters"]
    return await _ask(ks, entity, filters) == await _compose(ks, entity, filters)


async def _ask(ks: Keyscope, entity: str, filters: Any) -> Ids:
    answer = await ks.query.graph(entity=entity, fields=["id"], filters=filters)
    return frozenset(row["id"] for row in answer["data"])


async def _compose(ks: Keyscope, entity: str, filters: dict[str, Any]) -> Ids:
    found = await _ask(ks, entity, {})
    for name, value in filters.items():
        found &= await _member(ks, entity, name, value)
    return found


async def _member(ks: Keyscope, entity: str, name: str, value: Any) -> Ids:
    match name, value:
        case "$or", list():
            parts = [await _compose(ks, entity, part) for part in value]
            return frozenset().union(*parts) if parts else await _ask(ks, entity, {})
        case "$and", list():
            return (
                await _compose(ks, entity, {})
                if not value
                else frozenset.intersection(*[await _compose(ks, entity, part) for part in value])
            )
        case "$not", dict():
            return await _ask(ks, entity, {}) - await _compose(ks, entity, value)
        case _, {"$not": negated, **rest}:
            there = await _ask(ks, entity, {name: {"$ne": None}})
            others = await _compose(ks, entity, {name: rest}) if rest else there
            return (there & others) - await _compose(ks, entity, {name: negated})
    return await _ask(ks, entity, {name: value})
