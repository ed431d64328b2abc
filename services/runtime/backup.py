"""Backup and restore of the event store in a file. Everything else is made from it."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eventsourcing.persistence import PersistenceError

from services.runtime.failures import Exit, Failure, cannot_write, explain
from services.runtime.locks import hold
from services.runtime.settings import Settings
from services.store.application import SQLITE, open_store
from services.store.commit import Epoch


def backup(settings: Settings, to: Path) -> int:
    """Copy the event store to the file `to`, as it is at one instant, while services work; the position then.

    The copy is checked, and synced to disk, before it has its name. Raises Failure.
    """
    here = _file(settings)
    if to.exists():
        raise Failure(Exit.NO_FILE, f"{to} is there already: give the copy another name")
    if not here.exists():
        raise Failure(Exit.NO_FILE, f"there is no event store {here}")
    with (
        _refused(to, f"{here} cannot be copied"),
        _finished(to) as unfinished,
        closing(sqlite3.connect(here)) as source,
        closing(sqlite3.connect(unfinished)) as copy,
    ):
        source.backup(copy)  # in one step, under one read transaction: writers neither wait nor disturb it
        copy.execute("PRAGMA journal_mode=DELETE")
        return _checked(copy, to)


def restore(settings: Settings, copy: Path) -> tuple[int, Epoch]:
    """Make the copy the event store of a machine that has none: its position, and the new epoch that begins with it.

    Whatever was stored after the copy was made is gone, so stream and read models of before must not be gone on with:
    the new epoch has them made anew. Raises Failure.
    """
    here = _file(settings)
    with _alone(settings):
        if here.exists():
            raise Failure(Exit.IN_USE, f"there is an event store {here} already: move it away first")
        if not copy.exists():
            raise Failure(Exit.NO_FILE, f"there is no file {copy}")
        with _refused(here, f"{copy} is no copy of an event store, or is damaged"), _finished(here) as unfinished:
            for log in _logs(here):
                log.unlink(missing_ok=True)
            with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as source:
                position = _checked(source, copy)
                with closing(sqlite3.connect(unfinished)) as target:
                    source.backup(target)
            store = open_store(f"{SQLITE}{unfinished}")
            try:
                epoch = store.recorder.new_epoch()
            finally:
                store.close()
    return position, epoch


def new_epoch(settings: Settings) -> Epoch:
    """Let the stream and the read models be made anew from the event store as it is now. Raises Failure."""
    with _alone(settings):
        store = open_store(settings.event_store_url)
        try:
            return store.recorder.new_epoch()
        finally:
            store.close()


def _file(settings: Settings) -> Path:
    url = settings.event_store_url
    if not url.startswith(SQLITE):
        raise Failure(Exit.CONFIG, "an event store in PostgreSQL is copied with pg_dump, and put back with pg_restore")
    return Path(url.removeprefix(SQLITE))


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nobody runs `keyscope up` on the data folder meanwhile."""
    lock = hold(settings.data_dir / "lock", f"the data folder {settings.data_dir}")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _refused(path: Path, otherwise: str) -> Iterator[None]:
    """What goes wrong while `path` is written, as the user reads it; `otherwise`, when it is not `path` itself."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
    except (sqlite3.Error, PersistenceError) as error:
        failure = explain(error, database=path, remedy="")
        if failure is None or failure.exit is Exit.DAMAGED:
            failure = Failure(Exit.DAMAGED, f"{otherwise}: {error}")
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
        _sync(unfinished)
        unfinished.replace(file)
        _sync(file.parent)
    finally:
        _remove(unfinished)


def _remove(database: Path) -> None:
    for path in (database, *_logs(database)):
        path.unlink(missing_ok=True)


def _logs(database: Path) -> list[Path]:
    """What SQLite keeps beside a file that is open, or was not closed well."""
    return [database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm", "-journal")]


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    """The position of the last event in a file that is whole. Raises Failure."""
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise Failure(Exit.DAMAGED, f"{path} is damaged")
    return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM stored_events").fetchone()[0])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
