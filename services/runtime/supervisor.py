"""Starts processes stage by stage, keeps them running, and stops them in the opposite order.

It has no thread and no event loop, so that it can fork at any time: it sleeps in `select` until a child says a line, a
signal comes, or a restart is due.
"""

import os
import selectors
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Protocol, Self

import structlog

from services.runtime.failures import Exit, Failure
from services.runtime.process import HANDLED

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between a crash and the restart: doubled each time, until the process is ready again."""
GIVE_UP_AFTER = 6
"""Crashes in a row, none of them after having been ready."""

log = structlog.get_logger(__name__)


class Program(Protocol):
    """What a supervised process runs."""

    name: str

    def spawn(self) -> tuple[int, int | None]:
        """Start it: its process id and, if it talks, the descriptor of its lines."""

    def hear(self, line: str) -> bool:
        """Take in a line that it wrote; true when that says that it is ready."""

    def ended(self, code: int) -> int | None:
        """Judge its end: an exit code for everything, or None for a crash, after which it is started again.

        Raises Failure when starting it again would not help. A negative code is the signal that killed it.
        """


@dataclass(eq=False)
class _Process:
    program: Program
    pid: int = 0
    pipe: int | None = None
    rest: bytes = b""
    ready: bool = False
    crashes: int = 0
    due: float | None = None
    """When to start it again."""


class Supervisor:
    """Use it as a context manager: whatever ends the block, everything that was started is stopped."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain = drain_seconds
        self._stages: list[list[_Process]] = []
        self._selector = selectors.DefaultSelector()
        self._stops = 0
        self._stopping = False
        self._outcome: int | None = None

    def __enter__(self) -> Self:
        self._wake, self._waker = os.pipe()
        for descriptor in (self._wake, self._waker):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._note) for number in HANDLED}
        self._selector.register(self._wake, selectors.EVENT_READ)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping = True
        asked = self._stops
        for stage in reversed(self._stages):
            self._end(stage, asked)
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._selector.close()
        os.close(self._wake)
        os.close(self._waker)

    def start(self, *programs: Program) -> None:
        """Start `programs` as one more stage, without waiting for them."""
        stage = [_Process(program) for program in programs]
        self._stages.append(stage)
        for process in stage:
            self._spawn(process)

    def wait_ready(self) -> bool:
        """Wait until everything that was started is ready; false when a stop was asked for before. Raises Failure."""
        while not self._stops and not all(process.ready for process in self._all()):
            self._step()
        return not self._stops

    def watch(self) -> int:
        """Keep everything running until a stop is asked for or a program decides the end: the exit code.

        Raises Failure.
        """
        while not self._stops and self._outcome is None:
            self._step()
        return Exit.DONE if self._outcome is None else self._outcome

    def _all(self) -> Iterable[_Process]:
        return (process for stage in self._stages for process in stage)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stops += 1

    def _spawn(self, process: _Process) -> None:
        process.due = None
        process.pid, process.pipe = process.program.spawn()
        if process.pipe is None:
            process.ready = True
        else:
            os.set_blocking(process.pipe, False)
            self._selector.register(process.pipe, selectors.EVENT_READ, process)

    def _step(self, deadline: float | None = None) -> None:
        """Sleep until something happens, or until `deadline`, and handle it."""
        waits = [process.due for process in self._all() if process.due is not None]
        waits += [] if deadline is None else [deadline]
        timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                os.read(self._wake, 4096)
            else:
                self._read(key.data)
        for process in self._all():
            if process.pid:
                self._reap(process)
            elif process.due is not None and process.due <= time.monotonic() and not self._stopping:
                self._spawn(process)

    def _read(self, process: _Process) -> None:
        """Take in what the process has written so far."""
        while process.pipe is not None:
            try:
                data = os.read(process.pipe, 65536)
            except BlockingIOError:
                return
            if not data:
                self._close(process)
            *lines, rest = (process.rest + data).split(b"\n")
            process.rest = rest[-65536:]
            for line in lines:
                if process.program.hear(line.decode(errors="replace")):
                    process.ready, process.crashes = True, 0

    def _close(self, process: _Process) -> None:
        if process.pipe is not None:
            self._selector.unregister(process.pipe)
            os.close(process.pipe)
            process.pipe = None

    def _reap(self, process: _Process) -> None:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if not pid:
            return
        self._read(process)
        self._close(process)
        process.pid, process.ready = 0, False
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        self._outcome = process.program.ended(code)
        if self._outcome is not None:
            return
        process.crashes += 1
        if process.crashes >= GIVE_UP_AFTER:
            raise Failure(Exit.CRASHED, f"{process.program.name} keeps crashing; the log says why")
        pause = min(FIRST_PAUSE * 2 ** (process.crashes - 1), LONGEST_PAUSE)
        process.due = time.monotonic() + pause
        log.warning("process died, starting it again", program=process.program.name, code=code, seconds=pause)

    def _end(self, stage: list[_Process], asked: int) -> None:
        """Ask a stage to stop; kill it when that takes too long, or when stops are asked for over `asked` times."""
        self._signal(stage, signal.SIGTERM)
        deadline = time.monotonic() + self._drain
        while any(process.pid for process in stage):
            if time.monotonic() >= deadline or self._stops > asked:
                self._signal(stage, signal.SIGKILL)
            self._step(max(deadline, time.monotonic() + 0.1))

    def _signal(self, stage: list[_Process], number: signal.Signals) -> None:
        for process in stage:
            if process.pid:
                log.debug("signalling", program=process.program.name, signal=number.name)
                os.kill(process.pid, number)
