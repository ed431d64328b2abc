"""The query service on a real nats-server and a real stream, with events published by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from events.envelope import decode
from events.subjects import EVENTS_STREAM, Subjects
from projections.projector import Published, position_of
from projections.schema import VERSION
from services.bus.streams import ensure_stream, events_stream
from services.query import follower, progress, readers, service
from services.query.service import serve
from tests.projections.world import Stream, World, at
from tests.support.nats import Nats

SUBJECTS = Subjects("test")
MISSING = (
    "Publishable API key required in the request header: x-publishable-api-key."
    " You can manage your keys in settings in the dashboard."
)
INVALID = "A valid publishable key is required to proceed with the request"


class Bench:
    """A client beside the service, and the stream that it fills."""

    def __init__(self, server: Nats, client: Client, database: Path) -> None:
        self.server, self.client, self.database = server, client, database
        self.stream = Stream()
        self.sent = 0
        self.reconnected = asyncio.Event()

    async def connected_again(self) -> None:
        async with asyncio.timeout(30):
            await self.reconnected.wait()

    async def fill(self, *, again: bool = False) -> None:
        """Publishes what is new, or everything again."""
        js = self.client.jetstream()
        await ensure_stream(js, events_stream(SUBJECTS))
        for number in range(0 if again else self.sent, len(self.stream.events)):
            event = self.stream.events[number]
            await js.publish(subject_of(event), event.text)
        self.sent = len(self.stream.events)

    async def ask(self, endpoint: str, body: Any, **more: Any) -> Msg:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.request(SUBJECTS.query(endpoint), data, timeout=15, **more)

    async def graph(self, **query: Any) -> Any:
        """The answer of a query that waits for everything that was published."""
        reply = await self.ask("graph", {"position": self.stream.position} | query)
        return json.loads(reply.data)

    @asynccontextmanager
    async def serving(self, *, wait: bool = True) -> AsyncIterator[None]:
        """The service runs within."""
        ready, stopping = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(
            serve(connect=self._connect, database=self.database, subjects=SUBJECTS, ready=ready.set, stopping=stopping)
        )
        waiting = asyncio.create_task(ready.wait())
        if wait:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        try:
            yield
        finally:
            waiting.cancel()
            stopping.set()
            await task

    async def _connect(self, name: str) -> Client:
        return await nats.connect(
            self.server.url, name=name, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet
        )


async def _quiet(error: Exception) -> None:
    """Broken connections are what some of the tests are about."""


def subject_of(event: Published) -> str:
    cloud = decode(event.text)
    return SUBJECTS.event(cloud.name, *cloud.data.subject)


@pytest.fixture
async def bench(nats_server: Nats, tmp_path: Path) -> AsyncIterator[Bench]:
    async def reconnected() -> None:
        made.reconnected.set()

    client = await nats.connect(
        nats_server.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        error_cb=_quiet,
        reconnected_cb=reconnected,
    )
    made = Bench(nats_server, client, tmp_path / "read.db")
    yield made
    await client.close()


def some(stream: Any, first: int = 0, count: int = 3) -> None:
    for number in range(first, first + count):
        World.channel(stream, f"sc_{number}", f"Channel {number}")
        World.key(stream, f"apk_{number}", f"Key {number}")
        World.link(stream, f"apk_{number}", f"sc_{number}")


async def test_the_answers_follow_the_stream(bench: Bench) -> None:
    some(bench.stream)
    await bench.fill()
    async with bench.serving():
        asked = {"entity": "api_key", "fields": ["title", "sales_channels.name"], "filters": {"id": "apk_1"}}
        expected = {"title": "Key 1", "id": "apk_1", "sales_channels": [{"name": "Channel 1", "id": "sc_1"}]}
        assert await bench.graph(**asked) == {"data": [expected]}
        World.rename(bench.stream, "apk_1", "New")  # type: ignore[arg-type]
        await bench.fill()
        assert (await bench.graph(**asked))["data"][0]["title"] == "New"
        status = json.loads((await bench.ask("status", {})).data)
        at = bench.stream.position
        assert status == {"state": "following", "position": at, "behind": 0, "schema_version": VERSION}


async def test_it_waits_for_the_stream_and_for_a_position(bench: Bench) -> None:
    async with bench.serving():
        assert await bench.graph(entity="api_key", fields=["id"]) == {"data": []}
        assert json.loads((await bench.ask("status", {})).data)["state"] == "waiting for the stream"
        some(bench.stream)
        asking = asyncio.create_task(bench.graph(entity="api_key", fields=["id"]))
        scope = asyncio.create_task(bench.ask("scope", {"token": "pk_apk_1", "position": bench.stream.position}))
        await asyncio.sleep(0.05)
        assert not asking.done()
        await bench.fill()
        assert len((await asking)["data"]) == 3
        assert json.loads((await scope).data)["sales_channel_ids"] == ["sc_1"]


async def test_a_position_that_does_not_come_is_unavailable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.Progress.__init__, "__kwdefaults__", {"patience": 0.05})
    async with bench.serving():
        reply = await bench.ask("graph", {"entity": "api_key", "fields": ["id"], "position": 99})
        error = json.loads(reply.data)["error"]
        assert (error["type"], error["position"], error["retry_after_ms"]) == ("unavailable", 0, 500)
        assert reply.headers is not None
        assert reply.headers["Nats-Service-Error-Code"] == "503"
        assert (await bench.graph(entity="api_key", fields=["id"])) == {"data": []}, "and it carries on"


@pytest.mark.parametrize(
    ("endpoint", "body", "message"),
    [
        ("graph", b"no json", "The query is not JSON"),
        ("graph", b"", "The query is not JSON"),
        ("graph", b'{"entity": "\xff"}', "The query is not JSON"),
        ("graph", b'{"a":' * 100_000, "The query is not JSON"),
        ("graph", b"[1]", "A query is a JSON object"),
        ("graph", {"entity": "nope"}, 'Service with alias "nope" was not found.'),
        ("graph", {"entity": "api_key", "position": -1}, "position: a whole number is needed"),
        ("graph", {"entity": "api_key", "position": "1"}, "position: a whole number is needed"),
        ("graph", {"entity": "api_key", "filters": {"id": "x" * 900_000}}, "filters.id: at most 10000 characters"),
        ("scope", b"x", "The query is not JSON"),
        ("scope", {"token": 5}, "token: a text is needed"),
    ],
)
async def test_wrong_requests_are_answered(bench: Bench, endpoint: str, body: Any, message: str) -> None:
    async with bench.serving():
        reply = await bench.ask(endpoint, body)
        error = json.loads(reply.data)["error"]
        assert error["type"] == "invalid_data"
        assert error["message"].startswith(message)
        assert reply.headers is not None
        assert reply.headers["Nats-Service-Error-Code"] == "400"
        assert await bench.graph(entity="api_key", fields=["id"]) == {"data": []}


async def test_scope(bench: Bench) -> None:
    some(bench.stream)
    World.link(bench.stream, "apk_1", "sc_0")  # type: ignore[arg-type]
    World.key(bench.stream, "apk_secret", type="secret")  # type: ignore[arg-type]
    World.delete_key(bench.stream, "apk_2")  # type: ignore[arg-type]
    World.revoke(bench.stream, "apk_0")  # type: ignore[arg-type]
    await bench.fill()
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"])
        good = json.loads((await bench.ask("scope", {"token": "pk_apk_1"})).data)
        key = {"id": "apk_1", "token": "pk_apk_1", "title": "Key 1", "type": "publishable"}
        assert good == {"key": key | {"revoked_by": None, "revoked_at": None}, "sales_channel_ids": ["sc_0", "sc_1"]}
        for token, message in [
            (None, MISSING),
            ("", MISSING),
            ("  ", MISSING),
            ("pk_nope", INVALID),
            ("pk_apk_2", INVALID),  # deleted
            ("pk_apk_0", INVALID if at(bench.stream.clock) < "2026-11-24" else MISSING),  # revoked
        ]:
            error = json.loads((await bench.ask("scope", {} if token is None else {"token": token})).data)["error"]
            assert error == {"type": "not_allowed", "message": message}


@pytest.mark.parametrize(("seconds", "works"), [(-3600, False), (3600, True)])
async def test_a_revocation_ahead_counts_when_its_time_comes(bench: Bench, seconds: int, works: bool) -> None:
    from datetime import UTC, datetime, timedelta

    from events.api_key import ApiKeyRevoked

    some(bench.stream, count=1)
    moment = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    bench.stream.publish(ApiKeyRevoked(id="apk_0", revoked_by="boss", revoked_at=moment, updated_at=at(9)))
    await bench.fill()
    async with bench.serving():
        answer = json.loads((await bench.ask("scope", {"token": "pk_apk_0", "position": bench.stream.position})).data)
        assert ("key" in answer) is works


async def test_an_answer_that_the_broker_would_not_carry(make_nats: Callable[..., Nats], tmp_path: Path) -> None:
    server = make_nats()
    config = server.folder / "nats-server.conf"
    text = "\n".join(line for line in config.read_text().splitlines() if "max_payload" not in line)
    server.stop()
    config.write_text(f"{text}\nmax_payload: 4096\n")
    server.start()
    client = await nats.connect(server.url)
    bench = Bench(server, client, tmp_path / "read.db")
    some(bench.stream, count=20)
    await bench.fill()
    async with bench.serving():
        error = (await bench.graph(entity="api_key", fields=["*"]))["error"]
        assert error["type"] == "invalid_data"
        assert "4096 bytes" in error["message"]
        have = [{"id": "apk_0", "note": "x" * 3_900}]
        error = (await bench.graph(entity="api_key", fields=["*"], filters={"id": "apk_0"}, initialData=have))["error"]
        assert error["type"] == "invalid_data"
        assert "initialData" in error["message"]
        assert len((await bench.graph(entity="api_key", fields=["id"], pagination={"take": 5}))["data"]) == 5
    await client.close()


async def test_a_slow_query_leaves_the_loop_and_others_are_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "STATEMENT_SECONDS", 0.3)
    some(bench.stream, count=120)
    for number in range(120):
        for channel in range(0, 120, 4):
            World.link(bench.stream, f"apk_{number}", f"sc_{channel}")  # type: ignore[arg-type]
    await bench.fill()
    slow = {
        "entity": "api_key",
        "fields": ["id"],
        "filters": {
            "sales_channels": {"publishable_api_keys": {"sales_channels": {"description": {"$re": "(x+x+)+y"}}}}
        },
    }
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"], filters={"id": "apk_1"})
        slow_ones = [asyncio.create_task(bench.graph(**slow)) for _ in range(3)]
        await asyncio.sleep(0.02)
        started = asyncio.get_running_loop().time()
        assert (await bench.graph(entity="api_key", fields=["id"], filters={"id": "apk_1"}))["data"]
        assert asyncio.get_running_loop().time() - started < 2
        for task in slow_ones:
            answer = await task
            assert answer["error"]["message"].startswith("The query takes longer than 0.3 s")


async def test_a_consumer_that_lives_and_delivers_nothing_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one may on a node of a cluster that has fallen behind; here it is paused, and its heartbeats go on."""
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.3)
    some(bench.stream)
    await bench.fill()
    async with bench.serving():
        [consumer] = await bench.client.jetstream().consumers_info("KEYSCOPE_EVENTS")
        until = json.dumps({"pause_until": "2100-01-01T00:00:00Z"}).encode()
        paused = await bench.client.request(f"$JS.API.CONSUMER.PAUSE.KEYSCOPE_EVENTS.{consumer.name}", until, timeout=5)
        assert json.loads(paused.data)["paused"]
        some(bench.stream, first=3)
        await bench.fill()
        assert len((await bench.graph(entity="api_key", fields=["id"]))["data"]) == 6


