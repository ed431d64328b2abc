"""One trace from the client to the query, through the processes of `keyscope up`."""

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import keyscope
from services.bus.tracing import ids_of
from tests.support.up import Up, wait_for
from tests.tracing.collector import Collector, Received

SERVER, PRODUCER, CONSUMER = 2, 4, 5
FAST = {"KEYSCOPE_TRACING": "1", "OTEL_BSP_SCHEDULE_DELAY": "50"}
Start = Callable[..., Up]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def up(keyscope_up: Start, collector: Collector) -> Up:
    environment = {**FAST, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    return keyscope_up("--log-format=json", environment={**environment, "KEYSCOPE_LOG_LEVEL": "debug"}).wait_ready()


@contextmanager
def working() -> Iterator[trace.SpanContext]:
    """A span of the client's, as its program would have one; nothing is exported of it."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("client").start_span("checkout")
    with trace.use_span(span, end_on_exit=True):
        yield span.get_span_context()


async def arrived(collector: Collector, trace_id: str, *names: str) -> None:
    """So many spans of each name have: processes send theirs in several portions."""
    await asyncio.to_thread(wait_for, lambda: Counter(names) <= Counter(span.name for span in collector.of(trace_id)))


async def first_link(ks: keyscope.Keyscope, **options: Any) -> None:
    await ks.command("api_key.create", {"id": "apk_1", "title": "K", "type": "publishable"}, **options)
    await ks.command("sales_channel.create", {"id": "sc_1", "name": "C"}, **options)
    pair = {"api_key": {"api_key_id": "apk_1"}, "sales_channel": {"sales_channel_id": "sc_1"}}
    await ks.command("link.create", pair, **options)


async def test_from_the_client_to_the_query(up: Up, collector: Collector) -> None:
    async with keyscope.connect(up.url, actor="ann") as ks:
        with working() as client:
            made = await ks.command("sales_channel.create", {"id": "sc_1", "name": "C"}, command_id="make")
            with pytest.raises(keyscope.DuplicateError):
                await ks.command("sales_channel.create", {"id": "sc_1", "name": "C"})
            await ks.query.graph(entity="sales_channel", fields=["id"])
        async with ks.events.all(since="beginning", follow=False) as events:
            event = await anext(aiter(events))
    trace_id, root = trace.format_trace_id(client.trace_id), trace.format_span_id(client.span_id)
    names = ["command sales_channel.create"] * 2 + ["commit"] * 2 + ["publish", "apply", "query graph"]
    await arrived(collector, trace_id, *names)

    done, refused = sorted(
        (span for span in collector.of(trace_id) if span.name == "command sales_channel.create"),
        key=lambda span: span.attributes["keyscope.outcome"],
    )
    assert (done.attributes["keyscope.outcome"], refused.attributes["keyscope.outcome"]) == ("done", "duplicate_error")
    assert refused.attributes["error.type"] == "duplicate_error"
    assert done.parent == refused.parent == root
    assert (done.kind, done.process) == (SERVER, "commands")
    assert done.attributes["messaging.message.id"] == "make"
    assert done.attributes["keyscope.actor"] == "ann"
    assert done.attributes["keyscope.position"] == made["position"]
    assert done.attributes["keyscope.command.retries"] == 0

    commits = {span.parent: span for span in collector.of(trace_id) if span.name == "commit"}
    assert commits[done.id].links == [done.id]
    assert commits[done.id].attributes["keyscope.commands"] == 1
    assert event.traceparent == f"00-{trace_id}-{done.id}-01"
    for name, kind in (("publish", PRODUCER), ("apply", CONSUMER)):
        span = collector.named(trace_id, name)
        assert (span.parent, span.links, span.kind, span.process) == (done.id, [done.id], kind, "relay+query")
        assert (span.attributes["keyscope.events"], span.attributes["keyscope.position"]) == (1, made["position"])
    query = collector.named(trace_id, "query graph")
    assert (query.parent, query.kind, query.attributes["keyscope.outcome"]) == (root, SERVER, "done")
    assert query.attributes["keyscope.shape"] == "sales_channel"
    assert commits[done.id].attributes["keyscope.redone"] is False
    for waited in (span for span in collector.of(trace_id) if span.name == "wait for position"):
        assert (waited.parent, waited.attributes["keyscope.position"]) == (query.id, made["position"])


async def test_a_batch_links_to_every_command_in_it(up: Up, collector: Collector) -> None:
    async with keyscope.connect(up.url, actor="ann") as ks:
        with working() as client:
            bodies = [{"id": f"sc_{n}", "name": "C"} for n in range(100)]
            await asyncio.gather(*(ks.command("sales_channel.create", body) for body in bodies))
    trace_id = trace.format_trace_id(client.trace_id)

    def named(name: str) -> list[Received]:
        return [span for span in collector.of(trace_id) if span.name == name]

    def complete() -> bool:
        return all(sum(len(span.links) for span in named(name)) == 100 for name in ("commit", "publish", "apply"))

    await asyncio.to_thread(wait_for, lambda: len(named("command sales_channel.create")) == 100 and complete())
    commands = {span.id for span in named("command sales_channel.create")}
    for name in ("commit", "publish", "apply"):
        assert {link for span in named(name) for link in span.links} == commands
        assert all(span.parent == span.links[0] for span in named(name))
    assert sum(span.attributes["keyscope.commands"] for span in named("commit")) == 100


async def test_a_job_is_traced_too(up: Up, collector: Collector) -> None:
    async with keyscope.connect(up.url, actor="ann") as ks:
        with working() as client:
            job = await ks.jobs.submit("sales_channel.create", {"name": "C"})
        await job.outcome()
    trace_id = trace.format_trace_id(client.trace_id)
    await arrived(collector, trace_id, "command sales_channel.create", "commit", "publish", "apply")
    span = collector.named(trace_id, "command sales_channel.create")
    assert (span.kind, span.parent) == (CONSUMER, trace.format_span_id(client.span_id))


async def test_http_leads_to_commands_and_queries(up: Up, collector: Collector) -> None:
    where = re.search(r"HTTP +(http://\S+)", up.output)
    assert where
    async with keyscope.connect(up.url, actor="ann") as ks:
        secret = (await ks.command("api_key.create", {"title": "S", "type": "secret"}))["data"]["token"]
    trace_id, root = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with httpx.AsyncClient(base_url=where[1], auth=(secret, "")) as http:
        headers = {"traceparent": f"00-{trace_id}-{root}-01"}
        answer = await http.post(
            "/admin/api-keys?fields=id", json={"title": "K", "type": "publishable"}, headers=headers
        )
        assert answer.status_code == 200, answer.text
    await arrived(collector, trace_id, "POST /admin/api-keys", "command api_key.create", "apply")
    request = collector.named(trace_id, "POST /admin/api-keys")
    assert (request.parent, request.process, request.kind) == (root, "gateway", SERVER)
    assert request.attributes["http.response.status_code"] == 200
    assert collector.named(trace_id, "command api_key.create").parent == request.id
    assert all(secret not in str(span) for span in collector.spans)
    assert secret not in up.errors


@pytest.mark.parametrize("traceparent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "rubbish"])
async def test_what_the_client_does_not_sample_is_not_traced(
    up: Up, collector: Collector, traceparent: str | None
) -> None:
    async with keyscope.connect(up.url, actor="ann") as ks:
        await first_link(ks, **({"traceparent": traceparent} if traceparent else {}))
        await ks.query.graph(entity="api_key", fields=["id"])
        async with ks.events.all(since="beginning", follow=False) as events:
            event = await anext(aiter(events))
        assert event.traceparent == (None if traceparent == "rubbish" else traceparent)
        with working() as client:  # what comes after it, and is seen, was sent after it
            await ks.command("sales_channel.create", {"name": "C"})
    trace_id = trace.format_trace_id(client.trace_id)
    await arrived(collector, trace_id, "command sales_channel.create", "commit", "publish", "apply")
    assert {span.trace for span in collector.spans} == {trace_id}


async def test_a_log_line_names_the_span(up: Up, collector: Collector) -> None:
    async with keyscope.connect(up.url, actor="ann") as ks:
        with working() as client:
            made = await ks.command("sales_channel.create", {"name": "C"}, command_id="make")
            await ks.query.graph(entity="sales_channel", fields=["id"])
    trace_id = trace.format_trace_id(client.trace_id)
    await arrived(collector, trace_id, "command sales_channel.create", "commit", "publish", "apply", "query graph")

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in up.errors.splitlines() if line.startswith("{")]
        return [line for line in found if line.get("trace_id") == trace_id]

    await asyncio.to_thread(wait_for, lambda: len(lines()) >= 5)
    said = {line["span_id"]: line for line in lines()}
    command = said[collector.named(trace_id, "command sales_channel.create").id]
    assert (command["command_id"], command["actor"], command["position"]) == ("make", "ann", made["position"])
    assert (command["command"], command["outcome"]) == ("sales_channel.create", "done")
    assert said[collector.named(trace_id, "query graph").id]["query"] == "graph"
    assert said[collector.named(trace_id, "commit").id]["position"] == made["position"]
    assert said[collector.named(trace_id, "apply").id]["process"] == "reads"


@pytest.mark.parametrize("away", ["refuses", "is silent"])
async def test_a_collector_that_is_away_loses_nothing(keyscope_up: Start, away: str) -> None:
    """As many spans as the queue cannot hold: every command is answered, and the service stops in its time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if away == "refuses":
            silent.close()
        environment = {
            **FAST,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        }
        environment["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "32"
        up = keyscope_up(environment=environment).wait_ready()
        async with keyscope.connect(up.url, actor="ann") as ks:
            with working():
                for _ in range(5):
                    await asyncio.gather(*(ks.command("sales_channel.create", {"name": "C"}) for _ in range(100)))
                found = await ks.query.graph(entity="sales_channel", fields=["id"], pagination={"take": 1000})
        assert len(found["data"]) == 500
        assert up.stop() == 0, up.errors
        assert "Traceback" not in up.errors


async def test_queries_that_wait_belong_to_their_own_traces(up: Up, collector: Collector) -> None:
    """They are answered in one turn of the event loop; none may end up in its neighbour's trace."""
    async with keyscope.connect(up.url, actor="ann") as ks:

        async def ask() -> str:
            with working() as client:
                await ks.query.graph(entity="sales_channel", fields=["id"], position=1)
            return trace.format_trace_id(client.trace_id)

        asked = [asyncio.create_task(ask()) for _ in range(40)]
        await asyncio.sleep(0)  # all are sent
        await ks.query.graph(entity="sales_channel", fields=["id"])  # answered after all of them have come in
        await ks.command("sales_channel.create", {"name": "C"})  # what they wait for
        traces = await asyncio.gather(*asked)
    for trace_id in traces:
        await arrived(collector, trace_id, "query graph", "wait for position")
        query, waited = collector.named(trace_id, "query graph"), collector.named(trace_id, "wait for position")
        assert (waited.parent, waited.attributes["keyscope.position"]) == (query.id, 1)


@pytest.mark.parametrize("text", [None, "", "x", "00-1-2-01", f"00-{'a' * 32}-{'b' * 16}"])
def test_what_is_no_traceparent_has_no_ids(text: str | None) -> None:
    assert ids_of(text) == {}
    assert ids_of(f"00-{'a' * 32}-{'b' * 16}-01") == {"trace_id": "a" * 32, "span_id": "b" * 16}
