"""Commands that look after an event store look after one that is there: opening SQLite's would make one."""

from pathlib import Path

from services.runtime.failures import Exit, Failure
from services.store.application import SQLITE


def there_is_one(url: str) -> None:
    """Raises Failure when `url` names a file that is not there. A database in PostgreSQL says so itself."""
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not path.exists():
        raise Failure(Exit.NO_FILE, f"there is no event store {path}: look at --data-dir and KEYSCOPE_EVENT_STORE")
