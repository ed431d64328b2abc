"""Opening the read model's file: one writer, any number of readers, each on a connection of its own.

apsw rather than the standard library's sqlite3: it brings a recent SQLite, which builds a list of 1,000 keys with 5
channels each in two thirds of the time, and it has the progress handler and the limits that bound a query.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from projections import functions
from projections.schema import VERSION, ddl

BUSY_MS = 5_000

WRITING = {"journal_mode": "WAL", "synchronous": "NORMAL", "cache_size": -65_536, "wal_autocheckpoint": 0}.items()
"""A commit that a power cut loses is applied again from the stream, so there is no need to wait for the disk."""

READING = {"query_only": True, "cache_size": -16_384, "mmap_size": 1 << 30}.items()


class DamagedReadModel(Exception):
    """The file is not a read model of this version. It holds nothing that the event stream does not: delete it."""

    result = apsw.SQLITE_NOTADB


def versioned(database: Path) -> Path:
    """Where the read model of this version is: beside those of other versions, which older releases may still serve.

    `keyscope rebuild` puts a further generation beside it (`graph-v2.db`, `graph-v2-1.db`, …); the latest counts.
    """
    found = generations(database)
    return found[max(found)] if found else generation(database, 0)


def generation(database: Path, number: int) -> Path:
    """Where a generation of this version's read model is."""
    return database.with_name(f"{database.stem}-v{VERSION}{f'-{number}' if number else ''}{database.suffix or '.db'}")


def generations(database: Path) -> dict[int, Path]:
    """The generations of this version that are there, from the first to the latest."""
    name = re.compile(rf"{re.escape(f'{database.stem}-v{VERSION}')}(?:-(\d+))?{re.escape(database.suffix or '.db')}")
    files = list(database.parent.iterdir()) if database.parent.is_dir() else []
    found = {int(match[1] or 0): file for file in files if (match := name.fullmatch(file.name))}
    return dict(sorted(found.items()))


def remove(path: Path) -> None:
    """Delete a read model that nobody uses."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All or nothing.

    On a full disk SQLite may roll back by itself. apsw's `with connection` would then raise that there is nothing to
    roll back, as an error of ours, instead of what happened.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_folded(path: Path) -> bool:
    """Whether all of a read model that nobody uses is in the file itself.

    Closing it folds its write-ahead log into it, and says nothing when the disk has no room for that.
    """
    log = path.with_name(f"{path.name}-wal")
    return not log.exists() or log.stat().st_size == 0


def open_writer(path: Path) -> apsw.Connection:
    """The connection that writes, on a read model that is created if there is none. Raises DamagedReadModel."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    try:
        for pragma in WRITING:
            connection.pragma(*pragma)
        with transaction(connection):
            if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
                connection.execute(ddl())
            if connection.execute("SELECT version FROM tracking").get != VERSION:
                raise DamagedReadModel(f"{path} is a read model of another version")
    except (apsw.FullError, apsw.IOError):
        connection.close()
        raise
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError) as error:
        connection.close()
        raise DamagedReadModel(f"{path} is damaged or is not a read model; delete it and it is built anew") from error
    return connection


def open_reader(path: Path, *, longest: int) -> apsw.Connection:
    """A connection that reads. No text or row of it is longer than `longest` bytes: beyond, apsw.TooBigError."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=256)
    connection.set_busy_timeout(BUSY_MS)
    for pragma in READING:
        connection.pragma(*pragma)
    # Without the stability guarantee SQLite prepares a statement anew whenever a bound value might change its plan,
    # which costs three times what the statement does.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, longest)
    functions.register(connection)
    return connection
