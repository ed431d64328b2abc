"""`keyscope up` as a user runs it, in a folder of its own, on a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import procfs
from services.runtime.up import CORE, GATEWAY

PATIENCE = 600.0
"""Seconds that a start may take: it may have to build a read model of millions of events."""


class Server:
    """A running service. Use it as a context manager: it is stopped in the end, its files stay."""

    def __init__(
        self,
        folder: Path,
        *,
        wait: bool = True,
        event_store: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it and, unless told otherwise, wait until it is ready. Raises RuntimeError with its last words.

        `event_store`: the URL of another event store than the file in the folder.
        """
        self.folder = folder
        self.event_store = event_store or f"sqlite:///{folder / 'events.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        self.url = f"nats://127.0.0.1:{port}"
        self.log_file = folder / "up.log"
        """Where it prints to."""
        self._begun = time.perf_counter()
        with self.log_file.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "keyscope", "up", f"--data-dir={folder}", f"--port={port}", "--http-port=0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "KEYSCOPE_EVENT_STORE": self.event_store,
                    **(environment or {}),
                },
                start_new_session=True,
            )
        self.ready_after = 0.0
        """Seconds from the command to its word that it is ready."""
        if wait:
            self.wait_ready()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Wait for its word. Raises RuntimeError."""
        while "Ctrl-C stops it." not in self.log:
            if self._process.poll() is not None or time.perf_counter() > self._begun + PATIENCE:
                self._process.kill()
                raise RuntimeError(f"keyscope up did not get ready:\n{self.log[-2000:]}")
            time.sleep(0.005)
        self.ready_after = self.ready_after or time.perf_counter() - self._begun

    def processes(self) -> procfs.Groups:
        """Its processes by what they do, in the order in which the supervisor starts them."""
        names = ["nats-server", *CORE, *GATEWAY]
        children = procfs.children(self._process.pid)
        return {"supervisor": [self._process.pid]} | {name: [pid] for name, pid in zip(names, children, strict=False)}

    def stop(self) -> None:
        """Stop it as Ctrl-C does. Raises RuntimeError when it does not end well."""
        self._process.send_signal(signal.SIGINT)
        if self._process.wait(timeout=60) not in (0, 130):
            raise RuntimeError(f"keyscope up ended with {self._process.returncode}:\n{self.log[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
