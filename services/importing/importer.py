"""Writing Medusa's rows into the event store: an aggregate whole or not at all, so that it can be broken off."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventsourcing.persistence import IntegrityError

from events.envelope import Context
from services.domain.aggregate import Recorded
from services.domain.tokens import MAX_ALIKE, imported
from services.importing.medusa import MedusaDatabase
from services.importing.streams import Happened, of_channel, of_key
from services.store.application import Store
from services.store.commit import Commit, StaleRead

BATCH_EVENTS = 2_000
ACTOR = "import"
MAX_NAMED = 1_000
"""Rows that a report names; it counts all."""


class CannotImport(Exception):
    """The event store has something that does not go with what Medusa has; the message names it."""


@dataclass
class Rows:
    """A kind of rows that were left out: how many, and the first of them by their ids."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(name)


@dataclass
class Report:
    """What was imported (or would be), what was there already, and what was left out."""

    channels: int = 0
    keys: int = 0
    links: int = 0
    events: int = 0
    there: int = 0
    """Keys and channels that the event store has: they stay as they are."""
    orphans: Rows = field(default_factory=Rows)
    """Links whose key or channel is not there."""
    of_secret_keys: Rows = field(default_factory=Rows)
    """Links of secret keys, which open no storefront."""


def import_medusa(
    medusa: MedusaDatabase, store: Store | None, *, advance: Callable[[int], None] = lambda _: None
) -> Report:
    """Import everything. `advance` is told of rows that are done. Without a store nothing is written (a dry run).

    What is there already is left as it is, so importing again goes on where it was broken off. Raises CannotImport.
    """
    return _Import(medusa, store, advance).run()


class _Import:
    def __init__(self, medusa: MedusaDatabase, store: Store | None, advance: Callable[[int], None]) -> None:
        self._medusa = medusa
        self._store = store
        self._advance = advance
        self._report = Report()
        self._channels: dict[str, datetime | None] = {}
        self._events: list[Recorded] = []
        self._tokens: list[tuple[str, str]] = []
        self._rows = 0

    def run(self) -> Report:
        for row in self._medusa.channels():
            self._channels[row.id] = row.deleted_at
            self._rows += 1
            if not self._is_there(row.id):
                self._report.channels += 1
                self._add(row.id, of_channel(row))
        for key, links in self._medusa.keys_with_links():
            self._rows += len(links) + (key is not None)
            whole = list(self._whole(key, links))
            if key is not None and not self._is_there(key.id):
                self._report.keys += 1
                self._report.links += len(whole)
                self._tokens.append((self._token(key), key.id))
                self._add(key.id, of_key(key, whole, self._channels))
        self._write()
        return self._report

    def _whole(self, key: Any | None, links: Sequence[Any]) -> Iterator[Any]:
        """The links that have both of their ends."""
        for link in links:
            name = f"{link.id} ({link.publishable_key_id} - {link.sales_channel_id})"
            if key is None or link.sales_channel_id not in self._channels:
                self._report.orphans.add(name)
            elif key.type != "publishable":
                self._report.of_secret_keys.add(name)
            else:
                yield link

    def _is_there(self, id: str) -> bool:
        there = self._store is not None and bool(self._store.recorder.select_events(id, limit=1))
        self._report.there += there
        return there

    def _token(self, key: Any) -> str:
        """What the key is found by. The raw token of a secret one is not known: its redacted form must do."""
        if key.type == "publishable":
            return str(key.token)
        taken = {token for token, _ in self._tokens}
        for number in range(MAX_ALIKE):
            token = imported(key.redacted, number)
            if token not in taken and (self._store is None or self._store.recorder.api_key_of(token) is None):
                return token
        raise CannotImport(f"more than {MAX_ALIKE} secret keys are redacted {key.redacted}; revoke {key.id} in Medusa")

    def _add(self, id: str, stream: Sequence[Happened]) -> None:
        context = Context(f"import:medusa:{id}", ACTOR).as_json_members()
        self._events += [
            Recorded(id, version, happened.event, happened.time, context)
            for version, happened in enumerate(stream, start=1)
        ]
        self._report.events += len(stream)
        if len(self._events) >= BATCH_EVENTS:
            self._write()

    def _write(self) -> None:
        if self._store is not None and self._events:
            commit = Commit(
                events=self._events,
                settle=lambda *_: [],
                known_position=self._store.recorder.position(),
                read={recorded.originator_id for recorded in self._events},
                tokens=self._tokens,
            )
            try:
                self._store.write(commit)
            except (IntegrityError, StaleRead) as error:
                ids = ", ".join(id for _, id in self._tokens)[:500]
                raise CannotImport(
                    f"a key or a token is taken by another already; see to it, and repeat: {ids}"
                ) from error
        self._events, self._tokens = [], []
        self._advance(self._rows)
        self._rows = 0
