"""From the shape of a filter to an SQL condition.

The semantics are those of Medusa's ORM on PostgreSQL: comparisons with NULL are unknown, an array is IN, an empty
`$and` or `$or` (or member of one) asks for nothing, and a filter on a relation asks that one linked row satisfies all
of it. Names that do not exist are refused, but in a linked filter they read as null, as in Medusa.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from events.errors import InvalidData
from projections import values
from projections.model import ENTITIES, Column, Entity, Kind, Relation
from projections.refusals import no_property, refuse
from projections.shape import GROUPS, NOT, SEARCH, Filters, Node, Slot
from projections.sql import Scope
from projections.values import Convert


@dataclass(frozen=True, slots=True)
class Operator:
    """One `$` operator on one kind of column: its SQL, with `{c}` for the column and `{v}` for the value."""

    sql: str
    convert: Convert
    null: str = "NULL"
    """The SQL when the value is null; a comparison with null is unknown."""


def _comparisons(kind: Kind) -> dict[str, Operator]:
    one = values.SCALAR[kind]
    several = values.many(one)
    return {
        "$eq": Operator("{c} = {v}", one, null="{c} IS NULL"),
        "$ne": Operator("{c} <> {v}", one, null="{c} IS NOT NULL"),
        "$gt": Operator("{c} > {v}", one),
        "$gte": Operator("{c} >= {v}", one),
        "$lt": Operator("{c} < {v}", one),
        "$lte": Operator("{c} <= {v}", one),
        "$in": Operator("{c} IN (SELECT value FROM json_each({v}))", several),
        "$nin": Operator("{c} NOT IN (SELECT value FROM json_each({v}))", several),
        "$exists": Operator("({c} IS NOT NULL) = {v}", values.presence),
    }


_PATTERNS = {
    "$like": Operator("{c} GLOB {v}", values.glob),
    "$ilike": Operator("{c} LIKE {v} ESCAPE '\\'", values.pattern),
    "$re": Operator("matches({v}, {c})", values.expression),
    "$fulltext": Operator("fulltext({v}, {c})", values.text),
}
_UNICODE_ILIKE = Operator("ilike_unicode({v}, {c})", values.pattern)

OPERATORS: dict[Kind, dict[str, Operator]] = {
    Kind.TEXT: _comparisons(Kind.TEXT) | _PATTERNS,
    Kind.BOOLEAN: _comparisons(Kind.BOOLEAN),
    Kind.TIMESTAMP: _comparisons(Kind.TIMESTAMP),
    Kind.JSON: {
        "$eq": Operator("json_same({c}, {v})", values.document, null="{c} IS NULL"),
        "$ne": Operator("NOT json_same({c}, {v})", values.document, null="{c} IS NOT NULL"),
        "$exists": Operator("({c} IS NOT NULL) = {v}", values.presence),
        "$contains": Operator("json_contains({c}, {v})", values.as_json),
        "$contained": Operator("json_contained({c}, {v})", values.as_json),
        "$hasKey": Operator("json_has_any({c}, {v})", values.key),
        "$hasKeys": Operator("json_has_all({c}, {v})", values.keys),
        "$hasSomeKeys": Operator("json_has_any({c}, {v})", values.keys),
    },
}
"""Every operator, by the kind of column."""

_ALL = {name for operators in OPERATORS.values() for name in operators} | {"$overlap", "$none", "$some", "$every"}


def condition(scope: Scope, entity: Entity, alias: str, filters: Filters, place: str, *, linked: bool = False) -> str:
    """The SQL of a filter object on `alias`, or "" when it asks for nothing. Raises InvalidData."""
    return " AND ".join(
        filter(None, [_member(scope, entity, alias, name, node, place, linked) for name, node in filters])
    )


def _member(scope: Scope, entity: Entity, alias: str, name: str, node: Node, place: str, linked: bool) -> str:
    here = f"{place}.{name}"
    nested = partial(condition, scope, entity, alias, linked=linked)
    if name in GROUPS or name == NOT:
        return _group(name, node, here, nested, two_valued=linked)
    column = entity.columns.get(name)
    if column is not None:
        return _on_column(scope, entity, alias, column, node, here, linked)
    relation = entity.relations.get(name)
    if relation is not None and not isinstance(node, Slot):
        return _on_relation(scope, relation, alias, node, here)
    if name == SEARCH and entity.searchable:
        return _search(scope, entity, alias, node, here)
    if "." in name:
        refuse(here, 'write the relation as an object, as {"relation": {"field": …}}')
    if not linked or name.startswith("$"):
        no_property("query", entity.model, name)
    return _unknown(entity, node)


def _group(name: str, node: Node, place: str, nested: Callable[[Filters, str], str], *, two_valued: bool) -> str:
    """`$and`, `$or`, `$not`, between fields or within one.

    Within a linked filter `$not` holds where its condition is unknown (Medusa evaluates it in JavaScript there); at the
    root it is SQL's NOT.
    """
    if name == NOT:
        if isinstance(node, Slot):
            refuse(place, "an object is needed")
        return _negated(nested(node, place), two_valued=two_valued)
    if isinstance(node, Slot):
        got = "[object Object]" if node.kind == "object" else node.kind
        raise InvalidData(f"Expected array for {name} but got {got}", field=place)
    parts = [f"({part})" for index, item in enumerate(node) if (part := nested(item, f"{place}.{index}"))]
    joined = (" AND " if name == "$and" else " OR ").join(parts)
    return f"({joined})" if parts else ""


def _negated(asked: str, *, two_valued: bool) -> str:
    return asked and (f"NOT coalesce(({asked}), 0)" if two_valued else f"NOT ({asked})")


def _on_column(scope: Scope, entity: Entity, alias: str, column: Column, node: Node, place: str, linked: bool) -> str:
    tested = _Field(scope, entity, column, f"{alias}.{column.name}", linked)
    if not isinstance(node, Slot):
        return tested.all_of(node, place)
    if node.kind == "null" and column.identifies:
        refuse(place, "null names no row; leave the filter out to ask for every row")
    return tested.equals(node, place)


@dataclass(frozen=True, slots=True)
class _Field:
    """The tests of one column; `sql` is its expression."""

    scope: Scope
    entity: Entity
    column: Column
    sql: str
    linked: bool

    def all_of(self, filters: Filters, place: str) -> str:
        """Operators that must all hold."""
        return " AND ".join(filter(None, [self._one(name, node, f"{place}.{name}") for name, node in filters]))

    def equals(self, slot: Slot, place: str) -> str:
        """A bare value, or an array of which one must be equal."""
        return _compare(self.scope, self.sql, self.column.kind, "$in" if slot.kind == "list" else "$eq", slot, place)

    def _one(self, name: str, node: Node, place: str) -> str:
        if name == NOT and isinstance(node, Slot):
            return _negated(self.equals(node, place), two_valued=self.linked)
        if name in GROUPS or name == NOT:
            return _group(name, node, place, self.all_of, two_valued=self.linked)
        if name.startswith("$"):
            return _compare(self.scope, self.sql, self.column.kind, name, node, place, self.entity)
        if self.column.kind is Kind.JSON:
            return _inside(self.scope, self.sql, (name,), node, place)
        return no_property("query", self.entity.model, name)


def _compare(
    scope: Scope, sql: str, kind: Kind, name: str, slot: Node, place: str, entity: Entity | None = None
) -> str:
    operator = OPERATORS[kind].get(name)
    if operator is None:
        if name in _ALL or entity is None:
            refuse(place, f"{name} does not fit a column of type {kind.value}")
        no_property("query", entity.model, name)
    if slot.kind == "null":
        return operator.null.format(c=sql)
    if name == "$ilike" and slot.kind == "unicode":
        operator = _UNICODE_ILIKE
    return operator.sql.format(c=sql, v=scope.bind(slot, operator.convert, place))


_CASTS = {"number": ("json_number_at", Kind.TEXT), "boolean": ("json_boolean_at", Kind.BOOLEAN)}


_ANY = Slot(0, "constant")


def _path(names: tuple[str, ...]) -> Convert:
    """A parameter that is the same for every query of a shape: the path, which the shape holds."""
    text = json.dumps(names)
    return lambda *_: text


def _inside(scope: Scope, sql: str, path: tuple[str, ...], node: Node, place: str) -> str:
    """Conditions on what lies within a JSON column; the operand's type says how the value there is read."""
    if isinstance(node, Slot):
        refuse(place, 'use an operator here, as {"$eq": …}, or {"$contains": {…}} on the column')
    parts = []
    for name, operand in node:
        here = f"{place}.{name}"
        if not name.startswith("$"):
            parts.append(_inside(scope, sql, (*path, name), operand, here))
            continue
        if not isinstance(operand, Slot) or name not in OPERATORS[Kind.TEXT]:
            refuse(here, f"{name} cannot be used within a JSON column")
        function, kind = _CASTS.get(operand.kind, ("json_text_at", Kind.TEXT))
        operator = OPERATORS[kind].get(name)
        if operator is None:
            refuse(here, f"{name} does not fit such a value")
        convert = values.number if operand.kind == "number" and operator.convert is values.text else operator.convert
        column = f"{function}({sql}, {scope.bind(_ANY, _path(path), here)})"
        parts.append(
            operator.null.format(c=column)
            if operand.kind == "null"
            else operator.sql.format(c=column, v=scope.bind(operand, convert, here))
        )
    return " AND ".join(parts)


