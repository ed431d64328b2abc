"""SQLite's write-ahead log, however long somebody reads."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.store.application import Store, open_store
from services.store.folding import FOLD_PAGES, Folding
from services.store.sqlite import LOG_BYTES
from tests.store.test_store import channel, commit, recorded
from tests.support.up import wait_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def log_of(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def write(store: Store, name: str, batches: int, length: int) -> None:
    """Events of `length` bytes and some more, a hundred in each transaction."""
    known = store.recorder.position()
    for batch in range(batches):
        events = [
            channel(f"sc_{name}_{batch}_{n}").model_copy(update={"description": "x" * length}) for n in range(100)
        ]
        known = store.write(commit(*(recorded(1, event) for event in events), known=known)).position


def write_until_short(store: Store, path: Path) -> None:
    """How many batches the thread needs for it is the machine's to say."""
    for turn in range(100):
        if log_of(path) < 4 * LOG_BYTES:
            return
        write(store, f"more_{turn}", 5, 10_000)
    raise AssertionError("the log stays long")


def begin(path: Path) -> sqlite3.Connection:
    """A reader that keeps the log from being folded, as a backup does, or a process that is stopped."""
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT max(rowid) FROM stored_events").fetchone()
    return reader


def test_a_log_that_a_long_reader_has_made_long_becomes_short_again(path: Path, store: Store) -> None:
    with closing(begin(path)) as reader:
        write(store, "beside", 100, 10_000)
        assert log_of(path) > 4 * LOG_BYTES
        assert reader.execute("SELECT max(rowid) FROM stored_events").fetchone() == (None,)
    write_until_short(store, path)
    assert path.stat().st_size > 4 * LOG_BYTES  # it was folded into the file


def test_the_length_of_events_counts(path: Path, store: Store) -> None:
    """Few commands may write much."""
    write(store, "long", 40, 10_000)
    wait_for(lambda: path.stat().st_size > LOG_BYTES / 2)  # it is folded into the file


def test_what_is_left_of_a_log_is_told_only_when_it_is_little(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, check_same_thread=False)

    def filled(folding: Folding) -> bool:
        """Whether the writer is to fold when the thread has done so."""
        writer.execute("INSERT INTO filling VALUES (zeroblob(?))", (2 * FOLD_PAGES * 4_096,))
        folding.wrote(commands=0, events=0, size=2 * FOLD_PAGES * 4_096)
        running: Any = folding._folding
        running.result(30)
        return folding.wrote(commands=0, events=0, size=0)

    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=wal")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("CREATE TABLE filling (bytes)")
        with closing(Folding(connect)) as folding:
            assert filled(folding)
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM filling").fetchone()
                assert not filled(folding)
            assert filled(folding)
