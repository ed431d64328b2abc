"""The write service through restarts, beside a replica, under overload, and with much to sweep."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import nats
import psycopg
import pytest
from eventsourcing.persistence import OperationalError
from eventsourcing.sqlite import SQLiteConnection
from nats.aio.client import Client

from services.commands import sweeps, writer
from services.store.application import open_store
from services.store.postgres import PostgresStore
from services.store.sqlite import SQLiteStore
from tests.commands.conftest import Requests, all_events
from tests.support.nats import Nats
from tests.support.postgres import Postgres
from tests.support.service import Service

KEY = {"id": "apk_1", "title": "K", "type": "publishable", "created_by": "ann"}
CHANNEL = {"id": "sc_1", "name": "W"}
PAIR = {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_1"}}


async def test_a_command_repeated_after_a_restart(write_side: Service, requests: Requests) -> None:
    await requests.send("api_key.create", KEY)
    await requests.send("sales_channel.create", CHANNEL)
    first = await requests.send("link.create", PAIR, **{"Nats-Msg-Id": "once"})
    await requests.send("link.dismiss", PAIR)
    await write_side.stop()
    await write_side.start("commands", "relay")
    assert await requests.send("link.create", PAIR, **{"Nats-Msg-Id": "once"}) == first
    assert (await requests.send("link.dismiss", PAIR))["data"] == []


async def test_jobs_published_while_the_service_is_down(write_side: Service, client: Client) -> None:
    await write_side.stop()
    js = client.jetstream(timeout=10)
    # Jobs in hand together are not promised to keep their order, so none of these needs another.
    bodies = [("api_key.create", KEY), ("sales_channel.create", CHANNEL), ("sales_channel.create", {"name": "V"})]
    for number, (name, body) in enumerate(bodies):
        headers = {"Nats-Msg-Id": f"job-{number}"}
        await js.publish(f"keyscope.job.{name}", json.dumps(body).encode(), headers=headers)
    outcomes = await client.subscribe("keyscope.outcome.>")
    await write_side.start("commands", "relay")
    seen = [await outcomes.next_msg(timeout=10) for _ in bodies]
    assert {outcome.subject for outcome in seen} == {f"keyscope.outcome.job-{number}" for number in range(3)}
    assert all(b'"data"' in outcome.data for outcome in seen)
    assert sorted(event["type"] for event in await all_events(client, 3)) == [
        "keyscope.api_key.created",
        "keyscope.sales_channel.created",
        "keyscope.sales_channel.created",
    ]


async def test_two_replicas_on_one_store(write_side: Service, nats_server: Nats, requests: Requests) -> None:
    """Each may hold a stale aggregate; the rules hold all the same, and nothing is lost."""
    other = Service(nats_server.url, write_side.settings.data_dir, event_store=write_side.settings.event_store)
    await other.start("commands")
    await requests.send("api_key.create", KEY)
    await requests.send("sales_channel.create", [{"id": f"sc_{n}", "name": "W"} for n in range(40)])

    def linking(number: int) -> dict[str, Any]:
        return {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": f"sc_{number % 40}"}}

    replies = await asyncio.gather(*(requests.send("link.create", linking(number)) for number in range(120)))
    assert all("data" in reply for reply in replies), replies
    assert sum(len(reply["changed"]) for reply in replies) == 40
    assert len({reply["data"][0]["id"] for reply in replies}) == 40

    both = await asyncio.gather(
        requests.send("sales_channel.delete", "sc_1"), *(requests.send("link.create", linking(1)) for _ in range(10))
    )
    assert "data" in both[0]
    for _ in range(10):
        assert (await requests.send("link.create", linking(1)))["error"]["type"] == "not_found"

    taken = await asyncio.gather(
        *(requests.send("sales_channel.create", {"id": "web", "name": "w"}) for _ in range(20))
    )
    assert sum("data" in reply for reply in taken) == 1
    assert {reply["error"]["type"] for reply in taken if "error" in reply} == {"duplicate_error"}

    same = {"Nats-Msg-Id": "same"}
    once = await asyncio.gather(*(requests.send("sales_channel.create", {"name": "w"}, **same) for _ in range(20)))
    assert all(reply == once[0] for reply in once)
    await other.stop()


async def test_a_store_that_fails_before_a_batch_is_taken(
    write_side: Service, nats_server: Nats, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas that take turns wait for theirs with no command in hand; whoever waits meanwhile is answered."""

    def create(number: int) -> Any:
        return requests.send("sales_channel.create", {"id": f"sc_{number}", "name": "W"})

    def fails(*_: Any) -> Any:
        raise OperationalError("the store is gone")

    other = Service(nats_server.url, write_side.settings.data_dir, event_store=write_side.settings.event_store)
    await other.start("commands")
    for number in range(40):  # each meets what the other wrote
        assert "data" in await create(number)
    with monkeypatch.context() as patch:
        for recorder in (SQLiteStore, PostgresStore):
            patch.setattr(recorder, "alone", fails)
        replies = [await create(number) for number in range(40, 44)]
    assert "unavailable" in {reply["error"]["type"] for reply in replies if "error" in reply}, replies
    assert all("data" in reply for reply in [await create(number) for number in range(50, 60)])
    await other.stop()


