"""What of a query decides its SQL, and what is only bound to it.

A query is gone through once. What comes out is its shape, which is hashable and finds the compiled plan, and its
values in the order in which they were met. In the shape a Slot stands wherever a value stood; the compiler sees the
shape alone, so it cannot write a value into the SQL even by mistake.
"""

from typing import Any, NamedTuple

from projections.limits import MAX_CONDITIONS, MAX_LIST, MAX_NESTING
from projections.refusals import refuse

GROUPS = ("$and", "$or")
NOT = "$not"
SEARCH = "q"


class Slot(NamedTuple):
    """Stands for the value with this number. `kind` is its JSON type, as far as that decides the SQL."""

    number: int
    kind: str


Node = Any
"""A Slot; a filter object, as the tuple of its (name, node) pairs; under `$and` and `$or` a tuple of such objects;
under `q` the Slots of its words."""

Filters = tuple[tuple[str, Node], ...]

_KINDS = {type(None): "null", bool: "boolean", int: "number", float: "number", dict: "object"}


def _kind(value: Any, place: str) -> str:
    """The JSON type of a value; `unicode` is text beyond ASCII, whose case SQLite cannot fold."""
    if isinstance(value, str):
        return "text" if value.isascii() else "unicode"
    if isinstance(value, list):
        if len(value) > MAX_LIST:
            refuse(place, f"at most {MAX_LIST} values in one list")
        return "list"
    return _KINDS[type(value)]


class Values:
    """Collects the values of one query."""

    __slots__ = ("_conditions", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._conditions = 0

    def slot(self, value: Any, place: str) -> Slot:
        """Keeps a value and returns what stands for it in the shape."""
        self.items.append(value)
        return Slot(len(self.items) - 1, _kind(value, place))

    def filters(self, filters: dict[str, Any], place: str, depth: int = 0) -> Filters:
        """The shape of a filter object. Raises InvalidData where it is beyond the limits."""
        self._count(len(filters), place)
        if depth > MAX_NESTING:
            refuse(place, f"at most {MAX_NESTING} levels of filters")
        return tuple([(name, self._node(name, value, place, depth + 1)) for name, value in filters.items()])

    def _count(self, conditions: int, place: str) -> None:
        self._conditions += conditions
        if self._conditions > MAX_CONDITIONS:
            refuse(place, f"a query has at most {MAX_CONDITIONS} conditions")

    def _node(self, name: str, value: Any, place: str, depth: int) -> Node:
        if isinstance(value, dict) and (name == NOT or name[:1] != "$"):
            return self.filters(value, f"{place}.{name}", depth)
        if isinstance(value, list) and name in GROUPS:
            return tuple(
                [self._alternative(item, f"{place}.{name}.{index}", depth) for index, item in enumerate(value)]
            )
        if isinstance(value, str) and name == SEARCH:
            words = value.split(maxsplit=MAX_CONDITIONS)
            self._count(len(words), f"{place}.{name}")
            return tuple([self.slot(word, f"{place}.{name}") for word in words])
        return self.slot(value, f"{place}.{name}")

    def _alternative(self, item: Any, place: str, depth: int) -> Filters:
        if not isinstance(item, dict):
            refuse(place, "an object is needed")
        return self.filters(item, place, depth)
