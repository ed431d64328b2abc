"""Applies published events to the read model, in batches: a batch and its position are one transaction.

So a crash at any instruction repeats nothing and skips nothing, and an event that comes again is passed over.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from pydantic_core import from_json

from events.base import UnknownEvent
from events.catalog import EVENTS, event_class
from events.envelope import SCHEMA_PREFIX
from projections import jsonb
from projections.database import open_writer, transaction
from projections.model import ENTITIES

Data = dict[str, Any]


class MissingEvents(Exception):
    """The stream lacks events between the last one applied and this one; going on would skip them."""


class Published(NamedTuple):
    """An event as the stream holds it: its envelope's text, and its sequence number in the stream."""

    text: bytes
    stream_seq: int


@dataclass(frozen=True, slots=True)
class Step:
    """One statement that an event leads to, and how the event's data become its values."""

    sql: str
    values: Callable[[Data], tuple[Any, ...]]


def _sweep(end: str) -> Step:
    """Takes down every link of a deleted key or channel at once; the `link.dismissed` events to come say the same."""
    return Step(
        f"UPDATE link SET deleted_at = ?1, updated_at = ?1 WHERE {end} = ?2 AND deleted_at IS NULL",
        lambda data: (data["deleted_at"], data["id"]),
    )


def _deleted(table: str) -> Step:
    return Step(
        f"UPDATE {table} SET deleted_at = ?, hidden = ? WHERE id = ?",
        lambda data: (data["deleted_at"], data["permanent"], data["id"]),
    )


def _restored(table: str) -> Step:
    return Step(
        f"UPDATE {table} SET deleted_at = NULL, hidden = 0, updated_at = ? WHERE id = ?",
        lambda data: (data["updated_at"], data["id"]),
    )


def _metadata(data: Data) -> str | None:
    return None if data["metadata"] is None else jsonb.normalised(data["metadata"])


STEPS: dict[str, tuple[Step, ...]] = {
    "api_key.created": (
        Step(
            "INSERT INTO api_key (id, token, redacted, title, type, created_by, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            lambda data: (
                data["id"],
                data["token"] if data["type"] == "publishable" else "",
                data["redacted"],
                data["title"],
                data["type"],
                data["created_by"],
                data["created_at"],
                data["created_at"],
            ),
        ),
    ),
    "api_key.updated": (
        Step(
            "UPDATE api_key SET title = ?, updated_at = ? WHERE id = ?",
            lambda data: (data["title"], data["updated_at"], data["id"]),
        ),
    ),
    "api_key.revoked": (
        Step(
            "UPDATE api_key SET revoked_by = ?, revoked_at = ?, updated_at = ? WHERE id = ?",
            lambda data: (data["revoked_by"], data["revoked_at"], data["updated_at"], data["id"]),
        ),
    ),
    "api_key.deleted": (_deleted("api_key"), _sweep("publishable_key_id")),
    "api_key.restored": (_restored("api_key"),),
    "sales_channel.created": (
        Step(
            "INSERT INTO sales_channel (id, name, description, is_disabled, metadata, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            lambda data: (
                data["id"],
                data["name"],
                data["description"],
                data["is_disabled"],
                _metadata(data),
                data["created_at"],
                data["created_at"],
            ),
        ),
    ),
    "sales_channel.updated": (
        Step(
            "UPDATE sales_channel SET name = ?, description = ?, is_disabled = ?, metadata = ?, updated_at = ?"
            " WHERE id = ?",
            lambda data: (
                data["name"],
                data["description"],
                data["is_disabled"],
                _metadata(data),
                data["updated_at"],
                data["id"],
            ),
        ),
    ),
    "sales_channel.deleted": (_deleted("sales_channel"), _sweep("sales_channel_id")),
    "sales_channel.restored": (_restored("sales_channel"),),
    "link.created": (
        Step(
            "INSERT INTO link (publishable_key_id, sales_channel_id, id, created_at, updated_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET id = excluded.id, created_at = excluded.created_at,"
            " updated_at = excluded.updated_at, deleted_at = NULL",
            lambda data: (
                data["publishable_key_id"],
                data["sales_channel_id"],
                data["id"],
                data["created_at"],
                data["updated_at"],
            ),
        ),
    ),
    "link.dismissed": (
        # A row that is down already keeps the time at which it went.
        Step(
            "UPDATE link SET deleted_at = ?1, updated_at = ?1"
            " WHERE publishable_key_id = ?2 AND sales_channel_id = ?3 AND deleted_at IS NULL",
            lambda data: (data["deleted_at"], data["publishable_key_id"], data["sales_channel_id"]),
        ),
    ),
}
"""What each event does to the tables; the one table to read."""

