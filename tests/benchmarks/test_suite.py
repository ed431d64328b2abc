"""The benchmark suite runs and says what it must. Nothing here judges a time."""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import machine, plots, recovery, results
from benchmarks.data import SMALL, Dataset, Loaded, load
from benchmarks.results import Peers
from benchmarks.rows import LOAD_ROWS, ORDER, READS, WRITES, Target
from benchmarks.seed import seed
from benchmarks.server import Server
from benchmarks.suite import Bench
from benchmarks.wire import Wire

NAMES = {
    "link_create_c32",
    "link_create_c128",
    "link_create_100_c32",
    "link_dismiss_c32",
    "graph_key_by_id_c32",
    "scope_by_token_c32",
    "graph_key_by_token_c32",
    "list_20_c32",
    "list_1000_c32",
    "reverse_1000_c32",
    "filter_linked_c32",
    "graph_key_by_id_c1",
    "link_create_c1",
    "resolve_in_process",
    "visible_after_reply",
    "rebuild",
    "refill",
}
LATENCIES = {"p50_ms", "p95_ms", "p99_ms", "p999_ms"}
LIKE_OTHERS = {"graph_key_by_id_c1", "link_create_c1", "link_create_c128"}
"""Rows that differ from others only in the calls in flight."""
SECONDS = 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[results.Row]:
    """Every row that the small dataset has, measured for a moment."""
    with Server(folder) as server:
        loaded = asyncio.run(load(server.url, SMALL))
        asyncio.run(recovery.caught_up(server, SMALL.events))
        bench = Bench(server, loaded, SECONDS, Peers())
        rows = [bench.measure(row) for row in (*READS, *WRITES) if row.name not in LIKE_OTHERS]
        rows.append(bench.special("visible", "visible_after_reply", 2))
        rows.append(bench.special("storefront", "resolve_in_process", 1))
    return rows


@pytest.mark.timeout(120)
def test_each_row_is_measured_over_a_real_service(rows: list[results.Row]) -> None:
    assert {row["name"] for row in rows} == NAMES - LIKE_OTHERS - {"filter_linked_c32", "rebuild", "refill"}
    for row in rows:
        assert row["rate"] > 0
        assert row["errors"] == 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["p999_ms"]
        assert {"nats-server", "commands", "reads", "load"} <= row["cpu_us_per_call"].keys()
        assert row["target"]
        assert row["met"] in (True, False)


@pytest.mark.timeout(120)
def test_stream_and_read_model_come_back(folder: Path, rows: list[results.Row]) -> None:
    stored = recovery.store_position(folder)
    assert recovery.rebuild(folder)["events"] == stored
    assert recovery.refill(folder)["events"] == stored


def test_results_hold_every_name_and_fact(rows: list[results.Row], folder: Path, tmp_path: Path) -> None:
    facts = {
        "busy_elsewhere_cores": 1.5,
        "machine": machine.machine(tmp_path),
        "versions": machine.versions(),
        "durability": machine.durability(folder),
    }
    merged = results.merged(rows, facts, sweeps={"by_id": {"1": 10.0, "32": 100.0}})
    plots.write(tmp_path, merged)
    for drawn in tmp_path.glob("*.svg"):
        ET.fromstring(drawn.read_text())
    assert {file.name for file in tmp_path.glob("*.svg")} >= {"latency.svg", "concurrency.svg"}
    text = results.markdown(merged, Peers())
    assert all(row["title"] in text for row in merged["rows"])
    assert "synchronous=FULL" in text
    assert "The machine was busy with other programs: 1.5 cores" in text


def test_the_committed_results_have_the_promised_shape() -> None:
    latest = json.loads(results.LATEST.read_text())
    by_name = {row["name"]: row for row in latest["rows"]}
    assert by_name.keys() >= NAMES
    assert set(ORDER) == NAMES
    for row in by_name.values():
        assert {"rate", "cpu_us_per_call", "measured", "kept"} | LATENCIES <= row.keys()
    wanted = {"start_empty_s", "start_1m_events_s", "idle_memory_mb", "flatness", "durability", "versions", "machine"}
    assert wanted <= latest["facts"].keys()


