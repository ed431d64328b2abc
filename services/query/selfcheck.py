"""The read model compares itself with the events, a key at a time, for as long as it serves.

Every so many seconds one key is looked at, by turns one that the stream names and one that the read model has: so what
is missing is found as well as what is wrong. Its events, and those of its channels, are folded by the account of
`projections.account`, which shares no code with the projection, and compared with its rows at one position. Every event
carries all that it sets, so the last one of each kind is enough; to read a history over and over would have the broker
keep all of it in memory. A check costs some milliseconds and the memory of one key, however much there is.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from events.subjects import EVENTS_STREAM, Subjects, from_token
from projections.account import State
from projections.database import open_reader
from projections.digest import COLUMNS, Row, differences, id_of
from projections.projector import position_of
from services.bus.measures import CHECKS, DIFFERENCES, SELF_CHECKED
from services.bus.trouble import said

MOST_CHANNELS = 500
"""A key with more is passed over: naming all of them in one consumer is too much."""
MOST_EVENTS = 2_500
"""A key is passed over as well if it, or its channels together, have more of them: a check must stay a small one."""
FETCH = 200
PATIENCE_SECONDS = 5.0
NAME = "self-check"
RESULTS = ("equal", "different", "passed over", "failed")

log = structlog.get_logger("query")


class _PassedOver(Exception):
    """The key is not compared this time; the message says why."""


class SelfCheck:
    """Checks the read model at `path()` every `seconds`.

    What it finds makes the process not ready, until the read model is another one.
    """

    def __init__(self, client: Client, subjects: Subjects, path: Callable[[], Path], seconds: float) -> None:
        self._client, self._subjects, self._path, self._seconds = client, subjects, path, seconds
        self._js = client.jetstream()
        self._chance = random.Random()  # noqa: S311 - which key is looked at is no secret
        self._found: dict[str, Path] = {}
        self._turn = 0

    async def run(self) -> None:
        """Check until cancelled."""
        CHECKS[NAME] = self._problem
        DIFFERENCES.read = lambda: len(self._differences())
        for result in RESULTS:
            SELF_CHECKED.add(0, result)  # an increase is seen only from a value that was there before
        while True:
            await asyncio.sleep(self._seconds)
            self._turn += 1
            try:
                await self._check()
            except _PassedOver as why:
                SELF_CHECKED.add(1, "passed over")
                log.debug("a key was not compared", because=str(why))
            except (NatsError, TimeoutError, OSError) as error:
                SELF_CHECKED.add(1, "failed")
                log.warning("a self-check was not possible", error=said(error))
            except Exception:
                SELF_CHECKED.add(1, "failed")
                log.exception("a self-check failed")

    def _differences(self) -> list[str]:
        self._found = {id: path for id, path in self._found.items() if path == self._path()}
        return sorted(self._found)

    def _problem(self) -> str | None:
        found = self._differences()
        if not found:
            return None
        return f"{', '.join(found[:3])}: not as the events say; run `keyscope rebuild`"

    async def _check(self) -> None:
        path = self._path()
        key = await (self._key_of_the_stream() if self._turn % 2 else asyncio.to_thread(_some_key, path, self._chance))
        if key is None:
            return
        differs = await self._differs(path, key)
        if differs and await self._differs(path, key):  # looked at twice: a rebuilt stream may have come in between
            log.error("the read model is not as the events say", entity=" ".join(differs), api_key=key)
            self._found[" ".join(differs)] = path
        SELF_CHECKED.add(1, "different" if differs else "equal")

    async def _differs(self, path: Path, key: str) -> tuple[str, ...] | None:
        """The table and the ids of the first row that is not as it should be."""
        of_key = [f"api_key.*.{self._token(key)}", f"link.*.{self._token(key)}.*"]
        linked = {from_token(token) for subject, _ in await self._events(of_key) if (token := _channel_in(subject))}
        position, channels, rows = await asyncio.to_thread(_rows, path, key, linked)
        if len(channels) > MOST_CHANNELS:
            raise _PassedOver(f"{key} has {len(channels)} channels")
        # Asked only now: what the rows are made of has come. What has come after it may hide an event of theirs.
        events = await self._events(of_key)
        events += await self._events([f"sales_channel.*.{self._token(channel)}" for channel in sorted(channels)])
        found = sorted((position_of(text), text) for _, text in events)
        if found and found[-1][0] > position:
            raise _PassedOver(f"{key} was changed meanwhile")
        return await asyncio.to_thread(_compared, [text for _, text in found], rows)

    def _token(self, id: str) -> str:
        return self._subjects.event("x", id).rpartition(".")[2]

    async def _key_of_the_stream(self) -> str | None:
        """The key that an event of the stream names, whichever comes."""
        try:
            state = (await self._js.stream_info(EVENTS_STREAM)).state
        except NotFoundError:
            return None
        if not state.messages:
            return None
        sequence = self._chance.randint(state.first_seq, state.last_seq)
        message = await self._js.get_msg(EVENTS_STREAM, sequence)
        _, _, name, token, *_ = self._parts(message.subject or "")
        return None if name.startswith("sales_channel") else from_token(token)

    def _parts(self, subject: str) -> tuple[str, ...]:
        """(prefix, evt, entity, id, …) of a subject of an event."""
        _, _, rest = subject.partition(f"{self._subjects.prefix}.evt.")
        entity, _, *ids = rest.split(".")
        return (self._subjects.prefix, "evt", entity, *ids)

    async def _events(self, filters: Sequence[str]) -> list[tuple[str, bytes]]:
        """(subject, text) of the last event under each of these subjects that there is now. Raises _PassedOver.

        They are fetched, not pushed: no more is ever on its way than was asked for.
        """
        if not filters:
            return []
        consumer = await self._js.add_consumer(
            EVENTS_STREAM,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
                filter_subjects=[f"{self._subjects.prefix}.evt.{filter}" for filter in filters],
                ack_policy=AckPolicy.NONE,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=30,
            ),
        )
        found: list[tuple[str, bytes]] = []
        try:
            there = consumer.num_pending or 0
            if there > MOST_EVENTS:
                raise _PassedOver(f"{', '.join(filters)[:100]}: {there} events")
            source = await self._js.pull_subscribe_bind(consumer.name, EVENTS_STREAM)
            try:
                while len(found) < there:
                    batch = min(FETCH, there - len(found))
                    found += [(m.subject, m.data) for m in await source.fetch(batch, timeout=PATIENCE_SECONDS)]
            finally:
                await source.unsubscribe()
        finally:
            with suppress(NatsError, TimeoutError):
                await self._js.delete_consumer(EVENTS_STREAM, consumer.name)
        return found


def _compared(events: list[bytes], rows: list[Row]) -> tuple[str, ...] | None:
    expected = State()
    for text in events:
        expected.apply(text)
    return next((id for id, *_ in differences(expected.rows(), sorted(rows, key=id_of))), None)


def _channel_in(subject: str) -> str | None:
    """The token of the channel in a link event's subject."""
    before, found, ids = subject.partition(".evt.link.")
    return ids.rpartition(".")[2] if found and before else None


