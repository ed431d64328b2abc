"""Datasets written straight into the event store, for those that would take commands too long.

The events are the ones that commands would have stored, written through services.store. Everything after that, relay,
stream and read model, is the service's own work.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import Dataset, Loaded, channel_id, key_id, token
from events.api_key import ApiKeyCreated
from events.base import Event
from events.envelope import Context
from events.link import LinkCreated
from events.sales_channel import SalesChannelCreated
from services.domain.aggregate import Recorded
from services.domain.clock import now
from services.domain.tokens import redact
from services.store.application import open_store
from services.store.commit import Commit

BATCH = 20_000
_CONTEXT = Context(command_id="cmd_benchmark", actor="user_bench").as_json_members()


def seed(folder: Path, dataset: Dataset, already: int = 0) -> Loaded:
    """Write `dataset` into the event store of the data folder, in which its first `already` keys are."""
    store = open_store(f"sqlite:///{folder / 'events.db'}")
    position = store.recorder.position()
    batch: list[Recorded] = []
    tokens: list[tuple[str, str]] = []

    def write() -> None:
        nonlocal position
        commit = Commit(batch, settle=lambda _, __: [], known_position=position, tokens=tokens)
        position = store.write(commit).position
        batch.clear()
        tokens.clear()

    for recorded in _events(dataset, already):
        batch.append(recorded)
        if isinstance(recorded.event, ApiKeyCreated):
            tokens.append((recorded.event.token, recorded.event.id))
        if len(batch) >= BATCH:
            write()
    if batch:
        write()
    store.close()
    return Loaded(dataset, {i: token(i) for i in dataset.sample()})


def _events(dataset: Dataset, already: int) -> Iterator[Recorded]:
    time = now()
    if not already:
        for i in range(dataset.channels):
            yield _recorded(
                SalesChannelCreated(
                    id=channel_id(i),
                    name=f"Channel {i}",
                    description=f"channel number {i}",
                    is_disabled=False,
                    metadata=None,
                    created_at=time,
                ),
                1,
                time,
            )
    for i in range(already, dataset.keys):
        yield from _key(dataset, i, time)


def _key(dataset: Dataset, i: int, time: str) -> Iterator[Recorded]:
    raw = token(i)
    yield _recorded(
        ApiKeyCreated(
            id=key_id(i),
            token=raw,
            redacted=redact(raw),
            title=f"Key {i}",
            type="publishable",
            created_by="user_bench",
            created_at=time,
        ),
        1,
        time,
    )
    for version, channel in enumerate(dataset.channels_of(i), start=2):
        yield _recorded(
            LinkCreated(
                id=f"pksc_01BENCH{i * 5 + version - 2:019d}",
                publishable_key_id=key_id(i),
                sales_channel_id=channel_id(channel),
                created_at=time,
                updated_at=time,
            ),
            version,
            time,
        )


def _recorded(event: Event, version: int, time: str) -> Recorded:
    return Recorded(event.aggregate_id, version, event, time, _CONTEXT)
