"""`keyscope rebuild`: a read model is built beside the present one, verified, and put in its place.

It is built by this process from the stream, so whoever answers queries is not disturbed; going over to it is the query
service's own work (services.query.succession), and takes milliseconds. Killed at any point, nothing is lost: the file
bears its name only once it is complete and verified, and what has no name yet is deleted by the next rebuild.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from events.subjects import EVENTS_STREAM, Subjects
from projections.account import State
from projections.database import generation, generations, is_folded, open_reader, remove
from projections.digest import digest, first_difference, rows_of
from projections.projector import Projector
from services.bus.tasks import end, to_the_end
from services.query.follower import Follower
from services.runtime.failures import Exit, Failure
from services.runtime.files import sync
from services.runtime.locks import hold
from services.runtime.settings import Settings
from services.runtime.streamed import stream_events
from services.runtime.visiting import visiting

STUCK_SECONDS = 10.0
LOOK_SECONDS = 0.1

Progress = Callable[[str, int, int], None]
"""Told (what is being done, events done, events in all)."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it."""

    path: Path
    position: int
    difference: str | None = None
    """Why it was thrown away: the first row that is not as the events say."""
    in_use: bool = True
    """Whether it has taken the place of the one before, or will at the next start."""


async def rebuild(settings: Settings, *, patience: float, progress: Progress) -> Rebuilt:
    """Build, verify, and wait `patience` seconds for the query service to go over.

    Raises Failure when there is no stream, when the stream cannot be applied, or another rebuild is at work.
    """
    database = settings.read_model_path
    lock = hold(database.with_name(f"{database.name}.rebuild.lock"), f"the rebuilding of {database}")
    try:
        before = generations(database)
        path = generation(database, max(before) + 1 if before else 0)
        building = path.with_name(f"{path.name}.new")
        try:
            remove(building)
            rebuilt = await to_the_end(_build_and_verify(settings, building, path, progress))
            if rebuilt.difference is not None:
                return rebuilt
            if not is_folded(building):
                raise _no_room(path)
            building.replace(path)
        finally:
            remove(building)  # after all went well: what the reader that verified it may have left beside it
        sync(path.parent)
        in_use = await _in_use(database, path, patience)
        return Rebuilt(path, rebuilt.position, in_use=in_use)
    finally:
        os.close(lock)


async def _build_and_verify(settings: Settings, building: Path, path: Path, progress: Progress) -> Rebuilt:
    async with visiting(settings, "keyscope-rebuild") as client:
        position = await _build(client, Subjects(settings.prefix), building, progress)
        difference = await _verify(client, building, position, progress)
        return Rebuilt(path, position, difference)


async def _build(client: Client, subjects: Subjects, building: Path, progress: Progress) -> int:
    """Fill the file with the stream as it is now; the position reached."""
    try:
        total = (await client.jetstream().stream_info(EVENTS_STREAM)).state.messages
    except NotFoundError:
        raise Failure(Exit.DIVERGED, f"there is no stream {EVENTS_STREAM} to build from: does the relay run?") from None
    projector = await asyncio.to_thread(Projector, building)
    position = 0

    def applied(reached: int) -> None:
        nonlocal position
        position = reached
        progress("building", min(reached, total), total)

    follower = Follower(client, subjects, projector, applied)
    following = asyncio.create_task(follower.run())
    try:
        await _caught_up(follower, building)
    finally:
        await end([following])
        await follower.close()
    return position


async def _caught_up(follower: Follower, building: Path) -> None:
    stuck = 0.0
    while not follower.caught_up.is_set():
        await asyncio.sleep(LOOK_SECONDS)
        if follower.no_room:
            raise _no_room(building)
        stuck = stuck + LOOK_SECONDS if follower.state.startswith("stuck") else 0.0
        if stuck > STUCK_SECONDS:
            raise Failure(Exit.DIVERGED, f"the stream cannot be applied ({follower.state}); the log has the reason")


async def _verify(client: Client, building: Path, position: int, progress: Progress) -> str | None:
    """The first row that is not as the events say."""
    expected = State()
    if position:
        events = stream_events(client)
        async with aclosing(events):
            async for text in events:
                expected.apply(text)
                if expected.position % 1_000 == 0 or expected.position >= position:
                    progress("verifying", expected.position, position)
                if expected.position >= position:
                    break
    return await asyncio.to_thread(_difference, building, expected, client.max_payload)


def _difference(building: Path, expected: State, longest: int) -> str | None:
    with closing(open_reader(building, longest=longest)) as connection:
        connection.pragma("mmap_size", 0)  # read once, from beginning to end: it need not stay in memory
        if digest(rows_of(connection)) == expected.digest():
            return None
        return first_difference(expected.rows(), rows_of(connection), names=("the stream", "the new read model"))


async def _in_use(database: Path, path: Path, patience: float) -> bool:
    """Wait until the ones before are gone: the query service deletes them, and without one we do."""
    deadline = asyncio.get_running_loop().time() + patience
    while any(other != path for other in generations(database).values()):
        if _nobody_serves(database):
            for other in generations(database).values():
                if other != path:
                    remove(other)
            return True
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _nobody_serves(database: Path) -> bool:
    """Whether the lock of the query service is free."""
    with suppress(OSError), database.with_name(f"{database.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _no_room(path: Path) -> Failure:
    return Failure(Exit.NO_ROOM, f"{path} cannot be written: the disk is full, or fails")
