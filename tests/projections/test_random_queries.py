"""Thousands of random queries on random data, against the plain-Python model of the semantics."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.projections.model import ENTITIES, OWN, Model
from tests.projections.world import World, at

KEYS = [f"apk_{n}" for n in range(5)]
CHANNELS = [f"sc_{n}" for n in range(4)]
TEXTS = [
    "Alpha",
    "beta",
    "Gamma_x",
    "100% third",
    "ünïcode",
    "ÜNÏ",
    "",
    "a b",
    "O'Neil",
    'quo"te',
    "back\\slash",
    "*[?]",
]
METADATA: list[dict[str, Any] | None] = [
    None,
    {},
    {"region": "eu", "rank": 3},
    {"a": {"b": [1, "x", None]}, "rank": 1.5},
]
SECONDS = range(40)


class Both(World):
    """A read model and the Python model, filled with the same things."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.model = Model()

    def add_key(self, id: str, title: str, type: str) -> None:
        self.key(id, title, type)
        row = dict.fromkeys(ENTITIES["api_key"]["columns"])
        token = f"pk_{id}" if type == "publishable" else ""
        row |= {"id": id, "token": token, "redacted": f"{type[0]}k_{id[-3:]}***", "title": title, "type": type}
        self.model.rows["api_key"].append(
            row | {"created_by": "tester", "created_at": at(self.clock), "updated_at": at(self.clock)}
        )

    def add_channel(self, id: str, name: str, description: str | None, is_disabled: bool, metadata: Any) -> None:
        self.channel(id, name, description, is_disabled, metadata)
        row = dict.fromkeys(ENTITIES["sales_channel"]["columns"])
        row |= {"id": id, "name": name, "description": description, "is_disabled": is_disabled, "metadata": metadata}
        self.model.rows["sales_channel"].append(row | {"created_at": at(self.clock), "updated_at": at(self.clock)})

    def add_link(self, key: str, channel: str) -> None:
        """Only where both ends are there, as the write side sees to it."""
        if self.model.find("api_key", key)["deleted_at"] or self.model.find("sales_channel", channel)["deleted_at"]:
            return
        id = f"pksc_{len(self.events):03}"
        self.link(key, channel, id)
        links = self.model.rows["link"]
        links[:] = [row for row in links if (row["publishable_key_id"], row["sales_channel_id"]) != (key, channel)]
        row = {"publishable_key_id": key, "sales_channel_id": channel, "id": id, "deleted_at": None}
        links.append(row | {"created_at": at(self.clock), "updated_at": at(self.clock)})

    def remove_link(self, key: str, channel: str) -> None:
        self.dismiss(key, channel)
        self._down({"publishable_key_id": key, "sales_channel_id": channel})

    def change(self, table: str, what: str, id: str, text: str) -> None:
        row = self.model.find(table, id)
        if what == "restore":
            (self.restore_key if table == "api_key" else self.restore_channel)(id)
            row |= {"deleted_at": None, "hidden": False, "updated_at": at(self.clock)}
        elif what == "update" and table == "api_key":
            self.rename(id, text)
            row |= {"title": text, "updated_at": at(self.clock)}
        elif what == "update":
            self.change_channel(id, text)
            row |= {
                "name": text,
                "description": None,
                "is_disabled": False,
                "metadata": None,
                "updated_at": at(self.clock),
            }
        elif what == "revoke":
            if table == "api_key":
                self.revoke(id)
                row |= {"revoked_by": "boss", "revoked_at": at(self.clock), "updated_at": at(self.clock)}
        else:
            permanent = what == "delete"
            (self.delete_key if table == "api_key" else self.delete_channel)(id, permanent=permanent)
            row |= {"deleted_at": at(self.clock), "hidden": permanent}
            self._down({OWN[table]: id})

    def _down(self, ends: dict[str, str]) -> None:
        for row in self.model.rows["link"]:
            if row["deleted_at"] is None and all(row[name] == id for name, id in ends.items()):
                row |= {"deleted_at": at(self.clock), "updated_at": at(self.clock)}


