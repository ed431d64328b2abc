"""The event store: all or nothing, positions in order, and what two replicas may do to each other."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError

from events.base import Event
from events.link import LinkCreated, LinkDismissed
from events.sales_channel import SalesChannelCreated
from services.domain.aggregate import Recorded
from services.domain.api_key import ApiKey
from services.store.application import Store, open_store
from services.store.commit import Commit, Outcome, StaleRead, Sweep
from services.store.sqlite import SQLiteStore
from tests.domain.test_api_key import created, dismissed, linked

T = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def open_it(store_url: str) -> Iterator[Callable[[], Store]]:
    stores = []

    def open_again() -> Store:
        stores.append(open_store(store_url))
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def store(open_it: Callable[[], Store]) -> Store:
    return open_it()


def recorded(version: int, event: Event) -> Recorded:
    return Recorded(event.aggregate_id, version, event, T, '"commandid":"c",')


def commit(*events: Recorded, known: int = 0, outcomes: Sequence[Outcome] = (), **more: Any) -> Commit:
    return Commit(events, lambda positions, position: outcomes, known, **more)


def channel(id: str = "sc_1") -> SalesChannelCreated:
    return SalesChannelCreated(id=id, name="W", description=None, is_disabled=False, metadata=None, created_at=T)


def test_positions_follow_each_other_in_the_order_given(store: Store) -> None:
    told: list[tuple[list[int], int]] = []

    def settle(positions: Sequence[int], position: int) -> list[Outcome]:
        told.append((list(positions), position))
        return []

    events = [recorded(1, created()), recorded(1, channel()), recorded(2, linked())]
    committed = store.write(Commit(events, settle, 0))
    assert told == [([1, 2, 3], 3)]
    assert committed.position == store.recorder.position() == 3
    assert [(position, topic) for position, topic, _ in store.recorder.notifications(0, 10)] == [
        (1, "api_key.created:1"),
        (2, "sales_channel.created:1"),
        (3, "link.created:1"),
    ]
    assert [row[0] for row in store.recorder.notifications(1, 1)] == [2]


def test_an_aggregate_comes_back_as_it_was(store: Store) -> None:
    events = [created(), linked(), dismissed()]
    store.write(commit(*(recorded(version, event) for version, event in enumerate(events, 1))))
    key = store.load("apk_1")
    assert isinstance(key, ApiKey)
    assert key.state() == ApiKey("apk_1").replay(events).state()
    assert store.load("apk_2") is None


def test_several_aggregates_at_once(store: Store) -> None:
    events = [recorded(1, created()), recorded(1, channel()), recorded(2, linked()), recorded(1, channel("sc_2"))]
    store.write(commit(*events))
    found = store.load_all(["sc_2", "apk_1", "apk_nope"])
    assert set(found) == {"sc_2", "apk_1"}
    key = found["apk_1"]
    assert isinstance(key, ApiKey)
    assert key.state() == ApiKey("apk_1").replay([created(), linked()]).state()
    assert key.version == 2
    assert store.load_all([]) == {}


@pytest.mark.parametrize("size", [1, 3, 5, 17, 64, 255, 300, 1000])
def test_batches_of_any_size(store: Store, size: int) -> None:
    events = [linked(f"sc_{n}", f"pksc_{n}") for n in range(size)]
    outcomes = [Outcome(f"cmd_{n}", b'{"data":%d}' % n) for n in range(size)]
    store.write(commit(*(recorded(n, event) for n, event in enumerate(events, 1)), outcomes=outcomes))
    assert len(store.recorder.notifications(0, 2000)) == size
    kept = store.recorder.outcomes([outcome.command_id for outcome in outcomes])
    assert kept == {outcome.command_id: outcome.reply for outcome in outcomes}


def test_a_long_outcome_is_kept_whole(store: Store) -> None:
    reply = b'{"data":"' + b"x" * 100_000 + b'"}'
    store.write(commit(outcomes=[Outcome("cmd", reply)]))
    assert store.recorder.outcomes(["cmd", "other"]) == {"cmd": reply}


@pytest.mark.parametrize(
    "second",
    [
        lambda: commit(recorded(1, created()), known=1),
        lambda: commit(known=1, outcomes=[Outcome("cmd", b"{}")]),
        lambda: commit(known=1, tokens=[("pk_1", "apk_2")]),
    ],
    ids=["a version", "a command id", "a token"],
)
def test_what_is_taken_is_taken_and_nothing_else_is_written(store: Store, second: Callable[[], Commit]) -> None:
    store.write(commit(recorded(1, created()), outcomes=[Outcome("cmd", b"{}")], tokens=[("pk_1", "apk_1")]))
    refused = second()
    refused.events = [*refused.events, recorded(1, channel())]
    with pytest.raises(IntegrityError):
        store.write(refused)
    assert store.recorder.position() == 1
    assert store.recorder.api_key_of("pk_1") == "apk_1"


def test_a_batch_that_read_what_another_replica_changed_is_refused(open_it: Callable[[], Store]) -> None:
    one, two = open_it(), open_it()
    one.write(commit(recorded(1, created()), recorded(1, channel())))
    two.write(commit(recorded(2, linked()), known=2, read={"apk_1", "sc_1"}))
    with pytest.raises(StaleRead) as stale:
        one.write(commit(recorded(1, channel("sc_9")), known=2, read={"apk_1"}))
    assert stale.value.ids == {"apk_1"}
    committed = one.write(commit(recorded(1, channel("sc_9")), known=2, read={"sc_9"}))
    assert (committed.position, committed.foreign) == (4, {"apk_1"})


def test_an_aggregate_follows_what_another_replica_did(open_it: Callable[[], Store]) -> None:
    one, two = open_it(), open_it()
    one.write(commit(recorded(1, created()), recorded(1, channel())))
    kept = one.load("apk_1")
    assert kept is not None
    two.write(commit(recorded(2, linked()), recorded(3, dismissed()), known=2))
    changes = one.recorder.events_after(1, 10)
    assert [(position, stored.originator_id) for position, stored in changes] == [
        (2, "sc_1"),
        (3, "apk_1"),
        (4, "apk_1"),
    ]
    assert one.recorder.events_after(2, 1) == changes[1:2]
    assert not one.advance(kept, changes[2][1])  # not the next one
    assert [one.advance(kept, stored) for _, stored in (changes[1], changes[1], changes[2])] == [True] * 3
    reloaded = two.load("apk_1")
    assert isinstance(kept, ApiKey)
    assert isinstance(reloaded, ApiKey)
    assert (kept.state(), kept.version) == (reloaded.state(), 3)


def test_the_index_of_channels_follows_the_events(store: Store) -> None:
    def link(key: str, channel_id: str) -> LinkCreated:
        return LinkCreated(id="pksc", publishable_key_id=key, sales_channel_id=channel_id, created_at=T, updated_at=T)

    store.write(commit(*(recorded(1, link(key, "sc_1")) for key in ("b", "a", "d", "c"))))
    store.write(commit(recorded(1, link("e", "sc_2")), known=4))
    assert store.recorder.keys_of("sc_1", limit=10) == ["a", "b", "c", "d"]
    assert store.recorder.keys_of("sc_1", after="b", limit=1) == ["c"]
    gone = LinkDismissed(
        id="pksc", publishable_key_id="a", sales_channel_id="sc_1", created_at=T, deleted_at=T, reason="dismissed"
    )
    store.write(commit(recorded(2, gone), recorded(1, link("f", "sc_1")), known=5))
    assert store.recorder.keys_of("sc_1", limit=10) == ["a", "b", "c", "d", "f"]
    assert store.recorder.keys_of("sc_9", limit=10) == []


def test_sweeps_are_a_queue(store: Store) -> None:
    first, second = Sweep("sc_1", "dismiss", T, "c"), Sweep("sc_1", "restore", T, "c")
    store.write(commit(new_sweeps=[first, second]))
    stored = store.recorder.next_sweep()
    assert stored is not None
    assert (stored.direction, stored.cursor) == ("dismiss", "")
    assert store.recorder.has_sweep("sc_1")
    assert not store.recorder.has_sweep("sc_2")
    store.write(commit(moved_sweeps=[Sweep("sc_1", "dismiss", T, "c", "apk_5", stored.id)]))
    moved = store.recorder.next_sweep()
    assert moved is not None
    assert moved.cursor == "apk_5"
    store.write(commit(done_sweeps=[stored.id]))
    last = store.recorder.next_sweep()
    assert last is not None
    assert last.direction == "restore"


def test_it_is_synced_before_a_commit_returns(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    assert isinstance(store.recorder, SQLiteStore)
    with store.recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2  # FULL
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone()[0] == "wal"
    store.close()


def test_it_waits_for_another_that_opens_the_file_too(tmp_path: Path) -> None:
    """The services of one host start at once, and the first of them turns the write-ahead log on."""
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor() as threads:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE theirs (one)")
        opening = threads.submit(open_store, f"sqlite:///{path}")
        assert not wait([opening], timeout=0.2).done
        other.execute("COMMIT")
        store = opening.result(timeout=20)
    assert store.recorder.position() == 0
    store.close()


@pytest.mark.parametrize("url", ["", "sqlite:///", "mysql://x", "/tmp/x", "sqlite://x"])
def test_a_wrong_url(url: str) -> None:
    with pytest.raises(ValueError, match="not an event store"):
        open_store(url)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises((sqlite3.DatabaseError, Exception), match="not a database"):
        open_store(f"sqlite:///{tmp_path / 'events.db'}")


def test_the_log_has_its_length_from_the_start_and_nothing_else_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    store = open_store(f"sqlite:///{path}")
    try:
        assert path.with_name("events.db-wal").stat().st_size > 12_000_000
        assert path.stat().st_size < 200_000
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'stretch'").fetchone() == (0,)
        connection.close()
    finally:
        store.close()