async def test_it_goes_on_after_a_restart_of_the_server(bench: Bench) -> None:
    some(bench.stream)
    await bench.fill()
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"])
        bench.server.kill()
        bench.server.start()
        await bench.connected_again()
        some(bench.stream, first=10)
        await bench.fill()
        assert len(await _eventually(bench, 6)) == 6


@pytest.mark.parametrize("how", ["purged", "deleted"])
async def test_it_goes_on_after_the_stream_was_wiped_and_filled_again(bench: Bench, how: str) -> None:
    some(bench.stream)
    await bench.fill()
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"])
        js = bench.client.jetstream()
        if how == "purged":
            await js.purge_stream(EVENTS_STREAM)
        else:
            await js.delete_stream(EVENTS_STREAM)
        await bench.fill(again=True)
        some(bench.stream, first=10)
        await bench.fill()
        assert len(await _eventually(bench, 6)) == 6


async def test_an_event_is_not_applied_before_the_one_that_the_stream_lacks(bench: Bench) -> None:
    some(bench.stream, count=3)
    await bench.fill()
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"])
        some(bench.stream, first=3, count=2)
        lost = bench.stream.events[bench.sent]
        bench.sent += 1
        await bench.fill()
        await asyncio.sleep(0.5)
        status = json.loads((await bench.ask("status", {})).data)
        assert status["position"] == position_of(bench.stream.events[8].text) < position_of(lost.text)
        assert len(json.loads((await bench.ask("graph", {"entity": "api_key", "fields": ["id"]})).data)["data"]) == 3

        await bench.client.jetstream().purge_stream(EVENTS_STREAM)
        await bench.fill(again=True)
        assert len((await bench.graph(entity="api_key", fields=["id"]))["data"]) == 5


