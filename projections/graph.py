"""Graph queries, answered: plans by shape, their execution, and what Medusa does to the answer afterwards."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import apsw
from pydantic_core import from_json, to_json

from events.errors import NotFound
from projections.compiler import Plan, compile_query
from projections.limits import MAX_PLANS
from projections.model import ENTITIES, Relation
from projections.question import Question, Shape
from projections.selection import Selection

Item = dict[str, Any]


class Plans:
    """The compiled queries, the most recently used ones."""

    def __init__(self, size: int = MAX_PLANS) -> None:
        self._size = size
        self._plans: OrderedDict[Shape, Plan] = OrderedDict()
        self.compiled = 0
        """How many were not here when they were asked for."""

    def of(self, shape: Shape) -> Plan:
        """The plan for a shape. Raises InvalidData when there is none."""
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plans[shape] = compile_query(shape)
            self.compiled += 1
            if len(self._plans) > self._size:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(shape)
        return plan


def answer(connection: apsw.Connection, question: Question, plan: Plan) -> bytes:
    """The JSON text of the answer: `{"data": […]}`, with `metadata` where it was asked for.

    Raises InvalidData, NotFound (for the throwIf options), and apsw's InterruptError and TooBigError when the
    connection's limits are reached.
    """
    bound = plan.answer.bound(question.values)
    if plan.missing is None:
        text: bytes = connection.execute(plan.answer.sql, bound).get
    else:
        text = _with_all_keys(connection, question, plan, bound)
    if question.relations_must_exist or question.initial_data is not None:
        return _finished(text, question, plan.selection)
    return text


def _with_all_keys(connection: apsw.Connection, question: Question, plan: Plan, bound: tuple[Any, ...]) -> bytes:
    assert plan.missing is not None
    assert question.shape.missing_of is not None
    with connection:  # both statements see the same state
        absent = from_json(connection.execute(plan.missing.sql, plan.missing.bound(question.values)).get)
        if absent:
            column = question.shape.missing_of[0]
            raise NotFound(f"{question.entity.name} {column} not found: {', '.join(absent)}", ids=absent)
        text: bytes = connection.execute(plan.answer.sql, bound).get
    return text


def _finished(text: bytes, question: Question, selection: Selection) -> bytes:
    document = from_json(text)
    if question.initial_data is not None:
        document["data"] = _merged(document["data"], question.initial_data, selection)
    if question.relations_must_exist:
        listed = {listing.path for listing in question.shape.listings}
        _relations_exist(document["data"], selection, question.relations_must_exist, listed)
    return to_json(document)


def _merged(items: list[Item], initial_data: list[Item], selection: Selection) -> list[Item]:
    """The rows that the caller had already, in the caller's order, with what was found of them."""
    found = {item["id"]: item for item in items if "id" in item}
    return [
        found[row["id"]] | {name: value for name, value in row.items() if name not in selection.children}
        if row.get("id") in found
        else row
        for row in initial_data
    ]


def _relations_exist(
    items: list[Item], selection: Selection, which: bool | list[str], listed: set[tuple[str, ...]]
) -> None:
    """Raises NotFound for rows whose selected relation leads nowhere, level by level as Medusa fetches them.

    A list that the query filters itself may be empty.
    """
    level: list[tuple[tuple[str, ...], list[Item], Selection]] = [((), items, selection)]
    while level:
        for path, rows, node in level:
            for relation, _ in node.below():
                if (*path, relation.name) not in listed:
                    _relation_exists(rows, relation, which)
        level = [
            ((*path, relation.name), list(_below(rows, relation)), child)
            for path, rows, node in level
            for relation, child in node.below()
        ]


def _relation_exists(rows: list[Item], relation: Relation, which: bool | list[str]) -> None:
    if relation.many:
        service, name, column, key = _LINK.service, ENTITIES["link"].name, relation.near, "id"
    else:
        service, name, column, key = relation.service, ENTITIES[relation.target].name, "id", relation.far
    if isinstance(which, list) and service not in which:
        return
    lost = list(dict.fromkeys(row[key] for row in rows if not row.get(relation.name)))
    if lost:
        raise NotFound(f"{name} {column} not found: {', '.join(lost)}", ids=lost)


_LINK = ENTITIES["api_key"].relations["sales_channels_link"]


def _below(rows: Iterable[Item], relation: Relation) -> Iterator[Item]:
    for row in rows:
        found = row.get(relation.name)
        if found:
            yield from found if relation.many else [found]
