"""Requests over one NATS connection: encoded, sent again where that is safe, decoded, errors raised as exceptions."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import nats.errors
from nats.aio.client import Client

from keyscope.errors import InvalidData, Timeout, Unavailable, UnexpectedState, from_reply
from keyscope.replies import Replies
from keyscope.subjects import ERROR

ATTEMPTS = 12
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
SHORTEST_PATIENCE = 1.0


def timestamp(value: datetime) -> str:
    """An instant as the service writes it, `2026-11-23T12:00:00.000Z`. Raises InvalidData when it has no time zone."""
    if value.tzinfo is None:
        raise InvalidData(f"{value.isoformat()} has no time zone")
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return timestamp(value)
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def to_json(body: Any) -> bytes:
    """JSON bytes; datetimes become timestamps. Raises InvalidData for what JSON cannot say."""
    try:
        return _encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidData(f"the request cannot be written as JSON: {error}") from None


def decoded(text: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The reply in `text`. Raises the KeyscopeError that it tells, or UnexpectedState when it is no reply of ours."""
    try:
        reply = json.loads(text)
        failure = reply.get("error")
    except (ValueError, AttributeError):
        raise UnexpectedState((headers or {}).get(ERROR, "the reply is not a JSON object")) from None
    if failure is not None:
        raise from_reply(failure)
    return reply  # type: ignore[no-any-return]


@contextmanager
def still_open() -> Iterator[None]:
    """Raises Unavailable for what the library raises over a connection that is closed."""
    try:
        yield
    except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError):
        raise Unavailable("the connection to NATS is closed") from None


class Bus:
    """Asks, and asks again: after a time-out, when nobody serves, and when the service says `unavailable`.

    That is safe for queries, and for commands because every attempt bears the same command id.
    """

    def __init__(self, nc: Client, *, timeout: float) -> None:
        self.nc = nc
        self.timeout = timeout
        self._replies = Replies(nc)

    async def ask(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str] | None = None,
        *,
        what: str,
        timeout: float | None = None,
        command_id: str | None = None,
    ) -> dict[str, Any]:
        """The reply to one request, within `timeout` seconds for all attempts.

        Raises Timeout when an attempt was sent and may have been carried out, Unavailable when none was, and what the
        service answers. An `unavailable` that is `unconfirmed` is an attempt that may have been carried out.
        """
        now = asyncio.get_running_loop().time
        allowed = self.timeout if timeout is None else timeout
        deadline = now() + allowed
        refused: Unavailable | None = None
        unsure = False
        for attempt in range(ATTEMPTS):
            left = deadline - now()
            pause = 0.0
            try:
                return await self._once(subject, payload, headers, max(left / 2, min(left, SHORTEST_PATIENCE)))
            except nats.errors.TimeoutError:
                unsure = True
            except Unavailable as error:
                if self.nc.is_closed:
                    raise
                refused = error
                unsure = unsure or bool(error.details.get("unconfirmed"))
                backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
                pause = max(backoff, error.details.get("retry_after_ms", 0) / 1000)
            if now() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        if refused is not None and not unsure:
            raise refused
        hint = f"; sent again with the command id {command_id} it gets its first outcome" if command_id else ""
        reason = f" ({refused})" if refused is not None else ""
        raise Timeout(f"no answer to {what} within {allowed:g} s{reason}{hint}", command_id=command_id)

    async def _once(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout: float
    ) -> dict[str, Any]:
        try:
            with still_open():
                message = await self._replies.request(subject, payload, timeout, headers)
        except nats.errors.NoRespondersError:
            if subject.startswith("$JS."):
                raise Unavailable(
                    "JetStream does not answer: is it enabled on this NATS, and for this account?"
                ) from None
            raise Unavailable(f"nobody serves {subject}: is the service running, with this prefix?") from None
        except nats.errors.OutboundBufferLimitError:
            raise Unavailable("the NATS server cannot be reached, and too much is waiting for it") from None
        except nats.errors.MaxPayloadError:
            raise InvalidData(
                f"the request is too large: {len(payload)} bytes, and NATS takes {self.nc.max_payload}"
            ) from None
        return decoded(message.data, message.headers)
