"""The request/reply door: `keyscope.cmd.<entity>.<verb>`, bare nats-py under the micro protocol.

FastStream costs about 100 µs a message here, as much as everything else together, so the hottest path does without
it; it carries the durable door (jobs.py), where batches amortise it.
"""

import asyncio
import json
import sys
from collections import Counter
from functools import cache
from typing import Any

import structlog
from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.micro import add_service
from nats.micro.service import EndpointStats, Service, ServiceConfig

from events.commands import COMMANDS
from events.errors import Unavailable, UnexpectedState
from events.subjects import QUEUE_GROUP, Subjects
from services.bus.calls import Call, Calls, Refusal
from services.bus.leaving import leave
from services.bus.measures import TURNED_AWAY
from services.bus.replies import error_headers, failure
from services.bus.wire import flush
from services.commands.command import Reply
from services.commands.desk import Desk

SERVICE_NAME = "keyscope-commands"

SWITCH_SECONDS = 0.0001
"""How soon a thread that waits for the interpreter gets it while requests are refused. Python's usual 5 ms would have
the writer wait so long after each call of the database, for a loop that is busy with saying no."""

log = structlog.get_logger(__name__)


@cache
def _schemas() -> dict[str, str]:
    """The JSON Schema of each command's body; to make them all takes some 50 ms."""
    return {spec.name: json.dumps(spec.schema.json_schema()) for spec in COMMANDS.values()}


@cache
def _refusal(retry_after_ms: int) -> Refusal:
    return Refusal(Unavailable("too many commands are waiting: try again", retry_after_ms=retry_after_ms), TURNED_AWAY)


class RequestDoor:
    """Receives requests and sends their replies. It shows up in `nats micro ls`, each command's schema in its info."""

    def __init__(self, client: Client, subjects: Subjects, desk: Desk, version: str) -> None:
        self._client = client
        self._subjects = subjects
        self._desk = desk
        self._version = version
        self._skip = len(subjects.commands) - 1
        self._calls: Calls | None = None
        self._unanswered = 0
        self._all_answered = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._service: Service | None = None
        self._refusing = False
        self._switch_seconds = sys.getswitchinterval()

    async def open(self) -> None:
        """Begin to receive."""
        self._calls = Calls(self._client)
        self._service = await add_service(
            self._client,
            ServiceConfig(
                name=SERVICE_NAME,
                version=self._version,
                description="Commands of Keyscope: API keys, sales channels and their links",
                stats_handler=self._stats,
            ),
        )
        await self._calls.add_endpoint(
            self._service,
            self._receive,
            name="commands",
            subject=self._subjects.commands,
            queue_group=QUEUE_GROUP,
            metadata=_schemas(),
            refusal=self._full,
        )
        await flush(self._client)

    async def close(self) -> None:
        """Receive no more, send what is owed. The writer must be running until then."""
        if self._service is not None:
            await leave(self._client, self._service)
        if self._unanswered:
            self._all_answered.clear()
            await self._all_answered.wait()
        if self._calls is not None:
            await self._calls.close()
        if self._client.is_connected:
            await flush(self._client)

    def _full(self) -> Refusal | None:
        retry_after_ms = self._desk.retry_after_ms
        if self._refusing != bool(retry_after_ms):
            self._refusing = bool(retry_after_ms)
            sys.setswitchinterval(SWITCH_SECONDS if self._refusing else self._switch_seconds)
        return _refusal(retry_after_ms) if retry_after_ms else None

    def _receive(self, call: Call) -> None:
        name = call.subject[self._skip :]
        self._counts[name if name in COMMANDS else "unknown"] += 1
        self._unanswered += 1
        self._desk.receive(name, call.data, call.headers, lambda reply: self._answer(call, reply))

    def _answer(self, call: Call, reply: Reply) -> None:
        try:
            call.respond(reply.text, error_headers(reply.error) if reply.error else None)
        except MaxPayloadError:  # the broker is another one than when the command was carried out
            log.warning("a reply is larger than the server takes", command=call.subject, bytes=len(reply.text))
            lost = UnexpectedState("it was carried out, and its answer is longer than the broker's max_payload")
            call.respond(failure(lost), error_headers(lost))
        self._unanswered -= 1
        if not self._unanswered:
            self._all_answered.set()

    def _stats(self, _: EndpointStats) -> dict[str, Any]:
        return {"commands": dict(self._counts)}
