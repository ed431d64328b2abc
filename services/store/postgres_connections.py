"""Where an event store lives in PostgreSQL, and the few connections to it that a service keeps.

The pool of psycopg reconnects in the background, ever more slowly: up to minutes after the server is back. Here a
connection is made when somebody needs it, and one that has died in the meantime is noticed without asking the server.
"""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from services.store.urls import check

SIZE = 4
"""Connections at most: the writer's, and those of a few readers."""
PATIENCE_SECONDS = 5.0

_DEFAULTS = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "keyscope",
}
# Whoever holds the lock and falls silent, as a process that is stopped or a machine that is gone, is cut off.
_SESSION = """
SET lock_timeout = '10s'; SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '10s';
SET client_min_messages = 'warning'; SET keyscope.session = 'taken';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""

# The mark of a session that is ours. A new connection whose session has it already shares it with another one.
_MARKED = "SELECT coalesce(current_setting('keyscope.session', true), '') AS mark"


@dataclass(frozen=True, slots=True)
class Place:
    """What psycopg needs to connect, and the schema that the tables are in."""

    arguments: dict[str, Any]
    schema: str

    @classmethod
    def of(cls, url: str) -> Self:
        """From libpq's URL with `schema` as one more parameter. Raises ValueError, which never tells the password."""
        check(url)
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = query.pop("schema", "public")
        try:
            arguments = conninfo_to_dict(urlunsplit(parts._replace(query=urlencode(query, quote_via=quote))))
        except psycopg.ProgrammingError as error:
            raise ValueError(f"not a PostgreSQL URL: {str(error).strip()}") from None
        return cls({**_DEFAULTS, **arguments}, schema)


class Connections:
    """At most SIZE connections, in autocommit. A thread that has `pinned` one uses it for everything."""

    def __init__(self, place: Place) -> None:
        self.verify: Callable[[Connection[DictRow]], None] = lambda _: None
        """Called with each new connection: it may be to another server than the last one. May raise."""
        self._place = place
        self._idle: list[Connection[DictRow]] = []
        self._room = threading.BoundedSemaphore(SIZE)
        self._mine = threading.local()

    def open(self, wait: bool, timeout: float) -> None:
        """The library opens its pool at every use; there is nothing to open."""

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """A connection that was alive a moment ago. Raises psycopg.OperationalError."""
        pinned: Connection[DictRow] | None = getattr(self._mine, "connection", None)
        if pinned is not None:
            yield pinned
            return
        if not self._room.acquire(timeout=PATIENCE_SECONDS):
            raise psycopg.OperationalError(f"all {SIZE} connections to the event store are busy")
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._room.release()

    @contextmanager
    def pinned(self, connection: Connection[DictRow]) -> Iterator[None]:
        """Inside, this thread has this connection and no other."""
        self._mine.connection = connection
        try:
            yield
        finally:
            self._mine.connection = None

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection[DictRow]:
        while self._idle:
            connection = self._idle.pop()
            if _alive(connection):
                return connection
            connection.close()
        made: Connection[DictRow] = Connection.connect(**self._place.arguments, autocommit=True, row_factory=dict_row)
        try:
            if made.execute(_MARKED).fetchall() != [{"mark": ""}]:
                raise psycopg.NotSupportedError(
                    "connections share sessions: connect directly, or through a pooler in session mode"
                )
            made.execute(_SESSION)
            self.verify(made)
        except BaseException:
            made.close()
            raise
        return made

    def _give_back(self, connection: Connection[DictRow]) -> None:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()


def _alive(connection: Connection[Any]) -> bool:
    """An idle connection has nothing to say, unless that the server has closed it."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
