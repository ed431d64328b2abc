"""Backup and restore of the event store in a file. Everything else is made from it.

The file is an event store of SQLite's, whatever database the store is in, and can be restored to either.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from keyscope.servers import without_password
from services.runtime.failures import Exit, Failure, cannot_write, explain
from services.runtime.files import sync, there_is_one
from services.runtime.locks import hold
from services.runtime.settings import Settings
from services.store.application import SQLITE, open_store
from services.store.commit import Epoch
from services.store.copying import Copying, Progress, Refused, reading, writing
from services.store.postgres import open_postgres

PAGES = 2_000
"""Pages of SQLite's at a time."""


def backup(settings: Settings, to: Path, progress: Progress) -> int:
    """Copy the event store to the file `to`, as it is at one instant, while services work; the position then.

    The copy is checked, and synced to disk, before it has its name. Raises Failure.
    """
    url = settings.event_store_url
    if to.exists():
        raise Failure(Exit.NO_FILE, f"{to} is there already: give the copy another name")
    there_is_one(url)
    with _failures(url, "put it back from a backup", to), _finished(to) as unfinished:
        if url.startswith(SQLITE):
            _copy(_file(url), unfinished, progress)
        else:
            _copy_from_postgres(url, unfinished, progress)
        return _checked(unfinished, to)


def restore(settings: Settings, copy: Path, progress: Progress) -> tuple[int, Epoch]:
    """Make the copy the event store of a machine that has none: its position, and the new epoch that begins with it.

    Whatever was stored after the copy was made is gone, so stream and read models of before must not be gone on with:
    the new epoch has them made anew. Raises Failure.
    """
    url = settings.event_store_url
    with _alone(settings):
        if url.startswith(SQLITE) and _file(url).exists():
            raise Failure(Exit.IN_USE, f"there is an event store {_file(url)} already: move it away first")
        if not copy.exists():
            raise Failure(Exit.NO_FILE, f"there is no file {copy}")
        try:
            position = _checked(copy, copy)
        except sqlite3.Error as error:
            raise Failure(Exit.DAMAGED, f"{copy} is no copy of an event store, or is damaged: {error}") from error
        if url.startswith(SQLITE):
            with _failures(url, "put it back from a backup", _file(url)):
                return position, _restore_file(copy, _file(url), progress)
        with _failures(url, "give another database or schema"):
            return position, _restore_to_postgres(copy, url, progress)


def new_epoch(settings: Settings) -> Epoch:
    """Let the stream and the read models be made anew from the event store as it is now. Raises Failure."""
    there_is_one(settings.event_store_url)
    with _alone(settings), _failures(settings.event_store_url, "put it back from a backup"):
        store = open_store(settings.event_store_url)
        try:
            return store.recorder.new_epoch()
        finally:
            store.close()


def _copy(here: Path, to: Path, progress: Progress) -> None:
    with closing(sqlite3.connect(here)) as source, closing(sqlite3.connect(to)) as copy:
        # One read transaction over all steps: writers neither wait nor disturb it, and it sees nothing of theirs.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(copy, pages=PAGES, progress=lambda _, left, total: progress("copying", total - left, total))
        copy.execute("PRAGMA journal_mode=DELETE")


def _copy_from_postgres(url: str, to: Path, progress: Progress) -> None:
    open_store(f"{SQLITE}{to}").close()
    with closing(sqlite3.connect(to)) as copy, closing(open_postgres(url)) as store, reading(store) as connection:
        copy.execute("PRAGMA journal_mode=DELETE")
        with copy:
            copying = Copying(copy, connection, store.datastore.schema, progress)
            copying.to_sqlite()
            copying.compare()


def _restore_file(copy: Path, here: Path, progress: Progress) -> Epoch:
    here.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _finished(here) as unfinished:
        _remove(here)  # what an event store that was moved away has left beside it
        _copy(copy, unfinished, progress)
        with closing(open_store(f"{SQLITE}{unfinished}")) as store:
            return store.recorder.new_epoch()


def _restore_to_postgres(copy: Path, url: str, progress: Progress) -> Epoch:
    with (
        closing(_open_copy(copy)) as old,
        closing(open_postgres(url)) as store,
        writing(store) as connection,
    ):
        copying = Copying(old, connection, store.datastore.schema, progress)
        if copying.holds_anything():
            there = f"there is an event store at {without_password(url)} already"
            raise Failure(Exit.IN_USE, f"{there}: give another database or schema")
        copying.to_postgres()
        copying.compare()
        return store.new_epoch()


def _file(url: str) -> Path:
    return Path(url.removeprefix(SQLITE))


def _open_copy(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


@contextmanager
def _failures(url: str, remedy: str, writes: Path | None = None) -> Iterator[None]:
    """What goes wrong with the event store at `url`, or with the file that is written, as the user reads it."""
    store = without_password(url).removeprefix(SQLITE)
    try:
        yield
    except Failure:
        raise
    except Refused as refused:
        raise Failure(Exit.DAMAGED, str(refused)) from refused
    except ValueError as error:
        raise Failure(Exit.CONFIG, str(error)) from None
    except OSError as error:
        raise cannot_write(writes or store, error) from error
    except Exception as error:
        failure = explain(error, database=store, remedy=remedy)
        if failure is not None and failure.exit in (Exit.NO_ROOM, Exit.NO_FILE):
            failure = explain(error, database=writes or store, remedy="")
        if failure is None:
            raise
        raise failure from error


@contextmanager
def _finished(file: Path) -> Iterator[Path]:
    """A database to write beside `file`. It takes that name when it is complete and on disk; else nothing stays."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        _remove(unfinished)
        yield unfinished
        if any(log.exists() for log in _logs(unfinished)):  # closing says nothing when it could not fold them
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(unfinished)
        unfinished.replace(file)
        sync(file.parent)
    finally:
        _remove(unfinished)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nobody runs `keyscope up` on the data folder meanwhile."""
    lock = hold(settings.data_dir / "lock", f"the data folder {settings.data_dir}")
    try:
        yield
    finally:
        os.close(lock)


def _checked(path: Path, name: Path) -> int:
    """The position of the last event in a file that is whole. Raises Failure, which calls it `name`."""
    with closing(_open_copy(path)) as connection:
        if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            raise Failure(Exit.DAMAGED, f"{name} is damaged")
        return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM stored_events").fetchone()[0])


def _remove(database: Path) -> None:
    for path in (database, *_logs(database)):
        path.unlink(missing_ok=True)


def _logs(database: Path) -> list[Path]:
    """What SQLite keeps beside a file that is open, or was not closed well."""
    return [database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm", "-journal")]
