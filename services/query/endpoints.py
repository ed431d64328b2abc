"""The endpoints: from a request's bytes to the reply's."""

import asyncio
from collections.abc import Awaitable, Coroutine
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import apsw
import structlog
from nats.errors import MaxPayloadError
from pydantic_core import from_json, to_json

from events.errors import InvalidData, KeyscopeError, NotAllowed, Unavailable, UnexpectedState
from events.subjects import TRACEPARENT
from projections import graph, question, scope
from projections.graph import Plans
from projections.schema import VERSION
from services.bus import tracing
from services.bus.calls import Call
from services.bus.measures import QUERIES
from services.bus.replies import error_headers, failure
from services.query.model import ReadModel
from services.query.progress import Progress

MAX_TASKS = 10_000
"""Queries that wait, for a position or for a thread."""
MAX_TASK_BYTES = 16 * 1024 * 1024
"""That those which wait may have together."""

NO_KEY = (
    "Publishable API key required in the request header: x-publishable-api-key."
    " You can manage your keys in settings in the dashboard."
)
WRONG_KEY = "A valid publishable key is required to proceed with the request"

FAILED = "Something went wrong; the log of the query service has the rest"

log = structlog.get_logger("query")


class Endpoints:
    """Answers requests. What cannot be answered at once goes on in a task, so the next request need not wait."""

    def __init__(self, progress: Progress, model: ReadModel) -> None:
        self._progress = progress
        self.model = model
        self._plans = Plans()
        self._tasks: set[asyncio.Task[None]] = set()
        self._task_bytes = 0
        self.refused = 0

    @property
    def compiled(self) -> int:
        """How many queries had a shape that was new."""
        return self._plans.compiled

    def graph(self, request: Call) -> None:
        """`query.graph`."""
        try:
            body = _body(request.data)
            asked = question.read(body)
            plan = self._plans.of(asked.shape)
            if tracing.spans is not None:
                tracing.spans.note(shape=plan.label)
            position = _position(body)
            answer = self.model.readers.at_once(asked, plan) if position <= self._progress.position else None
        except KeyscopeError as error:
            self._refuse(request, error)
        except Exception:
            log.exception("a query failed", subject=request.subject, **_trace(request))
            self._refuse(request, UnexpectedState(FAILED))
        else:
            if answer is not None:
                self._respond(request, answer)
            else:
                self._later(request, self._graph_later(position, asked, plan))

    def scope(self, request: Call) -> None:
        """Token to channels."""
        try:
            body = _body(request.data)
            token, position = _token(body), _position(body)
            answer = self._scope(token) if position <= self._progress.position else None
        except KeyscopeError as error:
            self._refuse(request, error)
        except Exception:
            log.exception("a query failed", subject=request.subject, **_trace(request))
            self._refuse(request, UnexpectedState(FAILED))
        else:
            if answer is not None:
                self._respond(request, answer)
            else:
                self._later(request, self._scope_later(position, token))

    def status(self, request: Call) -> None:
        """How far the read model is."""
        request.respond(
            to_json(
                {
                    "state": self.model.follower.state,
                    "position": self._progress.position,
                    "behind": self.model.follower.behind,
                    "schema_version": VERSION,
                }
            )
        )

    async def drained(self) -> None:
        """Returns when every request that was taken has its answer."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _graph_later(self, position: int, asked: question.Question, plan: Any) -> bytes:
        await self._progress.reach(position)
        return await self.model.readers.on_thread(lambda reader: graph.answer(reader, asked, plan), plan.label)

    async def _scope_later(self, position: int, token: str) -> bytes:
        await self._progress.reach(position)
        answer = self._scope(token)
        if answer is None:
            answer = _granted(await self.model.readers.on_thread(lambda reader: scope.of_token(reader, token), "scope"))
        return answer

    def _scope(self, token: str) -> bytes | None:
        """The answer, or None for a key with so many channels that it is not cheap. Raises NotAllowed."""
        begun = perf_counter()
        try:
            found = scope.of_token(self.model.readers.inline, token)
        except (apsw.InterruptError, apsw.TooBigError):
            return None
        QUERIES.observe(perf_counter() - begun, "scope", "loop")
        return _granted(found)

    def _later(self, request: Call, answer: Coroutine[Any, Any, bytes]) -> None:
        if len(self._tasks) >= MAX_TASKS or self._task_bytes >= MAX_TASK_BYTES:
            answer.close()
            self._refuse(request, Unavailable("Too many queries at once; try again", retry_after_ms=500))
            return
        self._task_bytes += len(request.data)
        task = asyncio.create_task(self._answer(request, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Call, answer: Awaitable[bytes]) -> None:
        try:
            self._respond(request, await answer)
        except KeyscopeError as error:
            self._refuse(request, error)
        except Exception:
            log.exception("a query failed", subject=request.subject, **_trace(request))
            self._refuse(request, UnexpectedState(FAILED))
        finally:
            self._task_bytes -= len(request.data)

    def _respond(self, request: Call, answer: bytes) -> None:
        try:
            request.respond(answer)
        except MaxPayloadError:  # by its initialData; what is found alone is never longer
            self._refuse(
                request, InvalidData("The answer is longer than the broker's max_payload; give less initialData")
            )

    def _refuse(self, request: Call, error: KeyscopeError) -> None:
        self.refused += 1
        request.respond(failure(error), headers=error_headers(error))


def _trace(request: Call) -> dict[str, str]:
    return tracing.ids_of(request.headers.get(TRACEPARENT))


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = from_json(data, allow_inf_nan=False)
    except ValueError:
        raise InvalidData("The query is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidData('A query is a JSON object, as {"entity": "api_key", "fields": ["id"]}')
    return body


def _position(body: dict[str, Any]) -> int:
    position = body.get("position")
    if position is None:
        return 0
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise InvalidData("position: a whole number is needed, not negative", field="position")
    return position


def _token(body: dict[str, Any]) -> str:
    token = body.get("token")
    if token is None or (isinstance(token, str) and not token.strip()):
        raise NotAllowed(NO_KEY)
    if not isinstance(token, str):
        raise InvalidData("token: a text is needed", field="token")
    return token


def _granted(found: scope.KeyScope | None) -> bytes:
    now = f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    if found is None or not found.valid_at(now):
        raise NotAllowed(WRONG_KEY)
    return found.text