async def test_it_finds_its_place_in_another_stream(bench: Bench) -> None:
    """Stopped while the stream is replaced by one with other sequence numbers, which is longer by now."""
    some(bench.stream, count=10)
    await bench.fill()
    async with bench.serving():
        await bench.graph(entity="api_key", fields=["id"])
    js = bench.client.jetstream()
    await js.purge_stream(EVENTS_STREAM)
    some(bench.stream, first=10, count=30)
    await bench.fill(again=True)
    async with bench.serving():
        assert len((await bench.graph(entity="api_key", fields=["id"]))["data"]) == 40


async def test_a_new_node_is_ready_when_it_has_everything(bench: Bench) -> None:
    some(bench.stream, count=200)
    await bench.fill()
    async with bench.serving():
        reply = await bench.ask("graph", {"entity": "api_key", "fields": ["id"]})
        assert len(json.loads(reply.data)["data"]) == 200


async def test_two_nodes_share_the_work(bench: Bench, tmp_path: Path) -> None:
    some(bench.stream)
    await bench.fill()
    other = Bench(bench.server, bench.client, tmp_path / "other.db")
    async with bench.serving(), other.serving():
        for _ in range(40):
            await bench.ask("graph", {"entity": "api_key", "fields": ["id"]})
        replies = bench.client.new_inbox()
        subscription = await bench.client.subscribe(replies)
        await bench.client.publish("$SRV.STATS.keyscope-query", reply=replies)
        stats = [json.loads((await subscription.next_msg(5)).data) for _ in range(2)]
        counts = [next(e["num_requests"] for e in s["endpoints"] if e["name"] == "graph") for s in stats]
        assert sum(counts) == 40
        assert min(counts) > 0


