"""Digests: what links, keys and channels are at a position, as one number that any two accounts of them can compare.

A digest is the sum, modulo 2^128, of a hash of every row, so the order of the rows does not matter. Rows are compared
in the order of their ids, one by one: neither takes memory for all of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import apsw

from projections.model import ENTITIES

Row = tuple[Any, ...]
"""The table's name, then the values of COLUMNS in that order."""

Id = tuple[str, ...]
"""The table's name, then the ids that name the row."""

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
    """Every row of a read model, in the order of their ids. Read them in one transaction with its position."""
    for table in sorted(COLUMNS):
        columns = COLUMNS[table]
        order = ", ".join(columns[: _KEYS[table]])
        for values in connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"):
            yield (table, *values)


def copy_rows(connection: apsw.Connection, source: str) -> None:
    """Copy every row of the read model that is attached as `source`, for `rows_of` to read from the connection."""
    for table, columns in COLUMNS.items():
        key = ", ".join(columns[: _KEYS[table]])
        connection.execute(
            f"CREATE TABLE main.{table} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID;"
            f"INSERT INTO main.{table} SELECT {', '.join(columns)} FROM {source}.{table} ORDER BY {key}"
        )


def id_of(row: Row) -> Id:
    """The table and the ids that name the row."""
    return row[: 1 + _KEYS[row[0]]]


def differences(one: Iterable[Row], other: Iterable[Row]) -> Iterator[tuple[Id, Row | None, Row | None]]:
    """The rows that the two do not have alike, None for one that is not there. Both come in the order of their ids."""
    ours, theirs = iter(one), iter(other)
    mine, yours = next(ours, None), next(theirs, None)
    while mine is not None or yours is not None:
        if mine is not None and (yours is None or id_of(mine) < id_of(yours)):
            yield id_of(mine), mine, None
            mine = next(ours, None)
        elif yours is not None and (mine is None or id_of(yours) < id_of(mine)):
            yield id_of(yours), None, yours
            yours = next(theirs, None)
        else:
            if mine is not None and mine != yours:
                yield id_of(mine), mine, yours
            mine, yours = next(ours, None), next(theirs, None)


def first_difference(one: Iterable[Row], other: Iterable[Row], *, names: tuple[str, str]) -> str | None:
    """A sentence about the first row that the two do not have alike; `names` says whose they are."""
    for id, mine, yours in differences(one, other):
        return f"{' '.join(id)}: {names[0]} has {_said(mine, yours)}, {names[1]} has {_said(yours, mine)}"
    return None


def _said(row: Row | None, other: Row | None) -> str:
    if row is None or other is None:
        return "no such row" if row is None else "a row"
    columns = COLUMNS[row[0]]
    return ", ".join(
        f"{column} {value!r}"
        for column, value, theirs in zip(columns, row[1:], other[1:], strict=True)
        if value != theirs
    )
