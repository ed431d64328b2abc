"""One run of the suite: what is started, loaded and measured, in which order."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine, recovery, seed
from benchmarks.data import LARGE, SMALL, Dataset, Loaded, load, load_write_links
from benchmarks.load import Spec
from benchmarks.results import Peers, Row, row
from benchmarks.rows import FILTER_LINKED, LOAD_ROWS, READS, SWEEP, WRITES
from benchmarks.rows import Row as Asked
from benchmarks.server import Server

WARMUP = 0.4
"""Seconds of warm-up for each second measured; at least half a second, if that much is measured."""
DISMISSALS_A_SECOND = 15_000
"""How many links there must be to dismiss."""
GROWTH = (1_000, 10_000, 100_000, 1_000_000)
GROWTH_CHANNELS = 1_000
MILLION_EVENTS = Dataset("a million events", 166_500, GROWTH_CHANNELS)
POINT_QUERIES = {"by_id": "key by id with channels", "by_token": "key by token", "scope": "scope"}
ROUNDS = 3
"""How often each size is measured for the plot of growth; the median counts."""


class Bench:
    """Measures rows against one running server."""

    def __init__(self, server: Server, loaded: Loaded, seconds: float, peers: Peers) -> None:
        self.server, self.loaded, self.seconds, self.peers = server, loaded, seconds, peers
        self._file = server.folder / f"{loaded.dataset.name}.json"
        loaded.save(self._file)
        self._created = self._dismissed = 0

    def measure(self, asked: Asked) -> Row:
        """One row, once all that earlier rows have written is in the read model."""
        if asked.workload == "dismiss":
            self._have_links(self._dismissed + round(DISMISSALS_A_SECOND * self.seconds * (1 + WARMUP)))
        seconds = self.seconds * asked.seconds
        measured = self.run("load", asked.workload, asked.concurrency, seconds, self._first(asked.workload))
        self._used(asked.workload, measured)
        behind = asyncio.run(recovery.caught_up(self.server, self._position()))
        return row(asked.name, measured, self.peers, catch_up_s=round(behind, 2))

    def special(self, module: str, name: str, times: float) -> Row:
        """A row that has a program of its own, measured so many times as long as others."""
        measured = self.run(module, "", 0, self.seconds * times, self._created)
        self._used("create", measured)
        asyncio.run(recovery.caught_up(self.server, self._position()))
        return row(name, measured, self.peers)

    def rate(self, workload: str, concurrency: int) -> float:
        """Only the rate, over a shorter time."""
        measured = self.run("load", workload, concurrency, self.seconds / 3, self._first(workload))
        self._used(workload, measured)
        asyncio.run(recovery.caught_up(self.server, self._position()))
        return float(measured["rate"])

    def run(self, module: str, workload: str, concurrency: int, seconds: float, first: int) -> dict[str, Any]:
        """Measure in a process of its own. Raises RuntimeError with its last words when it fails."""
        spec = Spec(
            url=self.server.url,
            workload=workload,
            loaded=str(self._file),
            concurrency=concurrency,
            seconds=seconds,
            warmup=max(min(0.5, seconds), WARMUP * seconds),
            pids=self.server.processes(),
            first=first,
        )
        command = [sys.executable, "-m", f"benchmarks.{module}"]
        done = subprocess.run(command, input=json.dumps(asdict(spec)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{module} {workload}: {done.stderr[-2000:]}")
        measured: dict[str, Any] = json.loads(done.stdout)
        if measured["errors"]:
            raise RuntimeError(
                f"{module} {workload}: {measured['errors']} errors, the first: {measured['first_error']}"
            )
        return measured

    def _first(self, workload: str) -> int:
        if workload.startswith("create"):
            return self._created
        return self._dismissed if workload == "dismiss" else 0

    def _used(self, workload: str, measured: dict[str, Any]) -> None:
        if workload == "dismiss":
            self._dismissed += measured["used"]
        elif workload.startswith("create"):
            self._created += measured["used"]

    def _have_links(self, wanted: int) -> None:
        if wanted > self._created:
            keys = self.loaded.dataset.keys
            asyncio.run(load_write_links(self.server.url, keys, self._created, wanted - self._created))
            self._created = wanted
            asyncio.run(recovery.caught_up(self.server, self._position()))

    def _position(self) -> int:
        return recovery.position_of(self.server.event_store)


class Suite:
    """Collects rows and facts, and says each as it comes."""

    def __init__(self, seconds: float, only: Sequence[str] = (), save: Callable[["Suite"], None] | None = None) -> None:
        """`only` names the rows to measure; `save` is called with each stage's end."""
        self.seconds = seconds
        self.peers = Peers()
        self.rows: list[Row] = []
        self.facts: dict[str, Any] = {}
        self.sweeps: dict[str, dict[str, float]] = {}
        self.growth: dict[str, Any] = {}
        self._only = only
        self._save = save or (lambda _: None)

    def wants(self, *names: str) -> bool:
        """Whether any of the rows is to be measured."""
        return not self._only or any(name in self._only for name in names)

    def small(self) -> None:
        """What `make bench` measures: starts, reads, writes, recovery, and the one row over 100,000 keys."""
        with _folder() as folder:
            self._about(folder)
            self._small_rows(folder / "small")
            self._recovery(folder / "small")
        if self.wants(FILTER_LINKED.name):
            with _folder() as folder:
                self._large_row(folder)
        self._save(self)

    def large(self) -> None:
        """What `make bench-large` measures: a store that grows to a million keys."""
        with _folder() as folder:
            self._about(folder)
            self._grow(folder / "large")

    def _about(self, folder: Path) -> None:
        self.facts["busy_elsewhere_cores"] = machine.busy_elsewhere()
        self.facts["start_empty_s"] = recovery.start_seconds(folder / "empty")
        memory = recovery.idle_memory(folder / "empty")
        self.facts["idle_memory_mb"] = round(sum(memory.values()), 1)
        self.facts["idle_memory_by_process_mb"] = memory
        self.facts["machine"] = machine.machine(folder)
        self.facts["versions"] = machine.versions()
        self.facts["durability"] = machine.durability(folder / "empty")
        _say(f"ready on an empty store after {self.facts['start_empty_s']} s, idle {self.facts['idle_memory_mb']} MB")

    def _small_rows(self, folder: Path) -> None:
        with Server(folder) as server:
            loaded = asyncio.run(load(server.url, SMALL))
            asyncio.run(recovery.caught_up(server, SMALL.events))
            bench = Bench(server, loaded, self.seconds, self.peers)
            for asked in (*READS, *WRITES):
                if self.wants(asked.name):
                    self._add(bench.measure(asked))
            # A hundred calls a second are counted: of 1.5 seconds the p99 would be the second worst.
            for module, name, times in (("visible", "visible_after_reply", 7), ("storefront", "resolve_in_process", 1)):
                if self.wants(name):
                    self._add(bench.special(module, name, times))
            if not self._only:
                for workload, many in SWEEP.items():
                    self.sweeps[workload] = self._sweep(bench, workload, many)

    def _sweep(self, bench: Bench, workload: str, many: Sequence[int]) -> dict[str, float]:
        rates = {c: bench.rate(workload, c) for c in many}
        measured = {made["name"]: made["rate"] for made in self.rows}
        rates |= {each.concurrency: measured[each.name] for each in LOAD_ROWS if each.workload == workload}
        return {str(c): rates[c] for c in sorted(rates)}

    def _recovery(self, folder: Path) -> None:
        for name, act in (("rebuild", recovery.rebuild), ("refill", recovery.refill)):
            if self.wants(name):
                self._add(row(name, act(folder), self.peers))

    def _large_row(self, folder: Path) -> None:
        loaded = seed.seed(folder, LARGE)
        with Server(folder) as server:
            asyncio.run(recovery.caught_up(server, LARGE.events))
            self._add(Bench(server, loaded, self.seconds, self.peers).measure(FILTER_LINKED))

    def _grow(self, folder: Path) -> None:
        p50: dict[str, dict[str, float]] = {title: {} for title in POINT_QUERIES.values()}
        sizes = [Dataset(f"{keys} keys", keys, GROWTH_CHANNELS) for keys in GROWTH]
        already = 0
        for dataset in sorted([*sizes, MILLION_EVENTS], key=lambda each: each.keys):
            _say(f"{dataset.keys} keys: writing")
            loaded = seed.seed(folder, dataset, already)
            already = dataset.keys
            with Server(folder) as server:
                took = asyncio.run(recovery.caught_up(server, dataset.events))
                _say(f"{dataset.keys} keys: relayed and projected in {took:.0f} s")
                if dataset in sizes:
                    bench = Bench(server, loaded, self.seconds, self.peers)
                    for workload, title in POINT_QUERIES.items():
                        p50[title][str(dataset.keys)] = self._median(bench, workload)
                    _say(f"p50 { ({title: points[str(dataset.keys)] for title, points in p50.items()}) }")
            if dataset is MILLION_EVENTS:
                self.facts["start_1m_events_s"] = recovery.start_seconds(folder)
                _say(f"ready on a million events after {self.facts['start_1m_events_s']} s")
        least, most = str(GROWTH[0]), str(GROWTH[-1])
        self.growth = {"p50_ms": p50, "channels": GROWTH_CHANNELS}
        self.facts["flatness"] = round(max(points[most] / points[least] for points in p50.values()), 3)
        self.facts["start_6m_events_s"] = recovery.start_seconds(folder, 1)
        self.facts["idle_memory_6m_by_process_mb"] = recovery.idle_memory(folder)
        _say(
            f"flatness {self.facts['flatness']}, ready on six million events after {self.facts['start_6m_events_s']} s"
        )
        self._save(self)
        for name, act in (("rebuild", recovery.rebuild), ("refill", recovery.refill)):
            self._add(row(f"{name}_6m", act(folder), self.peers))
            self._save(self)

    def _median(self, bench: Bench, workload: str) -> float:
        """The p50 with one call at a time."""
        runs = [bench.run("load", workload, 1, self.seconds, 0)["percentiles_ms"]["50"] for _ in range(ROUNDS)]
        return float(sorted(runs)[ROUNDS // 2])

    def _add(self, made: Row) -> None:
        self.rows.append(made)
        cpu = {name: us for name, us in made["cpu_us_per_call"].items() if us}
        verdict = {True: "met", False: "MISSED", None: ""}[made.get("met")]
        latency = f"p50 {made['p50_ms']} p99 {made['p99_ms']} ms" if made.get("p50_ms") is not None else ""
        _say(
            f"{made['name']:24} {made['rate']:12,.0f}/s {latency:32} {made.get('target', ''):28} {verdict:7}"
            f" CPU µs/call {cpu} elsewhere {made.get('elsewhere', '')}"
        )


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="keyscope-bench-") as name:
        yield Path(name)


def _say(text: str) -> None:
    print(text, flush=True)
