"""`python -m benchmarks.tracing`: the CPU time that tracing costs a `link.create`, by how many calls are sampled.

A service for each stands beside the others, and they are measured in turn, so that what else the machine does meets all
alike. A collector on loopback takes the spans.
"""

import argparse
import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import recovery
from benchmarks.data import SMALL, load
from benchmarks.results import Peers
from benchmarks.rows import Row
from benchmarks.server import Server
from benchmarks.suite import Bench

CONCURRENCY = 32
OFF, NONE, SOME, ALL = "off", "on, none sampled", "on, 1 % sampled", "on, all sampled"
WORKLOADS = {OFF: "create_unsampled", NONE: "create_unsampled", SOME: "create_sampled_1", ALL: "create_sampled_100"}
SHOWN = ("commands", "reads", "nats-server")


def measure(seconds: float, rounds: int) -> dict[str, list[dict[str, float]]]:
    """CPU microseconds a call of each process, for each way, round by round."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WORKLOADS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyscope-bench-")))
        collector = stack.enter_context(_collector())
        traced = {"KEYSCOPE_TRACING": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        benches = {
            way: _bench(stack, folder / workload / way, {} if way == OFF else traced, seconds)
            for way, workload in WORKLOADS.items()
        }
        for number in range(rounds):
            for way, workload in WORKLOADS.items():
                collector.bodies.clear()
                row = benches[way].measure(Row("", "", workload, CONCURRENCY))
                found[way].append(row["cpu_us_per_call"])
                used = ", ".join(f"{name} {row['cpu_us_per_call'][name]:.0f}" for name in SHOWN)
                print(f"{number} {way}: {used} us a call, {row['rate']:.0f}/s, {collector.spans()} spans", flush=True)
    return found


def _bench(stack: ExitStack, folder: Path, environment: dict[str, str], seconds: float) -> Bench:
    server = stack.enter_context(Server(folder, environment=environment))
    loaded = asyncio.run(load(server.url, SMALL))
    asyncio.run(recovery.caught_up(server, SMALL.events))
    return Bench(server, loaded, seconds, Peers())


class _Collector:
    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []

    def spans(self) -> int:
        """How many have come."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        scopes = [scope for each in requests for resource in each.resource_spans for scope in resource.scope_spans]
        return sum(len(scope.spans) for scope in scopes)


@contextmanager
def _collector() -> Iterator[_Collector]:
    """What takes spans by OTLP over HTTP."""
    collector = _Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each way is measured in a round")
    parser.add_argument("--rounds", type=int, default=6)
    chosen = parser.parse_args()
    found = measure(chosen.seconds, chosen.rounds)
    print(f"medians of {chosen.rounds} rounds, CPU us a call")
    for way, rounds in found.items():
        print(f"{way:<18}", *(f"{name} {median(used[name] for used in rounds):.1f}" for name in SHOWN))


if __name__ == "__main__":
    main()
