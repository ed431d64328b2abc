"""Folding SQLite's write-ahead log into the file, beside the writing.

SQLite folds the log itself at a commit, which then takes 10 to 20 ms longer than others. Here a thread of its own does
it while the writer goes on, and what was written meanwhile, which is little, is left to the writer: only when nothing
is left in the log does SQLite begin it anew.

Whoever reads for long, as a backup does, keeps the log from being folded. When he has gone it is long, and all of it is
the thread's to fold: commands would wait for minutes if the writer did.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

FOLD = "PRAGMA wal_checkpoint(PASSIVE)"
"""Folds what no reader needs any more, without making anybody wait. Gives (busy, pages in the log, pages folded)."""
FOLD_PAGES = 4_000
"""Pages after which the thread folds."""
PAGE_BYTES = 4_096
LOG_PAGES = 3_000
"""Pages from which on the log is to begin anew."""

log = structlog.get_logger(__name__)


class Folding:
    """Folds for the one writer of a file. `connect` makes a connection for the thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "folding")
        self._folding: Future[int] | None = None
        self._pages = 0.0

    def wrote(self, *, commands: int, events: int, size: int) -> bool:
        """A transaction of `size` bytes was committed. Whether the writer shall now FOLD what little is left itself."""
        self._pages += 4 + 2.5 * commands + 0.3 * events + size / PAGE_BYTES  # measured; SQLite does not tell
        if self._folding is None:
            if self._pages >= FOLD_PAGES:
                self._pages = 0.0
                self._folding = self._thread.submit(self._fold)
        elif self._folding.done():
            pages = self._folding.result()
            self._folding = None
            return pages >= LOG_PAGES
        return False

    def _fold(self) -> int:
        """Returns how many pages the log has; 0 when much of it is left, which is not the writer's to fold."""
        before = 0
        try:
            if self._connection is None:
                self._connection = self._connect()
            while True:
                _, pages, folded = self._connection.execute(FOLD).fetchone()
                if folded - before <= 2 * FOLD_PAGES:  # else it took long, and much was written meanwhile
                    break
                before = folded
        except sqlite3.Error as error:  # the writer's next commit meets it too, and answers for it
            log.warning("the write-ahead log could not be folded", error=str(error))
            return 0
        return int(pages) if pages - folded <= FOLD_PAGES else 0

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
