"""`keyscope up` as a user runs it: a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class Up:
    """A running `keyscope up`. What it prints is collected in `output` and `errors`."""

    def __init__(self, data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start it on a free port, unless `arguments` say otherwise."""
        self.output = ""
        self.errors = ""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "keyscope", "up"),
                *(f"--data-dir={data_dir}", "--port=0", "--http-port=0", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in ("output", "errors")]
        for reader in self._readers:
            reader.start()

    @property
    def url(self) -> str:
        """Where its NATS listens. It must be ready."""
        match = re.search(r"NATS +(nats://\S+)", self.output)
        assert match, self.output
        return match[1]

    def wait_ready(self, seconds: float = 20) -> "Up":
        """Wait for its word that it is ready."""
        wait_for(lambda: "Ctrl-C stops it." in self.output or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.errors
        return self

    def wait(self) -> int:
        """Wait for its end: the exit code, negative for a signal."""
        code = self.process.wait(timeout=30)
        for reader in self._readers:
            reader.join(timeout=30)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, if it runs: its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def family(self) -> dict[int, str]:
        """Every process it consists of, by id, with its command line."""
        return {pid: _read(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in _descendants(self.process.pid)}

    def children(self) -> list[int]:
        """The processes it has started, in the order of starting: nats-server, commands, reads."""
        return _descendants(self.process.pid)[1:]

    def _read(self, name: str) -> None:
        with getattr(self.process, "stdout" if name == "output" else "stderr") as stream:
            for line in stream:
                setattr(self, name, getattr(self, name) + line)


def alive(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until `condition` holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.02)


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]
    return [pid, *(each for child in children for each in _descendants(child))]


def _read(path: str) -> str:
    return Path(path).read_text()
