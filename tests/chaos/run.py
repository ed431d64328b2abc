"""The fault run: rounds of load with a fault in the middle, and after each the comparison of everything."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import keyscope
from services.runtime.failures import Failure
from services.runtime.settings import Settings
from services.runtime.verify import verify
from services.store.application import open_store
from tests.chaos.faults import FAULTS, ON_POSTGRESQL, Machine, folders
from tests.chaos.full import full_disks
from tests.chaos.history import History
from tests.chaos.tree import DEATHS, FULL_DISK, Tree
from tests.chaos.workload import Client, Subscriber
from tests.support.disks import Disk, kind, small_disks
from tests.support.postgres import Postgres

CLIENTS = 4
BEFORE_SECONDS, AFTER_SECONDS = 0.6, 0.4
SETTLE_SECONDS = 60.0
CHECK_EVERY = 25
"""Rounds between two checks of the whole history."""


@dataclass
class Report:
    """What a run has seen."""

    seed: str
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    attempts: int = 0
    events: int = 0
    violations: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds from the end of a fault until everything agreed again."""

    def lines(self) -> list[str]:
        """For the reader; the last line is the verdict."""
        summary = (
            f"seed {self.seed}: {self.rounds} rounds, {self.commands} commands ({self.attempts} attempts), "
            f"{self.events} events; at most {self.slowest:.1f} s until everything agreed again"
        )
        return [
            *(f"{count:>6}  {fault}" for fault, count in sorted(self.faults.items())),
            summary,
            *(f"VIOLATION {violation}" for violation in self.violations[:20]),
            f"violations: {len(self.violations)}",
        ]


async def run(
    rounds: int,
    seed: str,
    *,
    faults: Sequence[str] = (),
    say: Callable[[str], None] = print,
    postgres: Postgres | None = None,
    disk: Mapping[Path, Disk] | None = None,
    up: bool = False,
) -> Report:
    """Play `rounds` rounds. Faults (all, unless some are named) and commands follow from the seed; how they interleave
    is the machine's. With `postgres`, which must run, the event store is there, on its own `disk` if it has one. With
    `up` it is `keyscope up` that dies; else each service, nats-server and the network fail for themselves.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyscope-chaos-")))
        subject: Subject
        table: Mapping[str, Callable[[], Awaitable[None]]]
        if up:
            disks = stack.enter_context(small_disks(folder / "data"))
            subject = tree = Tree(folder / "data", seed, disks.get(folder / "data"))
            table = {name: partial(death, tree) for name, death in {**DEATHS, **(FULL_DISK if disks else {})}.items()}
            say(f"full disks: {f'a small file system ({kind()})' if disks else 'none, for want of the right to mount'}")
        else:
            disks = {**stack.enter_context(small_disks(*folders(folder).values())), **(disk or {})}
            say(f"full disks: {f'small file systems ({kind()})' if disks else 'limits on the size of files'}")
            subject = machine = Machine(folder, seed, postgres, disks)
            possible = {**FAULTS, **(ON_POSTGRESQL if postgres else {}), **full_disks(machine)}
            table = {name: partial(fault, machine) for name, fault in possible.items()}
        try:
            return await _Run(subject, seed, {name: table[name] for name in faults or table}, say).play(rounds)
        finally:
            await subject.stop()


class Subject(Protocol):
    """What is broken: processes over one data folder."""

    data: Path
    store: str
    died: list[str]
    """What ended without having been killed."""

    @property
    def url(self) -> str:
        """Where clients find its NATS."""

    async def start(self) -> None:
        """Start whatever does not run, and wait until it is ready."""

    async def stop(self) -> None:
        """Kill everything."""


class _Run:
    def __init__(
        self,
        subject: Subject,
        seed: str,
        faults: Mapping[str, Callable[[], Awaitable[None]]],
        say: Callable[[str], None],
    ) -> None:
        self._subject = subject
        self._chance = random.Random(seed)
        self._faults = faults
        self._say = say
        self._history = History()
        self._report = Report(seed)
        self._settings = Settings(nats_url=subject.url, data_dir=subject.data, event_store=subject.store)

    async def play(self, rounds: int) -> Report:
        await self._subject.start()
        ks = await keyscope.connect(self._subject.url, actor="chaos", timeout=10)
        reading = await keyscope.connect(self._subject.url, timeout=10)
        subscriber = Subscriber(reading)
        subscribing = asyncio.create_task(subscriber.run())
        clients = [Client(ks, self._history, f"c{n}", f"{self._report.seed}/{n}") for n in range(CLIENTS)]
        order: list[str] = []
        try:
            for number in range(rounds):
                if not order:
                    order = self._chance.sample(list(self._faults), len(self._faults))
                await self._round(number, order.pop(), clients)
                if self._report.violations or (number + 1) % CHECK_EVERY == 0:
                    self._check()
                if self._report.violations:
                    break
            self._check()
            await self._has_everything(subscriber)
        finally:
            subscribing.cancel()
            await asyncio.gather(subscribing, return_exceptions=True)
            await ks.close()
            await reading.close()
        return self._report

    async def _round(self, number: int, fault: str, clients: list[Client]) -> None:
        stopping = asyncio.Event()
        running = [asyncio.create_task(client.run(stopping)) for client in clients]
        await asyncio.sleep(self._chance.uniform(0.2, BEFORE_SECONDS))
        await self._faults[fault]()
        await asyncio.sleep(self._chance.uniform(0.0, AFTER_SECONDS))
        await self._subject.start()
        began = time.monotonic()
        stopping.set()
        await asyncio.gather(*running)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await asyncio.gather(*(client.settle() for client in clients))
        difference = await self._agreed()
        took = time.monotonic() - began
        self._report.rounds += 1
        self._report.faults[fault] += 1
        self._report.slowest = max(self._report.slowest, took)
        self._report.violations += [difference] if difference else []
        self._report.violations += self._subject.died
        self._subject.died.clear()
        self._say(f"round {number + 1}: {fault}: {took:.1f} s, {len(self._history.operations)} commands")

    async def _agreed(self) -> str | None:
        """The first difference that stays, when everything is left alone for a minute."""
        difference: str | None = "never compared"
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while difference:
                    try:
                        verdict = await verify(self._settings, patience=10, progress=lambda done, total: None)
                        difference = verdict.difference
                    except Failure as failure:
                        difference = str(failure)
                    if difference:
                        await asyncio.sleep(0.3)
        return difference

    def _check(self) -> None:
        store = open_store(self._settings.event_store_url)
        rows = store.recorder.notifications(0, 100_000_000)
        store.close()
        self._report.violations += self._history.check(rows)
        self._report.commands = len(self._history.operations)
        self._report.attempts = sum(operation.attempts for operation in self._history.operations)
        self._report.events = len(rows)

    async def _has_everything(self, subscriber: Subscriber) -> None:
        """The durable subscriber saw each event at least once; by its ids, exactly once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while len(subscriber.ids) < self._report.events:
                    await asyncio.sleep(0.1)
        if len(subscriber.ids) != self._report.events:
            self._report.violations.append(
                f"the durable subscriber saw {len(subscriber.ids)} events of {self._report.events}"
            )