_CURRENT = {f"{SCHEMA_PREFIX}{EVENTS[name].topic}": steps for name, steps in STEPS.items()}


def position_of(text: bytes) -> int:
    """The position in a published envelope, which is its last member."""
    return int(text[text.rindex(b":") + 1 : -1])


class Projector:
    """The one writer of a read model. Not for use from two threads at once.

    `position` is that of the last event applied, and `stream_seq` its place in the stream when it was.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the read model at `path`. Raises DamagedReadModel."""
        self._path = path
        self._connection = open_writer(path)
        self.position: int
        self.stream_seq: int
        self.epoch: str | None
        self.log_pages = 0
        """How long the write-ahead log is: time for a `checkpoint` at LOG_PAGES."""
        self._connection.set_wal_hook(self._logged)
        tracking = self._connection.execute("SELECT position, stream_seq, epoch FROM tracking").get
        self.position, self.stream_seq, self.epoch = tracking

    def apply(self, events: Iterable[Published]) -> int:
        """Applies the events after `position`, in order and in one transaction; returns the new position.

        Raises MissingEvents, UnknownEvent (a newer release wrote it) and ValueError; then none of the batch is applied.
        """
        applied = self.position
        new = [event for event in events if position_of(event.text) > applied]
        if not new:
            return applied
        position, stream_seq = position_of(new[-1].text), new[-1].stream_seq
        with transaction(self._connection):
            for sql, rows in _grouped(new, applied):
                self._connection.executemany(sql, rows)
            self._connection.execute("UPDATE tracking SET position = ?, stream_seq = ?", (position, stream_seq))
        self.position, self.stream_seq = position, stream_seq
        return position

    def _logged(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def checkpoint(self) -> None:
        """Fold what is left of the write-ahead log into the file, as far as no reader still needs it."""
        self._connection.wal_checkpoint()

    def checkpoint_beside(self) -> None:
        """The same, from another thread while events are applied. What is applied meanwhile is left in the log."""
        # Asking our connection for its file's name would have to wait for its statement.
        with closing(apsw.Connection(str(self._path))) as connection:
            connection.wal_checkpoint()

    def begin(self, epoch: str) -> int:
        """The stream is of this epoch. A read model of another one is emptied, to be built from the first event.

        Returns the position then. One that does not know its epoch yet takes this one.
        """
        with transaction(self._connection):
            if self.epoch is not None:
                for table in ENTITIES:
                    self._connection.execute(f"DELETE FROM {table}")
                self._connection.execute("UPDATE counter SET live = 0")
                self._connection.execute("UPDATE tracking SET position = 0, stream_seq = 0")
            self._connection.execute("UPDATE tracking SET epoch = ?", (epoch,))
            self.position, self.stream_seq, self.epoch = self._connection.execute(
                "SELECT position, stream_seq, epoch FROM tracking"
            ).get
        return self.position

    def close(self) -> None:
        """Folds the write-ahead log into the file and closes it."""
        self._connection.close()


def _grouped(events: Sequence[Published], last: int) -> Iterable[tuple[str, list[tuple[Any, ...]]]]:
    """The statements of the events after position `last` in order, neighbours of the same statement as one."""
    sql = ""
    rows: list[tuple[Any, ...]] = []
    for event in events:
        envelope = from_json(event.text)
        if envelope.get("previous", 0) > last:
            raise MissingEvents(f"the events between positions {last} and {envelope['position']} are missing")
        last = envelope["position"]
        steps, data = _read(envelope)
        for step in steps:
            if step.sql != sql:
                if rows:
                    yield sql, rows
                sql, rows = step.sql, []
            rows.append(step.values(data))
    if rows:
        yield sql, rows


def _read(envelope: Data) -> tuple[tuple[Step, ...], Data]:
    """The steps and the data of one event. The data of the current version are taken as they are: we wrote them."""
    steps = _CURRENT.get(envelope["dataschema"])
    if steps is not None:
        return steps, envelope["data"]
    name, _, version = envelope["dataschema"].removeprefix(SCHEMA_PREFIX).rpartition(":")
    event = event_class(name).upcast(envelope["data"], int(version))
    if name not in STEPS:
        raise UnknownEvent(f"the read model does not know what {name} does")
    return STEPS[name], event.model_dump()
