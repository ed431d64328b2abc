"""The durable door: commands published to JetStream are carried out even if the service was down meanwhile.

A job is acknowledged after its outcome is stored and published. Killed in between, it is delivered again, found under
its command id, and its outcome published once more: `keyscope.outcome.<command id>` may repeat, an effect never does.

A job that meets a failure of the service is tried again, each time later. One that is no valid command, that fails to
the end, or under which the service dies again and again, is put into the stream KEYSCOPE_DEAD_JOBS with the reason.
"""

import asyncio
import json
import re
from typing import Any

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig

from events.errors import KeyscopeError, UnexpectedState
from events.subjects import ATTEMPTS, COMMAND_ID, DEAD_JOBS_STREAM, JOBS_STREAM, REASON, Subjects
from services.bus.replies import error_headers, failure
from services.bus.streams import dead_jobs_stream, ensure_stream
from services.commands.command import Reply
from services.commands.desk import Desk
from services.commands.reading import is_printable

DURABLE = "keyscope-commands"
AT_ONCE = 256
"""Jobs in hand at once: those that wait together are one transaction. Their order is not promised."""
ACK_WAIT_SECONDS = 30.0
TRY_AGAIN_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
ROOM = 1_024
"""Bytes for what JetStream's headers take."""
MOST_DELIVERIES = 20
"""With the pauses between them, a quarter of an hour."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""Names of headers that nats-py writes; it reads others, too."""

log = structlog.get_logger(__name__)


class ConnectedBroker(NatsBroker):
    """A broker over a connection that is there already, so that it has the service's credentials and callbacks."""

    def __init__(self, client: Client) -> None:
        super().__init__(logger=None)
        self._client = client

    async def _connect(self) -> Client:
        self.config.connect(self._client)
        return self._client


def job_broker(client: Client, subjects: Subjects, desk: Desk, replicas: int = 1) -> NatsBroker:
    """A broker that carries out jobs once it is started; stopping it drains and closes `client`."""
    broker = ConnectedBroker(client)
    broker.subscriber(
        subjects.jobs,
        stream=JStream(JOBS_STREAM, declare=False),
        queue=DURABLE,
        config=ConsumerConfig(ack_wait=ACK_WAIT_SECONDS, max_ack_pending=AT_ONCE),
        max_workers=AT_ONCE,
        ack_policy=AckPolicy.MANUAL,
        decoder=_undecoded,
        title="jobs",
        description="The same commands as under `cmd`, carried out durably.",
    )(Jobs(broker, client, subjects, desk, replicas).carry_out)
    return broker


async def start(broker: NatsBroker) -> None:
    """Start it, or leave nothing of it behind. Raises NatsError, TimeoutError."""
    try:
        await broker.start()
    except (NatsError, TimeoutError):
        await abandon(broker)
        raise


async def abandon(broker: NatsBroker) -> None:
    """Take no more jobs, and leave those in hand to be delivered again."""
    for subscriber in broker.subscribers:
        await subscriber.stop()


async def _undecoded(message: Any) -> Any:
    return message.body


class Jobs:
    """Carries out jobs."""

    def __init__(self, broker: NatsBroker, client: Client, subjects: Subjects, desk: Desk, replicas: int) -> None:
        self._broker = broker
        self._client = client
        self._js = client.jetstream()
        self._dead = dead_jobs_stream(subjects, replicas)
        self._subjects = subjects
        self._desk = desk
        self._skip = len(subjects.jobs) - 1

    async def carry_out(self, _: Any, message: NatsMessage) -> None:
        """Hand in a job, and settle it when it is answered."""
        job = message.raw_message
        given = (job.headers or {}).get(COMMAND_ID) or ""
        # With an id that none can have it is refused, and that under an id that a subject can hold.
        command_id = given if is_printable(given) else _id_of(job)
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if job.metadata.num_delivered > MOST_DELIVERIES:  # it never got as far as an answer
            killer = UnexpectedState("the service ended, or fell silent, each time that it was carried out")
            answered.set_result(Reply(failure(killer), killer))
        else:
            self._desk.receive(
                job.subject[self._skip :],
                job.data,
                job.headers,
                answered.set_result,
                fallback_id=command_id,
                deliveries=job.metadata.num_delivered,
            )
        reply = await answered
        deliveries = job.metadata.num_delivered
        try:
            if reply.error is not None and reply.error.code >= 500 and deliveries < MOST_DELIVERIES:
                await job.nak(delay=min(TRY_AGAIN_SECONDS * 2 ** (deliveries - 1), LONGEST_PAUSE_SECONDS))
                return
            dead = reply.error is not None and (reply.error.code >= 500 or reply.error.type == "invalid_data")
            if dead:
                await self._bury(job, command_id, reply.error, deliveries)
            await self._broker.publish(
                reply.text,
                self._subjects.outcome(command_id),
                headers={COMMAND_ID: command_id, **(error_headers(reply.error) if reply.error else {})},
            )
            await (job.term() if dead else job.ack())
        except (NatsError, TimeoutError) as error:
            log.warning("a job's outcome could not be published; it will be delivered again", error=str(error))

    async def _bury(self, job: Msg, command_id: str, error: KeyscopeError | None, deliveries: int) -> None:
        """Put a job into the stream of dead ones. Raises NatsError, and then it is delivered again."""
        assert error is not None
        reason = json.dumps(f"{error.type}: {error.message}")[1:-1][:1_000]  # a header is one line of ASCII
        name = job.subject[self._skip :]
        writable = {name: value for name, value in (job.headers or {}).items() if _NAME.fullmatch(name)}
        headers = {**writable, COMMAND_ID: command_id, REASON: reason, ATTEMPTS: str(deliveries)}
        # What was just short enough for the broker may not be so with more headers.
        room = self._client.max_payload - ROOM - sum(len(f"{key}: {value}".encode()) for key, value in headers.items())
        if len(job.data) > room:
            headers[REASON] = f"{reason} (the last {len(job.data) - room} bytes of the command are cut off)"
        await ensure_stream(self._js, self._dead)
        await self._js.publish(
            self._subjects.dead_job(name), job.data[: max(room, 0)], stream=DEAD_JOBS_STREAM, headers=headers
        )
        log.error("a job was given up", command=name, command_id=command_id, reason=reason, attempts=deliveries)


def _id_of(job: Msg) -> str:
    """The id of a job that came without one: the same at every delivery, another one in a stream made anew."""
    return f"job_{job.metadata.sequence.stream}_{int(job.metadata.timestamp.timestamp() * 1_000_000)}"
