"""The event store in one SQLite file: write-ahead log, synced to disk before a commit returns.

Every statement that a batch needs is one multi-row INSERT rather than one INSERT a row: SQLite releases the
interpreter lock at each step, and getting it back from a busy event loop costs more than the row.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import starmap
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTransaction,
)
from eventsourcing.utils import retry

from services.store.commit import Commit, Committed, Epoch, Outcome, StaleRead, Sweep
from services.store.folding import FOLD, Folding
from services.store.packing import packed, unpacked

BUSY_SECONDS = 30
BUSY_PAUSE = 0.02
LOG_BYTES = 5_000 * 4_096
"""How long the write-ahead log is from the beginning, and at most again when it was longer."""

_TABLES = [
    # Never WITHOUT ROWID for stored_events: its rowid is the position.
    "CREATE TABLE IF NOT EXISTS commands (id TEXT PRIMARY KEY, reply BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, api_key_id TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS channel_links (sales_channel_id TEXT, publishable_key_id TEXT,
       PRIMARY KEY (sales_channel_id, publishable_key_id)) WITHOUT ROWID""",
    # How far channel_links has followed the events.
    "CREATE TABLE IF NOT EXISTS channel_links_position (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER)",
    "INSERT OR IGNORE INTO channel_links_position VALUES (1, 0)",
    """CREATE TABLE IF NOT EXISTS sweeps (id INTEGER PRIMARY KEY AUTOINCREMENT, sales_channel_id TEXT NOT NULL,
       direction TEXT NOT NULL, time TEXT NOT NULL, context TEXT NOT NULL, cursor TEXT NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS epoch (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, previous TEXT)",
    "INSERT OR IGNORE INTO epoch VALUES (1, lower(hex(randomblob(8))), NULL)",
]


class _Transaction(SQLiteTransaction):
    """A writing transaction takes the write lock at once, so that it cannot fail for it half-way."""

    def __enter__(self) -> SQLiteCursor:
        cursor = self.connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE" if self.commit else "BEGIN")
        except sqlite3.OperationalError as error:  # the library maps only what is raised inside
            raise OperationalError(error) from error
        return cursor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        except BaseException:
            self.connection.rollback()  # a commit that failed may have left the transaction open
            raise


class _Connection(SQLiteConnection):
    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with _Transaction(self, commit=commit) as cursor, cursor:
            yield cursor


class _Busy(OperationalError):
    """Another connection writes, or opens the file for the first time as well."""


class _Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        connection = self._opened()._sqlite_conn  # noqa: SLF001 - the library has no hook for pragmas
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # services.store.folding does it
        connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        connection.row_factory = None
        return _Connection(sqlite_conn=connection, max_age=self.max_age)

    @retry(_Busy, max_attempts=round(BUSY_SECONDS / BUSY_PAUSE), wait=BUSY_PAUSE)
    def _opened(self) -> SQLiteConnection:
        """SQLite does not wait for whoever turns the log on at the same moment, though it has a time limit to do so.

        So it is turned on here, over a connection that is closed; where it fails, the library would leave its own open.
        """
        if self.is_journal_mode_wal:
            return super()._create_connection()
        with closing(sqlite3.connect(self.db_name, uri=True, timeout=BUSY_SECONDS)) as first:
            try:
                first.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                raise _Busy("the event store is busy") from error
            return super()._create_connection()  # before `first` is closed: the last to close a file folds its log


class Datastore(SQLiteDatastore):
    """One SQLite file."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_timeout=BUSY_SECONDS, originator_id_type="text")
        self.pool.close()
        self.pool = _Pool(db_name=path, lock_timeout=BUSY_SECONDS)


