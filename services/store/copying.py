"""Copying an event store between SQLite and PostgreSQL: every row as it is, under the same position.

What PostgreSQL gives and takes is one transaction, so whoever is killed has copied all of it or nothing. What is much
can be put beside the tables before, batch by batch (`stage`), and then comes in at once. In the end both sides are read
once more, and their digests compared.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from services.store.postgres import PostgresStore
from services.store.postgres_sql import lock_of

BATCH = 5_000
"""Rows at a time."""


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


TABLES = (
    Table(
        "stored_events",
        "notification_id",
        "rowid",
        "originator_id, originator_version, topic, state",
        ("int8", "text", "int8", "text", "bytea"),
    ),
    Table("commands", "id", "id", "reply", ("text", "bytea")),
    Table("tokens", "token", "token", "api_key_id", ("text", "text")),
    Table("sweeps", "id", "id", "sales_channel_id, direction, time, context, cursor", ("int8", *["text"] * 5)),
)

Progress = Callable[[str, int, int], None]
"""Told (what is done, rows or pages so far, in all)."""


@contextmanager
def reading(store: PostgresStore) -> Iterator[Connection[Any]]:
    """A transaction that sees the store as it is at one instant, however long that is ago. Nobody waits for it."""
    with _one_transaction(store) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


@contextmanager
def writing(store: PostgresStore) -> Iterator[Connection[Any]]:
    """A transaction that everything on the store is part of, in this thread; other writers wait for it."""
    with _one_transaction(store) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_of(store.datastore.schema),))
        yield connection


@contextmanager
def moving(store: PostgresStore) -> Iterator[Connection[Any]]:
    """A connection outside of a transaction, on which one at a time prepares a move. Raises Refused."""
    datastore = store.datastore
    with datastore.get_connection() as connection, datastore.pool.pinned(connection):
        lock = (f"{datastore.schema} moving",)
        [[alone]] = (row.values() for row in connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", lock))
        if not alone:
            raise Refused("somebody else is moving an event store there")
        try:
            yield connection
        finally:
            if not connection.closed:
                connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", lock)


@contextmanager
def _one_transaction(store: PostgresStore) -> Iterator[Connection[Any]]:
    datastore = store.datastore
    with datastore.get_connection() as connection, datastore.pool.pinned(connection), connection.transaction():
        # It may take long, and be silent while the other side is read.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute("SET LOCAL statement_timeout = 0")
        yield connection


class Copying:
    """One copy between an SQLite file and the store in PostgreSQL that the transaction `new` is of."""

    def __init__(self, old: sqlite3.Connection, new: Connection[Any], schema: str, progress: Progress) -> None:
        self._old, self._new, self._schema, self._progress = old, new, schema, progress
        self._done = self._total = 0

    def holds_anything(self) -> bool:
        """Whether there is anything in PostgreSQL."""
        return any(self._count_new(table) for table in TABLES)

    def to_postgres(self) -> None:
        """Fill the tables in PostgreSQL, which must be empty."""
        self._total = 2 * sum(self._count_old(table) for table in TABLES)
        for table in TABLES:
            for rows in _chunks(self._old_rows(table)):
                self._put(table, rows)
                self._tell(f"copying {table.name}", len(rows))
        self._take_over()

    def stage(self) -> None:
        """Put the rows beside the tables, each batch in a transaction of its own. Broken off, it goes on from there.

        What is there already and is not of this store is thrown away.
        """
        self._total = 2 * sum(self._count_old(table) for table in TABLES)
        for table in TABLES:
            staged = _staged(table)
            self._new.execute(
                SQL("CREATE TABLE IF NOT EXISTS {schema}.{staged} (LIKE {schema}.{table} INCLUDING INDEXES)").format(
                    **self._names(table)
                )
            )
            there = self._count_new(staged)
            if there and not self._begins_with(table, there):
                self._new.execute(SQL("TRUNCATE {schema}.{staged}").format(**self._names(table)))
                there = 0
            self._tell(f"copying {table.name}", there)
            for rows in _chunks(islice(self._old_rows(table), there, None)):
                with self._new.transaction():
                    self._put(staged, rows)
                self._tell(f"copying {table.name}", len(rows))

    def take_staged(self) -> None:
        """Fill the tables in PostgreSQL, which must be empty, with what was staged."""
        for table in TABLES:
            names = self._names(table)
            self._new.execute(SQL("INSERT INTO {schema}.{table} SELECT * FROM {schema}.{staged}").format(**names))
        self.drop_staged()
        self._take_over()

    def drop_staged(self) -> None:
        """Leave nothing of it."""
        for table in TABLES:
            self._new.execute(SQL("DROP TABLE IF EXISTS {schema}.{staged}").format(**self._names(table)))

    def _names(self, table: Table) -> dict[str, Identifier]:
        names = {"schema": self._schema, "table": table.name, "staged": _staged(table).name}
        return {key: Identifier(name) for key, name in names.items()}

    def _begins_with(self, table: Table, there: int) -> bool:
        """Whether the store's first rows are those that are staged."""
        before, after = hashlib.sha256(), hashlib.sha256()
        for rows in _chunks(islice(self._old_rows(table), there)):
            _feed(before, rows)
        with self._new.transaction():
            for rows in _chunks(self._new_rows(_staged(table))):
                _feed(after, rows)
        return before.digest() == after.digest()

    def _put(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        statement = SQL("COPY {}.{} ({}, {}) FROM STDIN (FORMAT BINARY)").format(
            Identifier(self._schema), Identifier(table.name), Identifier(table.key), SQL(table.columns)
        )
        with self._new.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(table.types)
            for row in rows:
                copy.write_row(row)

    def _take_over(self) -> None:
        """What goes with the rows."""
        self._continue_numbers()
        # It is the same history, so the stream that was filled from the one goes on from the other.
        if self._old.execute("SELECT count(*) FROM sqlite_master WHERE name = 'epoch'").fetchone()[0]:
            epoch = self._old.execute("SELECT id, previous FROM epoch").fetchone()
            self._new.execute(SQL("UPDATE {}.epoch SET id = %s, previous = %s").format(Identifier(self._schema)), epoch)

    def to_sqlite(self) -> None:
        """Fill the tables in SQLite, which must be empty."""
        self._total = 2 * sum(self._count_new(table) for table in TABLES)
        for table in TABLES:
            marks = ", ".join("?" * len(table.types))
            statement = f"INSERT INTO {table.name} ({table.old_key}, {table.columns}) VALUES ({marks})"
            for rows in _chunks(self._new_rows(table)):
                self._old.executemany(statement, rows)
                self._tell(f"copying {table.name}", len(rows))
        [epoch] = self._new.execute(SQL("SELECT id, previous FROM {}.epoch").format(Identifier(self._schema)))
        self._old.execute("UPDATE epoch SET id = ?, previous = ?", (epoch["id"], epoch["previous"]))

    def compare(self) -> dict[str, str]:
        """The digest of each table. Raises Refused when the two differ."""
        self._total = self._total or sum(self._count_new(table) for table in TABLES)
        digests: dict[str, str] = {}
        for table in TABLES:
            before, after = hashlib.sha256(), hashlib.sha256()
            for rows in _chunks(self._old_rows(table)):
                _feed(before, rows)
            for rows in _chunks(self._new_rows(table)):
                _feed(after, rows)
                self._tell(f"comparing {table.name}", len(rows))
            if before.digest() != after.digest():
                raise Refused(f"{table.name} is not the same in both: the target holds something else")
            digests[table.name] = before.hexdigest()
        return digests

    def _tell(self, what: str, rows: int) -> None:
        self._done += rows
        self._progress(what, self._done, self._total)

    def _count_old(self, table: Table) -> int:
        return int(self._old.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])

    def _count_new(self, table: Table) -> int:
        statement = SQL("SELECT count(*) AS count FROM {}.{}").format(Identifier(self._schema), Identifier(table.name))
        [row] = self._new.execute(statement)
        return int(row["count"])

    def _old_rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        return self._old.execute(f"SELECT {table.old_key}, {table.columns} FROM {table.name} ORDER BY {table.old_key}")

    def _new_rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        statement = SQL("SELECT {key}, {columns} FROM {schema}.{table} ORDER BY {key}").format(
            key=Identifier(table.key),
            columns=SQL(table.columns),
            schema=Identifier(self._schema),
            table=Identifier(table.name),
        )
        # From a cursor of the server: the table need not fit into memory.
        with self._new.cursor(name="copying") as cursor:
            cursor.itersize = BATCH
            for row in cursor.execute(statement):
                yield tuple(row.values())

    def _continue_numbers(self) -> None:
        """The numbers that PostgreSQL gives out itself go on after those that were copied."""
        self._new.execute(
            SQL(
                "SELECT setval(pg_get_serial_sequence({name}, 'id'), greatest(max(id), 1), max(id) IS NOT NULL) "
                "FROM {schema}.sweeps"
            ).format(name=f"{Identifier(self._schema).as_string()}.sweeps", schema=Identifier(self._schema))
        )


def _staged(table: Table) -> Table:
    return replace(table, name=f"moving_{table.name}")


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(rows, BATCH)):
        yield chunk


def _feed(digest: "hashlib._Hash", rows: list[tuple[Any, ...]]) -> None:
    for row in rows:
        for value in row:
            data = value if isinstance(value, bytes) else str(value).encode()
            digest.update(b"%d:" % len(data))
            digest.update(data)
