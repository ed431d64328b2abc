"""Looks at processes every few seconds: the kernel's figures of each, and what they say about themselves."""

import asyncio
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families

from tests.soak.growth import GO_MB, Series

ASKED = {
    "keyscope_tasks": "tasks",
    "keyscope_relay_lag_events": "events",
    "keyscope_projection_lag_events": "events",
}
"""What is judged of a process's own measures, and its unit."""


class GoHeap:
    """What a program in Go holds after a collection, as it says in a log when it runs with GODEBUG=gctrace=1.

    https://pkg.go.dev/runtime#hdr-Environment_Variables: "4->4->2 MB": before, after, and what is live.
    """

    ENVIRONMENT: ClassVar = {"GODEBUG": "gctrace=1"}
    _LIVE = re.compile(rb"gc \d+ @.*\d+->\d+->(\d+) MB")

    def __init__(self, log: Path) -> None:
        self._log, self._read = log, 0
        self._held: float | None = None

    def held(self) -> float | None:
        """MB after the last collection; None before the first."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.readlines()
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # it is still being written
        self._read += sum(map(len, lines))
        for line in lines:
            if found := self._LIVE.search(line):
                self._held = float(found[1])
        return self._held


class Watch:
    """Samples, as series by name."""

    def __init__(
        self,
        pids: Mapping[str, int],
        ports: Mapping[str, int] | None = None,
        own: Mapping[str, Callable[[], float]] | None = None,
        go: Mapping[str, GoHeap] | None = None,
    ) -> None:
        """`pids` by the process's name; `ports` of those that have measures; `own`: tasks of this process, by name.

        `go`: which of the processes are programs in Go.
        """
        self._pids, self._ports, self._own, self._go = pids, ports or {}, own or {}, go or {}
        self._begun = perf_counter()
        self.series: dict[str, Series] = {}
        self.unready: dict[str, str] = {}
        """What each process that was not ready said last."""

    async def ready(self) -> None:
        """Wait until all say so: a read node that started before there was a stream looks for it now and then."""
        async with asyncio.timeout(30):
            for port in self._ports.values():
                while True:
                    try:
                        await asyncio.to_thread(_page, port, "readyz")
                        break
                    except urllib.error.HTTPError:
                        await asyncio.sleep(0.05)

    async def look(self) -> None:
        """Take one sample of everything. Raises OSError when a process has ended: in a soak none may."""
        at = perf_counter() - self._begun
        for name, pid in self._pids.items():
            self._add(at, f"{name}: memory", GO_MB if name in self._go else "MB", memory_mb(pid))
            self._add(at, f"{name}: open files", "files", len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208
        for name, heap in self._go.items():
            if (held := heap.held()) is not None:
                self._add(at, f"{name}: memory in use", "MB", held)
        for name, read in self._own.items():
            self._add(at, name, "tasks", read())
        for name, port in self._ports.items():
            for metric, value in (await asyncio.to_thread(_measures, port)).items():
                if metric in ASKED:
                    self._add(at, f"{name}: {metric}", ASKED[metric], value)
            try:
                await asyncio.to_thread(_page, port, "readyz")
            except urllib.error.HTTPError as unready:
                self.unready[name] = unready.read().decode().strip()

    def _add(self, at: float, name: str, unit: str, value: float) -> None:
        self.series.setdefault(name, Series(name, unit)).points.append((at, value))


def memory_mb(pid: int) -> float:
    """Resident memory that is the process's own, in megabytes: without mapped files, which are page cache."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) * 1024 / 1e6


def _page(port: int, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as reply:
        text: str = reply.read().decode()
        return text


def _measures(port: int) -> dict[str, float]:
    families = text_string_to_metric_families(_page(port, "metrics"))
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
