"""The semantics of graph queries in plain Python, over lists of dictionaries; written without looking at the SQL.

It has no opinion on what is refused: the random queries are all ones that are answered.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

Row = dict[str, Any]
Truth = bool | None

ENTITIES: dict[str, dict[str, Any]] = {
    "api_key": {
        "columns": [
            *("id", "token", "redacted", "title", "type", "last_used_at", "created_by", "revoked_by", "revoked_at"),
            *("created_at", "updated_at", "deleted_at"),
        ],
        "searchable": ["title", "redacted"],
        "links": {"sales_channels_link": "link", "sales_channels": "sales_channel"},
    },
    "sales_channel": {
        "columns": [
            *("id", "name", "description", "is_disabled", "metadata", "created_at", "updated_at", "deleted_at"),
        ],
        "searchable": ["name", "description"],
        "links": {"api_keys_link": "link", "publishable_api_keys": "api_key"},
    },
    "link": {
        "columns": ["publishable_key_id", "sales_channel_id", "id", "created_at", "updated_at", "deleted_at"],
        "searchable": [],
        "links": {"api_key": "api_key", "sales_channel": "sales_channel"},
    },
}
OWN = {"api_key": "publishable_key_id", "sales_channel": "sales_channel_id"}
OTHER = {"publishable_key_id": "sales_channel_id", "sales_channel_id": "publishable_key_id"}


class Model:
    """The rows, and the answers."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {"api_key": [], "sales_channel": [], "link": []}

    def find(self, table: str, id: str) -> Row:
        return next(row for row in self.rows[table] if row["id"] == id)

    def seen(self, table: str, *, deleted: bool) -> list[Row]:
        return [row for row in self.rows[table] if (not row.get("hidden") if deleted else row["deleted_at"] is None)]

    def linked(self, table: str, row: Row, relation: str, *, deleted: bool = False) -> list[Row]:
        """The rows at the other end, in the order of the linked ids."""
        target = ENTITIES[table]["links"][relation]
        if table == "link":
            return [other for other in self.seen(target, deleted=deleted) if other["id"] == row[OWN[target]]]
        own = OWN[table]
        links = [link for link in self.seen("link", deleted=deleted) if link[own] == row["id"]]
        links.sort(key=lambda link: str(link[OTHER[own]]))
        if target == "link":
            return links
        others = {other["id"]: other for other in self.seen(target, deleted=deleted)}
        return [others[link[OTHER[own]]] for link in links if link[OTHER[own]] in others]

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        table = query["entity"]
        filters = query.get("filters") or {}
        deleted = bool(query.get("withDeleted")) or names_deleted(filters)
        rows = [row for row in self.seen(table, deleted=deleted) if self.holds(table, row, filters, deleted) is True]
        page = query.get("pagination") or {}
        self.sort(table, rows, page.get("order") or {}, deleted)
        result: dict[str, Any] = {}
        chosen = rows[page.get("skip") or 0 :]
        if page.get("take") is not None:
            chosen = chosen[: page["take"]]
        if "skip" in page:
            result["metadata"] = {name: page[name] for name in ("skip", "take") if name in page} | {"count": len(rows)}
        tree = selection(query["fields"])
        options = query.get("relations") or {}
        result["data"] = [self.object(table, row, tree, options, ()) for row in chosen]
        return result

    def object(
        self, table: str, row: Row, tree: Row, options: Row, path: tuple[str, ...], keys: tuple[str, ...] = ()
    ) -> Row:
        entity = ENTITIES[table]
        relations = {name: below for name, below in tree.items() if isinstance(below, dict) and name in entity["links"]}
        names = entity["columns"] if "*" in tree else [name for name in tree if name in entity["columns"]]
        result = {name: row[name] for name in [*names, *keys]}
        if relations and table != "link":
            result["id"] = row["id"]
        for name, below in relations.items():
            target = entity["links"][name]
            if table == "link":
                result[OWN[target]] = row[OWN[target]]
            here = (*path, name)
            others = self.linked(table, row, name)
            if table != "link":
                others = self.listed(target, others, options.get(".".join(here)) or {})
            inner: tuple[str, ...] = ("id",)
            if target == "link" and table != "link":
                both = any(ENTITIES[table]["links"][other] != "link" for other in relations)
                inner = (OWN[table], OTHER[OWN[table]]) if both else (OWN[table],)
            objects = [self.object(target, other, below, options, here, inner) for other in others]
            if table != "link":
                result[name] = objects
            elif objects:
                result[name] = objects[0]
        return result

    def listed(self, table: str, rows: list[Row], options: Row) -> list[Row]:
        rows = [
            row for row in rows if self.holds(table, row, options.get("filters") or {}, False, linked=False) is True
        ]
        if options.get("order"):
            self.sort(table, rows, options["order"], False, by_id=False)
        rows = rows[options.get("skip") or 0 :]
        return rows if options.get("take") is None else rows[: options["take"]]

    def sort(self, table: str, rows: list[Row], order: Row, deleted: bool, *, by_id: bool = True) -> None:
        if by_id:
            rows.sort(key=lambda row: str(row["id"]))
        for name, direction in reversed(list(order.items())):
            values = {id(row): self.order_value(table, row, name, direction, deleted) for row in rows}
            way = direction
            while isinstance(way, dict):
                way = next(iter(way.values()))
            down = str(way).upper() == "DESC"

            def compare(one: Row, other: Row, values: dict[int, Any] = values) -> int:
                a, b = values[id(one)], values[id(other)]
                if a is None or b is None:
                    return int(a is None) - int(b is None)
                return int(a > b) - int(a < b)

            rows.sort(key=cmp_to_key(compare), reverse=False) if not down else _stable_reverse(rows, compare)

    def order_value(self, table: str, row: Row, name: str, direction: Any, deleted: bool) -> Any:
        if not isinstance(direction, dict):
            return row[name]
        others = self.linked(table, row, name, deleted=deleted)
        inner, way = next(iter(direction.items()))
        return self.order_value(ENTITIES[table]["links"][name], others[0], inner, way, deleted) if others else None

    def holds(self, table: str, row: Row, filters: Row, deleted: bool, *, linked: bool = False) -> Truth:
        return every([self.member(table, row, name, value, deleted, linked) for name, value in filters.items()])

    def member(self, table: str, row: Row, name: str, value: Any, deleted: bool, linked: bool) -> Truth:
        def nested(filters: Row) -> Truth:
            return self.holds(table, row, filters, deleted, linked=linked)

        if name in ("$and", "$or", "$not"):
            return group(name, value, nested, linked)
        if name == "q":
            words = value.split()
            return every(
                [
                    some([like(f"%{word}%", row[column], True) for column in ENTITIES[table]["searchable"]])
                    for word in words
                ]
            )
        target = ENTITIES[table]["links"].get(name)
        if target is not None:
            if not asks(value):
                return True
            others = self.linked(table, row, name, deleted=deleted)
            return any(self.holds(target, other, value, deleted, linked=True) is True for other in others)
        return holds_for(row[name], value, linked)


