"""Runs queries: the cheap ones at once on the event loop, all others on threads, each with its own connection.

Nobody can tell beforehand which are cheap. So every query starts on the loop, within a budget of steps of SQLite's
virtual machine; one that exceeds it is stopped and starts again on a thread, and so do the next ones of its shape.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import apsw

from events.errors import InvalidData, Unavailable
from projections import graph
from projections.compiler import Plan
from projections.database import open_reader
from projections.limits import INLINE_STEPS, STATEMENT_SECONDS
from projections.question import Question
from services.bus.measures import QUERIES

T = TypeVar("T")

THREADS = 2
MAX_QUEUED = 128
"""Queries that wait for a thread; beyond, they are refused for now."""

MOST_SECONDS = 5.0
"""How long a query waits for a thread; whoever asked has most likely given up by then, and asked again."""

SLOW_RUNS = 64
"""How many queries of a shape go to a thread at once after one was slow."""

INLINE_SECONDS = 0.01
"""How long a query may take on the event loop: a step that compares a pattern with a long text takes a millisecond."""

_GRAIN = 1_000


class Readers:
    """The connections that queries run on."""

    def __init__(self, path: Path, *, longest: int) -> None:
        """No answer is longer than `longest` bytes."""
        self._path, self._longest = path, longest
        self._inline = open_reader(path, longest=longest)
        self._steps, self._begun = 0, 0.0
        self._inline.set_progress_handler(self._out_of_budget, _GRAIN)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._queued = 0
        self._local = threading.local()
        self._connections = [self._inline]

    @property
    def inline(self) -> apsw.Connection:
        """The event loop's own connection, for statements that are cheap: others raise apsw.InterruptError."""
        self._steps, self._begun = INLINE_STEPS, perf_counter()
        return self._inline

    def at_once(self, question: Question, plan: Plan) -> bytes | None:
        """The answer, or None when the query is not cheap enough. Raises what `projections.graph.answer` raises."""
        if plan.slow_for:
            plan.slow_for -= 1
            return None
        begun = perf_counter()
        try:
            answer = graph.answer(self.inline, question, plan)
        except apsw.InterruptError:
            plan.slow_for = SLOW_RUNS
            return None
        except apsw.TooBigError:
            raise self._too_big() from None
        QUERIES.observe(perf_counter() - begun, plan.label, "loop")
        return answer

    async def on_thread(self, ask: Callable[[apsw.Connection], T], label: str) -> T:
        """What `ask` gives, on a thread. Raises Unavailable when too many queries wait for one already."""
        if self._queued >= MAX_QUEUED:
            raise _too_many()
        self._queued += 1
        due = perf_counter() + MOST_SECONDS
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, ask, label, due)
        finally:
            self._queued -= 1

    def close(self) -> None:
        """Waits for the threads and closes the connections."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _ask(self, ask: Callable[[apsw.Connection], T], label: str, due: float) -> T:
        if perf_counter() > due:
            raise _too_many()
        connection = self._connection()
        connection.set_progress_handler(_deadline(STATEMENT_SECONDS), 5 * _GRAIN)
        begun = perf_counter()
        try:
            answer = ask(connection)
        except apsw.InterruptError:
            raise InvalidData(
                f"The query takes longer than {STATEMENT_SECONDS:g} s; filter by an id, or ask for fewer rows with take"
            ) from None
        except apsw.TooBigError:
            raise self._too_big() from None
        QUERIES.observe(perf_counter() - begun, label, "thread")
        return answer

    def _too_big(self) -> InvalidData:
        return InvalidData(
            f"The answer is longer than {self._longest} bytes, the broker's max_payload; ask for fewer rows with take,"
            " or for fewer fields"
        )

    def _connection(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self._path, longest=self._longest)
            self._connections.append(connection)
        return connection

    def _out_of_budget(self) -> bool:
        self._steps -= _GRAIN
        return self._steps < 0 or perf_counter() - self._begun > INLINE_SECONDS


def _too_many() -> Unavailable:
    return Unavailable("Too many slow queries at once; try again", retry_after_ms=500)


def _deadline(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