texts = st.sampled_from(TEXTS)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, tuple[Any, ...]]]:
    """What happens, as (method of Both, arguments)."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=5))
    channels = draw(st.lists(st.sampled_from(CHANNELS), unique=True, max_size=4))
    steps: list[tuple[str, tuple[Any, ...]]] = []
    types = st.sampled_from(["publishable", "publishable", "secret"])
    steps += [("add_key", (id, draw(texts), draw(types))) for id in keys]
    for id in channels:
        values = (draw(texts), draw(st.none() | texts), draw(st.booleans()), draw(st.sampled_from(METADATA)))
        steps.append(("add_channel", (id, *values)))
    pairs = st.tuples(st.sampled_from(keys or KEYS), st.sampled_from(channels or CHANNELS))
    if keys and channels:
        steps += [("add_link", pair) for pair in draw(st.lists(pairs, max_size=12))]
        steps += [("remove_link", pair) for pair in draw(st.lists(pairs, max_size=2))]
    for table, ids in (("api_key", keys), ("sales_channel", channels)):
        if ids:
            what = st.sampled_from(["update", "revoke", "soft_delete", "delete", "restore"])
            changes = st.tuples(st.just(table), what, st.sampled_from(ids), texts)
            steps += [("change", change) for change in draw(st.lists(changes, max_size=4))]
    if keys and channels:
        steps += [("add_link", pair) for pair in draw(st.lists(pairs, max_size=2))]
    return steps


IDS = {"id": [*KEYS, *CHANNELS, "nope"], "publishable_key_id": KEYS, "sales_channel_id": CHANNELS}
PATTERNS = ["%a%", "A%", "%_x", "100\\% %", "%ï%", "%Ï%", "", "%", "_____", "*%", "%\\\\%", "%[%"]
EXPRESSIONS = ["^A", "a$", "[a-z]+_x", "b|G", ".", "^$", "Ü", "\\d"]
TIMESTAMP = ["created_at", "updated_at", "deleted_at", "revoked_at", "last_used_at"]


def operand(column: str) -> st.SearchStrategy[Any]:
    """Values that fit a column."""
    if column in IDS:
        return st.sampled_from(IDS[column])
    if column == "is_disabled":
        return st.booleans() | st.sampled_from(["true", "f", "NO", "on", "1"])
    if column in TIMESTAMP:
        instants = [at(second) for second in SECONDS] + [
            "2026-11-23",
            "2026-11-23T13:00:05+01:00",
            "2026-11-23 12:00:05.0005Z",
        ]
        return st.sampled_from(instants)
    if column == "token":
        return st.sampled_from([f"pk_{id}" for id in KEYS] + [""])
    if column == "type":
        return st.sampled_from(["publishable", "secret"])
    return texts


def column_filters(column: str) -> st.SearchStrategy[Any]:
    """Filters of one column."""
    if column == "metadata":
        documents = st.sampled_from([{}, {"region": "eu"}, {"a": {"b": [1]}}, {"region": "eu", "rank": 3, "x": None}])
        return st.none() | st.one_of(
            st.fixed_dictionaries({"$contains": documents}),
            st.fixed_dictionaries({"$contained": documents}),
            st.fixed_dictionaries({"$eq": documents}),
            st.fixed_dictionaries({"$ne": documents | st.none()}),
            st.fixed_dictionaries({"$hasKey": st.sampled_from(["region", "a", "z"])}),
        )
    value = operand(column)
    values = st.lists(st.none() | value, max_size=3)
    operators: dict[str, st.SearchStrategy[Any]] = {
        "$eq": value | st.none(),
        "$ne": value | st.none(),
        "$in": values,
        "$nin": values,
        "$exists": st.booleans(),
        **dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), value | st.none()),
    }
    if column not in (*TIMESTAMP, "is_disabled"):
        operators |= {
            "$like": st.sampled_from(PATTERNS),
            "$ilike": st.sampled_from(PATTERNS),
            "$re": st.sampled_from(EXPRESSIONS),
        }
    one = st.sampled_from(sorted(operators)).flatmap(lambda name: st.fixed_dictionaries({name: operators[name]}))
    several = st.tuples(one, one).map(lambda pair: pair[0] | pair[1])
    negated = st.fixed_dictionaries({"$not": one})
    either = st.fixed_dictionaries({"$or": st.lists(one, max_size=2)})
    plain = value if column in IDS else value | st.none()
    return st.one_of(plain, values, one, one, several, negated, either)


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def filters(table: str, depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Filter objects of an entity."""
    entity = ENTITIES[table]
    members = [
        st.sampled_from(entity["columns"]).flatmap(lambda name: column_filters(name).map(lambda test: {name: test}))
    ]
    if entity["searchable"]:
        words = st.lists(st.sampled_from(["a", "BETA", "%", "ï", "x_", "neil", "\\\\"]), max_size=2).map(" ".join)
        members.append(st.fixed_dictionaries({"q": words}))
    if depth:
        inner = st.deferred(lambda: filters(table, depth - 1))
        members.append(st.fixed_dictionaries({"$and": st.lists(inner, max_size=2)}))
        members.append(st.fixed_dictionaries({"$or": st.lists(inner, max_size=3)}))
        members.append(st.fixed_dictionaries({"$not": inner}))
        for relation, target in entity["links"].items():
            members.append(st.fixed_dictionaries({relation: st.deferred(partial(filters, target, depth - 1))}))
    return st.lists(st.one_of(members), max_size=2).map(joined)