async def test_the_service_says_what_it_takes_and_gives(bench: Bench) -> None:
    async with bench.serving():
        info = json.loads((await bench.client.request("$SRV.INFO.keyscope-query", timeout=5)).data)
        by_name = {endpoint["name"]: endpoint for endpoint in info["endpoints"]}
        assert by_name.keys() == {"graph", "scope", "status"}
        assert by_name["graph"]["subject"] == "test.query.graph"
        for endpoint in by_name.values():
            assert json.loads(endpoint["metadata"]["request_schema"])["type"] == "object"
            assert json.loads(endpoint["metadata"]["response_schema"])["type"] == "object"


async def test_it_stops_before_it_is_ready(bench: Bench) -> None:
    some(bench.stream, count=300)
    await bench.fill()
    async with bench.serving(wait=False):
        await asyncio.sleep(0.01)


async def test_it_stops_though_the_server_is_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DRAIN_SECONDS", 0.5)
    some(bench.stream)
    await bench.fill()
    async with asyncio.timeout(30), bench.serving():
        bench.server.kill()
    bench.server.start()
    async with bench.serving():
        assert len((await bench.graph(entity="api_key", fields=["id"]))["data"]) == 3


async def _eventually(bench: Bench, count: int) -> Any:
    """The keys, as soon as there are `count`: the service connects again, and the consumer may have to be made anew."""
    rows: Any = []
    async with asyncio.timeout(30):
        while len(rows) < count:
            await asyncio.sleep(0.02)
            with suppress(NoRespondersError):
                rows = (await bench.graph(entity="api_key", fields=["id"])).get("data", [])
    return rows


@pytest.fixture(autouse=True)
def _no_logs_on_screen() -> Iterator[None]:
    import structlog

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()
