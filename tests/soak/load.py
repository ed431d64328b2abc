"""The load of a soak: commands and queries at a steady rate, subscribers that come and go, a storefront's scope.

Keys, channels and pairs are few and stay: what grows then is not the data, but something that was not let go.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from time import perf_counter

import keyscope
from benchmarks.data import link

KEYS, CHANNELS = 200, 20
TICK = 0.02
MOST_IN_FLIGHT = 500
SUBSCRIBER_SECONDS = 3.0
RESOLVES_A_TICK = 50


class Load:
    """Clients of one service, in this process."""

    def __init__(self, ks: keyscope.Keyscope, seed: int, commands: float, queries: float) -> None:
        self._ks, self._chance = ks, random.Random(seed)
        self._rates = {"commands": commands, "queries": queries}
        self._tokens: list[str] = []
        self._running: set[asyncio.Task[None]] = set()
        self._until = 0.0
        self.counts: Counter[str] = Counter()
        """Commands, queries, events, subscribers, resolved tokens; left out, because too many had no answer yet."""
        self.errors: list[str] = []

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return len(self._running)

    async def prepare(self) -> None:
        """Make the keys and the channels."""
        await self._ks.sales_channels.create([{"id": f"sc_{n}", "name": f"C {n}"} for n in range(CHANNELS)])
        made = await self._ks.api_keys.create(
            [{"id": f"apk_{n}", "title": f"K {n}", "type": "publishable", "created_by": "soak"} for n in range(KEYS)]
        )
        self._tokens = [key["token"] for key in made]

    async def run(self, seconds: float) -> None:
        """Go on for so long."""
        self._until = perf_counter() + seconds
        async with await self._ks.storefront() as scope, asyncio.TaskGroup() as group:
            group.create_task(self._offer())
            group.create_task(self._resolve(scope))
            for number in range(3):
                group.create_task(self._subscribe(number))

    async def _offer(self) -> None:
        begun, sent = perf_counter(), Counter[str]()
        while (now := perf_counter()) < self._until:
            for kind, rate in self._rates.items():
                due = int((now - begun) * rate) - sent[kind]
                sent[kind] += due
                for _ in range(due):
                    self._start(kind)
            await asyncio.sleep(TICK)
        if self._running:
            await asyncio.wait(self._running)

    def _start(self, kind: str) -> None:
        if len(self._running) >= MOST_IN_FLIGHT:
            self.counts["left out"] += 1
            return
        task = asyncio.create_task(self._counted(kind, self._command() if kind == "commands" else self._query()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _counted(self, kind: str, call: Awaitable[object]) -> None:
        try:
            await call
            self.counts[kind] += 1
        except keyscope.KeyscopeError as error:
            self.counts["errors"] += 1
            self.errors = [*self.errors, f"{type(error).__name__}: {error}"][:10]

    def _command(self) -> Awaitable[object]:
        chance = self._chance
        key, channel = f"apk_{chance.randrange(KEYS)}", f"sc_{chance.randrange(CHANNELS)}"
        what = chance.random()
        if what < 0.45:
            return self._ks.command("link.create", link(key, channel))
        if what < 0.9:
            return self._ks.command("link.dismiss", link(key, channel))
        return self._ks.command("sales_channel.update", {"id": channel, "update": {"name": f"C {what}"}})

    def _query(self) -> Awaitable[object]:
        if self._chance.random() < 0.3:
            return self._ks.query.scope(self._chance.choice(self._tokens))
        key = f"apk_{self._chance.randrange(KEYS)}"
        return self._ks.query.graph(entity="api_key", fields=["id", "sales_channels.*"], filters={"id": key})

    async def _resolve(self, scope: keyscope.Storefront) -> None:
        while perf_counter() < self._until:
            for _ in range(RESOLVES_A_TICK):
                token = self._chance.choice(self._tokens)
                if scope.resolve(token) is None:
                    await scope.load(token)
                self.counts["resolved"] += 1
            await asyncio.sleep(TICK)

    async def _subscribe(self, number: int) -> None:
        while perf_counter() < self._until:
            seconds = min(SUBSCRIBER_SECONDS * self._chance.random(), max(0.1, self._until - perf_counter()))
            channel = f"sc_{self._chance.randrange(CHANNELS)}" if number else None
            self.counts["subscribers"] += 1
            async with self._ks.events.links(sales_channel_id=channel) as events:
                try:
                    async with asyncio.timeout(seconds):
                        async for _ in events:
                            self.counts["events"] += 1
                except TimeoutError:
                    continue
