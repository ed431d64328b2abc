"""Random histories and random queries that are answered, from a seeded generator.

Few different values, so that they meet; a bias to the columns and operators where semantics are subtle.
"""

from random import Random
from typing import Any

from tests.projections.model import ENTITIES
from tests.projections.world import at

KEYS = [f"apk_{n}" for n in range(5)]
CHANNELS = [f"sc_{n}" for n in range(4)]
TEXTS = ["Alpha", "beta", "100% x_y", "ünïcode", "ÜNÏ", "", 'O\'Neil "q" \\ *[?]']
METADATA: list[dict[str, Any] | None] = [
    None,
    {},
    {"region": "eu", "rank": 3},
    {"a": {"b": [1, "x", None]}, "rank": 1.5},
]
DOCUMENTS = [{}, {"region": "eu"}, {"a": {"b": [1]}}, {"region": "eu", "rank": 3, "x": None}]
PATTERNS = ["%a%", "A%", "%\\_y", "100\\% %", "%ï%", "%Ï%", "", "%", "_____", "%*%", "%\\\\%", "%[%"]
EXPRESSIONS = ["^A", "a$", "[a-z]+_y", "b|O", ".", "^$", "Ü", "\\d"]
OPERANDS: dict[str, list[Any]] = {
    "$exists": [True, False],
    "$like": PATTERNS,
    "$ilike": PATTERNS,
    "$re": EXPRESSIONS,
}
TIMES = ["created_at", "updated_at", "deleted_at", "revoked_at", "last_used_at"]
IDS = {"id": [*KEYS, *CHANNELS, "nope"], "publishable_key_id": KEYS, "sales_channel_id": CHANNELS}
OFTEN = {
    "api_key": ["id", "title", "created_at", "revoked_at"],
    "sales_channel": ["id", "name", "description", "is_disabled"],
}
WORDS = ["a", "BETA", "%", "ï", "x_", "neil", "\\\\"]

Step = tuple[str, tuple[Any, ...]]


