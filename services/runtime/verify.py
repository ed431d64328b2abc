"""`keyscope verify`: event store, stream and read model are compared, event by event and row by row.

Neither is kept in memory: events pass by, and rows stand in temporary files that go with the process.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import apsw
from nats.aio.client import Client

from events.base import parse_json
from events.catalog import event_class
from events.envelope import TYPE_PREFIX
from events.subjects import Subjects
from projections.account import CACHE_KB, State
from projections.database import BUSY_MS, versioned
from projections.digest import copy_rows, digest, first_difference, rows_of
from projections.projector import position_of
from services.bus.tasks import to_the_end
from services.runtime.failures import Exit, Failure
from services.runtime.files import there_is_one
from services.runtime.settings import Settings
from services.runtime.streamed import last_position, stream_events
from services.runtime.visiting import visiting
from services.store.application import Store, open_store

BATCH = 1_000
LOOK_AGAIN_SECONDS = 0.1

Progress = Callable[[int, int], None]
"""Told (events compared, events in all)."""


@dataclass
class Verdict:
    """What came of it."""

    position: int
    """Where the three were compared."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of the event store, the stream and the read model, there. None when the events differ already."""
    difference: str | None = None
    """The first one, in a sentence; None when all three agree."""


async def verify(settings: Settings, *, patience: float, progress: Progress) -> Verdict:
    """Compare the three, once stream and read model have reached the event store's position of now.

    That may take `patience` seconds; then, what is missing is the difference. Services may be at work meanwhile.
    Raises Failure when one of the three is not there at all or cannot be read, and what opening the store raises.
    """
    there_is_one(settings.event_store_url)
    store = await asyncio.to_thread(open_store, settings.event_store_url)
    try:
        async with visiting(settings, "keyscope-verify") as client:
            return await to_the_end(_verify(settings, store, client, patience, progress))
    except ValueError as error:  # UnknownEvent among them
        raise Failure(Exit.DAMAGED, f"an event cannot be read: {error}") from error
    finally:
        store.close()


async def _verify(settings: Settings, store: Store, client: Client, patience: float, progress: Progress) -> Verdict:
    wanted, epoch = await asyncio.to_thread(_where, store)
    subjects = Subjects(settings.prefix)
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        model = await asyncio.to_thread(_snapshot, versioned(settings.read_model_path), (wanted, epoch))
        there = await last_position(client, subjects)
        if model is not None and model.rows is not None and there >= wanted:
            return await _compare(store, stream_events(client), model.position, model.rows, progress)
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    if model is None:
        path = versioned(settings.read_model_path)
        raise Failure(Exit.NO_FILE, f"there is no read model {path}: has a query service run here?")
    if model.epoch not in (None, epoch):
        where = f"the read model was built in epoch {model.epoch}, the event store is in {epoch}"
    else:
        where = f"the read model is at position {model.position}, the stream at {there}, the event store at {wanted}"
    return Verdict(model.position, difference=f"{where}, after {patience:g} s of waiting")


def _where(store: Store) -> tuple[int, str]:
    return store.recorder.position(), store.recorder.epoch().id


@dataclass(frozen=True, slots=True)
class _Model:
    position: int
    epoch: str | None
    rows: apsw.Connection | None
    """A copy of them; None as long as the read model is not as far as was wanted."""


def _snapshot(path: Path, wanted: tuple[int, str]) -> _Model | None:
    """Position and rows in one transaction. None: there is no read model.

    The rows are copied, since a transaction that lasts would keep the read model's write-ahead log from being folded.
    """
    if not path.exists():
        return None
    # A name of its own would make it a file that stays: see projections.account.
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    copy = apsw.Connection("", flags=flags)
    copy.set_busy_timeout(BUSY_MS)
    copy.pragma("journal_mode", "OFF")
    copy.pragma("cache_size", -CACHE_KB)
    copy.execute("ATTACH ? AS model", (f"file:{quote(str(path.resolve()))}?mode=ro",))
    with copy:
        position, epoch = copy.execute("SELECT position, epoch FROM model.tracking").get
        reached = position >= wanted[0] and epoch in (None, wanted[1])
        if reached:
            copy_rows(copy, "model")
    copy.execute("DETACH model")
    if not reached:
        copy.close()
    return _Model(position, epoch, copy if reached else None)


