"""Pieces of SQL text: aliases, parameters, joins. Names in them are the schema's, values are bound."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from projections.model import ENTITIES, Entity, Relation
from projections.shape import Slot
from projections.values import Bound, Convert


@dataclass(frozen=True, slots=True)
class Parameter:
    """One numbered parameter: which of the query's values it takes, through which conversion."""

    number: int
    convert: Convert
    place: str


@dataclass(slots=True)
class Parameters:
    """The parameters of one statement; `?1` is the first."""

    items: list[Parameter] = field(default_factory=list)
    aliases: int = 0

    def bind(self, slot: Slot, convert: Convert, place: str) -> str:
        """The SQL of a new parameter."""
        self.items.append(Parameter(slot.number, convert, place))
        return f"?{len(self.items)}"

    def bound(self, values: Sequence[Any]) -> tuple[Bound, ...]:
        """The parameters for a query's values. Raises InvalidData for a value that does not fit its column."""
        return tuple([item.convert(values[item.number], item.place) for item in self.items])


@dataclass(frozen=True, slots=True)
class Join:
    """The rows at the other end of a relation."""

    source: str
    """What stands behind FROM."""
    key: str
    """What must be equal to `outer`, the expression of the row where the relation starts."""
    outer: str
    visible: str
    alias: str
    order: str
    """The expression that orders the rows stably."""

    @property
    def where(self) -> str:
        """The condition that holds for the rows of one outer row."""
        return f"{self.key} = {self.outer} AND {self.visible}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a part of the statement is compiled. `deleted`: deleted rows are visible there."""

    parameters: Parameters
    deleted: bool = False

    def bind(self, slot: Slot, convert: Convert, place: str) -> str:
        """The SQL of a parameter that takes the slot's value."""
        return self.parameters.bind(slot, convert, place)

    def alias(self) -> str:
        """A table alias that nothing else in the statement has."""
        self.parameters.aliases += 1
        return f"t{self.parameters.aliases}"

    def visible(self, entity: Entity, alias: str) -> str:
        """The condition that a row may be seen here."""
        if not self.deleted:
            return f"{alias}.deleted_at IS NULL"
        return f"NOT {alias}.hidden" if entity.hideable else "1"

    def join(self, relation: Relation, parent: str) -> Join:
        """The rows that `relation` leads to from the row `parent`."""
        target = ENTITIES[relation.target]
        alias = self.alias()
        seen = self.visible(target, alias)
        if relation.near is None:
            outer = f"{parent}.{relation.far}"
            return Join(f"{target.table} AS {alias}", f"{alias}.id", outer, seen, alias, f"{alias}.id")
        outer = f"{parent}.id"
        if relation.to_link:
            return Join(f"link AS {alias}", f"{alias}.{relation.near}", outer, seen, alias, f"{alias}.{relation.far}")
        link = self.alias()
        seen = f"{alias}.id = {link}.{relation.far} AND {self.visible(ENTITIES['link'], link)} AND {seen}"
        source = f"link AS {link} JOIN {target.table} AS {alias}"
        return Join(source, f"{link}.{relation.near}", outer, seen, alias, f"{link}.{relation.far}")


def concatenated(parts: Sequence[tuple[bool, str]]) -> str:
    """Texts (False) and expressions (True) as one `||` expression, neighbouring texts as one literal."""
    out: list[str] = []
    text = ""
    for is_expression, part in parts:
        if not is_expression:
            text += part
            continue
        if text:
            out.append(literal(text))
            text = ""
        out.append(part)
    if text or not out:
        out.append(literal(text))
    return "||".join(out)


def literal(text: str) -> str:
    """An SQL text literal; for texts of our own only, never for a value of a query."""
    return "'" + text.replace("'", "''") + "'"
