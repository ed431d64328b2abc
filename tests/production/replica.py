"""One replica: `keyscope run` in a process of its own, which a test may kill."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class Replica:
    """A running `keyscope run`. It keeps its folder and its settings over restarts."""

    def __init__(
        self,
        services: str,
        folder: Path,
        settings: Mapping[str, str],
        *,
        crash: str | None = None,
        release: Path | None = None,
        listener: int | None = None,
    ) -> None:
        """`services` as on the command line; `settings` without KEYSCOPE_; `crash`: a point of tests.chaos.crashing.

        `release`: the folder of another release's packages, which then run instead of these. `listener`: a listening
        socket that it inherits, and that stays open when it stops.
        """
        self.crash = crash
        self._release = release
        self.services = services
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = {f"KEYSCOPE_{name}": value for name, value in settings.items()}
        self._inherited = () if listener is None else (listener,)
        if listener is not None:
            self._settings["KEYSCOPE_HTTP_FD"] = str(listener)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it, without waiting."""
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program, "run", *self.services.split()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, start_new_session=True, cwd=self._release,
                pass_fds=self._inherited,
                env=self._environment,
            )  # fmt: skip
        self._starts = self.log.count("ready: ") + 1
        return self

    def verify(self) -> str:
        """What `keyscope verify` says of store, stream and this replica's read model, which must agree."""
        command = [sys.executable, "-m", "keyscope", "verify"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KEYSCOPE_DATA_DIR": str(self.folder), "PYTHONUNBUFFERED": "1", **self._settings}

    @property
    def _program(self) -> list[str]:
        return ["tests.chaos.crashing", self.crash] if self.crash else ["keyscope"]

    def wait_ready(self, seconds: float = 60) -> Self:
        """Wait until it serves."""
        deadline = time.monotonic() + seconds
        while self.log.count("ready: ") < self._starts:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    @property
    def log(self) -> str:
        """All that it has said."""
        return (self.folder / "log").read_text()

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process

    @property
    def begun(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as a rolling restart does: its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)