def _on_relation(scope: Scope, relation: Relation, alias: str, node: Filters, place: str) -> str:
    target = ENTITIES[relation.target]
    join = scope.join(relation, alias)
    asked = condition(scope, target, join.alias, node, place, linked=True)
    if asked and is_selective(node):
        return f"{join.outer} IN (SELECT {join.key} FROM {join.source} WHERE {join.visible} AND {asked})"
    return asked and f"EXISTS (SELECT 1 FROM {join.source} WHERE {join.where} AND {asked})"


_NAMING = {"id", "token", "name", "title", "redacted", "publishable_key_id", "sales_channel_id"}


def is_selective(filters: Filters) -> bool:
    """Whether a linked filter names what it wants, so that few rows satisfy it and it pays to begin with those.

    Otherwise the outer rows are gone through until enough are found, which is soon when many satisfy the filter.
    """
    return any(name in _NAMING and isinstance(node, Slot) and node.kind != "null" for name, node in filters)


def _search(scope: Scope, entity: Entity, alias: str, words: Node, place: str) -> str:
    """Free text: every word must be a part of some searchable column, in any case."""
    if isinstance(words, Slot):
        if words.kind == "null":
            return ""
        refuse(place, "a text is needed")
    parts = []
    for slot in words:
        if not isinstance(slot, Slot):  # of an object
            refuse(place, "a text is needed")
        test = "ilike_unicode({v}, {c})" if slot.kind == "unicode" else "{c} LIKE {v} ESCAPE '\\'"
        bound = scope.bind(slot, values.word, place)
        parts.append(
            "(" + " OR ".join(test.format(c=f"{alias}.{column}", v=bound) for column in entity.searchable) + ")"
        )
    return " AND ".join(parts)


def _unknown(entity: Entity, node: Node) -> str:
    """A field that the linked entity does not have: it reads as null."""
    if isinstance(node, Slot):
        return "1" if node.kind == "null" else "NULL"
    for operator, _ in node:
        if operator.startswith("$") and operator not in (*_ALL, *GROUPS, NOT):
            no_property("query", entity.model, operator)
    is_null = all(name == "$eq" and isinstance(operand, Slot) and operand.kind == "null" for name, operand in node)
    return "1" if is_null else "NULL"


def asks_for_deleted(filters: Filters) -> bool:
    """Whether a filter names `deleted_at` outside of linked filters: Medusa then shows deleted rows too."""
    return any(
        name == "deleted_at"
        or (name in GROUPS and not isinstance(node, Slot) and any(map(asks_for_deleted, node)))
        or (name == NOT and not isinstance(node, Slot) and asks_for_deleted(node))
        for name, node in filters
    )
