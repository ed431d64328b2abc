"""Digests: what links, keys and channels are at a position, as one number that any two accounts of them can compare.

A digest is the sum, modulo 2^128, of a hash of every row, so the order of the rows does not matter. `State` keeps the
rows that a sequence of events leads to, without a database and without the projector's table of statements: an account
of its own, and so able to prove the read model wrong.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import apsw

from events.base import parse_json
from events.catalog import event_class
from events.envelope import SCHEMA_PREFIX
from projections import jsonb
from projections.model import ENTITIES
from projections.projector import position_of

Row = tuple[Any, ...]
"""The table's name, then the values of COLUMNS in that order."""

Values = dict[str, Any]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    name: (*entity.columns, "hidden") if entity.hideable else tuple(entity.columns) for name, entity in ENTITIES.items()
}
_KEYS: Mapping[str, int] = {"api_key": 1, "sales_channel": 1, "link": 2}
"""How many of the first columns name a row."""

_MODULUS = 1 << 128
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def digest(rows: Iterable[Row]) -> str:
    """The digest of the rows, as 32 hexadecimal digits."""
    total = 0
    for row in rows:
        total += int.from_bytes(blake2b(_encode(row).encode(), digest_size=16).digest(), "big")
    return f"{total % _MODULUS:032x}"


def rows_of(connection: apsw.Connection) -> Iterator[Row]:
    """Every row of a read model. Read them in one transaction, together with its position."""
    for table, columns in COLUMNS.items():
        for values in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            yield (table, *values)


def first_difference(one: Iterable[Row], other: Iterable[Row], *, names: tuple[str, str]) -> str | None:
    """A sentence about the first row that the two do not have alike; `names` says whose they are."""
    ours, theirs = ({_id(row): row for row in rows} for rows in (one, other))
    for id in sorted(ours.keys() | theirs.keys()):
        mine, yours = ours.get(id), theirs.get(id)
        if mine != yours:
            return f"{' '.join(id)}: {names[0]} has {_said(mine, yours)}, {names[1]} has {_said(yours, mine)}"
    return None


def different(one: Iterable[Row], other: Iterable[Row]) -> tuple[str, ...] | None:
    """The table and the ids of the first row that the two do not have alike."""
    ours, theirs = ({_id(row): row for row in rows} for rows in (one, other))
    return next((id for id in sorted(ours.keys() | theirs.keys()) if ours.get(id) != theirs.get(id)), None)


class State:
    """The rows after the events that were applied. `position` is that of the last one."""

    def __init__(self) -> None:
        self.position = 0
        self.tables: dict[str, dict[Any, Values]] = {table: {} for table in COLUMNS}
        self.links_of: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def apply(self, text: bytes, position: int = 0) -> None:
        """Apply an event: a published envelope, or a stored one and its `position`. Raises UnknownEvent, ValueError."""
        envelope = parse_json(text)
        name, _, version = envelope["dataschema"].removeprefix(SCHEMA_PREFIX).rpartition(":")
        data = event_class(name).upcast(envelope["data"], int(version)).model_dump()
        _APPLY[name](self, name.partition(".")[0], data)
        self.position = position or position_of(text)

    def rows(self) -> Iterator[Row]:
        """Every row."""
        for table, rows in self.tables.items():
            for values in rows.values():
                yield (table, *(values.get(column) for column in COLUMNS[table]))

    def digest(self) -> str:
        """The digest of all rows."""
        return digest(self.rows())

    def take_down(self, pair: tuple[str, str], at: str) -> None:
        """The link goes; one that is down already keeps the time at which it went."""
        link = self.tables["link"].get(pair)
        if link is not None and link["deleted_at"] is None:
            link.update(deleted_at=at, updated_at=at)


def _created(state: State, entity: str, data: Values) -> None:
    state.tables[entity][data["id"]] = {
        **_stored(data), "updated_at": data["created_at"], "deleted_at": None, "hidden": 0
    }  # fmt: skip


def _changed(state: State, entity: str, data: Values) -> None:
    state.tables[entity][data["id"]].update(_stored(data))


def _deleted(state: State, entity: str, data: Values) -> None:
    at = data["deleted_at"]
    state.tables[entity][data["id"]].update(deleted_at=at, hidden=int(data["permanent"]))
    for pair in state.links_of[data["id"]]:
        state.take_down(pair, at)


def _restored(state: State, entity: str, data: Values) -> None:
    state.tables[entity][data["id"]].update(deleted_at=None, hidden=0, updated_at=data["updated_at"])


def _linked(state: State, entity: str, data: Values) -> None:
    pair = (data["publishable_key_id"], data["sales_channel_id"])
    state.tables[entity][pair] = {**data, "deleted_at": None}
    for end in pair:
        state.links_of[end].add(pair)


def _dismissed(state: State, _: str, data: Values) -> None:
    state.take_down((data["publishable_key_id"], data["sales_channel_id"]), data["deleted_at"])


_APPLY: Mapping[str, Callable[[State, str, Values], None]] = {
    "api_key.created": _created,
    "api_key.updated": _changed,
    "api_key.revoked": _changed,
    "api_key.deleted": _deleted,
    "api_key.restored": _restored,
    "sales_channel.created": _created,
    "sales_channel.updated": _changed,
    "sales_channel.deleted": _deleted,
    "sales_channel.restored": _restored,
    "link.created": _linked,
    "link.dismissed": _dismissed,
}


def _stored(data: Values) -> Values:
    """The values as SQLite keeps them."""
    if "metadata" in data:
        metadata = data["metadata"]
        return data | {
            "metadata": None if metadata is None else jsonb.normalised(metadata),
            "is_disabled": int(data["is_disabled"]),
        }
    return data


def _id(row: Row) -> tuple[str, ...]:
    return row[: 1 + _KEYS[row[0]]]


def _said(row: Row | None, other: Row | None) -> str:
    if row is None or other is None:
        return "no such row" if row is None else "a row"
    columns = COLUMNS[row[0]]
    return ", ".join(
        f"{column} {value!r}"
        for column, value, theirs in zip(columns, row[1:], other[1:], strict=True)
        if value != theirs
    )