def orders(table: str, depth: int = 1) -> st.SearchStrategy[dict[str, Any]]:
    """Orders of an entity: by its columns, and by those behind its relations."""
    entity = ENTITIES[table]
    columns = [name for name in entity["columns"] if name != "metadata"]
    direction = st.sampled_from(["ASC", "DESC", "desc"])
    terms: list[st.SearchStrategy[dict[str, Any]]] = [
        st.tuples(st.sampled_from(columns), direction).map(lambda pair: {pair[0]: pair[1]})
    ]
    if depth:
        for relation, target in entity["links"].items():
            one = orders(target, depth - 1).filter(lambda order: len(order) == 1)
            terms.append(st.fixed_dictionaries({relation: one}))
    return st.lists(st.one_of(terms), max_size=2).map(joined)


@st.composite
def paths(draw: st.DrawFn, table: str) -> str:
    """One entry of `fields`, sometimes one that does not exist."""
    way: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*ENTITIES[table]["links"], "nopes"]))
        if name == "nopes":
            return ".".join([*way, name, "*"])
        way.append(name)
        table = ENTITIES[table]["links"][name]
    return ".".join([*way, draw(st.sampled_from([*ENTITIES[table]["columns"], "*", "nope"]))])


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    """Queries that are answered."""
    table = draw(st.sampled_from(sorted(ENTITIES)))
    fields: list[str] = draw(st.lists(paths(table), max_size=4))
    query: dict[str, Any] = {"entity": table, "fields": fields}
    if draw(st.booleans()):
        query["filters"] = draw(filters(table))
    if draw(st.booleans()):
        page: dict[str, Any] = draw(
            st.fixed_dictionaries({}, optional={"take": st.integers(0, 4), "skip": st.integers(0, 3)})
        )
        query["pagination"] = page | ({"order": draw(orders(table))} if draw(st.booleans()) else {})
    if draw(st.booleans()):
        query["withDeleted"] = draw(st.booleans())
    lists = sorted({path for field in fields for path in lists_of(table, field)})
    if draw(st.booleans()) and lists:
        path = draw(st.sampled_from(lists))
        target = target_of(table, path)
        part = st.fixed_dictionaries(
            {}, optional={"take": st.integers(0, 2), "skip": st.integers(0, 1), "filters": filters(target, 1)}
        )
        query["relations"] = {path: draw(part) | ({"order": draw(orders(target, 0))} if draw(st.booleans()) else {})}
    return query


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


ALIAS = {"link": "publishable_api_key_sales_channel"}


@pytest.mark.timeout(900)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories(), asked=st.lists(queries(), min_size=10, max_size=14))
def test_as_the_model_says(history: list[tuple[str, tuple[Any, ...]]], asked: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        both = Both(Path(folder) / "read.db")
        try:
            for method, arguments in history:
                getattr(both, method)(*arguments)
            for query in asked:
                expected = both.model.answer(query)
                actual = both.graph(**query | {"entity": ALIAS.get(query["entity"], query["entity"])})
                assert actual == expected, json.dumps(query)
        finally:
            both.close()
