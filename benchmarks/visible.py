"""How long after a command's reply the read model shows its effect; `python -m benchmarks.visible`.

Commands come at a steady rate, each at its time whether or not the ones before it are answered. For some of them, as
soon as the reply is there, the key is queried from the reply's position on, which the service answers when the read
model has reached it; the answer must hold the new link. So the time is what a client that reads its own write waits,
the query's own time included.
"""

import asyncio
import json
import sys
from array import array
from dataclasses import asdict
from itertools import count
from pathlib import Path
from time import perf_counter

import uvloop

from benchmarks.data import Loaded, write_pair
from benchmarks.load import Meter, Spec
from benchmarks.wire import Request, Wire, connect
from benchmarks.workloads import link_command

RATE = 1_000
"""Commands a second."""
ASK_EVERY = 10
"""How many commands there are to one query."""
TICK = 0.001
PATIENCE = 10.0
FIRST_QUERY_SLOT = 1 << 40


class Visibility:
    """One measurement."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._loaded = Loaded.read(Path(spec.loaded))
        self._commands = link_command("create")(self._loaded, spec.first)
        self._numbers = count()
        self._replied: dict[int, float] = {}
        self._waits = array("d")
        self._commands_done = self._errors = self._unanswered = 0
        self._first_error = ""
        self._counting = False
        self._answered = asyncio.Event()
        self._wire: Wire

    async def measure(self) -> dict[str, object]:
        """Warm up, and count for so many seconds."""
        spec = self._spec
        self._wire = await connect(spec.url, self._on_reply)
        begun = perf_counter()
        sent = 0
        meter: Meter | None = None
        while (now := perf_counter() - begun) < spec.warmup + spec.seconds or not self._waits:
            if now > spec.warmup + spec.seconds + PATIENCE:
                raise RuntimeError("no query was answered")
            if meter is None and now >= spec.warmup:
                self._counting, meter = True, Meter(spec.pids)
            while sent < now * RATE:
                self._send(next(self._numbers), next(self._commands))
                sent += 1
            self._wire.flush()
            await asyncio.sleep(TICK)
        assert meter is not None
        self._counting = False
        measured = meter.stop(self._commands_done, self._waits)
        if self._unanswered:
            async with asyncio.timeout(PATIENCE):
                await self._answered.wait()
        measured.used, measured.errors, measured.first_error = sent, self._errors, self._first_error
        return {**asdict(measured), "queries": len(self._waits)}

    def _send(self, slot: int, request: Request) -> None:
        self._unanswered += 1
        self._answered.clear()
        self._wire.send(slot, request)

    def _on_reply(self, slot: int, _: float, body: memoryview, with_headers: bool) -> None:
        now = perf_counter()
        self._unanswered -= 1
        if with_headers:
            self._errors += 1
            self._first_error = self._first_error or bytes(body).decode()[:500]
        elif slot >= FIRST_QUERY_SLOT:
            self._query_answered(slot - FIRST_QUERY_SLOT, now, body)
        else:
            self._commands_done += self._counting
            if slot % ASK_EVERY == 0:
                self._replied[slot] = now
                self._send(FIRST_QUERY_SLOT + slot, self._query(slot, json.loads(bytes(body))["position"]))
        if not self._unanswered:
            self._answered.set()

    def _query(self, number: int, position: int) -> Request:
        key, channel = write_pair(self._spec.first + number, self._loaded.dataset.keys)
        body = {
            "entity": "api_key",
            "fields": ["sales_channels.id"],
            "filters": {"id": key},
            "relations": {"sales_channels": {"filters": {"id": channel}}},
            "position": position,
        }
        return b"keyscope.query.graph", b"", json.dumps(body).encode()

    def _query_answered(self, number: int, now: float, body: memoryview) -> None:
        if self._counting:
            self._waits.append(now - self._replied.pop(number))
        channel = write_pair(self._spec.first + number, self._loaded.dataset.keys)[1]
        rows = json.loads(bytes(body))["data"]
        if [row["id"] for row in rows[0]["sales_channels"]] != [channel]:
            self._errors += 1
            self._first_error = self._first_error or f"position reached, but no link: {rows}"


def main() -> None:
    """Measure what stdin specifies."""
    spec = Spec(**json.load(sys.stdin))
    json.dump(uvloop.run(Visibility(spec).measure()), sys.stdout)


if __name__ == "__main__":
    main()
