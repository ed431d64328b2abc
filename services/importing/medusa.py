"""Reading Medusa's tables: everything as of one moment, row by row, however much it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from services.store.urls import check

ROWS_AT_ONCE = 2_000
CONNECT_SECONDS = 10

_CHANNELS = """
SELECT id, name, description, is_disabled, metadata, created_at, updated_at, deleted_at
FROM {schema}.sales_channel ORDER BY id COLLATE "C"
"""
_KEYS = """
SELECT id, token, salt, redacted, title, type, last_used_at, created_by, revoked_by, revoked_at,
       created_at, updated_at, deleted_at
FROM {schema}.api_key ORDER BY id COLLATE "C"
"""
_LINKS = """
SELECT id, publishable_key_id, sales_channel_id, created_at, updated_at, deleted_at
FROM {schema}.publishable_api_key_sales_channel
ORDER BY publishable_key_id COLLATE "C", sales_channel_id COLLATE "C"
"""
_COUNTS = """
SELECT (SELECT count(*) FROM {schema}.sales_channel), (SELECT count(*) FROM {schema}.api_key),
       (SELECT count(*) FROM {schema}.publishable_api_key_sales_channel)
"""


class NotMedusa(Exception):
    """The database cannot be reached, or does not hold Medusa's tables; the message says which."""


class Counts(NamedTuple):
    """How many rows there are, deleted ones too."""

    channels: int
    keys: int
    links: int


class KeyWithLinks(NamedTuple):
    """A row of api_key and its rows of links; without a key, the rows whose key is not there."""

    key: Any | None
    links: list[Any]


class MedusaDatabase:
    """One moment of the database."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = sql.Identifier(schema)

    def counts(self) -> Counts:
        """How much there is to read."""
        row = self._connection.execute(sql.SQL(_COUNTS).format(schema=self._schema)).fetchone()
        assert row is not None
        return Counts(*row)

    def channels(self) -> Iterator[Any]:
        """The rows of sales_channel."""
        return self._rows("channels", _CHANNELS)

    def keys_with_links(self) -> Iterator[KeyWithLinks]:
        """The rows of api_key, each with its links: two streams in the order of the keys' ids, read side by side."""
        groups = groupby(self._rows("links", _LINKS), attrgetter("publishable_key_id"))
        group = next(groups, None)
        for key in self._rows("keys", _KEYS):
            while group and group[0] < key.id:
                yield KeyWithLinks(None, list(group[1]))
                group = next(groups, None)
            links: list[Any] = []
            if group and group[0] == key.id:
                links = list(group[1])
                group = next(groups, None)
            yield KeyWithLinks(key, links)
        while group:
            yield KeyWithLinks(None, list(group[1]))
            group = next(groups, None)

    def _rows(self, name: str, statement: str) -> Iterator[Any]:
        with self._connection.cursor(name, row_factory=namedtuple_row) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            yield from cursor.execute(sql.SQL(statement).format(schema=self._schema))


@contextmanager
def open_medusa(url: str, schema: str = "public") -> Iterator[MedusaDatabase]:
    """Read the database at `url`; nothing is written, and Medusa may go on meanwhile. Raises NotMedusa."""
    try:
        check(url)
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, application_name="keyscope import") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield MedusaDatabase(connection, schema)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise NotMedusa(f"this is no Medusa database: {error.diag.message_primary}") from None
    except ValueError as error:
        raise NotMedusa(str(error)) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).strip().partition("\n")[0]
        raise NotMedusa(f"the database cannot be read: {said}") from None


def timestamp(value: datetime) -> str:
    """An instant as events carry it. PostgreSQL's microseconds are cut off, as Medusa itself does."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}Z"
