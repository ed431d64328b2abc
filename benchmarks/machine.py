"""What stands beside every figure: the machine, the versions, and what is synced to disk when."""

import os
import platform
import re
import sqlite3
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

from benchmarks.procfs import machine_cpu
from projections.database import open_writer
from services.runtime.broker import executable
from services.store.sqlite import Datastore

LIBRARIES = ("keyscope", "nats-py", "uvloop", "eventsourcing", "faststream", "pydantic", "apsw")
_LEVELS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


def machine(folder: Path) -> dict[str, Any]:
    """The machine, and the disk under `folder`."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1].strip() if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "fdatasync_p50_ms": _fdatasync_ms(folder),
    }


def versions() -> dict[str, str]:
    """Of everything that a figure may depend on."""
    server = subprocess.run([executable(), "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "python": platform.python_version(),
        "nats-server": server.split()[-1].removeprefix("v"),
        "sqlite (event store)": sqlite3.sqlite_version,
        "sqlite (read model)": apsw.sqlite_lib_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def durability(folder: Path) -> dict[str, str]:
    """How the files in a data folder are synced: asked of the connections that the service opens, and its broker."""
    store = Datastore(str(folder / "events.db"))
    with store.transaction(commit=False) as cursor:
        settings = []
        for pragma in ("journal_mode", "synchronous"):
            cursor.execute(f"PRAGMA {pragma}")
            settings.append(cursor.fetchone()[0])
    store.close()
    model = open_writer(folder / "durability-probe.db")
    level = model.execute("PRAGMA synchronous").get
    model.close()
    for file in folder.glob("durability-probe.db*"):
        file.unlink()
    stream = re.search(r"sync_interval: (\S+)", (folder / "nats-server.conf").read_text())
    return {
        "event store": f"SQLite {settings[0].upper()}, synchronous={_LEVELS[settings[1]]}: synced before the reply",
        "stream": f"JetStream, sync_interval {stream[1] if stream else 'default'}: filled again from the event store",
        "read model": f"SQLite WAL, synchronous={_LEVELS[level]}: built again from the stream",
    }


def busy_elsewhere(seconds: float = 0.5) -> float:
    """Cores in use now, before anything of ours runs."""
    before = machine_cpu()
    time.sleep(seconds)
    return round((machine_cpu() - before) / seconds, 2)


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "from source"


def _file_system(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(under, key=lambda mount: len(mount[0]))[1] if under else "unknown"


def _fdatasync_ms(folder: Path, times: int = 200) -> float:
    """The median of appending 8 KiB and syncing it."""
    block, taken = os.urandom(8192), []
    file = folder / "fdatasync-probe"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(times):
            os.write(descriptor, block)
            begun = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        file.unlink()
    return round(sorted(taken)[times // 2] * 1e3, 3)