def _stable_reverse(rows: list[Row], compare: Callable[[Row, Row], int]) -> None:
    rows.sort(key=cmp_to_key(lambda one, other: -compare(one, other)))


def asks(filters: Any) -> bool:
    """Whether a filter asks for anything at all."""
    return not isinstance(filters, dict) or any(member_asks(name, value) for name, value in filters.items())


def member_asks(name: str, value: Any) -> bool:
    if name in ("$and", "$or"):
        return any(asks(item) for item in value)
    if name == "q":
        return bool(value.split())
    is_operator = name.startswith("$") and name != "$not"
    return is_operator or asks(value)


def group(name: str, value: Any, nested: Callable[[Any], Truth], linked: bool) -> Truth:
    if name == "$not":
        if not asks(value):
            return True
        truth = nested(value)
        return not truth if linked or truth is not None else None
    asked = [nested(item) for item in value if asks(item)]
    if not asked:
        return True
    return every(asked) if name == "$and" else some(asked)


def every(truths: list[Truth]) -> Truth:
    return False if False in truths else None if None in truths else True


def some(truths: list[Truth]) -> Truth:
    return True if True in truths else None if None in truths else False


def holds_for(actual: Any, value: Any, linked: bool) -> Truth:
    if isinstance(value, dict):
        return every([operator(actual, name, operand, linked) for name, operand in value.items()])
    if isinstance(value, list):
        return operator(actual, "$in", value, linked)
    return operator(actual, "$eq", value, linked)


