"""How many durable link commands a second so many replicas take: `python -m tests.production.throughput`.

PostgreSQL with fsync on, nats-server, the replicas of the write service and the load share this machine.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import nats
import uvloop

from benchmarks import procfs
from tests.production.replica import Replica
from tests.support.nats import Nats, free_port
from tests.support.postgres import Postgres

KEYS, CHANNELS = 2_000, 500


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it; `cpu` is microseconds a link, by who used them, `elsewhere` the cores that others used."""

    rate: float
    median_ms: float
    batch: float
    """Commands in a transaction, on average."""
    cpu: dict[str, float]
    elsewhere: float


def batches(ports: Sequence[int]) -> tuple[float, float]:
    """(commands, batches) that the write services have carried out, as their metrics tell."""
    pages = [urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode() for port in ports]
    found = re.findall(r"^keyscope_batch_commands_(sum|count) (\S+)", "\n".join(pages), re.MULTILINE)
    commands, count = (sum(float(value) for part, value in found if part == wanted) for wanted in ("sum", "count"))
    return commands, count


async def load(
    url: str, *, concurrency: int, seconds: float, pids: procfs.Groups, metrics: Sequence[int] = ()
) -> Measured:
    """So many who each wait for their answer before they ask again; every command has an id, so its outcome is kept."""
    client = await nats.connect(url)
    ids = itertools.count()

    async def ask(name: str, body: object) -> object:
        headers = {"Nats-Msg-Id": f"load-{next(ids)}"}
        subject, text = f"keyscope.cmd.{name}", json.dumps(body).encode()
        reply = json.loads((await client.request(subject, text, timeout=30, headers=headers)).data)
        assert "data" in reply, reply
        return reply

    await ask("api_key.create", [
        {"id": f"apk_{n:026d}", "title": "K", "type": "publishable", "created_by": "load"} for n in range(KEYS)
    ])  # fmt: skip
    await ask("sales_channel.create", [{"id": f"sc_{n:027d}", "name": "C"} for n in range(CHANNELS)])
    pairs = itertools.product(range(CHANNELS), range(KEYS))
    latencies: list[float] = []
    before: list[dict[str, float]] = []
    end = time.perf_counter() + 2 + seconds
    begun = end - seconds

    def used() -> dict[str, float]:
        return {**procfs.cpu_of(pids), "all": procfs.machine_cpu()}

    async def one() -> None:
        for channel, key in pairs:
            start = time.perf_counter()
            await ask("link.create", {
                "api_key": {"api_key_id": f"apk_{key:026d}"},
                "sales_channel": {"sales_channel_id": f"sc_{channel:027d}"},
            })  # fmt: skip
            now = time.perf_counter()
            if now > end:
                return
            if now > begun:
                if not before:
                    before.append(used())
                latencies.append(now - start)

    await asyncio.gather(*(one() for _ in range(concurrency)))
    commands, count = batches(metrics)
    cpu = {name: value - before[0][name] for name, value in used().items()}
    elsewhere = (cpu.pop("all") - sum(cpu.values())) / seconds
    await client.close()
    return Measured(
        rate=len(latencies) / seconds,
        batch=commands / count,
        median_ms=sorted(latencies)[len(latencies) // 2] * 1000,
        cpu={name: value / len(latencies) * 1e6 for name, value in cpu.items()},
        elsewhere=elsewhere,
    )


def measure(replicas: int, *, concurrency: int, seconds: float, relay: bool) -> Measured:
    """The same, on a fresh database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Nats(folder / "nats")
        server.start()
        stack.callback(server.stop)
        database = Postgres(fsync=True)
        stack.callback(database.close)
        database.start()
        settings = {"NATS_URL": server.url, "EVENT_STORE": database.store(), "LOG_LEVEL": "warning"}
        roles = ["commands"] * replicas + ["relay"] * relay
        ports = [free_port() for _ in roles]
        running = [
            Replica(role, folder / f"{role}-{n}", settings | {"METRICS_PORT": str(port)}).start()
            for n, (role, port) in enumerate(zip(roles, ports, strict=True))
        ]
        for replica in running:
            stack.callback(replica.stop)
            replica.wait_ready()
        pids = {
            **{role: [each.process.pid for each in running if each.services == role] for role in dict.fromkeys(roles)},
            "nats-server": [server.pid],
            "postgresql": [database.pid, *procfs.children(database.pid)],
            "load": [os.getpid()],
        }
        measured = load(server.url, concurrency=concurrency, seconds=seconds, pids=pids, metrics=ports[:replicas])
        return uvloop.run(measured)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--concurrency", type=int, nargs="*", default=[64])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--relay", action="store_true", help="relay the events to JetStream meanwhile")
    asked = parser.parse_args()
    print("replicas  at once  links/s  median ms  commands a batch  cores used elsewhere  CPU in µs a link")
    for replicas, concurrency in itertools.product(asked.replicas, asked.concurrency):
        found = measure(replicas, concurrency=concurrency, seconds=asked.seconds, relay=asked.relay)
        cpu = ", ".join(f"{name} {value:.0f}" for name, value in found.cpu.items())
        print(
            f"{replicas:8}  {concurrency:7}  {found.rate:7.0f}  {found.median_ms:9.1f}  {found.batch:16.1f}  "
            f"{found.elsewhere:20.2f}  {cpu}",
            flush=True,
        )


if __name__ == "__main__":
    main()
