"""What a service says about itself: measures, health, readiness."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

import keyscope
from services.bus.measures import ALL
from tests.production.fire import pair
from tests.production.replica import Replica
from tests.support.nats import Nats, free_port
from tests.support.postgres import Postgres
from tests.support.up import wait_for

DOCS = Path(__file__).parents[2] / "docs"
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def replica(tmp_path: Path, nats_server: Nats, own_postgres: Postgres) -> Iterator[Callable[[], Replica]]:
    with ExitStack() as stack:
        port = str(free_port())
        settings = {"NATS_URL": nats_server.url, "EVENT_STORE": own_postgres.store(), "METRICS_PORT": port}
        made = Replica("commands relay query", tmp_path / "replica", settings)
        made.port = port  # type: ignore[attr-defined]
        stack.callback(made.kill)
        yield lambda: made.start().wait_ready()


def get(replica: Replica, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{replica.port}{path}", timeout=10) as answer:  # type: ignore[attr-defined]
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def asked(replica: Replica, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, replica, path)


async def test_measures_tell_what_was_done(replica: Callable[[], Replica], nats_server: Nats) -> None:
    running = replica()
    async with keyscope.connect(nats_server.url, actor="ann") as ks:
        await ks.command("api_key.create", {"id": "apk_1", "title": "K", "type": "publishable"})
        await ks.command("sales_channel.create", {"id": "sc_1", "name": "C"})
        for _ in range(3):
            await ks.command("link.create", pair("apk_1", "sc_1"), command_id="once")
        with pytest.raises(keyscope.NotFound):
            await ks.command("link.create", pair("apk_1", "sc_nope"))
        for _ in range(2):  # the first may have to wait, and then runs on a thread
            await ks.query.graph(entity="api_key", fields=["id", "sales_channels.name"])
    status, text = await asked(running, "/metrics")
    assert status == 200
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    command = ("keyscope_commands_total", ("command", "link.create"))
    assert found[(*command, ("outcome", "done"))] == 1
    assert found[(*command, ("outcome", "repeated"))] == 2
    assert found[(*command, ("outcome", "not_found"))] == 1
    assert found[(*command, ("outcome", "unavailable"))] == 0  # there from the start, so that the first one is growth
    assert found[("keyscope_self_check_differences",)] == 0
    assert found[("keyscope_batch_commands_count",)] == 6
    assert found[("keyscope_batch_commands_sum",)] == 6
    assert found[("keyscope_batch_seconds_count",)] == 6
    assert found[("keyscope_store_position",)] == found[("keyscope_relay_position",)] == 3
    assert found[("keyscope_relay_events_total",)] == found[("keyscope_projection_events_total",)] == 3
    assert found[("keyscope_projection_position",)] == 3
    assert found[("keyscope_relay_lag_events",)] == found[("keyscope_projection_lag_events",)] == 0
    shape = ("shape", "api_key+sales_channels")
    assert sum(found.get(("keyscope_query_seconds_count", ("ran", ran), shape), 0) for ran in ("loop", "thread")) == 2
    assert found[("keyscope_queries_compiled",)] == 1
    assert found[("keyscope_aggregate_cache_total", ("result", "hit"))] > 0
    assert found[("keyscope_aggregate_cache_total", ("result", "miss"))] > 0
    assert found[("keyscope_commands_waiting",)] == 0
    assert found[("keyscope_projection_batch_seconds_count",)] > 0
    assert found[("process_open_fds",)] > 0


async def test_ready_means_that_it_can_work(
    replica: Callable[[], Replica], nats_server: Nats, own_postgres: Postgres
) -> None:
    running = replica()
    await asyncio.to_thread(wait_for, lambda: get(running, "/readyz") == (200, "ok\n"))
    assert (await asked(running, "/elsewhere"))[0] == 404

    await asyncio.to_thread(own_postgres.stop)
    status, problems = await asked(running, "/readyz")
    assert status == 503
    assert "event store: " in problems
    assert await asked(running, "/healthz") == (200, "ok\n")
    async with keyscope.connect(nats_server.url, timeout=3) as ks:
        with pytest.raises(keyscope.Unavailable, match="event store"):
            await ks.command("sales_channel.create", {"name": "C"})
    await asyncio.to_thread(own_postgres.start)
    await asyncio.to_thread(wait_for, lambda: get(running, "/readyz")[0] == 200)

    nats_server.stop()
    await asyncio.to_thread(wait_for, lambda: "broker (keyscope-commands): not connected" in get(running, "/readyz")[1])
    nats_server.start()
    await asyncio.to_thread(wait_for, lambda: get(running, "/readyz") == (200, "ok\n"))
    async with keyscope.connect(nats_server.url) as ks:
        await ks.command("sales_channel.create", {"name": "C"})


def test_a_process_that_hangs_is_not_healthy() -> None:
    from services.runtime.health import Health
    from services.runtime.settings import Settings

    health = Health(Settings())
    assert health.alive() == []
    health._beat_at -= 11
    assert health.alive() == ["the event loop has stood still for 11 s"]
    assert health.ready()[0] == "starting, or stopping"


def test_every_measure_is_documented() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    assert [measure.name for measure in ALL if f"`{measure.name}" not in page] == []


def test_dashboard_and_alerts_ask_for_measures_that_exist() -> None:
    import json
    import re

    import yaml

    names = {measure.name for measure in ALL}
    suffix = r"_(?:total|bucket|sum|count)$"
    board = json.loads((DEPLOY / "grafana" / "keyscope.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 15
    for text in expressions:
        promql_parser.parse(text.replace("$__rate_interval", "5m"))  # raises for what Prometheus would not take
    used = {name for text in expressions for name in re.findall(r"keyscope_\w+", text)}
    assert {name for name in used if name not in names and re.sub(suffix, "", name) not in names} == set()
