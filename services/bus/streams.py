"""Declaring JetStream streams: made if absent, verified if present, never overwritten."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from events.subjects import DEAD_JOBS_STREAM, EPOCH, EVENTS_STREAM, JOBS_STREAM, Subjects
from services.bus.trouble import Seldom, said

_NO_LIMIT = (None, 0, -1)
_MUST_BE = ("subjects", "retention", "discard", "max_age", "max_msgs_per_subject")
"""Who manages a stream may bound its size. What is refused then waits; what JetStream threw away would be missed."""
_EXISTS = 10058
"""JetStream's error code: the stream name is in use with another configuration."""
_TAKEN = 10065
"""JetStream's error code: another stream has some of the subjects."""

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class StreamMismatch(Exception):
    """A stream of this name is there and is not what is needed. Somebody else manages it: change it there."""


class AnotherHistory(StreamMismatch):
    """The stream holds events that the event store does not have: to go on would make readers of them diverge."""


def events_stream(subjects: Subjects, replicas: int = 1, epoch: str | None = None) -> StreamConfig:
    """The stream of all events. It keeps everything: whoever subscribes may begin with the first event ever.

    `epoch` is that of the event store that fills it. Its duplicate window is short because it is no guarantee: the
    expected last sequence of every publish is.
    """
    return StreamConfig(
        name=EVENTS_STREAM,
        description="Keyscope's events, in the order of the event store, which can fill this stream again",
        subjects=[subjects.events],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=replicas,
        duplicate_window=0.5,
        allow_direct=True,
        metadata={EPOCH: epoch} if epoch else None,
    )


def jobs_stream(subjects: Subjects, replicas: int = 1) -> StreamConfig:
    """The work queue of durable commands."""
    return StreamConfig(
        name=JOBS_STREAM,
        description="Commands to Keyscope that are carried out even if they were published while it was down",
        subjects=[subjects.jobs],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs=1_000_000,
        num_replicas=replicas,
        duplicate_window=120,
    )


def dead_jobs_stream(subjects: Subjects, replicas: int = 1) -> StreamConfig:
    """Jobs that were given up, for somebody to look at; the oldest go when there are very many.

    The duplicate window is short: a job that is tried again may be given up again at once.
    """
    return StreamConfig(
        name=DEAD_JOBS_STREAM,
        description="Commands to Keyscope that could not be carried out, each with the reason and the attempts",
        subjects=[subjects.dead_jobs],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs=100_000,
        num_replicas=replicas,
        duplicate_window=0.5,
        allow_direct=True,
    )


async def ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    """Declare a stream, or verify the one that is there. Raises StreamMismatch."""
    assert wanted.name is not None
    try:
        found = (await js.stream_info(wanted.name)).config
    except NotFoundError:
        try:
            await js.add_stream(wanted)
            return
        except BadRequestError as error:
            if error.err_code == _TAKEN:
                raise StreamMismatch(
                    f"stream {wanted.name} cannot be made, for another stream has messages to {wanted.subjects}: "
                    "let that one mirror or source it, or give this service another NATS account"
                ) from error
            if error.err_code != _EXISTS:
                raise
            found = (await js.stream_info(wanted.name)).config
    for name in _MUST_BE:
        has, needed = getattr(found, name), getattr(wanted, name)
        if has != needed and not (has in _NO_LIMIT and needed in _NO_LIMIT):
            raise StreamMismatch(
                f"stream {wanted.name} has {name} {_shown(has)}, but {_shown(needed)} is needed; "
                "change it where it is managed, or give this service another NATS account"
            )


def _shown(value: object) -> str:
    return "no limit" if value in _NO_LIMIT else repr(value)


async def reached(act: Callable[[], Awaitable[object]], stopping: asyncio.Event) -> bool:
    """Whether `act` was done: it is tried as long as JetStream does not answer, or refuses, until `stopping` is set.

    A cluster that elects a leader does not answer for some seconds, and a server that starts says no.
    """
    seldom = Seldom()
    while not stopping.is_set():
        try:
            await act()
        except (NatsError, TimeoutError) as error:
            if seldom(said(error)):
                log.warning("JetStream cannot be reached; trying again", error=said(error))
        else:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
    return False
