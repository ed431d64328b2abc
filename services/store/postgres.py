"""The event store in PostgreSQL, for several replicas at once.

The tables of events are those of the library's recorder. A batch is one transaction and one statement. While nobody
else writes it takes one round trip; when others do, two: lock and look, then write and commit.

Positions are given out under a lock that is held until the commit, so they grow in the order of the commits, without
gaps. It is an advisory lock. The library's own, of the table, is the same to us, but it also waits for autovacuum's
ANALYZE, and then for a second (deadlock_timeout) before PostgreSQL interrupts that. The unique index on positions
refuses whoever writes without the lock.

When a standby takes over that lagged, the store goes back to an earlier state under services that remember a later one.
All connections break then, so each new one is asked for the last event that was seen.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from typing import Any, ClassVar

import psycopg
import structlog
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from services.store.commit import Commit, Committed, Epoch, LostEvents, StaleRead, Sweep
from services.store.packing import packed, unpacked
from services.store.postgres_connections import Connections, Place
from services.store.postgres_sql import migrate, statements

LISTEN_AGAIN_SECONDS = 1.0
FOLLOWED_AT_ONCE = 1_000
"""Events of other replicas that a commit brings along; when there are more, their aggregates are loaded again."""
_NO_LIMIT = 2**62

log = structlog.get_logger(__name__)


class Datastore(PostgresDatastore):
    """The place of an event store in a database server, and our connections to it."""

    def __init__(self, place: Place) -> None:
        super().__init__("", "", "", "", "", schema=place.schema, originator_id_type="text")
        self.place = place
        self.pool: Any = Connections(place)


class PostgresStore(PostgresApplicationRecorder):
    """The library's recorder, with the outcomes and indexes beside the events (services.store.port.StorePort)."""

    datastore: Datastore
    at_hand: ClassVar = False

    def __init__(self, datastore: Datastore) -> None:
        super().__init__(datastore)
        self._sql = statements(datastore.schema)
        self._undisturbed = True
        """Whether no other replica came first the last time, so that most likely none will the next time."""
        self._seen: tuple[int, bytes] = (0, b"")
        """The last event that is known to be in the store: its position and state."""
        datastore.pool.verify = self._verify

    def create_table(self) -> None:
        """Make what is missing. Any number of replicas may do so at once.

        Raises ProgrammingError when a newer release has changed the tables.
        """
        with self.datastore.get_connection() as connection:
            migrate(connection, self.datastore.schema, self.sql_create_statements)

    # ---- writing

    def insert_batch(self, stored: Sequence[StoredEvent], commit: Commit) -> Committed:
        with self.datastore.get_connection() as connection:
            try:
                committed = self._insert_batch(connection, stored, commit)
            except BaseException:
                if not connection.closed:
                    connection.rollback()
                raise
        if stored:
            self._saw(committed.position, stored[-1].state)
        return committed

    def _insert_batch(self, connection: Connection[Any], stored: Sequence[StoredEvent], commit: Commit) -> Committed:
        alone = connection.info.transaction_status == TransactionStatus.INTRANS
        if (alone or self._undisturbed) and not commit.has_sweeps:
            committed = self._insert_at_once(connection, stored, commit, alone=alone)
            if committed:
                return committed
        committed = self._insert_after_a_look(connection, stored, commit)
        self._undisturbed = not committed.foreign
        return committed

    def _insert_at_once(
        self, connection: Connection[Any], stored: Sequence[StoredEvent], commit: Commit, *, alone: bool
    ) -> Committed | None:
        """Write in one round trip, if nobody else has written meanwhile; else write nothing, and return None."""
        position = commit.known_position
        with connection.pipeline() as pipeline:  # without BEGIN, all up to the sync is one transaction
            if not alone:
                self._run(connection, "lock")
            wrote = self._write(connection, stored, commit, position)
            if alone:
                self._run(connection, "commit")
            pipeline.sync()
            if wrote.fetchall()[0][0] != position:
                return None
        positions = range(position + 1, position + 1 + len(stored))
        return Committed(positions, position + len(stored), set())

    def _insert_after_a_look(
        self, connection: Connection[Any], stored: Sequence[StoredEvent], commit: Commit
    ) -> Committed:
        """Write in two round trips: lock and look, then write and commit."""
        known = commit.known_position
        with connection.pipeline() as pipeline:
            self._run(connection, "begin")
            self._run(connection, "lock")
            seen = self._run(connection, "look", known)
            pipeline.sync()
            [(position, changed)] = seen.fetchall()
            if position < known:
                raise LostEvents(known)
            foreign = set(changed or ())
            if foreign & commit.read:
                raise StaleRead(foreign)
            self._write_sweeps(connection, commit)
            wrote = self._write(connection, stored, commit, position)
            self._run(connection, "commit")
            follow = foreign and position - known <= FOLLOWED_AT_ONCE
            others = self._run(connection, "others", known, position) if follow else None  # nobody waits for this
            pipeline.sync()
            assert wrote.fetchall()[0][0] == position, "somebody writes without the lock"
            events = self._events(others.fetchall()) if others else ()
        positions = range(position + 1, position + 1 + len(stored))
        return Committed(positions, position + len(stored), foreign, events)

    def _write(
        self, connection: Connection[Any], stored: Sequence[StoredEvent], commit: Commit, position: int
    ) -> Cursor[tuple[Any, ...]]:
        positions = range(position + 1, position + 1 + len(stored))
        outcomes = commit.settle(positions, position + len(stored))
        return self._run(
            connection,
            "write",
            position,
            [event.originator_id for event in stored],
            [event.originator_version for event in stored],
            [event.topic for event in stored],
            [event.state for event in stored],
            [outcome.command_id for outcome in outcomes],
            [packed(outcome.reply) for outcome in outcomes],
            [token for token, _ in commit.tokens],
            [key_id for _, key_id in commit.tokens],
            bool(stored),
        )

    def _write_sweeps(self, connection: Connection[Any], commit: Commit) -> None:
        for new in commit.new_sweeps:
            self._run(
                connection, "insert_sweep", new.sales_channel_id, new.direction, new.time, new.context, new.cursor
            )
        for moved in commit.moved_sweeps:
            self._run(connection, "move_sweep", moved.cursor, moved.id)
        for done in commit.done_sweeps:
            self._run(connection, "delete_sweep", done)

    @contextmanager
    def alone(self, position: int, limit: int) -> Iterator[list[tuple[int, StoredEvent]]]:
        """Holds the lock in a transaction that everything in this thread is part of; the first batch commits it."""
        with self.datastore.get_connection() as connection, self.datastore.pool.pinned(connection):
            try:
                with connection.pipeline():
                    self._run(connection, "begin")
                    self._run(connection, "lock")
                    others = self._run(connection, "events_after", position, limit)
                yield self._events(others.fetchall())
            finally:
                if not connection.closed:
                    connection.rollback()

    # ---- reading

    def epoch(self) -> Epoch:
        return Epoch(*self._rows("epoch")[0])

    def new_epoch(self) -> Epoch:
        return Epoch(*self._rows("new_epoch")[0])

    def position(self) -> int:
        for position, state in self._rows("last"):
            self._saw(position, state)
            return int(position)
        return 0

    def changed_since(self, position: int) -> tuple[int, set[str]]:
        for now, state, changed in self._rows("last_and_changed", position):
            self._saw(now, state)
            return now, set(changed or ())
        return position, set()

    def events_after(self, position: int, limit: int) -> list[tuple[int, StoredEvent]]:
        return self._events(self._rows("events_after", position, limit))

    def outcomes(self, command_ids: Sequence[str]) -> dict[str, bytes]:
        if not command_ids:
            return {}
        return {id: unpacked(reply) for id, reply in self._rows("outcomes", list(command_ids))}

    def api_key_of(self, token: str) -> str | None:
        rows = self._rows("api_key_of", token)
        return rows[0][0] if rows else None

    def keys_of(self, sales_channel_id: str, *, after: str = "", limit: int) -> list[str]:
        self.index_links()
        return [row[0] for row in self._rows("keys_of", sales_channel_id, after, limit)]

    def index_links(self) -> None:
        [(behind, now)] = self._rows("index_behind")
        if now > behind:
            self._rows("index_links", behind, now, now)

    def has_sweep(self, sales_channel_id: str) -> bool:
        return bool(self._rows("has_sweep", sales_channel_id))

    def next_sweep(self) -> Sweep | None:
        rows = self._rows("next_sweep")
        return Sweep(*rows[0]) if rows else None

    def notifications(self, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        rows = self._rows("notifications", after, limit)
        if rows:
            self._saw(rows[-1][0], rows[-1][2])
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
        rows = self._rows(
            "select_events_backwards" if desc else "select_events",
            originator_id,
            -1 if gt is None else gt,
            _NO_LIMIT if lte is None else lte,
            _NO_LIMIT if limit is None else limit,
        )
        return [StoredEvent(originator_id, *row) for row in rows]

    def select_events_of(self, originator_ids: Sequence[str]) -> Iterable[StoredEvent]:
        return starmap(StoredEvent, self._rows("select_events_of", list(originator_ids)))

    # ---- the rest

    async def follow(self, grown: Callable[[], None]) -> None:
        """LISTENs. While the connection is away nothing is heard, so `grown` is called once when it is back."""
        while True:
            try:
                place = self.datastore.place
                async with await psycopg.AsyncConnection.connect(**place.arguments, autocommit=True) as connection:
                    await connection.execute(self._sql["listen"])
                    grown()
                    async for _ in connection.notifies():
                        grown()
            except psycopg.Error as error:
                log.warning("the event store cannot be listened to; trying again", error=str(error).strip())
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def close(self) -> None:
        self.datastore.close()

    def prove_sessions(self) -> None:
        """Raises NotSupportedError if connections share them, as those to a pooler in transaction mode do.

        It gives the second the session of the first, which is idle; if another program is quicker, a later one tells.
        Settings would get lost there, LISTEN hear nothing, and prepared statements clash.
        """
        with self.datastore.get_connection(), self.datastore.get_connection():
            pass

    def check(self) -> None:
        """Warn of a server that loses what it has confirmed."""
        if self._rows("fsync") == [("off",)]:
            log.warning("the PostgreSQL server runs with fsync=off: a power cut will lose what it has confirmed")

    def _rows(self, name: str, *parameters: Any) -> list[Any]:
        with self.datastore.get_connection() as connection:
            cursor = self._run(connection, name, *parameters)
            return cursor.fetchall() if cursor.description else []

    def _run(self, connection: Connection[Any], name: str, *parameters: Any) -> Cursor[tuple[Any, ...]]:
        cursor = connection.cursor(row_factory=tuple_row, binary=True)
        return cursor.execute(self._sql[name], parameters or None, prepare=True)

    def _events(self, rows: Iterable[Sequence[Any]]) -> list[tuple[int, StoredEvent]]:
        events = [(row[0], StoredEvent(*row[1:])) for row in rows]
        if events:
            self._saw(events[-1][0], events[-1][1].state)
        return events

    def _saw(self, position: int, state: bytes) -> None:
        if position > self._seen[0]:
            self._seen = position, state

    def _verify(self, connection: Connection[Any]) -> None:
        """Raises LostEvents."""
        position, state = self._seen
        if position and self._run(connection, "state_at", position).fetchall() != [(state,)]:
            raise LostEvents(position)


def open_postgres(url: str) -> PostgresStore:
    """The event store at `url`, its tables made or brought up to date.

    Raises ValueError for a URL that libpq does not understand, PersistenceError when the server refuses.
    """
    recorder = PostgresStore(Datastore(Place.of(url)))
    try:
        recorder.prove_sessions()
        recorder.create_table()
        recorder.check()
    except BaseException:
        recorder.close()
        raise
    return recorder