async def _compare(
    store: Store, stream: AsyncGenerator[bytes, None], position: int, model: apsw.Connection, progress: Progress
) -> Verdict:
    """Compare all events that are in the stream now, and the rows that those up to `position` lead to."""
    verdict = Verdict(position)
    stored, streamed = State(), State()
    last = 0
    async with aclosing(stream), aclosing(_stored_events(store)) as events:
        async for there in stream:
            # Asked after the stream, which has nothing that the store does not have before.
            number, text = await anext(events)
            verdict.difference = _event_difference(number, last, text, there)
            if verdict.difference:
                return verdict
            if number <= position:
                stored.apply(text, number)
                streamed.apply(there)
            last = number
            if last % BATCH == 0:
                progress(min(last, position), position)
        if last < position:
            number, text = await anext(events)
            verdict.difference = _lacking(number, text, position)
            return verdict
    progress(position, position)
    verdict.digests = {
        "event store": await asyncio.to_thread(stored.digest),
        "stream": await asyncio.to_thread(streamed.digest),
        "read model": await asyncio.to_thread(lambda: digest(rows_of(model))),
    }
    if len(set(verdict.digests.values())) > 1:
        names = ("the event store", "the read model")
        verdict.difference = first_difference(stored.rows(), rows_of(model), names=names)
    return verdict


async def _stored_events(store: Store) -> AsyncGenerator[tuple[int, bytes], None]:
    """(position, stored text) of every event in the store, as long as there are any; then the last position and b""."""
    position = 0
    while rows := await asyncio.to_thread(store.recorder.notifications, position, BATCH):
        for position, _, text in rows:
            yield position, text
    yield position, b""


def _lacking(number: int, stored: bytes, position: int) -> str:
    """How it is that the stream has ended before the read model's position."""
    if stored:
        return f"position {number}: the event store has {_id(stored)}, the stream has ended"
    where = f"the read model is at position {position}, the event store at {number}"
    return f"{where}: the read model was built from another event store"


def _event_difference(position: int, last: int, stored: bytes, there: bytes) -> str | None:
    """How the stream's event differs from the one that should be there, after the one at position `last`.

    No `stored`: the event store ends with `last`.
    """
    end = len(stored) - 1
    if stored and there[:end] == stored[:end] and there.endswith(_ENDING % (last, position)):
        return None  # as nearly all are: the relay adds members to the text as it is stored
    try:
        theirs = parse_json(there)
        its_position, its_id = position_of(there), str(theirs["id"])
    except (ValueError, TypeError, KeyError):
        return f"position {position}: the event store has {_id(stored)}, the stream has something that is no event"
    if not stored:
        return f"the event store ends at position {position}, the stream has {its_id} at position {its_position}"
    ours = parse_json(stored)
    if position != its_position:
        return f"position {position}: the event store has {ours['id']}, the stream has position {its_position}"
    private = event_class(ours["type"].removeprefix(TYPE_PREFIX)).private
    ours["data"] = {name: value for name, value in ours["data"].items() if name not in private}
    ours |= {"source": theirs.get("source"), "previous": last, "position": position}
    other = [name for name in ("id", *sorted(ours.keys() | theirs.keys())) if ours.get(name) != theirs.get(name)]
    if "id" in other:
        return f"position {position}: the event store has {ours['id']}, the stream has {its_id}"
    return (
        f"position {position}: event {its_id} has other {other[0]} in the stream than in the event store"
        if other
        else None
    )


_ENDING = b',"previous":%d,"position":%d}'


def _id(stored: bytes) -> str:
    return str(parse_json(stored)["id"]) if stored else "nothing"
