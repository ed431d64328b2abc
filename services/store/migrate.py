"""Moving an event store from SQLite to PostgreSQL: all of it, or nothing.

The rows are put beside the tables batch by batch, so that a move that is broken off goes on where it was; they come
into the tables, and are compared, in one transaction.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from services.store.application import SQLITE
from services.store.copying import Copying, Progress, Refused, moving, writing
from services.store.postgres import open_postgres


def migrate(source: str, target: str, progress: Progress) -> dict[str, str]:
    """Copy the store at `source` (sqlite:///…) to `target` (postgresql://…): the digest of each table.

    The source cannot be written to meanwhile. A target that holds all of it already is compared alone; one that holds
    something else is left as it is. Raises Refused for that, and what opening the two raises.
    """
    with _held(source) as old, closing(open_postgres(target)) as new, moving(new) as connection:
        copying = Copying(old, connection, new.datastore.schema, progress)
        if not copying.holds_anything():
            copying.stage()
        with writing(new):
            if copying.holds_anything():
                copying.drop_staged()
            else:
                copying.take_staged()
            return copying.compare()


@contextmanager
def _held(source: str) -> Iterator[sqlite3.Connection]:
    path = Path(source.removeprefix(SQLITE))
    if not source.startswith(SQLITE) or not path.is_file():
        raise Refused(f"there is no event store at {source}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody else writes until we are through
        yield connection