def operator(actual: Any, name: str, operand: Any, linked: bool) -> Truth:
    if name in ("$and", "$or", "$not"):
        return group(name, operand, lambda inner: holds_for(actual, inner, linked), linked)
    if name == "$exists":
        return (actual is not None) is operand
    if name in ("$eq", "$ne") and operand is None:
        return (actual is None) is (name == "$eq")
    if name in ("$in", "$nin"):
        equal = [None if item is None or actual is None else same(actual, item) for item in operand]
        found = some(equal) if operand else False
        return found if name == "$in" or found is None else not found
    return None if actual is None or operand is None else OPERATORS[name](actual, operand)


def comparable(actual: Any, operand: Any) -> tuple[Any, Any]:
    if isinstance(actual, bool):
        return actual, operand if isinstance(operand, bool) else operand.strip().lower() in (
            "t",
            "true",
            "yes",
            "on",
            "1",
        )
    if isinstance(actual, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", actual):
        there = datetime.fromisoformat(operand)
        return datetime.fromisoformat(actual), there if there.tzinfo else there.replace(tzinfo=UTC)
    return actual, operand


def same(actual: Any, operand: Any) -> bool:
    if isinstance(actual, dict):
        return json.dumps(actual, sort_keys=True) == json.dumps(operand, sort_keys=True)
    one, other = comparable(actual, operand)
    return bool(one == other)


def like(pattern: str, text: str | None, any_case: bool) -> Truth:
    if text is None:
        return None
    out, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            index += 1
            out += re.escape(pattern[index])
        else:
            out += {"%": "(?s:.*)", "_": "(?s:.)"}.get(character, re.escape(character))
        index += 1
    return re.fullmatch(out, text, re.IGNORECASE if any_case else 0) is not None


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and contains(whole[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(item, wanted) for item in whole) for wanted in part)
    return type(whole) is type(part) and bool(whole == part)


OPERATORS: dict[str, Callable[[Any, Any], bool | None]] = {
    "$eq": same,
    "$ne": lambda actual, operand: not same(actual, operand),
    "$gt": lambda actual, operand: bool(comparable(actual, operand)[0] > comparable(actual, operand)[1]),
    "$gte": lambda actual, operand: bool(comparable(actual, operand)[0] >= comparable(actual, operand)[1]),
    "$lt": lambda actual, operand: bool(comparable(actual, operand)[0] < comparable(actual, operand)[1]),
    "$lte": lambda actual, operand: bool(comparable(actual, operand)[0] <= comparable(actual, operand)[1]),
    "$like": lambda actual, operand: like(operand, actual, False),
    "$ilike": lambda actual, operand: like(operand, actual, True),
    "$re": lambda actual, operand: re.search(operand, actual) is not None,
    "$contains": contains,
    "$contained": lambda actual, operand: contains(operand, actual),
    "$hasKey": lambda actual, operand: operand in actual,
}


def names_deleted(filters: Row) -> bool:
    for name, value in filters.items():
        if name == "deleted_at":
            return True
        if name in ("$and", "$or") and any(names_deleted(item) for item in value):
            return True
        if name == "$not" and names_deleted(value):
            return True
    return False


def selection(fields: list[str]) -> Row:
    tree: Row = {}
    for field in fields:
        *way, last = field.split(".")
        node = tree
        for name in way:
            if not isinstance(node.get(name), dict):
                node[name] = {}
            node = node[name]
        node.setdefault(last, True)
    return tree
