"""Backup and restore of the event store in a file. Everything else is made from it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from services.runtime.failures import Exit, Failure, cannot_write
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
    unfinished = to.with_name(f"{to.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(here)) as source, closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)  # in one step, under one read transaction: writers neither wait nor disturb it
            copy.execute("PRAGMA journal_mode=DELETE")
            position = _checked(copy, to)
        _sync(unfinished)
        unfinished.replace(to)
        _sync(to.parent)
    except OSError as error:
        raise cannot_write(to, error) from error
    except sqlite3.Error as error:
        raise Failure(Exit.DAMAGED, f"{here} cannot be copied: {error}") from error
    return position


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
        unfinished = here.with_name(f"{here.name}.unfinished")
        try:
            for file in (unfinished, *(here.with_name(f"{here.name}{end}") for end in ("-wal", "-shm"))):
                file.unlink(missing_ok=True)
            with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as source:
                position = _checked(source, copy)
                with closing(sqlite3.connect(unfinished)) as target:
                    source.backup(target)
            store = open_store(f"{SQLITE}{unfinished}")
            epoch = store.recorder.new_epoch()
            store.close()
            _sync(unfinished)
            unfinished.replace(here)
            _sync(here.parent)
        except OSError as error:
            raise cannot_write(here, error) from error
        except sqlite3.Error as error:
            raise Failure(Exit.DAMAGED, f"{copy} is no copy of an event store, or is damaged: {error}") from error
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
