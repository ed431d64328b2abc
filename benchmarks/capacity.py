"""`make capacity`: bytes on disk and in memory that an event costs, from two stores of different sizes.

A key here is a key with five links, so six events. The difference of the two sizes is what the keys cost; what an
empty service has drops out of it.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks import procfs, recovery
from benchmarks.data import Dataset
from benchmarks.seed import seed
from benchmarks.server import Server

CHANNELS = 500
KEYS = (5_000, 55_000)


def disk(folder: Path) -> dict[str, int]:
    """Bytes on disk, by who keeps them."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    kept = {"event store": "events.db", "stream": "jetstream", "read model": "graph"}
    return {
        name: sum(file.stat().st_blocks * 512 for file in files if str(file.relative_to(folder)).startswith(begins))
        for name, begins in kept.items()
    }


def measure(folder: Path, keys: tuple[int, int] = KEYS) -> dict[str, dict[str, float]]:
    """Bytes an event, on disk and in memory."""
    sizes: list[dict[str, int]] = []
    memory: list[dict[str, float]] = []
    already = 0
    for count in keys:
        dataset = Dataset(f"{count} keys", count, CHANNELS)
        seed(folder, dataset, already)
        already = count
        with Server(folder) as server:
            asyncio.run(recovery.caught_up(server, dataset.events))
        with Server(folder) as server:  # as after a restart: without what the filling left behind
            time.sleep(3)
            memory.append(procfs.memory_of(server.processes()))
        sizes.append(disk(folder))
    events = (keys[1] - keys[0]) * 6
    return {
        "bytes_on_disk": {name: round((sizes[1][name] - sizes[0][name]) / events) for name in sizes[0]},
        "bytes_in_memory": {name: round((memory[1][name] - memory[0][name]) * 1e6 / events) for name in memory[0]},
    }


def main() -> None:
    """Measure, and print JSON."""
    with tempfile.TemporaryDirectory(prefix="keyscope-capacity-") as name:
        print(json.dumps(measure(Path(name)), indent=1))


if __name__ == "__main__":
    main()
