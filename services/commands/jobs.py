"""The durable door: commands published to JetStream are carried out even if the service was down meanwhile.

A job is acknowledged after its outcome is stored and published. Killed in between, it is delivered again, found under
its command id, and its outcome published once more: `keyscope.outcome.<command id>` may repeat, an effect never does.
"""

import asyncio
from typing import Any

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig

from events.subjects import COMMAND_ID, JOBS_STREAM, Subjects
from services.bus.replies import error_headers
from services.commands.command import Reply
from services.commands.desk import Desk

DURABLE = "keyscope-commands"
AT_ONCE = 256
"""Jobs in hand at once: they start in order, and those that wait together are one transaction."""
ACK_WAIT_SECONDS = 30.0
TRY_AGAIN_SECONDS = 1.0

log = structlog.get_logger(__name__)


class ConnectedBroker(NatsBroker):
    """A broker over a connection that is there already, so that it has the service's credentials and callbacks."""

    def __init__(self, client: Client) -> None:
        super().__init__(logger=None)
        self._client = client

    async def _connect(self) -> Client:
        self.config.connect(self._client)
        return self._client


def job_broker(client: Client, subjects: Subjects, desk: Desk) -> NatsBroker:
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
    )(Jobs(broker, subjects, desk).carry_out)
    return broker


async def _undecoded(message: Any) -> Any:
    return message.body


class Jobs:
    """Carries out jobs."""

    def __init__(self, broker: NatsBroker, subjects: Subjects, desk: Desk) -> None:
        self._broker = broker
        self._subjects = subjects
        self._desk = desk
        self._skip = len(subjects.jobs) - 1

    async def carry_out(self, _: Any, message: NatsMessage) -> None:
        """Hand in a job, and settle it when it is answered."""
        job = message.raw_message
        command_id = (job.headers or {}).get(COMMAND_ID) or _id_of(job)
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._desk.receive(
            job.subject[self._skip :], job.data, job.headers, answered.set_result, fallback_id=command_id
        )
        reply = await answered
        try:
            if reply.error is not None and reply.error.code >= 500:
                await job.nak(delay=TRY_AGAIN_SECONDS)
                return
            await self._broker.publish(
                reply.text,
                self._subjects.outcome(command_id),
                headers={COMMAND_ID: command_id, **(error_headers(reply.error) if reply.error else {})},
            )
            await (job.term() if reply.error is not None and reply.error.type == "invalid_data" else job.ack())
        except NatsError as error:
            log.warning("a job's outcome could not be published; it will be delivered again", error=str(error))


def _id_of(job: Msg) -> str:
    """The id of a job that came without one: the same at every delivery, another one in a stream made anew."""
    return f"job_{job.metadata.sequence.stream}_{int(job.metadata.timestamp.timestamp() * 1_000_000)}"
