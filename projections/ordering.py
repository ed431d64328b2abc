"""From `order` to ORDER BY, and back again from a cursor to the condition that continues after it.

Nulls come last ascending and first descending, as in PostgreSQL. A linked field orders by its value at the linked row
of lowest id; what is not linked reads as null. The id decides between equals, so every order is total.
"""

import re
from dataclasses import dataclass
from typing import Any

from projections.limits import MAX_DEPTH, MAX_ORDER
from projections.model import ENTITIES, Entity, Kind
from projections.refusals import no_property, refuse
from projections.sql import Scope

Order = tuple[tuple[str, "str | Order"], ...]
"""The shape of an order: names with `ASC`, `DESC` (nulls may be told: `ASC NULLS FIRST`) or the order of a relation."""

_DIRECTION = re.compile(r"(asc|desc)(?: nulls (first|last))?", re.IGNORECASE)
_NUMBERS = {1: "ASC", -1: "DESC"}


@dataclass(frozen=True, slots=True)
class Term:
    """One expression of ORDER BY."""

    sql: str
    descending: bool
    nullable: bool
    nulls_first: bool

    def __str__(self) -> str:
        direction = " DESC" if self.descending else ""
        nulls = f" NULLS {'FIRST' if self.nulls_first else 'LAST'}" if self.nullable else ""
        return f"{self.sql}{direction}{nulls}"


def read(order: Any, place: str, depth: int = 0) -> Order:
    """The shape of an `order` (an object, or an array of them). Raises InvalidData."""
    if depth > MAX_DEPTH:
        refuse(place, f"at most {MAX_DEPTH} relations")
    if isinstance(order, list | dict) and len(order) > MAX_ORDER:
        refuse(place, f"at most {MAX_ORDER} terms")
    result = _read(order, place, depth)
    if depth == 0 and _count(result) > MAX_ORDER:
        refuse(place, f"at most {MAX_ORDER} terms")
    return result


def _count(order: Order) -> int:
    return sum(1 if isinstance(below, str) else _count(below) for _, below in order)


def _read(order: Any, place: str, depth: int) -> Order:
    if isinstance(order, list):
        return tuple([pair for index, item in enumerate(order) for pair in read(item, f"{place}.{index}", depth + 1)])
    if not isinstance(order, dict):
        refuse(place, 'an object is needed, as {"title": "ASC"}')
    return tuple([(name, _read_one(value, f"{place}.{name}", depth)) for name, value in order.items()])


def _read_one(value: Any, place: str, depth: int) -> "str | Order":
    if isinstance(value, dict):
        return read(value, place, depth + 1)
    if isinstance(value, int) and not isinstance(value, bool) and value in _NUMBERS:
        return _NUMBERS[value]
    if isinstance(value, str) and _DIRECTION.fullmatch(value.strip()):
        return value.strip().upper()
    return refuse(place, "ASC or DESC is needed")


def terms(scope: Scope, entity: Entity, alias: str, order: Order, place: str) -> list[Term]:
    """The terms of an order at the root. Raises InvalidData for a field that does not exist."""
    result: list[Term] = []
    for name, direction in order:
        here = f"{place}.{name}"
        first, _, rest = name.partition(".")
        below: str | Order = ((rest, direction),) if rest else direction
        column = entity.columns.get(first)
        if column is not None and isinstance(below, str):
            if column.kind is Kind.JSON:
                refuse(here, "a JSON column has no order")
            result.append(_term(f"{alias}.{first}", below, nullable=column.nullable))
        elif first in entity.relations and not isinstance(below, str):
            scalars = _scalars(scope, entity, alias, first, below)
            result.extend(_term(sql, told, nullable=True) for sql, told in scalars)
        else:
            no_property("order", entity.model, first)
    return result


def _term(sql: str, direction: str, *, nullable: bool) -> Term:
    match = _DIRECTION.fullmatch(direction)
    descending = match is not None and match[1].upper() == "DESC"
    told = match[2] if match is not None else None
    return Term(sql, descending, nullable, nulls_first=told.upper() == "FIRST" if told else descending)


def _scalars(scope: Scope, entity: Entity, alias: str, name: str, order: Order) -> list[tuple[str, str]]:
    """The expressions of an order by a relation's fields, with their directions; unknown fields order nothing."""
    relation = entity.relations[name]
    target = ENTITIES[relation.target]
    found: list[tuple[str, str]] = []
    for field, direction in order:
        first, _, rest = field.partition(".")
        below: str | Order = ((rest, direction),) if rest else direction
        column = target.columns.get(first)
        join = scope.join(relation, alias)
        inner: list[tuple[str, str]] = []
        if column is not None and isinstance(below, str) and column.kind is not Kind.JSON:
            inner = [(f"{join.alias}.{first}", below)]
        elif first in target.relations and not isinstance(below, str):
            inner = _scalars(scope, target, join.alias, first, below)
        found.extend(
            (f"(SELECT {sql} FROM {join.source} WHERE {join.where} ORDER BY {join.order} LIMIT 1)", told)
            for sql, told in inner
        )
    return found


def after(terms: list[Term], parameters: list[str]) -> str:
    """The condition that a row comes after the one whose values at `terms` are `parameters`."""
    alternatives = []
    for index, (term, value) in enumerate(zip(terms, parameters, strict=True)):
        same = [f"{other.sql} IS {parameters[place]}" for place, other in enumerate(terms[:index])]
        beyond = f"{term.sql} {'<' if term.descending else '>'} {value}"
        if term.nullable:
            nulls = (
                f"{value} IS NULL AND {term.sql} IS NOT NULL"
                if term.nulls_first
                else f"{value} IS NOT NULL AND {term.sql} IS NULL"
            )
            beyond = f"({beyond} OR ({nulls}))"
        alternatives.append(" AND ".join([*same, beyond]))
    return "(" + " OR ".join(f"({alternative})" for alternative in alternatives) + ")"
