"""What a command needs before it may wait for the writer, and may take its time: hashing, asking the read model."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from events.base import parse_json
from events.commands import MAX_ITEMS, Chosen, Named, NewKey, UpsertKey, as_ids
from events.errors import InvalidData, Unavailable, error_in
from events.subjects import Subjects
from services.commands.command import Command, Prepared
from services.domain.tokens import Token, new_token

QUERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Preparer:
    """Works out what handlers cannot. `position` tells how far the event store is."""

    client: Client
    subjects: Subjects
    hashing: ThreadPoolExecutor
    position: Callable[[], int]

    def needs_time(self, command: Command) -> bool:
        """Whether preparing the command waits for something."""
        if command.spec.entity == "link":
            return False
        body = command.body
        if isinstance(body, Chosen):
            return body.selector is not None
        return any(isinstance(item, NewKey | UpsertKey) and item.type == "secret" for item in _items(body))

    def prepare(self, command: Command) -> Prepared:
        """For a command that does not need time."""
        return Prepared() if command.spec.entity == "link" else _PREPARE_NOW[command.spec.verb](command.body)

    async def prepare_slowly(self, command: Command) -> Prepared:
        """For a command that needs time. Raises InvalidData, Unavailable."""
        if isinstance(command.body, Chosen):
            return Prepared(ids=await self._select(command))
        loop = asyncio.get_running_loop()
        kinds = [item.type for item in _items(command.body) if _makes_key(item)]
        tokens = await asyncio.gather(*(loop.run_in_executor(self.hashing, new_token, kind) for kind in kinds))
        return Prepared(tokens=tuple(tokens))

    async def _select(self, command: Command) -> tuple[str, ...]:
        """The ids that the selector chooses, as of everything that is stored by now."""
        query = {
            "entity": command.spec.entity,
            "fields": ["id"],
            "filters": command.body.selector,
            "pagination": {"take": MAX_ITEMS},
            "position": self.position(),
        }
        try:
            reply = await self.client.request(
                self.subjects.query("graph"), json.dumps(query).encode(), timeout=QUERY_SECONDS
            )
        except (NoRespondersError, NatsTimeout):
            raise Unavailable("a selector needs the query service, which does not answer: try again") from None
        error = error_in(reply.data)
        if error:
            raise error
        ids = tuple(row["id"] for row in parse_json(reply.data)["data"])
        if len(ids) >= MAX_ITEMS:
            raise InvalidData(f"selector: it chooses {MAX_ITEMS} or more; narrow it", fields=["selector"])
        return ids


def _items(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]


def _makes_key(item: Any) -> bool:
    return isinstance(item, NewKey) or (isinstance(item, UpsertKey) and item.id is None)


def _tokens(body: Any) -> Prepared:
    made: list[Token] = [new_token(item.type or "publishable") for item in _items(body) if _makes_key(item)]
    return Prepared(tokens=tuple(made))


def _chosen(body: Chosen) -> Prepared:
    return Prepared(ids=tuple(as_ids(body.id or [])))


def _named(body: str | list[str] | Named) -> Prepared:
    return Prepared(ids=tuple(as_ids(body.ids if isinstance(body, Named) else body)))


_PREPARE_NOW: dict[str, Callable[[Any], Prepared]] = {
    "create": _tokens,  # of a channel: none
    "upsert": _tokens,
    "update": _chosen,
    "revoke": _chosen,
    "delete": _named,
    "soft_delete": _named,
    "restore": _named,
}
