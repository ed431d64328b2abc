"""`keyscope migrate-store`: its failures as the user reads them."""

from keyscope.servers import without_password
from services.runtime.failures import Exit, Failure, explain
from services.runtime.files import there_is_one
from services.store.copying import Progress, Refused
from services.store.migrate import migrate


def move(source: str, target: str, progress: Progress) -> dict[str, str]:
    """Copy the event store at `source` to `target` and compare the two: the digest of each table. Raises Failure."""
    there_is_one(source)
    try:
        return migrate(source, target, progress)
    except Refused as refused:
        raise Failure(Exit.DAMAGED, without_password(str(refused))) from None
    except ValueError as error:
        raise Failure(Exit.CONFIG, str(error)) from None
    except Exception as error:
        failure = explain(error, database=without_password(target), remedy="put it back from a backup")
        if failure is None:
            raise
        raise failure from None


def shown(target: str) -> str:
    """`target` without its password."""
    return without_password(target)
