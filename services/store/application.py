"""The event-sourced application: loading aggregates, and writing batches of their events."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import EventStore

from services.domain.aggregate import Aggregate
from services.domain.api_key import ApiKey
from services.domain.sales_channel import SalesChannel
from services.store.commit import Commit, Committed
from services.store.mapper import EventMapper
from services.store.sqlite import Datastore, SQLiteStore

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

    recorder: SQLiteStore
    events: EventStore[str]
    repository: Repository[str]

    def load(self, aggregate_id: str) -> Aggregate | None:
        """The aggregate as its events tell, or None when there is none."""
        try:
            aggregate: Aggregate = self.repository.get(aggregate_id, projector_func=_project)
        except AggregateNotFoundError:
            return None
        return aggregate

    def write(self, commit: Commit) -> Committed:
        """Write a batch (see SQLiteStore.insert_batch)."""
        stored = list(map(self.events.mapper.to_stored_event, commit.events))
        return self.recorder.insert_batch(stored, commit)

    def close(self) -> None:
        """Close its files."""
        self.recorder.datastore.close()


SCHEME = "sqlite:///"


def open_store(url: str) -> Store:
    """Open the event store at `url`, `sqlite:///` and the path of a file, and create what is missing.

    Raises ValueError for another scheme, an error of sqlite3 or of the library for a damaged file.
    """
    path = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or not path:
        raise ValueError(f"not an event store: {url!r}; give {SCHEME}path/to/file")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    recorder = SQLiteStore(Datastore(path))
    recorder.create_table()
    recorder.check()
    events = EventStore[str](EventMapper(), recorder)
    return Store(recorder, events, Repository(events))
