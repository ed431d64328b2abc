"""The soak: `keyscope up`, a load, and a look at every process every few seconds."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keyscope
from benchmarks.server import Server
from tests.soak.growth import ALLOWANCES, Series, offenders
from tests.soak.load import Load
from tests.soak.watch import GoHeap, Watch

COMMANDS, QUERIES = 300.0, 500.0
LOOK_SECONDS = 5.0
"""Between two samples; of a short soak 40 are taken."""
LOG_CHARACTERS = 20_000


@dataclass
class Report:
    """What came of it."""

    seconds: float
    counts: Mapping[str, int]
    errors: list[str]
    series: list[Series]
    allowances: Mapping[str, float]
    unready: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    """What the service said meanwhile; shown when something is wrong."""

    def violations(self) -> list[str]:
        """What must not be."""
        return [
            *(f"an answer was {error}" for error in self.errors),
            *(f"{name} was not ready: {reason}" for name, reason in self.unready.items()),
            *offenders(self.series, self.allowances),
        ]

    def lines(self) -> list[str]:
        """For the reader; the last line is the verdict."""
        found = self.violations()
        return [
            ", ".join(f"{count:,} {what}" for what, count in self.counts.items()),
            "| measure | unit | first | at half time | last | grown in the second half |",
            "|---|---|--:|--:|--:|--:|",
            *(_row(each) for each in self.series),
            *(self.log[-LOG_CHARACTERS:].splitlines() if found else ()),
            *(f"VIOLATION {violation}" for violation in found),
            f"growth: {'; '.join(found) or 'none'}",
        ]


def _row(series: Series) -> str:
    values = [value for _, value in series.points]
    shown = " | ".join(f"{value:,.1f}" for value in (values[0], values[len(values) // 2], values[-1], series.grown()))
    return f"| {series.name} | {series.unit} | {shown} |"


async def run(
    folder: Path, seconds: float, *, allowances: Mapping[str, float] = ALLOWANCES, say: Callable[[str], None] = print
) -> Report:
    """Soak a service of its own for so long."""
    base = _free_ports()
    settings = {"KEYSCOPE_METRICS_PORT": str(base), "KEYSCOPE_LOG_LEVEL": "debug", **GoHeap.ENVIRONMENT}
    server = await asyncio.to_thread(Server, folder / "data", environment=settings)
    try:
        pids = {name: pids[0] for name, pids in server.processes().items()}
        named = [name for name in pids if name not in ("supervisor", "nats-server")]
        ports = {name: base + number for number, name in enumerate(named)}
        async with await keyscope.connect(server.url, actor="soak") as ks:
            load = Load(ks, 1, COMMANDS, QUERIES)
            await load.prepare()
            own = {"load: tasks less calls in flight": lambda: len(asyncio.all_tasks()) - load.in_flight}
            go = {"nats-server": GoHeap(server.log_file)}
            watch = Watch({**pids, "load": os.getpid()}, ports, own, go)
            await watch.ready()
            running = asyncio.create_task(load.run(seconds))
            while not running.done():
                await watch.look()
                await asyncio.wait([running], timeout=min(LOOK_SECONDS, seconds / 40))
                _say_now(watch, load, seconds, say)
            await running
        series = list(watch.series.values())
        log = "\n".join(line for line in server.log.splitlines() if "[debug" not in line)
        return Report(seconds, load.counts, load.errors, series, allowances, watch.unready, log)
    finally:
        await asyncio.to_thread(server.stop)


def _say_now(watch: Watch, load: Load, seconds: float, say: Callable[[str], None]) -> None:
    """A line a minute."""
    looks = len(next(iter(watch.series.values())).points)
    if looks % max(1, round(60 / min(LOOK_SECONDS, seconds / 40))) == 0:
        memory = sum(each.points[-1][1] for each in watch.series.values() if each.unit == "MB")
        say(f"{load.counts['commands']:,} commands, {load.counts['queries']:,} queries, {memory:.0f} MB in all")


def _free_ports() -> int:
    """The first of three ports in a row that are free."""
    while True:
        probes = [socket.socket() for _ in range(3)]
        try:
            probes[0].bind(("127.0.0.1", 0))
            first = int(probes[0].getsockname()[1])
            for number, probe in enumerate(probes[1:], 1):
                probe.bind(("127.0.0.1", first + number))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
