"""A graph query as it was asked: checked as far as it can be without the schema, and split into shape and values."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from events.errors import InvalidData, NotFound
from projections import ordering
from projections.limits import MAX_FIELDS, MAX_TEXT
from projections.model import ALIASES, Entity
from projections.ordering import Order
from projections.refusals import refuse, shown
from projections.shape import Filters, Slot, Values

SAFE_INTEGER = 2**53 - 1


class Part(NamedTuple):
    """Which part of a list, in which order; the shape of `pagination` or of one entry of `relations`."""

    take: Slot | None = None
    skip: Slot | None = None
    order: Order = ()
    echo: Slot | None = None
    """What metadata repeats of the query: present when skip was, which is what makes Medusa count."""
    after: tuple[Slot, ...] | None = None
    """The values of a cursor; empty on the first page of keyset pagination, None without it."""


class Listing(NamedTuple):
    """How one relation's lists are filtered and cut, for every row that they hang on."""

    path: tuple[str, ...]
    filters: Filters
    part: Part


class Shape(NamedTuple):
    """All of a query that decides its SQL."""

    table: str
    fields: tuple[str, ...]
    filters: Filters
    part: Part
    listings: tuple[Listing, ...]
    with_deleted: bool
    missing_of: tuple[str, Slot] | None
    """The column and the ids that throwIfKeyNotFound wants to see."""


@dataclass(slots=True)
class Question:
    """A query: its shape, its values, and what is done with the answer afterwards."""

    entity: Entity
    shape: Shape
    values: list[Any]
    relations_must_exist: bool | list[str] = False
    initial_data: list[dict[str, Any]] | None = None


def read(body: Any) -> Question:
    """Raises InvalidData for what is no query, and NotFound for `throwIfKeyNotFound` without keys."""
    if not isinstance(body, dict):
        raise InvalidData('A query is a JSON object, as {"entity": "api_key", "fields": ["id"]}')
    entity = _entity(body.get("entity"))
    values = Values()
    initial_data = _initial_data(body)
    filters = _object(body.get("filters"), "filters")
    missing_of = _wanted(entity, filters, values) if body.get("throwIfKeyNotFound") else None
    shape = Shape(
        entity.table,
        _fields(body.get("fields")),
        values.filters(_seeded(filters, body, initial_data), "filters"),
        _part(body.get("pagination"), "pagination", values, keyset=True),
        _listings(body["relations"], values) if body.get("relations") else (),
        _flag(body.get("withDeleted"), "withDeleted"),
        missing_of,
    )
    return Question(entity, shape, values.items, _must_exist(body.get("throwIfRelationNotFound")), initial_data)


def _entity(name: Any) -> Entity:
    entity = ALIASES.get(name) if isinstance(name, str) else None
    if entity is None:
        shown_name = name[:100] if isinstance(name, str) else json.dumps(name)[:100]
        raise InvalidData(f'Service with alias "{shown_name}" was not found.', field="entity", known=sorted(ALIASES))
    return entity


def _fields(fields: Any) -> tuple[str, ...]:
    if fields is None:
        return ()
    if not isinstance(fields, list):
        refuse("fields", f"an array is needed, not {shown(fields)}")
    if len(fields) > MAX_FIELDS:
        refuse("fields", f"at most {MAX_FIELDS} fields")
    for index, name in enumerate(fields):
        if not isinstance(name, str):
            refuse(f"fields.{index}", f"a text is needed, not {shown(name)}")
    return tuple(fields)


