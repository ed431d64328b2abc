"""The writer: one thread that carries out every command that waits, in one transaction, then answers them all.

A reply is sent only after the transaction is synced to disk. Where the process may die:

* before the commit: nothing happened; the sender gets no reply and repeats the command under the same id;
* after the commit, before the reply: the events and the outcome are there; repeating the command gives that outcome.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

import structlog
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent

from events.base import UnknownEvent
from events.errors import Conflict, KeyscopeError, Unavailable, UnexpectedState
from services.bus import tracing
from services.bus.measures import BATCHES, COMMANDS, COMMITS, CONTENDED
from services.bus.replies import failure
from services.commands.cache import AggregateCache
from services.commands.command import Command, Reply
from services.commands.naming import named
from services.commands.run import Run, repeated, settle
from services.commands.sweeps import step_sweep
from services.commands.work import Work
from services.domain.aggregate import Aggregate
from services.domain.clock import now
from services.store.application import Store
from services.store.commit import Commit, Committed, LostEvents, StaleRead

QUEUE_LIMIT = 2_048
"""Commands that may wait; beyond it requests are refused with `unavailable`. Some tenths of a second of work."""
QUEUE_WEIGHT = 8_000
"""About how many events those that wait may record; also a bound on the memory that they take, bodies included."""
BATCH_COMMANDS = 256
BATCH_WEIGHT = 2_000
"""About how many events one transaction takes at most, unless a single command has more."""
RETRY_AFTER_MS = 250
LONGEST_RETRY_AFTER_MS = 5_000
REDO_LIMIT = 20
CROWDED_BATCHES = 16
"""Batches that take turns after another replica has written: most likely it is still busy."""
FOLLOWED_AT_ONCE = 1_000
LOOK_SECONDS = 5.0
"""How often an idle writer looks for the sweeps of a replica that has died."""
INDEX_EVERY = 10_000
"""Events after which the index of channels to keys catches up: some 50 ms of work at most."""

log = structlog.get_logger(__name__)

Answers = list[tuple[Command, Reply]]


class _Unconfirmed(PersistenceError):
    """The store failed while it was to write: what was in hand is stored, or it is not."""


class Writer:
    """Owns the store's writing side. `on_commit` is called on the event loop with each new position."""

    def __init__(self, store: Store, on_commit: Callable[[int], None], longest: Callable[[], int]) -> None:
        """No answer is longer than `longest` bytes: a command that had one is refused."""
        self._store = store
        self._longest = longest
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._cache = AggregateCache()
        self._waiting: deque[Command] = deque()
        self._weight_in = 0  # of all commands ever handed in; the event loop's
        self._weight_out = 0  # of all that ever left the queue; the thread's
        self._seconds = 0.0  # that one weight took lately
        self._wake = threading.Condition()
        self._idle = False
        self._stopping = False
        self._position = store.recorder.position()
        self._indexed = self._position
        self._crowded = 0
        self._behind: Committed | None = None
        self._sweeps = True
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._stopped = asyncio.Event()
        self._problem: BaseException | None = None
        self._lost: LostEvents | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    async def stop(self) -> None:
        """Carry out what waits, answer it, and end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await self._stopped.wait()
        self._thread.join()

    async def until(self, stopping: asyncio.Event) -> None:
        """Return when `stopping` is set. Raises what has ended the thread before: nothing is carried out any more."""
        waiting = [asyncio.create_task(event.wait()) for event in (stopping, self._stopped)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if self._problem is not None:
            raise self._problem

    @property
    def full(self) -> bool:
        """Whether the queue has no room for requests."""
        return len(self._waiting) >= QUEUE_LIMIT or self._weight_in - self._weight_out >= QUEUE_WEIGHT

    @property
    def retry_after_ms(self) -> int:
        """About when what waits now will be done, in steps of 50."""
        milliseconds = 1_000 * self._seconds * (self._weight_in - self._weight_out)
        return round(min(max(milliseconds, RETRY_AFTER_MS), LONGEST_RETRY_AFTER_MS) / 50) * 50

    @property
    def waiting(self) -> int:
        """How many commands wait."""
        return len(self._waiting)

    @property
    def position(self) -> int:
        """The position of the last event that this writer knows of."""
        return self._position

    def submit(self, command: Command) -> None:
        """Let a command wait for the next batch, be the queue full or not. Raises Unavailable when it is closed."""
        if self._stopping:
            raise Unavailable("the service is stopping: try again", retry_after_ms=RETRY_AFTER_MS)
        self._weight_in += command.weight
        self._waiting.append(command)
        if self._idle:  # a busy writer looks by itself
            with self._wake:
                self._wake.notify()

    # ---- the writer's thread from here on

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                if self._waiting:
                    self._carry_out()
                if self._sweeps:
                    self._sweep()
                if self._lost is not None:
                    raise self._lost
                self._follow_others()
                if self._position - self._indexed >= INDEX_EVERY:
                    self._index()
        except BaseException as problem:  # noqa: BLE001 - `until` raises it
            self._problem = problem
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)

    def _wait_for_work(self) -> bool:
        """False when there is nothing left to do for ever."""
        if self._waiting:
            return True
        with self._wake:
            # In this order: whoever hands in a command after the queue was seen empty sees a writer that is idle.
            self._idle = True
            while not self._waiting and not self._sweeps and not self._stopping:
                self._sweeps = not self._wake.wait(LOOK_SECONDS)
            self._idle = False
            return bool(self._waiting) or not self._stopping

    def _take_batch(self) -> list[Command]:
        batch: list[Command] = []
        weight = 0
        while self._waiting and len(batch) < BATCH_COMMANDS:
            weight += self._waiting[0].weight
            if batch and weight > BATCH_WEIGHT:
                break
            batch.append(self._waiting.popleft())
        self._weight_out += sum(command.weight for command in batch)
        return batch

    def _carry_out(self) -> None:
        """Run and answer a batch. One that meets another replica's change is redone in turn, at last one by one."""
        begun, redone = perf_counter(), False
        batch: list[Command] = []
        try:
            answers = self._write_in_turn(batch)
        except (StaleRead, IntegrityError):
            redone, answers = True, self._one_by_one(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the senders are answered
            batch += [] if batch else self._take_batch()
            answers = self._failed(batch, error)
        self._answer(answers)
        took = perf_counter() - begun
        if batch:  # none was taken if another replica's changes were met before
            self._seconds += (took / sum(command.weight for command in batch) - self._seconds) / 8
        _measure(answers, took)
        if tracing.spans is not None:
            traceparents = (command.context.traceparent for command, _ in answers)
            done = {"commands": len(answers), "position": self._position, "redone": redone}
            tracing.spans.batch("commit", traceparents, took, **done)

    def _write_in_turn(self, batch: list[Command]) -> Answers:
        """Fill the batch and write it. Replicas that are busy at the same time take turns.

        Whose turn it is takes what has come while it waited: so batches are as large as one replica's would be, and
        nothing is redone.
        """
        if not self._crowded:
            batch += self._take_batch()
            try:
                return self._write(batch)
            except (StaleRead, IntegrityError):
                self._crowded = CROWDED_BATCHES
                CONTENDED.add(1)
        self._crowded -= 1
        with self._store.recorder.alone(self._position, FOLLOWED_AT_ONCE) as changes:
            if changes:
                self._crowded = CROWDED_BATCHES
                self._follow(changes)
            batch += [] if batch else self._take_batch()
            return self._write(batch)

    def _one_by_one(self, batch: list[Command]) -> Answers:
        answers: Answers = []
        for command in batch:
            for _ in range(REDO_LIMIT):
                try:
                    answers += self._write([command])
                    break
                except (StaleRead, IntegrityError):
                    continue
                except Exception as error:  # noqa: BLE001 - as above
                    answers += self._failed([command], error)
                    break
            else:
                conflict = Conflict("other changes kept coming first; nothing was done: try again")
                answers.append((command, Reply(failure(conflict), conflict)))
        return answers

    def _failed(self, batch: list[Command], error: Exception) -> Answers:
        """The store did not take the batch."""
        expected = isinstance(error, PersistenceError)
        if isinstance(error, LostEvents):
            self._lost = error
        traced = next((command.context.traceparent for command in batch if command.context.traceparent), None)
        log.error(
            "a batch was not stored",
            commands=len(batch),
            error=str(error),
            exc_info=None if expected else error,
            **tracing.ids_of(traced),
        )
        if isinstance(error, _Unconfirmed):
            answer: KeyscopeError = Unavailable(
                "the event store did not confirm the command: try again with the same command id",
                retry_after_ms=RETRY_AFTER_MS,
                unconfirmed=True,
            )
        elif expected:
            answer = Unavailable("the event store cannot be used now: try again", retry_after_ms=RETRY_AFTER_MS)
        else:
            answer = UnexpectedState("the command failed; nothing was stored")
        return [(command, Reply(failure(answer), answer)) for command in batch]

    def _write(self, batch: list[Command]) -> Answers:
        self._follow_others()
        known = self._store.recorder.outcomes([command.context.command_id for command in batch if command.repeatable])
        work = Work(self._store, self._cache)
        instant, longest = now(), self._longest()
        runs: dict[str, Run] = {}
        order: list[tuple[Command, Run | None]] = []
        try:
            work.preload(id for command in batch for id in named(command))
            for command in batch:
                id = command.context.command_id
                if id in known:
                    order.append((command, None))
                    continue
                if id not in runs:
                    runs[id] = Run(command, work, instant, longest)
                order.append((command, runs[id]))
        except BaseException:
            work.forget()
            raise
        if runs:
            self._commit(work, list(runs.values()))
        return [
            (command, run.reply if run else repeated(known[command.context.command_id], longest))
            for command, run in order
        ]

    def _commit(self, work: Work, runs: Sequence[Run]) -> Committed:
        commit = Commit(
            events=work.events,
            settle=lambda positions, position: settle(runs, positions, position),
            known_position=self._position,
            read=work.read,
            tokens=work.tokens,
            new_sweeps=work.new_sweeps,
            moved_sweeps=work.moved_sweeps,
            done_sweeps=work.done_sweeps,
        )
        try:
            committed = self._store.write(commit)
        except StaleRead as stale:
            work.forget()
            self._catch_up(stale.ids)
            raise
        except (IntegrityError, LostEvents):
            work.forget()
            raise
        except PersistenceError as error:
            work.forget()
            raise _Unconfirmed(str(error)) from error
        except BaseException:
            work.forget()
            raise
        if committed.foreign:
            self._behind = committed
            self._crowded = CROWDED_BATCHES
        self._position = committed.position
        self._sweeps = self._sweeps or bool(work.new_sweeps)
        return committed

    def _catch_up(self, ids: set[str]) -> None:
        self._evict(ids)
        self._position, changed = self._store.recorder.changed_since(self._position)
        self._evict(changed)

    def _follow_others(self) -> None:
        """Let cached aggregates follow what others did before the last commit, now that its senders are answered."""
        committed, self._behind = self._behind, None
        if committed is not None:
            self._advance(committed.others)
            if not committed.others:
                self._evict(committed.foreign)

    def _follow(self, changes: Sequence[tuple[int, StoredEvent]]) -> None:
        """Let the cached aggregates follow what other replicas did: much less work than to load them again."""
        while changes:
            self._advance(changes)
            self._position = changes[-1][0]
            if len(changes) < FOLLOWED_AT_ONCE:
                return
            changes = self._store.recorder.events_after(self._position, FOLLOWED_AT_ONCE)

    def _advance(self, changes: Iterable[tuple[int, StoredEvent]]) -> None:
        for _, stored in changes:
            aggregate = self._cache.get(str(stored.originator_id))
            if aggregate is not None and not self._advanced(aggregate, stored):
                self._cache.evict(aggregate.id)

    def _advanced(self, aggregate: Aggregate, stored: StoredEvent) -> bool:
        """Whether the aggregate could follow. An event of a newer release is left for whoever loads it to meet."""
        try:
            return self._store.advance(aggregate, stored)
        except UnknownEvent:
            return False

    def _evict(self, ids: set[str]) -> None:
        for id in ids:
            self._cache.evict(id)

    def _sweep(self) -> None:
        """One step of the oldest sweep, while no command waits."""
        self._follow_others()
        work = Work(self._store, self._cache)
        work.begin_step(now())
        try:
            sweep = self._store.recorder.next_sweep()
            if sweep is None:
                self._sweeps = False
                return
            step_sweep(work, sweep)
            self._commit(work, [])
        except (StaleRead, IntegrityError):
            return
        except LostEvents as error:
            self._lost = error
            return
        except Exception as error:  # whatever it is, commands must go on
            work.forget()
            expected = isinstance(error, PersistenceError | Unavailable)
            log.warning("a sweep was not stored; trying again", error=str(error), exc_info=None if expected else error)
            with self._wake:
                self._wake.wait(1)
            return
        self._answer([])

    def _index(self) -> None:
        try:
            self._store.recorder.index_links()
            self._indexed = self._position
        except PersistenceError as error:
            log.warning("the index of channels is behind; catching up later", error=str(error))
            self._indexed += INDEX_EVERY

    def _answer(self, answers: Answers) -> None:
        self._loop.call_soon_threadsafe(self._deliver, answers, self._position)

    # ---- the event loop again

    def _deliver(self, answers: Answers, position: int) -> None:
        for command, reply in answers:
            command.answer(reply)
        self._on_commit(position)


def _measure(answers: Answers, seconds: float) -> None:
    BATCHES.observe(len(answers))
    COMMITS.observe(seconds)
    outcomes = ((command.spec.name, reply.outcome) for command, reply in answers)
    for labels, count in Counter(outcomes).items():
        COMMANDS.add(count, *labels)
