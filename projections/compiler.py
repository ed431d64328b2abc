"""From the shape of a graph query to the one SQL statement whose single value is the JSON text of the whole answer.

No object is built in Python, and nothing is asked twice: relations are correlated subqueries that concatenate the
text of their rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from projections import ordering, values
from projections.by_link import ByLink, keys_of_channels
from projections.conditions import asks_for_deleted, condition
from projections.model import ENTITIES, Entity, Relation
from projections.ordering import Term
from projections.question import Listing, Part, Shape
from projections.refusals import refuse
from projections.schema import render
from projections.selection import Selection, select
from projections.sql import Join, Parameters, Scope, concatenated
from projections.values import Bound

_PIECES = list[tuple[bool, str]]
_COUNTED = ("api_key", "sales_channel")
_DATA = "'{\"data\":['||coalesce(group_concat(o,','),'')||']'"


@dataclass(slots=True)
class Statement:
    """An SQL text and its parameters."""

    sql: str
    parameters: Parameters

    def bound(self, values: Sequence[Any]) -> tuple[Bound, ...]:
        """The parameters for the values of a query of this shape. Raises InvalidData."""
        return self.parameters.bound(values)


@dataclass(slots=True)
class Plan:
    """A compiled query. `slow_for` counts down the runs that go to a thread at once because an earlier one was slow."""

    answer: Statement
    selection: Selection
    missing: Statement | None = None
    slow_for: int = field(default=0, compare=False)
    label: str = ""
    """What measures call it: the entity and the relations that are joined in."""


def compile_query(shape: Shape) -> Plan:
    """The plan of every query of this shape. Raises InvalidData for what the schema does not have."""
    entity = ENTITIES[shape.table]
    selection = select(entity, shape.fields)
    deleted = shape.with_deleted or asks_for_deleted(shape.filters)
    missing = _missing(entity, shape, Scope(Parameters(), deleted)) if shape.missing_of else None
    relations = dict.fromkeys(field.partition(".")[0] for field in shape.fields if "." in field)
    return Plan(
        _Compiler(Scope(Parameters(), deleted), shape.listings).answer(entity, selection, shape),
        selection,
        missing,
        label="+".join((shape.table, *sorted(relations))),
    )


class _Compiler:
    """Compiles one statement."""

    def __init__(self, scope: Scope, listings: tuple[Listing, ...]) -> None:
        self._scope = scope
        self._nested = Scope(scope.parameters)
        self._listings = {listing.path: listing for listing in listings}
        self._used: set[tuple[str, ...]] = set()

    def answer(self, entity: Entity, selection: Selection, shape: Shape) -> Statement:
        by_link = keys_of_channels(shape, self._scope)
        if by_link is not None:
            sql = self._answer_by_link(entity, selection, shape, by_link)
        elif shape.part.after is not None:
            sql = self._page(entity, selection, shape)
        else:
            inner = self._inner(entity, selection, shape)
            sql = f"SELECT CAST({_DATA}{self._metadata(entity, shape)}||'}}' AS BLOB) FROM ({inner})"
        self._all_used()
        return Statement(sql, self._scope.parameters)

    def _answer_by_link(self, entity: Entity, selection: Selection, shape: Shape, by_link: ByLink) -> str:
        outer = self._scope.alias()
        keys = f"{by_link.keys}{self._cut(shape.part, self._scope, 'pagination')}"
        return (
            f"{by_link.before}SELECT CAST({_DATA}{self._metadata(entity, shape, by_link.count)}||'}}' AS BLOB)"
            f" FROM (SELECT {self._object(selection, outer, ())} AS o FROM ({keys}) AS chosen"
            f" CROSS JOIN {entity.table} AS {outer} ON {outer}.id = chosen.id)"
        )

    def _inner(self, entity: Entity, selection: Selection, shape: Shape) -> str:
        """The objects of the answer, in order; for keyset pagination with their cursors and numbers."""
        scope, part = self._scope, shape.part
        alias = scope.alias()
        where = [scope.visible(entity, alias), condition(scope, entity, alias, shape.filters, "filters")]
        terms = _total(ordering.terms(scope, entity, alias, part.order, "pagination.order"), alias)
        if part.after:
            where.append(self._after(terms, part.after))
        order, cut = ", ".join(map(str, terms)), self._cut(part, scope, "pagination")
        rows = _Rows(f"{entity.table} AS {alias}", _and(where), order, cut)
        in_index_order = not part.order and not (shape.filters and part.take) and part.after is None
        if in_index_order:
            return f"SELECT {self._object(selection, alias, ())} AS o FROM {rows}"
        return self._chosen_first(entity, selection, alias, rows, () if part.after is None else terms)

    def _chosen_first(
        self, entity: Entity, selection: Selection, alias: str, rows: "_Rows", cursor: Sequence[Term]
    ) -> str:
        """Sorts and cuts bare rows, and renders only what is left: SQLite would render every row before it sorts."""
        outer = self._scope.alias()
        names, joined = _identity(entity, alias, "chosen", outer)
        keys = f", json_array({', '.join(term.sql for term in cursor)}) AS c" if cursor else ""
        again = ", chosen.c AS c, row_number() OVER () AS n" if cursor else ""
        return (
            f"SELECT {self._object(selection, outer, ())} AS o{again}"
            f" FROM (SELECT {names}{keys} FROM {rows}) AS chosen CROSS JOIN {entity.table} AS {outer} ON {joined}"
        )

    def _page(self, entity: Entity, selection: Selection, shape: Shape) -> str:
        """Keyset pagination: one row more than asked for tells whether there is a next page."""
        assert shape.part.take is not None
        inner = self._inner(entity, selection, shape)
        take = self._scope.bind(shape.part.take, values.as_it_is, "pagination.take")
        more = f"iif(count(*)>{take},json_quote(max(c) FILTER (WHERE n={take})),'null')"
        return (
            f"SELECT CAST('{{\"data\":['||coalesce(group_concat(o,',') FILTER (WHERE n<={take}),'')"
            f"||'],\"metadata\":{{\"take\":'||{take}||',\"next\":'||{more}||'}}}}' AS BLOB) FROM ({inner})"
        )

    def _after(self, terms: Sequence[Term], slots: Sequence[Any]) -> str:
        if len(slots) != len(terms):
            refuse("pagination.after", "a cursor of another order; take the `next` of the last answer's metadata")
        return ordering.after(
            list(terms), [self._scope.bind(slot, values.as_it_is, "pagination.after") for slot in slots]
        )

    def _metadata(self, entity: Entity, shape: Shape, count: str | None = None) -> str:
        if shape.part.echo is None:
            return ""
        echo = self._scope.bind(shape.part.echo, values.as_it_is, "pagination")
        count = count or self._count(entity, shape)
        return f"||',\"metadata\":{{'||{echo}||',\"count\":'||{count}||'}}'"

    def _count(self, entity: Entity, shape: Shape) -> str:
        alias = self._scope.alias()
        asked = condition(self._scope, entity, alias, shape.filters, "filters")
        if not asked and not self._scope.deleted and entity.table in _COUNTED:
            return f"(SELECT live FROM counter WHERE name='{entity.table}')"
        where = _and([self._scope.visible(entity, alias), asked])
        return f"(SELECT count(*) FROM {entity.table} AS {alias} WHERE {where})"

    def _cut(self, part: Part, scope: Scope, place: str) -> str:
        """LIMIT and OFFSET; -1 is no limit."""
        if part.take is None and part.skip is None:
            return ""
        take = "-1" if part.take is None else scope.bind(part.take, values.as_it_is, place)
        more = "+1" if part.after is not None else ""
        return f" LIMIT {take}{more}" + (
            f" OFFSET {scope.bind(part.skip, values.as_it_is, place)}" if part.skip else ""
        )

    def _object(self, selection: Selection, alias: str, path: tuple[str, ...]) -> str:
        """The expression of one row's JSON object."""
        pieces: _PIECES = [(False, "{")]
        if selection.star:
            pieces.append((True, f"{alias}.doc"))
        else:
            for index, name in enumerate(selection.columns):
                column = selection.entity.columns[name]
                pieces += [(False, f'{"," if index else ""}"{name}":'), (True, render(column, alias))]
        for relation, below in selection.below():
            pieces += self._relation(relation, below, alias, (*path, relation.name))
        return concatenated([*pieces, (False, "}")])

    def _relation(self, relation: Relation, below: Selection, alias: str, path: tuple[str, ...]) -> _PIECES:
        """The member of a relation: a list, or one object that is left out where there is none."""
        join = self._nested.join(relation, alias)
        if not relation.many:
            one = f"(SELECT {self._object(below, join.alias, path)} FROM {join.source} WHERE {join.where})"
            return [(True, f"coalesce(',\"{relation.name}\":'||{one},'')")]
        rows = self._listed(join, below, path)
        return [
            (False, f',"{relation.name}":['),
            (True, f"coalesce((SELECT group_concat(o,',') FROM ({rows})),'')"),
            (False, "]"),
        ]

    def _listed(self, join: Join, below: Selection, path: tuple[str, ...]) -> str:
        """The objects of a list, in order."""
        listing = self._listings.get(path)
        self._used.add(path)
        if listing is None:
            rows = _Rows(join.source, join.where, join.order)
            return f"SELECT {self._object(below, join.alias, path)} AS o FROM {rows}"
        entity, place = below.entity, f"relations.{'.'.join(path)}"
        asked = condition(self._nested, entity, join.alias, listing.filters, f"{place}.filters")
        terms = ordering.terms(self._nested, entity, join.alias, listing.part.order, f"{place}.order")
        order = ", ".join([*map(str, terms), join.order])
        rows = _Rows(join.source, _and([join.where, asked]), order, self._cut(listing.part, self._nested, place))
        outer, chosen = self._nested.alias(), self._nested.alias()
        names, joined = _identity(entity, join.alias, chosen, outer)
        return (
            f"SELECT {self._object(below, outer, path)} AS o"
            f" FROM (SELECT {names} FROM {rows}) AS {chosen} CROSS JOIN {entity.table} AS {outer} ON {joined}"
        )

    def _all_used(self) -> None:
        for path in self._listings:
            if path not in self._used:
                refuse(f"relations.{'.'.join(path)}", "is not a list that `fields` selects from")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What stands behind FROM."""

    source: str
    where: str
    order: str
    cut: str = ""

    def __str__(self) -> str:
        return f"{self.source} WHERE {self.where} ORDER BY {self.order}{self.cut}"


def _identity(entity: Entity, alias: str, chosen: str, outer: str) -> tuple[str, str]:
    """How a row is carried from one level to the next, and found there again."""
    names = ("publishable_key_id", "sales_channel_id") if entity.table == "link" else ("rowid",)
    carried = ", ".join(f"{alias}.{name} AS i{index}" for index, name in enumerate(names))
    return carried, " AND ".join(f"{outer}.{name} = {chosen}.i{index}" for index, name in enumerate(names))


def _total(terms: list[Term], alias: str) -> list[Term]:
    """An order that leaves nothing to chance: the id decides last."""
    last = f"{alias}.id"
    if any(term.sql == last for term in terms):
        return terms
    return [*terms, Term(last, descending=False, nullable=False, nulls_first=False)]


def _and(conditions: Sequence[str]) -> str:
    return " AND ".join(filter(None, conditions))


def _missing(entity: Entity, shape: Shape, scope: Scope) -> Statement:
    """The ids that were asked for and that no row of the answer has, as a JSON array."""
    assert shape.missing_of is not None
    column, slot = shape.missing_of
    alias = scope.alias()
    ids = scope.bind(slot, values.many(values.text), f"filters.{column}")
    found = _and(
        [
            f"{alias}.{column} = wanted.value",
            scope.visible(entity, alias),
            condition(scope, entity, alias, shape.filters, "filters"),
        ]
    )
    sql = (
        f"SELECT json_group_array(wanted.value) FROM json_each({ids}) AS wanted"
        f" WHERE NOT EXISTS (SELECT 1 FROM {entity.table} AS {alias} WHERE {found})"
    )
    return Statement(sql, scope.parameters)