async def test_a_failing_command_fails_alone(requests: Requests) -> None:
    await requests.send("api_key.create", KEY)
    await requests.send("sales_channel.create", CHANNEL)
    bad = {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_nope"}}
    replies = await asyncio.gather(
        *(requests.send("link.create", [PAIR, bad] if number % 2 else PAIR) for number in range(20))
    )
    assert [("error" in reply) for reply in replies] == [bool(number % 2) for number in range(20)]
    assert sum(len(reply.get("changed", ())) for reply in replies) == 1


async def test_sweeping_many_links_goes_on_after_a_restart(
    write_side: Service, requests: Requests, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "STEP", 7)
    await requests.send("sales_channel.create", CHANNEL)
    keys = (await requests.send("api_key.create", [{k: v for k, v in KEY.items() if k != "id"}] * 100))["data"]
    pairs = [{**PAIR, "api_key": {"api_key_id": key["id"]}} for key in keys]
    await requests.send("link.create", pairs)
    await requests.send("sales_channel.soft_delete", "sc_1")
    await write_side.stop()
    await write_side.start("commands", "relay")
    await requests.send("sales_channel.restore", "sc_1")
    await write_side.stop()
    await write_side.start("commands", "relay")
    events = (await all_events(client, 1 + 100 + 100 + 1 + 100 + 1 + 100))[201:]
    deleted, restored = (
        next(event for event in events if event["type"] == f"keyscope.sales_channel.{what}")
        for what in ("deleted", "restored")
    )
    gone = [event for event in events if event["type"] == "keyscope.link.dismissed"]
    back = [event for event in events if event["type"] == "keyscope.link.created"]
    assert {event["data"]["publishable_key_id"] for event in gone} == {key["id"] for key in keys}
    assert {event["cause"] for event in gone} == {deleted["id"]}
    assert {event["data"]["deleted_at"] for event in gone} == {deleted["data"]["deleted_at"]}
    assert {event["cause"] for event in back} == {restored["id"]}
    assert len(gone) == len(back) == 100
    assert len(events) == 202


async def test_a_full_queue_refuses_and_recovers(
    requests: Requests, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 5)
    monkeypatch.setattr(writer, "BATCH_COMMANDS", 1)
    replies = await asyncio.gather(*(requests.send("sales_channel.create", {"name": "W"}) for _ in range(300)))
    refused = [reply["error"] for reply in replies if "error" in reply]
    assert refused
    assert {error["type"] for error in refused} == {"unavailable"}
    assert all(error["retry_after_ms"] > 0 for error in refused)
    assert "data" in await requests.send("sales_channel.create", {"name": "W"})
    assert len(await all_events(client)) == 301 - len(refused)


async def test_what_was_received_before_a_stop_is_answered(write_side: Service, requests: Requests) -> None:
    waiting = [asyncio.create_task(requests.send("sales_channel.create", {"name": "W"})) for _ in range(200)]
    await asyncio.sleep(0.02)
    await write_side.stop()
    replies = await asyncio.gather(*waiting, return_exceptions=True)
    await write_side.start("commands", "relay")
    answered = [reply for reply in replies if isinstance(reply, dict)]
    assert all("data" in reply for reply in answered)
    assert answered


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_full_disk_is_answered_and_nothing_is_half_done(
    write_side: Service, requests: Requests, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.store.sqlite import SQLiteStore

    async def set_limit(pages: int) -> None:
        insert = SQLiteStore.insert_batch

        def limited(self: Any, *arguments: Any) -> Any:
            with self.datastore.transaction(commit=False) as cursor:
                cursor.execute(f"PRAGMA max_page_count={pages}")
            return insert(self, *arguments)

        monkeypatch.setattr(SQLiteStore, "insert_batch", limited)

    await requests.send("api_key.create", KEY)
    await set_limit(1)  # SQLite keeps at least what is there: no page more
    big = [{"name": "W" * 5_000} for _ in range(200)]
    refused = await requests.send("sales_channel.create", big, **{"Nats-Msg-Id": "big"})
    assert refused["error"]["type"] == "unavailable"
    monkeypatch.undo()
    await set_limit(1_000_000)
    done = await requests.send("sales_channel.create", big, **{"Nats-Msg-Id": "big"})
    assert len(done["data"]) == 200
    assert len(await all_events(client, 201)) == 201


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_store_is_in_the_data_folder(write_side: Service) -> None:
    assert (Path(write_side.settings.data_dir) / "events.db").exists()


async def test_an_event_of_a_newer_release_spoils_its_own_aggregate_alone(nats_server: Nats, tmp_path: Path) -> None:
    """As a replica of the next release may store it, while this one runs and knows the key."""
    running = Service(nats_server.url, tmp_path / "newer")
    await running.start("commands")
    client = await nats.connect(nats_server.url)
    requests = Requests(client)
    await requests.send("api_key.create", KEY)
    with sqlite3.connect(tmp_path / "newer" / "events.db") as store:
        store.execute("INSERT INTO stored_events VALUES ('apk_1', 2, 'api_key.exploded:1', ?)", (b'{"data":{}}',))
    store.close()
    for name in "ab":
        assert "data" in await requests.send("sales_channel.create", {"id": f"sc_{name}", "name": name})
    await running.stop()
    await running.start("commands")  # it knows nothing by heart, and loads what a batch names at once

    async def change(key: str) -> Any:
        return await requests.send(
            "api_key.update", {"id": key, "update": {"title": "N"}}, **{"Nats-Msg-Id": f"change {key}"}
        )

    await requests.send("api_key.create", {**KEY, "id": "apk_2"})
    await running.stop()
    await running.start("commands")
    met, done = await asyncio.gather(change("apk_1"), change("apk_2"))
    assert met["error"]["type"] == "unavailable"
    assert "apk_1" in met["error"]["message"]
    assert met["error"]["retry_after_ms"] > 0
    assert "data" in done
    with sqlite3.connect(tmp_path / "newer" / "events.db") as store:
        store.execute("DELETE FROM stored_events WHERE topic = 'api_key.exploded:1'")
    store.close()
    assert "data" in await change("apk_1")  # its refusal was not kept as its outcome
    await client.close()
    await running.stop()


def test_a_turn_at_a_store_that_is_gone(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails as everything else does, so that senders are told to try again."""
    store = open_store(postgres.store())

    def refused(*_: Any, **__: Any) -> Any:
        raise psycopg.OperationalError("the server is down")

    monkeypatch.setattr(psycopg.Connection, "connect", refused)
    store.close()  # its connections; the next use makes one
    with pytest.raises(OperationalError), store.recorder.alone(0, 10):
        pass


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_commit_that_fails_leaves_no_transaction_behind(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteConnection, "commit", fails)
        for number in range(8):  # more than there are connections
            reply = await requests.send("sales_channel.create", {"name": f"lost {number}"})
            assert reply["error"]["type"] == "unavailable"
    for number in range(8):
        assert "data" in await requests.send("sales_channel.create", {"name": f"kept {number}"})


async def test_options_of_the_server_in_the_url(
    nats_server: Nats, tmp_path: Path, postgres: Postgres, client: Client
) -> None:
    """A blank in them reaches the server as one. These give replicas snapshots from before their turn came."""
    url = f"{postgres.store()}&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read"
    replicas = [Service(nats_server.url, tmp_path / "data", event_store=url) for _ in range(2)]
    for replica in replicas:
        await replica.start("commands")
    requests = Requests(client)
    for _ in range(5):
        replies = await asyncio.gather(*(requests.send("sales_channel.create", {"name": "W"}) for _ in range(40)))
        assert [reply["error"] for reply in replies if "error" in reply] == []
    for replica in replicas:
        await replica.stop()
