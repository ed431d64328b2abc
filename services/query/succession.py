"""Going over to a read model that `keyscope rebuild` has put beside the present one, while queries are answered.

The files tell all there is to know, so a crash anywhere is harmless: a generation that is there under its name is
complete and verified, the latest is the one to use, and the ones before it may go.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import apsw
import structlog
from nats.aio.client import Client

from events.subjects import Subjects
from projections.database import DamagedReadModel, generations, remove, versioned
from projections.projector import Projector
from services.query.model import ReadModel

LOOK_SECONDS = 0.5

log = structlog.get_logger("query")


def latest(database: Path) -> tuple[Path, Projector]:
    """The latest generation beside `database`, opened or made. Those before it go. Raises DamagedReadModel."""
    path = versioned(database)
    projector = Projector(path)
    _remove_before(database, path)
    return path, projector


class Succession:
    """Looks for successors of `model`, and has `use` called with each as soon as it is as far as its predecessor."""

    def __init__(
        self, database: Path, model: ReadModel, client: Client, subjects: Subjects, use: Callable[[ReadModel], None]
    ) -> None:
        self.model = model
        self._database, self._client, self._subjects, self._use = database, client, subjects, use
        self._next: ReadModel | None = None
        self._refused: tuple[Path, int] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            found = await asyncio.to_thread(_newest, self._database)
            if found is None or found[0] == self.model.path or found == self._refused:
                continue
            try:
                await self._succeed(found[0])
            except (apsw.FullError, apsw.IOError) as error:
                log.error("the rebuilt read model cannot be opened; trying again", error=str(error))  # noqa: TRY400 - no news in a traceback
            except Exception as error:
                expected = isinstance(error, DamagedReadModel)
                log.error("the rebuilt read model cannot be used", error=str(error), exc_info=not expected)  # noqa: TRY400
                self._refused = found

    async def close(self) -> None:
        """Close the model, and the one that was to be the next."""
        if self._next is not None:
            await self._next.close()
        await self.model.close()

    async def _succeed(self, path: Path) -> None:
        log.info("a rebuilt read model is there; going over to it", file=path.name)
        projector = await asyncio.to_thread(Projector, path)
        following = self._next = ReadModel(projector, path, self._client, self._subjects)
        following.follow()
        await following.follower.caught_up.wait()
        while following.position < self.model.position:  # noqa: ASYNC110 - a position once answered from must not be lost
            await asyncio.sleep(0.005)
        before, self.model, self._next = self.model, following, None
        self._use(following)
        await before.close()
        await asyncio.to_thread(_remove_before, self._database, path)
        log.info("queries are answered from the rebuilt read model", file=path.name, position=following.position)


def _newest(database: Path) -> tuple[Path, int] | None:
    """The latest generation and when it was written, to tell one from another that had the same name."""
    path = versioned(database)
    try:
        return path, path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _remove_before(database: Path, path: Path) -> None:
    """One that came after `path` meanwhile is the next to use."""
    for earlier in generations(database).values():
        if earlier == path:
            break
        remove(earlier)