class Chance:
    """What is drawn, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pick = self.random.choice
        self.clock = 60

    def maybe(self, probability: float = 0.5) -> bool:
        return self.random.random() < probability

    def some(self, items: list[Any], most: int) -> list[Any]:
        return [self.pick(items) for _ in range(self.random.randint(0, most))]

    def history(self) -> list[Step]:
        """What happens, as (method of the test's world, arguments)."""
        keys = self.random.sample(KEYS, self.random.randint(2, len(KEYS)))
        channels = self.random.sample(CHANNELS, self.random.randint(1, len(CHANNELS)))
        steps: list[Step] = [
            ("add_key", (id, self.pick(TEXTS), self.pick(["publishable", "publishable", "secret"]))) for id in keys
        ]
        for id in channels:
            description = None if self.maybe() else self.pick(TEXTS)
            steps.append(("add_channel", (id, self.pick(TEXTS), description, self.maybe(), self.pick(METADATA))))
        steps += [("add_link", (self.pick(keys), self.pick(channels))) for _ in range(self.random.randint(2, 14))]
        steps += [("remove_link", (self.pick(keys), self.pick(channels))) for _ in range(self.random.randint(0, 2))]
        for _ in range(self.random.randint(0, 4)):
            table, ids = self.pick([("api_key", keys), ("sales_channel", channels)])
            what = self.pick(["update", "revoke", "revoke", "soft_delete", "delete", "restore"])
            steps.append(("change", (table, what, self.pick(ids), self.pick(TEXTS))))
        steps += [("add_link", (self.pick(keys), self.pick(channels))) for _ in range(self.random.randint(0, 2))]
        self.clock = len(steps) + 1
        return steps

    def query(self) -> dict[str, Any]:
        """A query that is answered."""
        table = self.pick(["api_key", "api_key", "sales_channel", "link"])
        fields = [self.path(table) for _ in range(self.random.randint(0, 3))] + self.pick([[], ["id"]])
        query: dict[str, Any] = {"entity": table, "fields": fields}
        if self.maybe(0.1):
            query |= {
                "entity": "api_key",
                "fields": ["id"],
                "filters": {"sales_channels": {"name": self.values("name")}},
            }
        elif self.maybe(0.8):
            query["filters"] = self.filters(table)
        table = query["entity"]
        if self.maybe(0.7):
            page = {name: self.random.randint(0, 4) for name in ("take", "skip") if self.maybe()}
            query["pagination"] = page | ({"order": self.order(table)} if self.maybe() else {})
        if self.maybe(0.3):
            query["withDeleted"] = self.maybe(0.8)
        lists = sorted({path for field in query["fields"] for path in lists_of(table, field)})
        if lists and self.maybe():
            path = self.pick(lists)
            query["relations"] = {path: self.listing(target_of(table, path))}
        return query

    def listing(self, table: str) -> dict[str, Any]:
        part: dict[str, Any] = {name: self.random.randint(0, 2) for name in ("take", "skip") if self.maybe()}
        part |= {"filters": self.filters(table, 1)} if self.maybe() else {}
        return part | ({"order": self.order(table, 0)} if self.maybe() else {})

    def path(self, table: str) -> str:
        """One entry of `fields`, sometimes one that does not exist."""
        way: list[str] = []
        for _ in range(self.pick([0, 1, 1, 2, 3])):
            name = self.pick([*ENTITIES[table]["links"]] * 4 + ["nopes"])
            if name == "nopes":
                return ".".join([*way, name, "*"])
            way.append(name)
            table = ENTITIES[table]["links"][name]
        return ".".join([*way, self.pick([*ENTITIES[table]["columns"], "*", "nope"])])

    def filters(self, table: str, depth: int = 2) -> dict[str, Any]:
        return joined([self.member(table, depth) for _ in range(self.pick([0, 1, 1, 1, 1, 2, 2]))])

    def member(self, table: str, depth: int) -> dict[str, Any]:
        entity = ENTITIES[table]
        kind = self.pick(["column"] * 5 + ["relation"] * 4 + ["q", "$and", "$or", "$or", "$not", "$not"])
        if kind == "q" and entity["searchable"]:
            return {"q": " ".join(self.some(WORDS, 2))}
        if kind == "relation" and depth:
            relation = self.pick([*entity["links"]])
            return {relation: self.filters(entity["links"][relation], depth - 1)}
        if kind == "$not" and depth:
            return {"$not": self.filters(table, depth - 1)}
        if kind in ("$and", "$or") and depth:
            return {kind: [self.filters(table, depth - 1) for _ in range(self.random.randint(0, 3))]}
        column = self.pick(OFTEN.get(table, entity["columns"]) * 2 + entity["columns"])
        return {column: self.test(column)}

    def test(self, column: str) -> Any:
        """The filter of one column."""
        if column == "metadata":
            document = self.pick(DOCUMENTS)
            name = self.pick(["$contains", "$contained", "$eq", "$ne", "$hasKey"])
            return self.pick([None, {name: self.pick(["region", "a", "z"]) if name == "$hasKey" else document}])
        kind = self.pick(["plain", "list", "one", "one", "one", "two", "$not", "$or"])
        if kind == "plain":
            return self.value(column) if column in IDS or self.maybe(0.8) else None
        if kind == "list":
            return self.values(column)
        if kind == "$not":
            return {"$not": self.operator(column)}
        if kind == "$or":
            return {"$or": [self.operator(column) for _ in range(self.random.randint(0, 2))]}
        return joined([self.operator(column) for _ in range(1 + (kind == "two"))])

    def operator(self, column: str) -> dict[str, Any]:
        names = ["$eq", "$ne", "$in", "$nin", "$exists", "$gt", "$gte", "$lt", "$lte"]
        if column not in (*TIMES, "is_disabled"):
            names += ["$like", "$ilike", "$re"]
        name = self.pick(names)
        if name in ("$in", "$nin"):
            return {name: self.values(column)}
        if name in OPERANDS:
            return {name: self.pick(OPERANDS[name])}
        return {name: self.value(column) if self.maybe(0.9) else None}

    def values(self, column: str) -> list[Any]:
        return [self.value(column) if self.maybe(0.85) else None for _ in range(self.random.randint(0, 3))]

    def value(self, column: str) -> Any:
        """A value that fits a column, and is there often enough."""
        if column in IDS:
            return self.pick(IDS[column])
        if column == "is_disabled":
            return self.pick([True, False, "true", "f", "NO", "on", "1"])
        if column in TIMES:
            exact = at(self.random.randint(1, self.clock))
            return self.pick([exact, exact, exact, "2026-11-23", "2026-11-23T13:00:05+01:00", exact[:-1] + "5Z"])
        if column == "token":
            return self.pick([f"pk_{id}" for id in KEYS] + [""])
        return self.pick(["publishable", "secret"] if column == "type" else TEXTS)

    def order(self, table: str, depth: int = 2) -> dict[str, Any]:
        return joined([self.term(table, depth) for _ in range(self.pick([1, 1, 2]))])

    def term(self, table: str, depth: int) -> dict[str, Any]:
        entity = ENTITIES[table]
        if depth and self.maybe():
            relation = self.pick([*entity["links"]])
            return {relation: self.term(entity["links"][relation], depth - 1)}
        columns = [name for name in OFTEN.get(table, []) * 2 + entity["columns"] if name != "metadata"]
        return {self.pick(columns): self.pick(["ASC", "DESC", "desc"])}


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def lists_of(table: str, field: str) -> list[str]:
    """The paths of the lists that a field goes through."""
    found, way = [], []
    for name in field.split(".")[:-1]:
        if name not in ENTITIES[table]["links"]:
            break
        way.append(name)
        if table != "link":
            found.append(".".join(way))
        table = ENTITIES[table]["links"][name]
    return found


def target_of(table: str, path: str) -> str:
    for name in path.split("."):
        table = ENTITIES[table]["links"][name]
    return table
