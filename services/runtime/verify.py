"""`keyscope verify`: event store, stream and read model are compared, event by event and row by row."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from events.envelope import decode
from events.subjects import EVENTS_STREAM, Subjects
from projections.database import open_reader, versioned
from projections.digest import Row, State, digest, first_difference, rows_of
from projections.projector import position_of
from services.runtime.failures import Exit, Failure
from services.runtime.settings import Settings
from services.runtime.wiring import Context
from services.store.application import Store, open_store

BATCH = 1_000
LOOK_AGAIN_SECONDS = 0.1
SILENCE_SECONDS = 10.0

Progress = Callable[[int, int], None]
"""Told (events compared, events in all)."""


@dataclass
class Verdict:
    """What came of it."""

    position: int
    """Where the three were compared."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of the event store, the stream and the read model, there."""
    difference: str | None = None
    """The first one, in a sentence; None when all three agree."""


async def verify(settings: Settings, *, patience: float, progress: Progress) -> Verdict:
    """Compare the three, once stream and read model have reached the event store's position of now.

    That may take `patience` seconds; then, what is missing is the difference. Services may be at work meanwhile.
    Raises Failure when one of the three is not there at all, and what opening the store raises.
    """
    store = await asyncio.to_thread(open_store, settings.event_store_url)
    try:
        ended = asyncio.Event()
        client = await Context(settings, ended, _ignore).connect("keyscope-verify")
        try:
            return await _verify(settings, store, client, patience, progress)
        finally:
            ended.set()
            await client.close()
    finally:
        store.close()


async def _verify(settings: Settings, store: Store, client: Client, patience: float, progress: Progress) -> Verdict:
    wanted, epoch = await asyncio.to_thread(_where, store)
    model = await _read_model(versioned(settings.read_model_path), (wanted, epoch), patience, client.max_payload)
    subjects = Subjects(settings.prefix)
    if model.epoch not in (None, epoch):
        where = f"the read model was built in epoch {model.epoch}, the event store is in {epoch}"
        return Verdict(model.position, difference=f"{where}, after {patience:g} s of waiting")
    if model.position < wanted:
        there = await _last_position(client, subjects)
        where = f"the read model is at position {model.position}, the stream at {there}, the event store at {wanted}"
        return Verdict(model.position, difference=f"{where}, after {patience:g} s of waiting")
    return await _compare(store, stream_events(client, subjects), model, progress)


@dataclass(frozen=True, slots=True)
class _Model:
    position: int
    epoch: str | None
    rows: list[Row]

    def reached(self, wanted: tuple[int, str]) -> bool:
        """Whether it is as far as (position, epoch)."""
        return self.position >= wanted[0] and self.epoch in (None, wanted[1])


def _where(store: Store) -> tuple[int, str]:
    return store.recorder.position(), store.recorder.epoch().id


async def _read_model(path: Path, wanted: tuple[int, str], patience: float, longest: int) -> _Model:
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        model = await asyncio.to_thread(_snapshot, path, wanted, longest)
        late = asyncio.get_running_loop().time() > deadline
        if model is not None and (late or model.reached(wanted)):
            return model
        if late:
            raise Failure(Exit.NO_FILE, f"there is no read model {path}: has a query service run here?")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _snapshot(path: Path, wanted: tuple[int, str], longest: int) -> _Model | None:
    """Position and rows in one transaction; no rows as long as it is not as far as `wanted`. None: no file yet."""
    if not path.exists():
        return None
    with closing(open_reader(path, longest=longest)) as connection:
        connection.execute("BEGIN")
        position, epoch = connection.execute("SELECT position, epoch FROM tracking").get
        if not _Model(position, epoch, []).reached(wanted):
            return _Model(position, epoch, [])
        return _Model(position, epoch, list(rows_of(connection)))


async def _compare(store: Store, stream: AsyncGenerator[bytes, None], model: _Model, progress: Progress) -> Verdict:
    verdict = Verdict(model.position)
    stored, streamed = State(), State()
    async with aclosing(stream):
        while stored.position < model.position:
            rows = await asyncio.to_thread(store.recorder.notifications, stored.position, BATCH)
            for position, _, text in rows:
                if position > model.position:
                    break
                there = await anext(stream, None)
                verdict.difference = _event_difference(position, text, there)
                if verdict.difference or there is None:
                    return verdict
                stored.apply(text, position)
                streamed.apply(there)
            progress(stored.position, model.position)
            if not rows:
                where = f"the read model is at position {model.position}, the event store at {stored.position}"
                verdict.difference = f"{where}: the read model was built from another event store"
                return verdict
    verdict.digests = {
        "event store": stored.digest(), "stream": streamed.digest(), "read model": digest(model.rows)
    }  # fmt: skip
    if len(set(verdict.digests.values())) > 1:
        verdict.difference = first_difference(stored.rows(), model.rows, names=("the event store", "the read model"))
    return verdict


def _event_difference(position: int, stored: bytes, there: bytes | None) -> str | None:
    """How the stream's event differs from the one that should be there."""
    if there is None:
        return f"position {position}: the event store has {decode(stored).id}, the stream has ended"
    ours = decode(stored)
    if position_of(there) != position:
        return f"position {position}: the event store has {ours.id}, the stream has position {position_of(there)}"
    theirs = decode(there)
    if ours.id != theirs.id:
        return f"position {position}: the event store has {ours.id}, the stream has {theirs.id}"
    private = type(ours.data).private
    if ours.data.model_dump(exclude=set(private)) != theirs.data.model_dump(exclude=set(private)):
        return f"position {position}: event {ours.id} has other data in the stream than in the event store"
    return None


async def stream_events(client: Client, subjects: Subjects) -> AsyncGenerator[bytes, None]:
    """Every event that is in the stream now, in the stream's order."""
    js = client.jetstream()
    try:
        left = (await js.stream_info(EVENTS_STREAM)).state.messages
    except NotFoundError:
        return
    subscription = await js.pull_subscribe(
        subjects.events,
        stream=EVENTS_STREAM,
        config=ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True),
    )
    try:
        while left > 0:
            try:
                messages = await subscription.fetch(min(BATCH, left), timeout=SILENCE_SECONDS)
            except TimeoutError:
                return
            for message in messages:
                yield message.data
            left -= len(messages)
    finally:
        with suppress(NatsError, TimeoutError):
            await subscription.unsubscribe()


async def _last_position(client: Client, subjects: Subjects) -> int:
    try:
        last = await client.jetstream().get_last_msg(EVENTS_STREAM, subjects.events)
    except NotFoundError:
        return 0
    return position_of(last.data or b"")


def _ignore(_: Exception) -> None:
    """A connection that is lost for good shows up as an error of whoever uses it."""
