"""What only the PostgreSQL store promises: many replicas, and a server that comes and goes."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, PersistenceError, ProgrammingError

from services.store.application import Store, open_store, open_when_reachable
from services.store.postgres import FOLLOWED_AT_ONCE, PostgresStore
from tests.store.test_store import channel, commit, recorded
from tests.support.postgres import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.store()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def add(store: Store, id: str) -> int:
    known = store.recorder.position()
    return store.write(commit(recorded(1, channel(id)), known=known)).position


def test_replicas_that_start_together_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(open_store, [url] * 8))
    assert [add(store, f"sc_{n}") for n, store in enumerate(stores)] == list(range(1, 9))
    for store in stores:
        store.close()


def test_tables_of_a_newer_release_are_left_alone(postgres: Postgres, url: str, store: Store) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {url.rpartition('=')[2]}.keyscope_version VALUES (99)")
    with pytest.raises(ProgrammingError, match="of version 99; this release knows 2"):
        open_store(url)


def test_positions_have_no_gaps_even_after_a_refusal(store: Store) -> None:
    add(store, "sc_1")
    with pytest.raises(IntegrityError):
        store.write(commit(recorded(1, channel("sc_1")), known=1))
    assert add(store, "sc_2") == 2


def test_many_writers_at_once_commit_in_the_order_of_positions(url: str) -> None:
    """A reader that follows never meets a position below one that it has seen."""
    stores = [open_store(url) for _ in range(4)]
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set() or len(seen) < 200:
            seen.extend(row[0] for row in reader.recorder.notifications(seen[-1] if seen else 0, 50))

    def write(number: int) -> None:
        for n in range(50):
            stores[number].write(commit(recorded(1, channel(f"sc_{number}_{n}"))))

    reader = open_store(url)
    following = threading.Thread(target=read)
    following.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    done.set()
    following.join(20)
    assert seen == list(range(1, 201))
    for each in (*stores, reader):
        each.close()


def test_alone_nobody_else_writes(url: str, store: Store) -> None:
    other = open_store(url)
    with ThreadPoolExecutor(1) as pool:
        with store.recorder.alone(0, 1):
            waiting = pool.submit(add, other, "sc_2")
            time.sleep(0.1)
            assert not waiting.done()
            assert add(store, "sc_1") == 1
        assert waiting.result(10) == 2
    other.close()


def test_a_batch_that_others_preceded_comes_after_them_and_brings_their_events_along(url: str, store: Store) -> None:
    other = open_store(url)
    for n in range(3):
        add(other, f"sc_{n}")
    for n, known in ((3, 0), (4, 3)):  # at once, as nobody was there before; then after a look
        written = store.write(commit(recorded(1, channel(f"sc_{n}")), known=known))
        assert list(written.positions) == [n + 1]
        assert written.foreign == {f"sc_{n}" for n in range(known, n)}
        assert [(position, stored.originator_id) for position, stored in written.others] == [
            (n + 1, f"sc_{n}") for n in range(known, n)
        ]
    other.close()


def test_a_batch_comes_after_more_events_of_others_than_it_brings_along(url: str, store: Store) -> None:
    other = open_store(url)
    other.write(commit(*(recorded(1, channel(f"sc_{n}")) for n in range(FOLLOWED_AT_ONCE + 1))))
    written = store.write(commit(recorded(1, channel("sc_new"))))
    assert written.position == FOLLOWED_AT_ONCE + 2
    assert len(written.foreign) == FOLLOWED_AT_ONCE + 1
    assert not written.others
    other.close()


def test_maintenance_of_the_table_does_not_hold_up_writers(postgres: Postgres, url: str, store: Store) -> None:
    schema = url.rpartition("=")[2]
    with psycopg.connect(postgres.url) as connection:
        # The lock of VACUUM and ANALYZE, which the library's own lock of the table would wait for.
        connection.execute(f"LOCK TABLE {schema}.stored_events IN SHARE UPDATE EXCLUSIVE MODE")
        add(store, "sc_1")


async def test_a_commit_of_another_replica_is_heard(url: str, store: Store) -> None:
    grown = asyncio.Event()
    following = asyncio.create_task(store.recorder.follow(grown.set))
    await grown.wait()  # it listens
    for n in range(3):
        grown.clear()
        other = await asyncio.to_thread(open_store, url)
        await asyncio.to_thread(add, other, f"sc_{n}")
        await asyncio.wait_for(grown.wait(), 20)
        other.close()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def test_a_restart_of_the_server_between_two_batches_goes_unnoticed(own_postgres: Postgres) -> None:
    store = open_store(own_postgres.store())
    assert add(store, "sc_1") == 1
    own_postgres.kill()
    with pytest.raises(PersistenceError):
        add(store, "sc_2")
    own_postgres.start()
    assert add(store, "sc_2") == 2
    own_postgres.stop()
    own_postgres.start()
    assert add(store, "sc_3") == 3
    store.close()


async def test_a_listener_survives_a_restart(own_postgres: Postgres) -> None:
    url = own_postgres.store()
    store = open_store(url)
    grown = asyncio.Event()
    following = asyncio.create_task(store.recorder.follow(grown.set))
    await grown.wait()
    own_postgres.kill()
    own_postgres.start()
    grown.clear()
    await asyncio.wait_for(grown.wait(), 30)
    grown.clear()
    await asyncio.to_thread(add, store, "sc_1")
    await asyncio.wait_for(grown.wait(), 30)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    store.close()


async def test_a_service_that_starts_before_the_server_waits_for_it(own_postgres: Postgres) -> None:
    url = own_postgres.store()
    own_postgres.stop()
    opening = asyncio.create_task(open_when_reachable(url, asyncio.Event()))
    await asyncio.sleep(0.3)
    assert not opening.done()
    await asyncio.to_thread(own_postgres.start)
    store = await asyncio.wait_for(opening, 20)
    assert store is not None
    assert store.recorder.position() == 0
    store.close()

    stopping = asyncio.Event()
    own_postgres.stop()
    opening = asyncio.create_task(open_when_reachable(url, stopping))
    stopping.set()
    assert await asyncio.wait_for(opening, 30) is None


async def test_what_the_server_refuses_for_good_is_told_at_once(postgres: Postgres) -> None:
    url = postgres.url.replace("postgres@", "nobody:secret@")
    with pytest.raises(PersistenceError, match='role "nobody" does not exist') as refused:
        await open_when_reachable(url, asyncio.Event())
    assert "secret" not in str(refused.value)


def test_a_wrong_url_does_not_show_its_password() -> None:
    with pytest.raises(ValueError, match="not a PostgreSQL URL") as wrong:
        open_store("postgresql://me:secret@host/db?nonsense=1")
    assert "secret" not in str(wrong.value)


def test_commits_are_synchronous_though_the_server_says_otherwise(postgres: Postgres) -> None:
    url = postgres.url + "?schema=relaxed&options=-csynchronous_commit%3Doff"
    store = open_store(url)
    assert isinstance(store.recorder, PostgresStore)
    with store.recorder.datastore.get_connection() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchall() == [{"synchronous_commit": "on"}]
    store.close()
