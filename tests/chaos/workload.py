"""Clients who send all commands, ask again until they are answered, and write down what they were told."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import keyscope
from tests.chaos.history import History, Operation, Reply

TRY_SECONDS = 1.0
PAUSE_SECONDS = 0.004
_NO_OUTCOME = (keyscope.Unavailable, keyscope.Timeout, keyscope.Conflict)
"""Nothing is known, or nothing was done: ask again."""

Body = Callable[[random.Random, str, str], Any]

KEYS = [f"apk_{n}" for n in range(12)]
CHANNELS = [f"sc_{n}" for n in range(6)]
FLEETING = CHANNELS[3:]
"""Only these are ever deleted: the events of their links may lag behind."""


def _pair(key: str, channel: str) -> Any:
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


def _batch(chance: random.Random, key: str, channel: str) -> Any:
    return {"create": [_pair(key, channel)], "dismiss": [_pair(chance.choice(KEYS), chance.choice(CHANNELS))]}


def _title(chance: random.Random) -> str:
    return chance.choice(("Web", "App", "Shop"))


COMMANDS: Mapping[str, tuple[int, Body]] = {
    "link.create": (30, lambda chance, key, channel: _pair(key, channel)),
    "link.dismiss": (20, lambda chance, key, channel: _pair(key, channel)),
    "link.batch": (8, _batch),
    "link.delete": (2, lambda chance, key, channel: {"api_key": {"api_key_id": key}}),
    "link.restore": (3, lambda chance, key, channel: {"api_key": {"api_key_id": key}}),
    "api_key.create": (3, lambda chance, key, channel: {"id": key, "title": "Web", "type": "publishable"}),
    "api_key.update": (4, lambda chance, key, channel: {"id": key, "update": {"title": _title(chance)}}),
    "api_key.upsert": (2, lambda chance, key, channel: {"id": key, "title": _title(chance)}),
    "api_key.revoke": (1, lambda chance, key, channel: {"id": key, "revoke": {}}),
    "api_key.delete": (1, lambda chance, key, channel: key),
    "api_key.soft_delete": (2, lambda chance, key, channel: key),
    "api_key.restore": (4, lambda chance, key, channel: key),
    "api_key.authenticate": (1, lambda chance, key, channel: {"token": "sk_nobody"}),
    "sales_channel.create": (3, lambda chance, key, channel: {"id": channel, "name": "Web"}),
    "sales_channel.update": (3, lambda chance, key, channel: {"id": channel, "update": {"name": _title(chance)}}),
    "sales_channel.upsert": (2, lambda chance, key, channel: {"id": channel, "name": _title(chance)}),
    "sales_channel.delete": (1, lambda chance, key, channel: channel),
    "sales_channel.soft_delete": (2, lambda chance, key, channel: channel),
    "sales_channel.restore": (4, lambda chance, key, channel: channel),
}
"""How often each command is sent, and its body."""

_DELETIONS = ("sales_channel.delete", "sales_channel.soft_delete")


class Client:
    """One client. What it sends is decided by its seed alone."""

    def __init__(self, ks: keyscope.Keyscope, history: History, name: str, seed: str) -> None:
        self._ks = ks
        self._history = history
        self._name = name
        self._chance = random.Random(seed)
        self._count = 0
        self._open: list[Operation] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Send commands until it is told to stop, then ask after everything that was not answered."""
        while not stopping.is_set():
            operation = self._next()
            if self._chance.random() < 0.15:
                await self._submit(operation)
            else:
                await self._send(operation)
            if operation.reply is None:
                self._open.append(operation)
            elif self._chance.random() < 0.05:
                await self._send(operation)
            elif self._chance.random() < 0.05:
                await self._reads_its_write(operation)
            await asyncio.sleep(PAUSE_SECONDS)

    async def settle(self) -> None:
        """Ask until everything is answered."""
        while self._open:
            await self._send(self._open[0], seconds=10)
            if self._open[0].reply is not None:
                self._open.pop(0)

    def _next(self) -> Operation:
        chance = self._chance
        [(name, (_, body))] = chance.choices(list(COMMANDS.items()), [weight for weight, _ in COMMANDS.values()])
        key = chance.choice(KEYS)
        channel = chance.choice(FLEETING if name in _DELETIONS else CHANNELS)
        self._count += 1
        now = asyncio.get_running_loop().time()
        operation = Operation(f"{self._name}-{self._count}", name, body(chance, key, channel), now)
        self._history.operations.append(operation)
        return operation

    async def _submit(self, operation: Operation) -> None:
        """Publish it as a job, and wait a while for its outcome."""
        operation.job = True
        operation.attempts += 1
        try:
            job = await self._ks.jobs.submit(
                operation.name, operation.body, command_id=operation.id, timeout=TRY_SECONDS
            )
            reply: Reply = dict(await job.outcome(TRY_SECONDS))
        except _NO_OUTCOME:
            return
        except keyscope.KeyscopeError as error:
            reply = _refusal(error)
        self._told(operation, reply)

    async def _send(self, operation: Operation, seconds: float = TRY_SECONDS) -> None:
        operation.attempts += 1
        try:
            reply: Reply = dict(
                await self._ks.command(operation.name, operation.body, command_id=operation.id, timeout=seconds)
            )
        except _NO_OUTCOME:
            return
        except keyscope.KeyscopeError as error:
            reply = _refusal(error)
        self._told(operation, reply)

    def _told(self, operation: Operation, reply: Reply) -> None:
        if reply.get("error", {}).get("type") == "unexpected_state":
            self._history.violations.append(f"unexpected_state: {operation}: {reply}")
        if operation.reply is None:
            operation.reply, operation.answered = reply, asyncio.get_running_loop().time()
        elif operation.name != "api_key.authenticate" and operation.reply != reply:
            self._history.violations.append(f"two outcomes of {operation}: {operation.reply}, then {reply}")

    async def _reads_its_write(self, operation: Operation) -> None:
        """What it was told is in the answer, unless somebody else has changed it since."""
        if operation.name != "sales_channel.create" or operation.refused:
            return
        try:
            answer = await self._ks.query.graph(
                entity="sales_channel", fields=["id"], filters={"id": operation.body["id"]}, withDeleted=True
            )
        except _NO_OUTCOME:
            return
        if not answer["data"] and not self._deleted(operation.body["id"]):
            self._history.violations.append(f"not there when read after it was written: {operation}")

    def _deleted(self, channel: str) -> bool:
        return any(each.name in _DELETIONS and each.body == channel for each in self._history.operations)


def _refusal(error: keyscope.KeyscopeError) -> Reply:
    return {"error": {"type": error.type, "message": error.message}}


class Subscriber:
    """Reads all events under a durable name, across whatever happens."""

    def __init__(self, ks: keyscope.Keyscope) -> None:
        self._ks = ks
        self.events: list[tuple[str, int]] = []
        self.ids: set[str] = set()

    async def run(self) -> None:
        """Read until cancelled, beginning again after errors, as a subscriber's supervisor would."""
        while True:
            try:
                async for event in self._ks.events.all(since="beginning", durable="chaos"):
                    self.events.append((event.id, event.position))
                    self.ids.add(event.id)
            except keyscope.KeyscopeError:
                await asyncio.sleep(0.2)
