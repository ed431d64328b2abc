"""The load: a process of its own, `python -m tests.overload.load`, a specification on stdin, a result on stdout.

An open loop: requests are sent when they are due, whether or not earlier ones are answered, as the world does it. So a
latency counts from when a request was due, and a service that falls behind cannot slow its load down. All requests are
written out before the first is sent (some 350 bytes each): the load shares the machine with what it measures.
"""

import asyncio
import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from time import perf_counter
from typing import Any

import uvloop

from benchmarks import procfs
from benchmarks.data import SMALL, Loaded
from benchmarks.wire import Request, Wire, connect, encode
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
        self._begun = 0.0
        self._unanswered = bytearray()  # by slot: 1 for a request of the load that was sent and has no answer
        self._kinds: dict[bytes, str] = {}
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
        frames = self._written_out(round(spec.rate * spec.seconds))
        cpu, self._begun = procfs.cpu_of(spec.pids), perf_counter()
        offered = await self._offer(frames)
        ended = perf_counter()
        accepted, refused = len(self._done), len(self._refusals)  # by the end; what waits still is not throughput
        used = {name: (after - cpu[name]) / (ended - self._begun) for name, after in procfs.cpu_of(spec.pids).items()}
        await self._probe()
        while (any(self._unanswered) or self._probes) and perf_counter() < ended + PATIENCE:
            await asyncio.sleep(0.05)
        watching.cancel()
        memory.append(procfs.memory_of(spec.pids))
        return Measured(
            offered=round(offered / (ended - self._begun), 1),
            accepted=round(accepted / (ended - self._begun), 1),
            refused=round(refused / (ended - self._begun), 1),
            unanswered=sum(self._unanswered) + len(self._probes),
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

    def _written_out(self, number: int) -> list[bytes]:
        """The requests as they go over the wire."""
        slots = islice(self._numbers, number)
        return [
            encode(request, self._wire.reply_to(slot)) for slot, request in zip(slots, self._requests, strict=False)
        ]

    async def _offer(self, frames: list[bytes]) -> int:
        """Send what is due until the time is over: how many that was."""
        spec, sent = self._spec, 0
        self._unanswered = bytearray(len(frames))
        while (now := perf_counter()) < self._begun + spec.seconds:
            due = min(int((now - self._begun) * spec.rate), len(frames))
            self._unanswered[sent:due] = b"\x01" * (due - sent)
            self._wire.write(frames[sent:due])
            sent = due
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
        self._unanswered[slot] = 0
        seconds = now - self._begun - slot / self._spec.rate
        if not with_headers:
            self._done.append(seconds)
            return
        text = bytes(body)
        kind = self._kinds.get(text)
        if kind is None:  # there are few: what is refused differs in `retry_after_ms` alone
            kind = self._kinds[text] = self._kind(text)
        if kind == "refused":
            self._refusals.append(seconds)
        else:
            self._counts[kind] += 1

    def _kind(self, text: bytes) -> str:
        """What an error's text is, `refused` or what is wrong with it."""
        error: dict[str, Any] = json.loads(text)["error"] if text else {"type": "nobody serves"}
        if error["type"] != "unavailable":
            self._first_failure = self._first_failure or str(error)[:300]
            return "failed"
        if "retry_after_ms" not in error:
            return "without retry_after_ms"
        self._retry_after.add(error["retry_after_ms"])
        return "refused"


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
