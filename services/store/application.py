"""The event-sourced application: loading aggregates, and writing batches of their events."""

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import EventStore, OperationalError, PersistenceError, StoredEvent

from services.domain.aggregate import Aggregate
from services.domain.api_key import ApiKey
from services.domain.sales_channel import SalesChannel
from services.store.commit import Commit, Committed
from services.store.mapper import EventMapper
from services.store.port import StorePort
from services.store.sqlite import Datastore, SQLiteStore

if TYPE_CHECKING:
    from services.store.postgres import PostgresStore

log = structlog.get_logger(__name__)

_KINDS: dict[str, type[ApiKey] | type[SalesChannel]] = {
    "api_key": ApiKey,
    "link": ApiKey,
    "sales_channel": SalesChannel,
}


def _project(aggregate: Any, events: Iterable[Any]) -> Any:
    """The library's projector function: an aggregate from its events."""
    for recorded in events:
        if aggregate is None:
            entity = recorded.event.event_name.partition(".")[0]
            aggregate = _KINDS[entity](recorded.originator_id)
        aggregate.apply(recorded.event)
        aggregate.version = recorded.originator_version
    return aggregate


@dataclass(frozen=True, slots=True)
class Store:
    """An open event store. Synchronous; one thread uses it at a time."""

    recorder: StorePort
    events: EventStore[str]
    repository: Repository[str]

    def load(self, aggregate_id: str) -> Aggregate | None:
        """The aggregate as its events tell, or None when there is none."""
        try:
            aggregate: Aggregate = self.repository.get(aggregate_id, projector_func=_project)
        except AggregateNotFoundError:
            return None
        return aggregate

    def load_all(self, ids: Iterable[str]) -> dict[str, Aggregate]:
        """Those of the aggregates that there are, by id."""
        events = map(self.events.mapper.to_domain_event, self.recorder.select_events_of(list(ids)))
        return {id: _project(None, own) for id, own in groupby(events, attrgetter("originator_id"))}

    def advance(self, aggregate: Aggregate, stored: StoredEvent) -> bool:
        """Let `aggregate` follow its next event; false when that is not its next one. What it has had already is."""
        if stored.originator_version == aggregate.version + 1:
            _project(aggregate, [self.events.mapper.to_domain_event(stored)])
        return stored.originator_version <= aggregate.version

    def write(self, commit: Commit) -> Committed:
        """Write a batch (see StorePort.insert_batch)."""
        stored = list(map(self.events.mapper.to_stored_event, commit.events))
        return self.recorder.insert_batch(stored, commit)

    def close(self) -> None:
        """Close its files or connections."""
        self.recorder.close()


def open_store(url: str) -> Store:
    """Open the event store at `url`, and create what is missing.

    `sqlite:///` and the path of a file, or `postgresql://` as libpq knows it, with `schema` as one more parameter.
    Raises ValueError for anything else, an error of sqlite3 or of the library for a damaged file, and
    PersistenceError when the server cannot be reached or refuses.
    """
    for scheme, opened in _SCHEMES.items():
        if url.startswith(scheme) and url != scheme:
            recorder = opened(url)
            events = EventStore[str](EventMapper(), recorder)
            return Store(recorder, events, Repository(events))
    raise ValueError("not an event store: give sqlite:///path/to/file or postgresql://user@host/database")


async def open_when_reachable(url: str, stopping: asyncio.Event) -> Store | None:
    """Open the event store as soon as its server can be reached; None when `stopping` is set before.

    Raises what `open_store` raises, but for a server that cannot be reached, or is starting.
    """
    while not stopping.is_set():
        try:
            return await asyncio.to_thread(open_store, url)
        except OperationalError as error:
            if _REFUSED.search(str(error)) or url.startswith(SQLITE):
                raise
            log.warning("the event store cannot be reached; trying again", error=str(error).strip())
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
    return None


def store_problem(store: Store) -> str | None:
    """Why the event store cannot be read just now; None when it can."""
    try:
        store.recorder.position()
    except PersistenceError as error:
        return str(error).strip() or type(error).__name__
    return None


def _sqlite(url: str) -> SQLiteStore:
    path = url.removeprefix(SQLITE)
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    recorder = SQLiteStore(Datastore(path))
    try:
        recorder.create_table()
        recorder.check()
        recorder.stretch_log()
    except BaseException:
        recorder.close()
        raise
    return recorder


def _postgres(url: str) -> "PostgresStore":
    from services.store.postgres import open_postgres  # a fifth of a second, for those who use it

    return open_postgres(url)


SQLITE = "sqlite:///"
RETRY_SECONDS = 1.0
_REFUSED = re.compile(
    "FATAL: .*(authentication|does not exist|pg_hba|permission|not permitted)|certificate|pooling mode"
)
"""A server that says so says the same a second later (libpq tells no code)."""
_SCHEMES: dict[str, Callable[[str], "SQLiteStore | PostgresStore"]] = {
    SQLITE: _sqlite,
    "postgresql://": _postgres,
    "postgres://": _postgres,
}
