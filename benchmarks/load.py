"""The load generator: a process of its own, `python -m benchmarks.load`, a specification on stdin, a result on stdout.

A closed loop: each of `concurrency` slots asks again as soon as it has its answer. After the warm-up everything is
counted for `seconds`, or until the first answer if that is later: latencies, and the CPU time of each process.
"""

import asyncio
import json
import os
import sys
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import uvloop

from benchmarks import procfs
from benchmarks.data import Loaded
from benchmarks.wire import Wire, ask, connect
from benchmarks.workloads import WORKLOADS

PERCENTILES = (0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99, 100)
PATIENCE = 30.0
"""Seconds that answers may still take after the end."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to do."""

    url: str
    workload: str
    loaded: str
    """The file that Loaded.save wrote."""
    concurrency: int
    seconds: float
    warmup: float
    pids: procfs.Groups
    first: int = 0
    """The number of the first link, for workloads that write."""


@dataclass(slots=True)
class Measured:
    """What came of it."""

    calls: int
    seconds: float
    rate: float
    """Items a second."""
    percentiles_ms: dict[str, float]
    cpu_us_per_call: dict[str, float]
    elsewhere: float
    """Cores that other programs used meanwhile: with much of that, the rate says little."""
    memory_mb: dict[str, float]
    used: int = 0
    """Links written, warm-up and end included, if any."""
    reply_bytes: int = 0
    errors: int = 0
    first_error: str = ""


def percentiles(seconds: "array[float]") -> dict[str, float]:
    """The latencies in milliseconds, by percentile."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"{p:g}": round(ordered[min(last, int(len(ordered) * p / 100))] * 1e3, 5) for p in PERCENTILES}


class Meter:
    """Time and CPU from its making on."""

    def __init__(self, pids: procfs.Groups) -> None:
        self._pids = {**pids, "load": [os.getpid()]}
        self._cpu, self._machine, self._begun = procfs.cpu_of(self._pids), procfs.machine_cpu(), perf_counter()

    def stop(self, calls: int, latencies: "array[float]", items: int = 1) -> Measured:
        """What was used for so many calls of so many items each. Raises RuntimeError when there was none."""
        seconds = perf_counter() - self._begun
        used = {name: after - self._cpu[name] for name, after in procfs.cpu_of(self._pids).items()}
        elsewhere = procfs.machine_cpu() - self._machine - sum(used.values())
        if not latencies:
            raise RuntimeError("nothing was answered in time")
        return Measured(
            calls=calls,
            seconds=round(seconds, 3),
            rate=round(calls * items / seconds, 1),
            percentiles_ms=percentiles(latencies),
            cpu_us_per_call={name: round(cpu / calls * 1e6, 2) for name, cpu in used.items()},
            elsewhere=round(max(0.0, elsewhere / seconds), 2),
            memory_mb=procfs.memory_of(self._pids),
        )


class Run:
    """One measurement."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._workload = WORKLOADS[spec.workload]
        self._requests = self._workload.requests(Loaded.read(Path(spec.loaded)), spec.first)
        self._wire: Wire
        self._latencies = array("d")
        self._calls = self._errors = self._bytes = self._under_way = 0
        self._first_error = ""
        self._counting = False
        self._sending = True
        self._answered = asyncio.Event()
        self._drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def measure(self) -> Measured:
        """Check one answer, warm up, count, and let what is under way end."""
        spec = self._spec
        await self._check()
        self._wire = await connect(spec.url, self._on_reply)
        for slot in range(spec.concurrency):
            self._ask(slot)
        self._wire.flush()
        await asyncio.sleep(spec.warmup)
        meter = Meter(spec.pids)
        self._counting = True
        await asyncio.sleep(spec.seconds)
        async with asyncio.timeout(PATIENCE):
            await self._answered.wait()
        self._counting = self._sending = False
        measured = meter.stop(len(self._latencies), self._latencies, self._workload.items)
        measured.reply_bytes = self._bytes // measured.calls
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((self._drained, self._wire.lost), return_when=asyncio.FIRST_COMPLETED)
        if not self._drained.done():
            self._wire.lost.result()
        measured.used = self._calls * self._workload.items
        measured.errors, measured.first_error = self._errors, self._first_error
        return measured

    async def _check(self) -> None:
        """Whether the answers are right at all. Raises RuntimeError."""
        self._calls += 1
        reply = (await ask(self._spec.url, iter([next(self._requests)])))[0]
        if not self._workload.check(reply.get("data", reply)):
            raise RuntimeError(f"a wrong answer to {self._spec.workload}: {json.dumps(reply)[:500]}")

    def _ask(self, slot: int) -> None:
        self._calls += 1
        self._under_way += 1
        self._wire.send(slot, next(self._requests))

    def _on_reply(self, slot: int, seconds: float, body: memoryview, with_headers: bool) -> None:
        self._under_way -= 1
        if with_headers:
            self._errors += 1
            self._first_error = self._first_error or bytes(body).decode()[:500] or "nobody serves"
        elif self._counting:
            self._latencies.append(seconds)
            self._bytes += len(body)
            self._answered.set()
        if self._sending:
            self._ask(slot)
        elif not self._under_way:
            self._drained.set_result(None)


async def run(spec: Spec) -> Measured:
    """Measure in this process."""
    return await Run(spec).measure()


def main() -> None:
    """Measure what stdin specifies."""
    spec = Spec(**json.load(sys.stdin))
    json.dump(asdict(uvloop.run(run(spec))), sys.stdout)


if __name__ == "__main__":
    main()
