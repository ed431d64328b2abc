"""What each event does to the read model; and that a batch is applied once, whole, or not at all."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from events.base import UnknownEvent
from events.catalog import EVENTS
from projections.database import DamagedReadModel
from projections.projector import STEPS, MissingEvents, Projector, Published, position_of
from tests.projections.world import Stream, World, at


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "read.db")
    yield world
    world.close()


def test_every_event_has_its_steps() -> None:
    assert STEPS.keys() == EVENTS.keys()


def test_a_key_from_its_creation_to_its_end(world: World) -> None:
    world.key("apk_1", "First")
    assert world.data("api_key", ["*"]) == [
        {
            "id": "apk_1",
            "token": "pk_apk_1",
            "redacted": "pk_k_1***",
            "title": "First",
            "type": "publishable",
            "last_used_at": None,
            "created_by": "tester",
            "revoked_by": None,
            "revoked_at": None,
            "created_at": at(1),
            "updated_at": at(1),
            "deleted_at": None,
        }
    ]
    world.rename("apk_1", "Second")
    assert world.data("api_key", ["title", "updated_at"]) == [{"title": "Second", "updated_at": at(2)}]
    world.revoke("apk_1")
    revoked = {"revoked_by": "boss", "revoked_at": at(3), "updated_at": at(3)}
    assert world.data("api_key", list(revoked)) == [revoked]
    world.delete_key("apk_1")
    assert world.data("api_key", ["id"]) == []
    assert world.data("api_key", ["id", "deleted_at"], withDeleted=True) == [{"id": "apk_1", "deleted_at": at(4)}]
    world.restore_key("apk_1")
    assert world.data("api_key", ["title", "deleted_at", "updated_at"]) == [
        {"title": "Second", "deleted_at": None, "updated_at": at(5)}
    ]
    world.delete_key("apk_1", permanent=True)
    assert world.data("api_key", ["id"], withDeleted=True) == []


def test_a_channel_from_its_creation_to_its_end(world: World) -> None:
    world.channel("sc_1", "One", metadata={"region": "eu", "a": 1})
    assert list(world.data("sales_channel", ["metadata"])[0]["metadata"]) == ["a", "region"], "in jsonb's order"
    world.change_channel("sc_1", "Two", "second", is_disabled=True)
    [channel] = world.data("sales_channel", ["*"])
    assert (channel["name"], channel["description"]) == ("Two", "second")
    assert (channel["is_disabled"], channel["metadata"]) == (True, None)
    world.delete_channel("sc_1", permanent=True)
    assert world.data("sales_channel", ["id"], withDeleted=True) == []
    world.restore_channel("sc_1")
    assert world.data("sales_channel", ["name"]) == [{"name": "Two"}]


def links(world: World, **more: Any) -> Any:
    rows = world.data("publishable_api_key_sales_channel", ["*"], **more)
    return [(row["id"], row["created_at"], row["updated_at"], row["deleted_at"]) for row in rows]


def test_a_link_goes_and_comes(world: World) -> None:
    world.key("apk_1")
    world.channel("sc_1")
    world.link("apk_1", "sc_1", id="pksc_1")
    assert links(world) == [("pksc_1", at(3), at(3), None)]
    world.dismiss("apk_1", "sc_1", id="pksc_1")
    assert links(world) == []
    assert links(world, withDeleted=True) == [("pksc_1", at(3), at(4), at(4))]
    world.link("apk_1", "sc_1", id="pksc_2")
    assert links(world) == [("pksc_2", at(5), at(5), None)], "one row for a pair"


@pytest.mark.parametrize("end", ["key", "channel"])
def test_deleting_an_end_takes_its_links_along_at_once(world: World, end: str) -> None:
    for number in (1, 2):
        world.key(f"apk_{number}")
        world.channel(f"sc_{number}")
    for key, channel in (("apk_1", "sc_1"), ("apk_1", "sc_2"), ("apk_2", "sc_1"), ("apk_2", "sc_2")):
        world.link(key, channel)
    if end == "key":
        world.delete_key("apk_1")
    else:
        world.delete_channel("sc_1")
    gone = world.clock
    ids = [row[0] for row in links(world)]
    assert ids == (["pksc_apk_2_sc_1", "pksc_apk_2_sc_2"] if end == "key" else ["pksc_apk_1_sc_2", "pksc_apk_2_sc_2"])
    world.dismiss("apk_1", "sc_1")  # what follows from the deletion says the same again
    assert [row[3] for row in links(world, withDeleted=True) if row[0] == "pksc_apk_1_sc_1"] == [at(gone)]
    if end == "key":
        world.restore_key("apk_1")
    else:
        world.restore_channel("sc_1")
    assert len(links(world)) == 2, "links come back by their own events"


def test_an_end_that_was_dismissed_before_keeps_its_time(world: World) -> None:
    world.key("apk_1")
    world.channel("sc_1")
    world.link("apk_1", "sc_1")
    world.dismiss("apk_1", "sc_1")
    dismissed = at(world.clock)
    world.delete_channel("sc_1")
    assert [row[3] for row in links(world, withDeleted=True)] == [dismissed]


def test_a_secret_key_shows_no_token(world: World) -> None:
    world.key("apk_1", type="secret")
    assert world.data("api_key", ["token"]) == [{"token": ""}]


def test_counts_follow(world: World) -> None:
    def count(entity: str) -> int:
        return int(world.graph(entity, ["id"], pagination={"skip": 0})["metadata"]["count"])

    for number in range(3):
        world.key(f"apk_{number}")
        world.channel(f"sc_{number}")
    world.delete_key("apk_0")
    world.delete_key("apk_0", permanent=True)
    world.delete_channel("sc_0")
    world.restore_channel("sc_0")
    assert (count("api_key"), count("sales_channel")) == (2, 3)


def test_an_old_version_is_upcast(world: World) -> None:
    world.key("apk_1")
    world.channel("sc_1")
    world.link("apk_1", "sc_1")
    world.dismiss("apk_1", "sc_1")
    envelope = json.loads(world.events[-1].text)
    del envelope["data"]["reason"]
    envelope["dataschema"] = envelope["dataschema"].replace(":2", ":1")
    world.link("apk_1", "sc_1")
    envelope["position"] = world.position + 5
    world.projector.apply([Published(json.dumps(envelope, separators=(",", ":")).encode(), 99)])
    assert links(world) == []


@pytest.mark.parametrize("change", [("link.created:1", "link.created:7"), ("link.created:1", "link.paused:1")])
def test_an_event_of_a_newer_release_stops_everything(world: World, change: tuple[str, str]) -> None:
    world.key("apk_1")
    world.channel("sc_1")
    later = Stream()
    later.position, later.clock = world.position, world.clock
    World.key(later, "apk_2")  # type: ignore[arg-type]
    World.link(later, "apk_1", "sc_1")  # type: ignore[arg-type]
    unknown = Published(later.events[1].text.replace(change[0].encode(), change[1].encode()), 2)
    with pytest.raises(UnknownEvent):
        world.projector.apply([later.events[0], unknown])
    assert world.data("api_key", ["id"]) == [{"id": "apk_1"}], "nothing of the batch is applied"
    world.projector.apply(later.events)
    assert len(world.data("api_key", ["id"])) == 2


def test_a_gap_is_never_skipped(world: World) -> None:
    later = Stream()
    history(later)
    world.projector.apply(later.events[:10])
    with pytest.raises(MissingEvents, match="are missing"):
        world.projector.apply(later.events[12:20])
    with pytest.raises(MissingEvents):
        world.projector.apply([*later.events[10:14], *later.events[16:]])
    assert world.projector.position == position_of(later.events[9].text)
    assert world.projector.apply(later.events) == later.position


def history(stream: Any, keys: int = 20) -> None:
    for number in range(4):
        World.channel(stream, f"sc_{number}", f"Channel {number}")
    for number in range(keys):
        World.key(stream, f"apk_{number:03}", f"Key {number}")
        for channel in range(number % 4):
            World.link(stream, f"apk_{number:03}", f"sc_{channel}")
        if number % 5 == 0 and number:
            World.dismiss(stream, f"apk_{number:03}", "sc_0")
    World.delete_channel(stream, "sc_1")


def contents(path: Path) -> list[Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    tables = ("api_key", "sales_channel", "link", "counter")
    rows = [list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in tables]
    connection.close()
    return rows


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_batches_and_repetitions_change_nothing(tmp_path: Path, size: int) -> None:
    stream = Stream()
    history(stream)
    once, again = tmp_path / "once.db", tmp_path / "again.db"
    projector = Projector(once)
    assert projector.apply(stream.events) == stream.position
    projector.close()
    for start in range(0, len(stream.events), size):
        projector = Projector(again)  # opened anew, it goes on where it was
        projector.apply(stream.events[max(0, start - 4) : start + size])
        projector.apply(stream.events[start : start + size])
        assert (projector.position, projector.stream_seq) == (
            position_of(stream.events[min(start + size, len(stream.events)) - 1].text),
            min(start + size, len(stream.events)),
        )
        projector.close()
    assert contents(again) == contents(once)


_KILLED = """
import sys
from pathlib import Path
from projections.projector import Projector
from tests.projections.test_projector import history
from tests.projections.world import Stream
stream = Stream()
history(stream, 400)
projector = Projector(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for start in range(0, len(stream.events), 7):
        projector.apply(stream.events[start : start + 7])
    if projector.position == stream.position:
        break
"""


def test_a_crash_repeats_nothing_and_skips_nothing(tmp_path: Path) -> None:
    stream = Stream()
    history(stream, 400)
    whole, path = tmp_path / "whole.db", tmp_path / "read.db"
    projector = Projector(whole)
    projector.apply(stream.events)
    projector.close()
    for pause in (0.001, 0.004, 0.01, 0.02):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, path], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        projector = Projector(path)
        assert projector.position == 0 or projector.position in {position_of(event.text) for event in stream.events}
        projector.close()
    projector = Projector(path)
    projector.apply(stream.events)
    projector.close()
    assert contents(path) == contents(whole)


def test_the_log_is_folded_while_a_statement_runs(world: World) -> None:
    running, go_on = threading.Event(), threading.Event()

    def stall(*_: object) -> int:
        running.set()
        return int(go_on.wait(20))

    connection = world.projector._connection
    connection.create_scalar_function("stall", stall)
    with ThreadPoolExecutor(1) as pool:
        statement = pool.submit(lambda: connection.execute("SELECT stall()").get)
        running.wait()
        world.projector.checkpoint_beside()
        go_on.set()
        assert statement.result() == 1


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "read.db"
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)
    with pytest.raises(DamagedReadModel, match="delete it"):
        Projector(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "read.db"
    Projector(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE tracking SET version = 0")
    connection.close()
    with pytest.raises(DamagedReadModel, match="another version"):
        Projector(path)
