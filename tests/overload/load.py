"""The load: a process of its own, `python -m tests.overload.load`, a specification on stdin, a result on stdout.

An open loop: requests are sent when they are due, whether or not earlier ones are answered, as the world does it. So a
latency counts from when a request was due, and a service that falls behind cannot slow its load down.
"""

import asyncio
import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from time import perf_counter
from typing import Any

import uvloop

from benchmarks import procfs
from benchmarks.data import SMALL, Loaded
from benchmarks.wire import Request, Wire, connect
from benchmarks.workloads import WORKLOADS

TICK = 0.002
"""Seconds between two looks at what is due."""
PATIENCE = 30.0
"""Seconds that answers may take after the load has ended; what has none by then was not answered."""
PROBE_EVERY = 0.02
PROBES = 100
PROMPT = 0.1
"""A probe that is carried out in less than so many seconds found the service recovered."""
LOOK_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Spec:
    """What to do."""

    url: str
    workload: str
    rate: float
    """Requests a second."""
    seconds: float
    first: int
    """The number of the first link, for workloads that write."""
    pids: procfs.Groups


@dataclass(slots=True)
class Measured:
    """What came of it. Latencies are of requests that were carried out, in milliseconds."""

    offered: float
    accepted: float
    refused: float
    unanswered: int
    failed: int
    """Answers that are neither a result nor `unavailable`."""
    first_failure: str
    without_retry_after: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    refused_p99_ms: float
    recovered_s: float | None
    """From the end of the load until requests were carried out promptly again; None if that was not seen."""
    used: int
    cpu_cores: dict[str, float]
    memory_mb: dict[str, list[float]]
    """Before, the most during, and after; of each process."""
    retry_after_ms: list[int] = field(default_factory=list)
    """The least and the greatest that refusals told."""


class Run:
    """One measurement."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._requests: Iterator[Request] = WORKLOADS[spec.workload].requests(Loaded(SMALL, {}), spec.first)
        self._numbers = count()
        self._wire: Wire
        self._due: dict[int, float] = {}
        self._probes: dict[int, float] = {}
        self._good: list[tuple[float, float]] = []
        self._bad: list[float] = []
        self._done, self._refusals = array("d"), array("d")
        self._counts: Counter[str] = Counter()
        self._retry_after: set[int] = set()
        self._first_failure = ""

    async def measure(self) -> Measured:
        """Offer the load, wait for the answers, and probe meanwhile how soon all is as before."""
        spec = self._spec
        self._wire = await connect(spec.url, self._on_reply)
        memory = [procfs.memory_of(spec.pids)]
        watching = asyncio.create_task(self._watch(memory))
        cpu, begun = procfs.cpu_of(spec.pids), perf_counter()
        offered = await self._offer(begun)
        ended = perf_counter()
        accepted, refused = len(self._done), len(self._refusals)  # by the end; what waits still is not throughput
        used = {name: (after - cpu[name]) / (ended - begun) for name, after in procfs.cpu_of(spec.pids).items()}
        await self._probe()
        while (self._due or self._probes) and perf_counter() < ended + PATIENCE:
            await asyncio.sleep(0.05)
        watching.cancel()
        memory.append(procfs.memory_of(spec.pids))
        return Measured(
            offered=round(offered / (ended - begun), 1),
            accepted=round(accepted / (ended - begun), 1),
            refused=round(refused / (ended - begun), 1),
            unanswered=len(self._due) + len(self._probes),
            failed=self._counts["failed"],
            first_failure=self._first_failure,
            without_retry_after=self._counts["without retry_after_ms"],
            p50_ms=_percentile(self._done, 0.5),
            p95_ms=_percentile(self._done, 0.95),
            p99_ms=_percentile(self._done, 0.99),
            refused_p99_ms=_percentile(self._refusals, 0.99),
            recovered_s=self._recovered(ended),
            used=next(self._numbers),
            cpu_cores={name: round(cores, 2) for name, cores in used.items()},
            memory_mb={
                name: [memory[0][name], max(each[name] for each in memory), memory[-1][name]] for name in memory[0]
            },
            retry_after_ms=sorted(self._retry_after)[:: max(1, len(self._retry_after) - 1)],
        )

    async def _offer(self, begun: float) -> int:
        """Send what is due until the time is over: how many that was."""
        spec, sent = self._spec, 0
        while (now := perf_counter()) < begun + spec.seconds:
            due = int((now - begun) * spec.rate)
            for number in range(sent, due):
                slot = next(self._numbers)
                self._due[slot] = begun + number / spec.rate
                self._wire.send(slot, next(self._requests))
            sent = max(sent, due)
            self._wire.flush()
            await asyncio.sleep(TICK)
        return sent

    async def _probe(self) -> None:
        for _ in range(PROBES):
            slot = next(self._numbers)
            self._probes[slot] = perf_counter()
            self._wire.send(slot, next(self._requests))
            self._wire.flush()
            await asyncio.sleep(PROBE_EVERY)

    async def _watch(self, memory: list[dict[str, float]]) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            memory.append(procfs.memory_of(self._spec.pids))

    def _recovered(self, ended: float) -> float | None:
        last_bad = max(self._bad, default=0.0)
        after = [at for at, _ in self._good if at > last_bad]
        return round(max(0.0, min(after) - ended), 3) if after else None

    def _on_reply(self, slot: int, _: float, body: memoryview, with_headers: bool) -> None:
        now = perf_counter()
        if slot in self._probes:
            sent = self._probes.pop(slot)
            prompt = not with_headers and now - sent < PROMPT
            self._good.append((sent, now - sent)) if prompt else self._bad.append(sent)
            return
        seconds = now - self._due.pop(slot)
        if not with_headers:
            self._done.append(seconds)
            return
        text = bytes(body)
        if b'"type":"unavailable"' in text[:40]:
            self._refusals.append(seconds)
            self._note(text)
            return
        self._counts["failed"] += 1
        self._first_failure = self._first_failure or text.decode()[:300] or "nobody serves"

    def _note(self, text: bytes) -> None:
        at = text.find(b'"retry_after_ms":')
        if at < 0:
            self._counts["without retry_after_ms"] += 1
        else:
            self._retry_after.add(int(text[at + 17 :].split(b"}")[0].split(b",")[0]))


def _percentile(seconds: "array[float]", part: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1e3, 2) if ordered else 0.0


def main() -> None:
    """Measure what stdin specifies."""
    spec = Spec(**json.load(sys.stdin))
    measured: dict[str, Any] = asdict(uvloop.run(Run(spec).measure()))
    json.dump(measured, sys.stdout)


if __name__ == "__main__":
    main()