class SQLiteStore(SQLiteApplicationRecorder):
    """The library's recorder, with the outcomes and indexes beside the events (services.store.port.StorePort)."""

    datastore: Datastore
    at_hand: ClassVar = True

    def __init__(self, datastore: Datastore) -> None:
        super().__init__(datastore)
        self.create_table_statements += _TABLES
        self._folding = Folding(lambda: sqlite3.connect(datastore.pool.db_name, check_same_thread=False))

    def stretch_log(self) -> None:
        """Let the write-ahead log have its whole length at once: syncing what only overwrites takes half the time.

        The pages are written by a transaction too large for memory that is rolled back, so nothing of it counts.
        """
        log = Path(f"{self.datastore.pool.db_name}-wal")
        if log.exists() and log.stat().st_size >= LOG_BYTES * 0.8:
            return
        with suppress(sqlite3.OperationalError), self.datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.execute("CREATE TABLE stretch (filling)")
                cursor.execute("INSERT INTO stretch VALUES (zeroblob(?))", (LOG_BYTES,))
            finally:
                connection.rollback()
            with log.open("rb+") as file:
                os.fsync(file.fileno())

    def insert_batch(self, stored: Sequence[StoredEvent], commit: Commit) -> Committed:
        with self.datastore.transaction(commit=True) as cursor:
            position = self._position(cursor)
            foreign = self._changed_since(cursor, commit.known_position) if position > commit.known_position else set()
            if foreign & commit.read:
                raise StaleRead(foreign)
            try:
                _insert(
                    cursor,
                    "INSERT INTO stored_events (originator_id, originator_version, topic, state)",
                    [(s.originator_id, s.originator_version, s.topic, s.state) for s in stored],
                )
                # Nothing is ever deleted and the write lock is ours: the new rowids follow the greatest one.
                positions = range(position + 1, position + 1 + len(stored))
                position += len(stored)
                outcomes = commit.settle(positions, position)
                self._insert_beside(cursor, commit, outcomes)
            except sqlite3.IntegrityError as error:
                raise IntegrityError(error) from error
        size = sum(len(event.state) for event in stored) + sum(len(outcome.reply) for outcome in outcomes)
        if self._folding.wrote(commands=len(outcomes), events=len(stored), size=size):
            self._fold()
        return Committed(positions, position, foreign)

    def _insert_beside(self, cursor: SQLiteCursor, commit: Commit, outcomes: Sequence[Outcome]) -> None:
        _insert(cursor, "INSERT INTO commands (id, reply)", [(o.command_id, packed(o.reply)) for o in outcomes])
        _insert(cursor, "INSERT INTO tokens (token, api_key_id)", commit.tokens)
        _insert(
            cursor,
            "INSERT INTO sweeps (sales_channel_id, direction, time, context, cursor)",
            [(s.sales_channel_id, s.direction, s.time, s.context, s.cursor) for s in commit.new_sweeps],
        )
        for sweep in commit.moved_sweeps:
            cursor.execute("UPDATE sweeps SET cursor=? WHERE id=?", (sweep.cursor, sweep.id))
        for id in commit.done_sweeps:
            cursor.execute("DELETE FROM sweeps WHERE id=?", (id,))

    def _fold(self) -> None:
        with suppress(sqlite3.Error), self.datastore.get_connection(commit=False) as connection:
            connection.cursor().execute(FOLD)

    @contextmanager
    def alone(self, position: int, limit: int) -> Iterator[list[tuple[int, StoredEvent]]]:
        """Promises nothing: replicas on one file are rare, and repeat what was refused until it is not."""
        yield self.events_after(position, limit)

    async def follow(self, grown: Callable[[], None]) -> None:
        """A file cannot tell: the services wake each other over the bus."""

    def close(self) -> None:
        self._folding.close()
        self.datastore.close()

    def epoch(self) -> Epoch:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT id, previous FROM epoch")
            return Epoch(*cursor.fetchone())

    def new_epoch(self) -> Epoch:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("UPDATE epoch SET previous = id, id = lower(hex(randomblob(8)))")
        return self.epoch()

    def position(self) -> int:
        with self.datastore.transaction(commit=False) as cursor:
            return self._position(cursor)

    @staticmethod
    def _position(cursor: SQLiteCursor) -> int:
        cursor.execute("SELECT max(rowid) FROM stored_events")
        return cursor.fetchone()[0] or 0

    @staticmethod
    def _changed_since(cursor: SQLiteCursor, position: int) -> set[str]:
        cursor.execute("SELECT DISTINCT originator_id FROM stored_events WHERE rowid > ?", (position,))
        return {row[0] for row in cursor.fetchall()}

    def changed_since(self, position: int) -> tuple[int, set[str]]:
        with self.datastore.transaction(commit=False) as cursor:
            now = self._position(cursor)
            return now, self._changed_since(cursor, position) if now > position else set()

    def events_after(self, position: int, limit: int) -> list[tuple[int, StoredEvent]]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
                "WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (position, limit),
            )
            return [(row[0], StoredEvent(*row[1:])) for row in cursor.fetchall()]

    def outcomes(self, command_ids: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        if not command_ids:
            return found
        with self.datastore.get_connection(commit=False) as connection, connection.cursor() as cursor:
            for chunk in _chunks(command_ids):  # each asks on its own: an outcome, once there, stays
                marks = ",".join("?" * len(chunk))
                cursor.execute(f"SELECT id, reply FROM commands WHERE id IN ({marks})", tuple(chunk))
                found.update((id, unpacked(reply)) for id, reply in cursor.fetchall())
        return found

    def api_key_of(self, token: str) -> str | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT api_key_id FROM tokens WHERE token=?", (token,))
            row = cursor.fetchone()
            return row[0] if row else None

    def keys_of(self, sales_channel_id: str, *, after: str = "", limit: int) -> list[str]:
        self.index_links()
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT publishable_key_id FROM channel_links WHERE sales_channel_id=? AND publishable_key_id>? "
                "ORDER BY publishable_key_id LIMIT ?",
                (sales_channel_id, after, limit),
            )
            return [row[0] for row in cursor.fetchall()]

    def index_links(self) -> None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT position FROM channel_links_position")
            behind = cursor.fetchone()[0]
            now = self._position(cursor)
        if now == behind:
            return
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO channel_links "
                "SELECT json_extract(CAST(state AS TEXT), '$.data.sales_channel_id') AS channel, originator_id "
                "FROM stored_events WHERE rowid > ? AND rowid <= ? AND topic LIKE 'link.created:%' ORDER BY 1, 2",
                (behind, now),
            )
            cursor.execute("UPDATE channel_links_position SET position = max(position, ?)", (now,))

    def has_sweep(self, sales_channel_id: str) -> bool:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT 1 FROM sweeps WHERE sales_channel_id=? LIMIT 1", (sales_channel_id,))
            return cursor.fetchone() is not None

    def next_sweep(self) -> Sweep | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT sales_channel_id, direction, time, context, cursor, id FROM sweeps ORDER BY id LIMIT 1"
            )
            row = cursor.fetchone()
            return Sweep(*row) if row else None

    def notifications(self, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT rowid, topic, state FROM stored_events WHERE rowid>? ORDER BY rowid LIMIT ?", (after, limit)
            )
            rows: list[tuple[int, str, bytes]] = cursor.fetchall()
            return rows

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The library's, over plain rows."""
        statement = "SELECT originator_version, topic, state FROM stored_events WHERE originator_id=?"
        parameters: list[Any] = [originator_id]
        for clause, value in ((" AND originator_version>?", gt), (" AND originator_version<=?", lte)):
            if value is not None:
                statement += clause
                parameters.append(value)
        statement += f" ORDER BY originator_version {'DESC' if desc else 'ASC'}"
        if limit is not None:
            statement += " LIMIT ?"
            parameters.append(limit)
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, parameters)
            return [StoredEvent(originator_id, version, topic, state) for version, topic, state in cursor.fetchall()]

    def select_events_of(self, originator_ids: Sequence[str]) -> Iterable[StoredEvent]:
        with self.datastore.transaction(commit=False) as cursor:
            for chunk in _chunks(originator_ids):
                cursor.execute(
                    "SELECT originator_id, originator_version, topic, state FROM stored_events "
                    f"WHERE originator_id IN ({','.join('?' * len(chunk))}) ORDER BY originator_id, originator_version",
                    tuple(chunk),
                )
                yield from starmap(StoredEvent, cursor.fetchall())

    def check(self) -> None:
        """Raises sqlite3.DatabaseError when the file is damaged (a quick look, not a full one)."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT count(*) FROM (SELECT 1 FROM sqlite_master LIMIT 100)")
            self._position(cursor)


_ROWS = (256, 64, 16, 4, 1)


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in few sizes of chunks, so that few statements are ever prepared."""
    start = 0
    for size in _ROWS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _insert(cursor: SQLiteCursor, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    for chunk in _chunks(rows):
        row = f"({','.join('?' * len(chunk[0]))})"
        values = [value for row_values in chunk for value in row_values]
        cursor.execute(f"{statement} VALUES {','.join([row] * len(chunk))}", values)
