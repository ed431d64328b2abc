"""Moving an event store from SQLite to PostgreSQL: every row as it is, under the same position.

It may be broken off anywhere and started again: what is there is not copied twice. In the end both sides are read once
more, and their digests compared.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from services.store.application import SQLITE
from services.store.postgres import PostgresStore, open_postgres

BATCH = 5_000
"""Rows in one transaction."""


class Refused(Exception):
    """These two stores cannot be made one."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, by the column that its rows are copied and compared in the order of."""

    name: LiteralString
    key: LiteralString
    old_key: LiteralString
    """What the key is called in SQLite."""
    columns: LiteralString
    """The others."""
    types: tuple[str, ...]
    first: Any
    """Less than every key."""


TABLES = (
    Table(
        "stored_events",
        "notification_id",
        "rowid",
        "originator_id, originator_version, topic, state",
        ("int8", "text", "int8", "text", "bytea"),
        0,
    ),
    Table("commands", "id", "id", "reply", ("text", "bytea"), ""),
    Table("tokens", "token", "token", "api_key_id", ("text", "text"), ""),
    Table("sweeps", "id", "id", "sales_channel_id, direction, time, context, cursor", ("int8", *["text"] * 5), 0),
)

Progress = Callable[[str, int, int], None]
"""Told (what is done, rows so far, rows in all)."""


def migrate(source: str, target: str, progress: Progress) -> dict[str, str]:
    """Copy the store at `source` (sqlite:///…) to `target` (postgresql://…): the digest of each table.

    The source cannot be written to meanwhile. Raises Refused when the target holds something else, or differs in the
    end; and what opening the two raises.
    """
    with _reading(source) as old, closing(open_postgres(target)) as new, new.datastore.get_connection() as connection:
        rows = {table.name: old.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0] for table in TABLES}
        total, done = 2 * sum(rows.values()), 0
        for table in TABLES:
            for count in _copy(old, connection, new.datastore.schema, table):
                done += count
                progress(f"copying {table.name}", done, total)
        _continue_numbers(connection, new)
        _same_epoch(old, connection, new.datastore.schema)
        digests: dict[str, str] = {}
        for table in TABLES:
            before, after = hashlib.sha256(), hashlib.sha256()
            for chunk in _chunks(_old_rows(old, table, table.first)):
                _feed(before, chunk)
            for chunk in _chunks(_new_rows(connection, new.datastore.schema, table)):
                _feed(after, chunk)
                done += len(chunk)
                progress(f"comparing {table.name}", done, total)
            if before.digest() != after.digest():
                raise Refused(
                    f"{table.name} is not the same in both: the target held something else before, or is in use"
                )
            digests[table.name] = before.hexdigest()
    return digests


@contextmanager
def _reading(source: str) -> Iterator[sqlite3.Connection]:
    path = Path(source.removeprefix(SQLITE))
    if not source.startswith(SQLITE) or not path.is_file():
        raise Refused(f"there is no event store at {source}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody else writes until we are through
        yield connection


def _copy(old: sqlite3.Connection, connection: Connection[Any], schema: str, table: Table) -> Iterator[int]:
    """Copy what the target lacks; yields how many rows are there now that were not counted yet."""
    there, last = _reached(connection, schema, table)
    if there:
        known = old.execute(f"SELECT count(*) FROM {table.name} WHERE {table.old_key} <= ?", (last,)).fetchone()[0]
        if known != there:
            raise Refused(f"the target holds {there} rows of {table.name} that are not those of the source")
        yield there
    statement = SQL("COPY {}.{} ({}, {}) FROM STDIN (FORMAT BINARY)").format(
        Identifier(schema), Identifier(table.name), Identifier(table.key), SQL(table.columns)
    )
    for chunk in _chunks(_old_rows(old, table, last)):
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(table.types)
            for row in chunk:
                copy.write_row(row)
        yield len(chunk)


def _reached(connection: Connection[Any], schema: str, table: Table) -> tuple[int, Any]:
    """(rows in the target, the greatest key)."""
    statement = SQL("SELECT count(*) AS count, max({}) AS last FROM {}.{}").format(
        Identifier(table.key), Identifier(schema), Identifier(table.name)
    )
    [row] = connection.execute(statement).fetchall()
    return row["count"], table.first if row["last"] is None else row["last"]


def _old_rows(old: sqlite3.Connection, table: Table, after: Any) -> Iterator[tuple[Any, ...]]:
    yield from old.execute(
        f"SELECT {table.old_key}, {table.columns} FROM {table.name} WHERE {table.old_key} > ? ORDER BY {table.old_key}",
        (after,),
    )


def _new_rows(connection: Connection[Any], schema: str, table: Table) -> Iterator[tuple[Any, ...]]:
    statement = SQL("SELECT {key}, {columns} FROM {schema}.{table} ORDER BY {key}").format(
        key=Identifier(table.key),
        columns=SQL(table.columns),
        schema=Identifier(schema),
        table=Identifier(table.name),
    )
    # In a transaction, and from a cursor of the server: the table need not fit into memory.
    with connection.transaction(), connection.cursor(name="migration") as cursor:
        cursor.itersize = BATCH
        for row in cursor.execute(statement):
            yield tuple(row.values())


def _continue_numbers(connection: Connection[Any], new: PostgresStore) -> None:
    """The numbers that PostgreSQL gives out itself go on after those that were copied."""
    connection.execute(
        SQL(
            "SELECT setval(pg_get_serial_sequence({name}, 'id'), greatest(max(id), 1), max(id) IS NOT NULL) "
            "FROM {schema}.sweeps"
        ).format(name=f"{Identifier(new.datastore.schema).as_string()}.sweeps", schema=Identifier(new.datastore.schema))
    )


def _same_epoch(old: sqlite3.Connection, connection: Connection[Any], schema: str) -> None:
    """It is the same history, so the stream that was filled from the one goes on from the other."""
    if old.execute("SELECT count(*) FROM sqlite_master WHERE name = 'epoch'").fetchone()[0]:
        epoch = old.execute("SELECT id, previous FROM epoch").fetchone()
        connection.execute(SQL("UPDATE {}.epoch SET id = %s, previous = %s").format(Identifier(schema)), epoch)


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    chunk: list[tuple[Any, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _feed(digest: "hashlib._Hash", rows: list[tuple[Any, ...]]) -> None:
    for row in rows:
        for value in row:
            data = value if isinstance(value, bytes) else str(value).encode()
            digest.update(b"%d:" % len(data))
            digest.update(data)