def test_every_row_knows_its_peer() -> None:
    peers = Peers()
    for row in LOAD_ROWS:
        assert peers.beside(row.name, {"rate": 1.0, "p50_ms": 1.0})["medusa"]["rate"] > 0


def test_what_was_not_measured_again_is_kept_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "LATEST", tmp_path / "latest.json")
    old = {"rows": [{"name": "rebuild", "rate": 1}, {"name": "refill", "rate": 2}], "facts": {"flatness": 1.1}}
    results.LATEST.write_text(json.dumps(old))
    merged = results.merged([{"name": "refill", "rate": 3}], {"idle_memory_mb": 100})
    assert [(row["name"], row["rate"], row["kept"]) for row in merged["rows"]] == [
        ("rebuild", 1, True),
        ("refill", 3, False),
    ]
    assert merged["facts"]["flatness"] == 1.1
    assert merged["facts"]["measured"].keys() == {"idle_memory_mb"}


@pytest.mark.parametrize(
    ("target", "row", "met"),
    [
        (Target(rate=10), {"rate": 10}, True),
        (Target(rate=10), {"rate": 9.9}, False),
        (Target(10, p99_ms=5), {"rate": 11, "p99_ms": 6}, False),
        (Target(p50_ms=1), {"rate": 0, "p50_ms": 1}, True),
        (Target(p50_ms=1), {"rate": 0}, False),
    ],
)
def test_a_target_is_met_when_all_of_it_is(target: Target, row: dict[str, float], met: bool) -> None:
    assert target.met_by(row) is met


@pytest.mark.timeout(120)
def test_a_seeded_store_answers_as_a_loaded_one(tmp_path: Path) -> None:
    dataset = Dataset("tiny", 40, 10, hub=True)
    seeded = seed(tmp_path / "seeded", dataset)
    assert seeded.tokens.keys() == set(range(40))
    with Server(tmp_path / "seeded") as server:
        asyncio.run(recovery.caught_up(server, dataset.events))
        by_seed = Bench(server, seeded, SECONDS, Peers()).run("load", "by_token", 2, SECONDS, 0)
    with Server(tmp_path / "loaded") as server:
        loaded = asyncio.run(load(server.url, dataset))
        asyncio.run(recovery.caught_up(server, dataset.events))
        by_commands = Bench(server, loaded, SECONDS, Peers()).run("load", "by_token", 2, SECONDS, 0)
    assert by_seed["reply_bytes"] == by_commands["reply_bytes"]


def test_what_was_loaded_is_told_to_the_load_generator(tmp_path: Path) -> None:
    loaded = Loaded(SMALL, {0: "pk_0", 7: "pk_7"})
    loaded.save(tmp_path / "loaded.json")
    assert Loaded.read(tmp_path / "loaded.json") == loaded


class _Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_wire_reads_replies_however_they_are_cut(size: int) -> None:
    heard: list[tuple[int, bytes, bool]] = []
    wire = Wire(lambda slot, _, body, with_headers: heard.append((slot, bytes(body), with_headers)))
    transport = _Transport()
    wire.connection_made(transport)
    for slot in (3, 4, 5):
        wire.send(slot, (b"subject", b"", b"{}"))
    wire.flush()
    inbox = transport.written.split(b" ")[2].removesuffix(b"3")
    text = b"".join(
        [
            b"INFO {}\r\nPONG\r\n",
            b"MSG %b3 1 5\r\nM\r\nSG\r\n" % inbox,
            b"PING\r\n",
            b"HMSG %b4 1 14 16\r\nNATS/1.0 503\r\nno\r\n" % inbox,
            b"MSG %b5 1 40\r\n%b\r\n" % (inbox, b"x" * 40),
        ]
    )
    for start in range(0, len(text), size):
        wire.data_received(text[start : start + size])
    await wire.ready
    assert heard == [(3, b"M\r\nSG", False), (4, b"no", True), (5, b"x" * 40, False)]
    assert transport.written.endswith(b"PONG\r\n")