def _some_key(path: Path, chance: random.Random) -> str | None:
    with closing(open_reader(path, longest=1 << 20)) as connection:
        most = connection.execute("SELECT max(rowid) FROM api_key").get
        if most is None:
            return None
        id: str | None = connection.execute(
            "SELECT id FROM api_key WHERE rowid >= ? LIMIT 1", (chance.randint(1, most),)
        ).get
        return id


def _rows(path: Path, key: str, linked: set[str]) -> tuple[int, set[str], list[Row]]:
    """The read model's position, the key's channels, and the rows of all of them, in one transaction."""
    with closing(open_reader(path, longest=1 << 24)) as connection:
        connection.execute("BEGIN")
        position: int = connection.execute("SELECT position FROM tracking").get
        rows = [("api_key", *row) for row in connection.execute(_select("api_key", "id = ?"), (key,))]
        rows += [("link", *row) for row in connection.execute(_select("link", "publishable_key_id = ?"), (key,))]
        channels = linked | {str(row[2]) for row in rows if row[0] == "link"}
        for channel in sorted(channels):
            found = connection.execute(_select("sales_channel", "id = ?"), (channel,))
            rows += [("sales_channel", *row) for row in found]
        return position, channels, rows


def _select(table: str, condition: str) -> str:
    return f"SELECT {', '.join(COLUMNS[table])} FROM {table} WHERE {condition}"
