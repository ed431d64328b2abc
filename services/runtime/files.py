"""Files that are databases: whether one is there, and that it stays."""

import os
from pathlib import Path

from services.runtime.failures import Exit, Failure
from services.store.application import SQLITE


def there_is_one(url: str) -> None:
    """Raises Failure when `url` names an event store in a file that is not there: to open it would make an empty one.

    A database in PostgreSQL says so itself.
    """
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not path.exists():
        raise Failure(Exit.NO_FILE, f"there is no event store {path}: look at --data-dir and KEYSCOPE_EVENT_STORE")


def sync(path: Path) -> None:
    """Let a file keep what it holds, or a folder its names, over a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