def _object(value: Any, place: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        refuse(place, f"an object is needed, not {shown(value)}")
    return value


def _flag(value: Any, place: str) -> bool:
    if value is not None and not isinstance(value, bool):
        refuse(place, f"true or false is needed, not {shown(value)}")
    return bool(value)


_ALIASES = {"limit": "take", "offset": "skip"}


def _part(value: Any, place: str, values: Values, *, keyset: bool) -> Part:
    if value is None:
        return Part()
    asked: dict[str, Any] = {_ALIASES.get(name, name): item for name, item in _object(value, place).items()}
    take, skip = _count(asked.get("take"), f"{place}.take"), _count(asked.get("skip"), f"{place}.skip")
    part = Part(
        take=None if take is None else values.slot(take, f"{place}.take"),
        skip=None if not skip else values.slot(skip, f"{place}.skip"),
        order=ordering.read(asked["order"], f"{place}.order") if asked.get("order") is not None else (),
    )
    if keyset and "after" in asked:
        if "skip" in asked or not take:
            refuse(f"{place}.after", "needs a take of at least 1, and goes without skip")
        return part._replace(after=_cursor(asked["after"], f"{place}.after", values))
    if keyset and "skip" in asked:
        echo = {name: asked[name] for name in ("skip", "take") if name in asked}
        return part._replace(echo=values.slot(json.dumps(echo, ensure_ascii=False)[1:-1], place))
    return part


def _count(value: Any, place: str) -> int | None:
    """Medusa ignores what is no safe integer, and its database refuses what is negative."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > SAFE_INTEGER:
        return None
    if value < 0:
        refuse(place, "must not be negative")
    return value


def _cursor(value: Any, place: str, values: Values) -> tuple[Slot, ...]:
    """The values in a cursor, which are those of the last row at the terms of the order."""
    if value is None or value == "":
        return ()
    try:
        items = json.loads(value) if isinstance(value, str) and len(value) <= MAX_TEXT else None
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(item is None or isinstance(item, str | int | float) for item in items):
        refuse(place, "not a cursor; take the `next` of the last answer's metadata")
    return tuple([values.slot(item, place) for item in items])


def _listings(value: Any, values: Values) -> tuple[Listing, ...]:
    listings = []
    for name, asked in _object(value, "relations").items():
        place = f"relations.{name}"
        options = _object(asked, place)
        filters = values.filters(_object(options.get("filters"), f"{place}.filters"), f"{place}.filters")
        listings.append(Listing(tuple(name.split(".")), filters, _part(options, place, values, keyset=False)))
    return tuple(listings)


def _initial_data(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    given = body.get("initialData")
    if given is None:
        return None
    items = given if isinstance(given, list) else [given]
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            refuse(f"initialData.{index}", f"an object is needed, not {shown(item)}")
    return items or None


def _seeded(filters: dict[str, Any], body: dict[str, Any], initial_data: list[dict[str, Any]] | None) -> dict[str, Any]:
    """With `initialDataOnly`, the filters ask for the rows of the initial data alone."""
    ids = [item["id"] for item in initial_data or () if isinstance(item.get("id"), str)]
    return {"$and": [filters, {"id": ids}]} if ids and body.get("initialDataOnly") else filters


def _wanted(entity: Entity, filters: dict[str, Any], values: Values) -> tuple[str, Slot]:
    """The ids that must be found, from the first filter on a primary key."""
    column = next((name for name in filters if name in entity.primary_keys), None)
    if column is None:
        names = ", ".join(entity.primary_keys)
        raise NotFound(f"{entity.name}: Primary key(s) [{names}] not found in filters")
    wanted = filters[column]
    if isinstance(wanted, dict):
        wanted = wanted.get("$in", wanted.get("$eq", wanted))
    if wanted is None:
        raise NotFound(f"{entity.name}: Value for primary key {column} not found in filters")
    ids = wanted if isinstance(wanted, list) else [wanted]
    if not all(isinstance(item, str) for item in ids):
        refuse(f"filters.{column}", "throwIfKeyNotFound needs an id or an array of ids")
    return column, values.slot(list(dict.fromkeys(ids)), f"filters.{column}")


def _must_exist(value: Any) -> bool | list[str]:
    if isinstance(value, list):
        return [name for name in value if isinstance(name, str)]
    return bool(value)
