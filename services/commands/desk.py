"""Where both doors hand in what they received: reading, preparing, queueing, and an answer for everything."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from eventsourcing.persistence import PersistenceError

from events.errors import KeyscopeError, Unavailable, UnexpectedState
from services.bus import tracing
from services.bus.replies import failure, success
from services.commands.authenticate import Authenticator
from services.commands.command import Command, Reply
from services.commands.preparing import Preparer
from services.commands.reading import read_command
from services.commands.writer import RETRY_AFTER_MS, Writer

MAX_PREPARING = 256
"""Commands that may be in preparation at once."""
MAX_PREPARING_WEIGHT = 100_000
"""About how many events those may record: ten megabytes of bodies."""

log = structlog.get_logger(__name__)


class Desk:
    """Takes commands in. Every one is answered, exactly once, unless the process dies."""

    def __init__(self, writer: Writer, preparer: Preparer, authenticator: Authenticator) -> None:
        self._writer = writer
        self._preparer = preparer
        self._authenticator = authenticator
        self._preparing: set[asyncio.Task[None]] = set()
        self._preparing_weight = 0

    @property
    def retry_after_ms(self) -> int:
        """When a request may be sent again, or 0 as long as there is room for it."""
        return self._writer.retry_after_ms if self._writer.full else 0

    def receive(
        self,
        name: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        answer: Callable[[Reply], None],
        *,
        fallback_id: str | None = None,
        deliveries: int = 0,
    ) -> None:
        """Take a command in; `answer` is called when it is carried out or refused, perhaps at once.

        `deliveries` of a job: how often it was handed in, with this time; 0 for a request. A door that refuses for
        `retry_after_ms` does so itself. A job is never refused for want of room: it was promised, few are in hand at
        once, and each attempt counts.
        """
        job = deliveries > 0
        if tracing.spans is not None and headers:
            headers, answer = tracing.spans.command(name, headers, answer, deliveries)
        try:
            command = read_command(name, body, headers, answer, fallback_id=fallback_id)
            if command.spec.verb == "authenticate":
                self._take_time(command, self._authenticate(command), job=job)
            elif self._preparer.needs_time(command):
                self._take_time(command, self._prepare(command), job=job)
            else:
                command.prepared = self._preparer.prepare(command)
                self._writer.submit(command)
        except KeyscopeError as error:
            answer(Reply(failure(error), error))
        except Exception:
            log.exception("a command failed", command=name)
            answer(_failed())

    async def drain(self) -> None:
        """Wait until nothing is in preparation."""
        while self._preparing:
            await asyncio.wait(self._preparing)

    def _take_time(self, command: Command, work: Coroutine[Any, Any, None], *, job: bool) -> None:
        full = len(self._preparing) >= MAX_PREPARING or self._preparing_weight >= MAX_PREPARING_WEIGHT
        if full and not job:
            work.close()
            raise Unavailable("too many commands are being prepared: try again", retry_after_ms=RETRY_AFTER_MS)
        self._preparing_weight += command.weight
        task = asyncio.get_running_loop().create_task(self._answering(command, work))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _answering(self, command: Command, work: Coroutine[Any, Any, None]) -> None:
        answer = command.answer
        try:
            await work
        except KeyscopeError as error:
            answer(Reply(failure(error), error))
        except PersistenceError as error:
            log.error("the event store cannot be read", error=str(error))  # noqa: TRY400 - no news in a traceback
            unavailable = Unavailable("the event store cannot be reached: try again", retry_after_ms=RETRY_AFTER_MS)
            answer(Reply(failure(unavailable), unavailable))
        except Exception:
            log.exception("a command failed in preparation")
            answer(_failed())
        finally:
            self._preparing_weight -= command.weight

    async def _prepare(self, command: Command) -> None:
        command.prepared = await self._preparer.prepare_slowly(command)
        self._writer.submit(command)

    async def _authenticate(self, command: Command) -> None:
        token = command.body if isinstance(command.body, str) else command.body.token
        key, position = await self._authenticator.authenticate(token)
        command.answer(Reply(success(key, position=position, changed=[])))


def _failed() -> Reply:
    error = UnexpectedState("the command failed; nothing was stored")
    return Reply(failure(error), error)
