"""The overload run: finds the sustainable rate, then offers parts and multiples of it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import load as closed
from benchmarks import machine, recovery
from benchmarks.data import SMALL, Loaded, load
from benchmarks.server import Server
from tests.overload.load import Measured, Spec

TIMES = (0.5, 1.0, 2.0, 5.0, 10.0)
IN_FLIGHT = 64
"""Calls in flight, in a closed loop, whose rate is called sustainable."""
DOORS = {"create": "link.create", "list_1000": "graph: a list of 1,000 keys", "by_id": "graph: a key by its id"}
USUAL_DOORS = ("list_1000", "create")  # reading first: what is written makes the lists longer
"""A machine that offered ten times as many cheap queries as it can answer would be busy with offering them."""
CHANNELS_A_SECOND = 300
"""For so many links with each of the 1,000 keys there must be room: no request is like another."""
RECOVERS_SECONDS = 1.0
KEEPS = 0.5
"""Of the rate at 1x: the part that must still be carried out at the greatest overload. The rest is the price of saying
no, on a machine that the load itself shares; a service that keeps less has collapsed."""
P99_MS = 2_000.0


@dataclass
class Report:
    """What was measured."""

    facts: dict[str, Any]
    sustainable: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, Measured]] = field(default_factory=dict)
    """By door, then by the multiple of the sustainable rate."""

    def violations(self) -> list[str]:
        """What must not be."""
        return [
            f"{DOORS[door]} at {times}x: {wrong}"
            for door, rows in self.rows.items()
            for times, row in rows.items()
            for wrong in _wrong(row, rows)
        ]

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        rows = {door: {times: asdict(row) for times, row in rows.items()} for door, rows in self.rows.items()}
        return {"facts": self.facts, "sustainable": self.sustainable, "rows": rows, "violations": self.violations()}


def run(
    folder: Path, seconds: float, doors: Sequence[str], times: Sequence[float], say: Callable[[str], None]
) -> Report:
    """Measure each door against one `keyscope up`."""
    folder.mkdir(parents=True, exist_ok=True)
    report = Report({"machine": machine.machine(folder), "versions": machine.versions(), "seconds": seconds})
    report.facts["busy_elsewhere_cores"] = machine.busy_elsewhere()
    with Server(folder / "data") as server:
        loaded = asyncio.run(load(server.url, SMALL, round(1_000 + seconds * CHANNELS_A_SECOND)))
        asyncio.run(recovery.caught_up(server, SMALL.events))
        used = 0
        for door in doors:
            rate, used = _sustainable(server, loaded, door, seconds, used)
            report.sustainable[door] = rate
            say(f"{DOORS[door]}: {rate:,.0f}/s with {IN_FLIGHT} calls in flight")
            for each in times:
                row = _offer(server, door, rate * each, seconds, used)
                used += row.used
                report.rows.setdefault(door, {})[f"{each:g}"] = row
                asyncio.run(recovery.caught_up(server, recovery.store_position(server.folder)))
                say(
                    f"  {each:>4g}x: offered {row.offered:,.0f}/s, carried out {row.accepted:,.0f}/s, refused "
                    f"{row.refused:,.0f}/s, p99 {row.p99_ms:,.0f} ms, recovered after {row.recovered_s} s, "
                    f"unanswered {row.unanswered}"
                )
    return report


def _sustainable(server: Server, loaded: Loaded, door: str, seconds: float, first: int) -> tuple[float, int]:
    file = server.folder / "loaded.json"
    loaded.save(file)
    spec = closed.Spec(server.url, door, str(file), IN_FLIGHT, seconds, 0.5, server.processes(), first)
    measured = _process("benchmarks.load", asdict(spec))
    if measured["errors"]:
        raise RuntimeError(measured["first_error"])
    return float(measured["rate"]), first + int(measured["used"])


def _offer(server: Server, door: str, rate: float, seconds: float, first: int) -> Measured:
    spec = Spec(server.url, door, rate, seconds, first, server.processes())
    return Measured(**_process("tests.overload.load", asdict(spec)))


def _process(module: str, spec: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _wrong(row: Measured, rows: dict[str, Measured]) -> list[str]:
    found = {
        f"{row.unanswered} requests were not answered": row.unanswered > 0,
        f"{row.failed} answers are neither a result nor unavailable, as {row.first_failure}": row.failed > 0,
        f"{row.without_retry_after} refusals do not tell when to try again": row.without_retry_after > 0,
        f"p99 of what was carried out is {row.p99_ms:,.0f} ms": row.p99_ms > P99_MS,
        f"recovered after {row.recovered_s} s": row.recovered_s is None or row.recovered_s > RECOVERS_SECONDS,
    }
    if "1" in rows:
        usual = rows["1"].accepted
        kept = f"carried out {row.accepted:,.0f}/s, and {usual:,.0f}/s at 1x"
        found[kept] = row.offered >= usual and row.accepted < KEEPS * usual
    return [text for text, is_wrong in found.items() if is_wrong]
