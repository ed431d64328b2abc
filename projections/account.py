"""What links, keys and channels are after a sequence of events: an account of its own.

It shares no code with the projector and none of its statements, so it is able to prove the read model wrong. It keeps
its rows in a temporary file, so that millions of them take no more memory than a thousand.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apsw

from events.base import parse_json
from events.catalog import event_class
from events.envelope import SCHEMA_PREFIX
from projections import jsonb
from projections.digest import COLUMNS, Row, digest
from projections.projector import position_of

Values = dict[str, Any]
Key = tuple[str, str]
"""The id of a key or a channel, and nothing; or the two ids of a link."""

CACHE_KB = 32_768


class State:
    """The rows after the events that were applied. `position` is that of the last one. Not for two threads at once."""

    def __init__(self) -> None:
        self.position = 0
        # Without a name, SQLite keeps it in memory as long as it is small, and then in a file that has no name either:
        # whoever is killed leaves nothing behind. It is in SQLITE_TMPDIR, TMPDIR or /var/tmp.
        self._kept = apsw.Connection("")
        self._kept.pragma("journal_mode", "OFF")
        self._kept.pragma("cache_size", -CACHE_KB)
        self._kept.execute(
            "CREATE TABLE kept (kind TEXT, id TEXT, other TEXT, row TEXT, PRIMARY KEY (kind, id, other)) WITHOUT ROWID;"
            "CREATE INDEX of_other ON kept (other, id) WHERE other <> '';"
            "BEGIN"  # and never COMMIT: nobody else looks
        )

    def apply(self, text: bytes, position: int = 0) -> None:
        """Apply an event: a published envelope, or a stored one and its `position`. Raises UnknownEvent, ValueError."""
        envelope = parse_json(text)
        name, _, version = envelope["dataschema"].removeprefix(SCHEMA_PREFIX).rpartition(":")
        data = event_class(name).upcast(envelope["data"], int(version)).model_dump()
        _APPLY[name](self, name.partition(".")[0], data)
        self.position = position or position_of(text)

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of their ids."""
        for kind in sorted(COLUMNS):
            for (row,) in self._kept.execute("SELECT row FROM kept WHERE kind = ? ORDER BY id, other", (kind,)):
                yield (kind, *json.loads(row))

    def row(self, kind: str, key: Key) -> Values | None:
        """One row by its columns."""
        row = self._kept.execute("SELECT row FROM kept WHERE kind = ? AND id = ? AND other = ?", (kind, *key)).get
        return None if row is None else dict(zip(COLUMNS[kind], json.loads(row), strict=True))

    def links_of(self, id: str) -> list[Key]:
        """The links of a key or a channel, live or not."""
        found = self._kept.execute(
            "SELECT id, other FROM kept WHERE kind = 'link' AND id = ?1"
            " UNION SELECT id, other FROM kept WHERE other = ?1 AND other <> '' AND kind = 'link'",
            (id,),
        )
        return [(key, channel) for key, channel in found]

    def digest(self) -> str:
        """The digest of all rows."""
        return digest(self.rows())

    def put(self, kind: str, key: Key, values: Values) -> None:
        """Let this be the row. What is not one of its columns is left out."""
        row = json.dumps([values.get(column) for column in COLUMNS[kind]], ensure_ascii=False)
        self._kept.execute("REPLACE INTO kept VALUES (?, ?, ?, ?)", (kind, *key, row))

    def change(self, kind: str, key: Key, values: Values) -> None:
        """Set some columns of a row. Raises ValueError when there is none."""
        row = self.row(kind, key)
        if row is None:
            raise ValueError(f"an event changes {kind} {' '.join(key)}, which no event has made")
        self.put(kind, key, row | values)

    def take_down(self, pair: Key, at: str) -> None:
        """The link goes; one that is down already keeps the time at which it went."""
        link = self.row("link", pair)
        if link is not None and link["deleted_at"] is None:
            self.put("link", pair, link | {"deleted_at": at, "updated_at": at})


def _created(state: State, entity: str, data: Values) -> None:
    made = {"updated_at": data["created_at"], "deleted_at": None, "hidden": 0}
    state.put(entity, (data["id"], ""), _stored(data) | made)


def _changed(state: State, entity: str, data: Values) -> None:
    state.change(entity, (data["id"], ""), _stored(data))


def _deleted(state: State, entity: str, data: Values) -> None:
    at = data["deleted_at"]
    state.change(entity, (data["id"], ""), {"deleted_at": at, "hidden": int(data["permanent"])})
    for pair in state.links_of(data["id"]):
        state.take_down(pair, at)


def _restored(state: State, entity: str, data: Values) -> None:
    state.change(entity, (data["id"], ""), {"deleted_at": None, "hidden": 0, "updated_at": data["updated_at"]})


def _linked(state: State, _: str, data: Values) -> None:
    state.put("link", (data["publishable_key_id"], data["sales_channel_id"]), data | {"deleted_at": None})


def _dismissed(state: State, _: str, data: Values) -> None:
    state.take_down((data["publishable_key_id"], data["sales_channel_id"]), data["deleted_at"])


_APPLY: Mapping[str, Callable[[State, str, Values], None]] = {
    "api_key.created": _created,
    "api_key.updated": _changed,
    "api_key.revoked": _changed,
    "api_key.deleted": _deleted,
    "api_key.restored": _restored,
    "sales_channel.created": _created,
    "sales_channel.updated": _changed,
    "sales_channel.deleted": _deleted,
    "sales_channel.restored": _restored,
    "link.created": _linked,
    "link.dismissed": _dismissed,
}


def _stored(data: Values) -> Values:
    """The values as SQLite keeps them."""
    if "metadata" in data:
        metadata = data["metadata"]
        return data | {
            "metadata": None if metadata is None else jsonb.normalised(metadata),
            "is_disabled": int(data["is_disabled"]),
        }
    return data
