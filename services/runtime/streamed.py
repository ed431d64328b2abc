"""Reading the whole event stream once, from its beginning to where it ends now."""

from collections.abc import AsyncGenerator
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from events.subjects import EVENTS_STREAM, Subjects
from projections.projector import position_of
from services.runtime.failures import Exit, Failure

BATCH = 1_000
SILENCE_SECONDS = 10.0


async def stream_events(client: Client) -> AsyncGenerator[bytes, None]:
    """Every event that is in the stream now, in the stream's order; nothing when there is no stream.

    They are fetched, so no more is on its way than was asked for. No subject is named: with a filter, nats-server keeps
    an index of each file of the stream that it reads. Raises Failure when it has more and does not deliver it.
    """
    js = client.jetstream()
    try:
        left = (await js.stream_info(EVENTS_STREAM)).state.messages
        consumer = await js.add_consumer(
            EVENTS_STREAM,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.ALL,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=3 * SILENCE_SECONDS,
            ),
        )
    except NotFoundError:
        return
    source = await js.pull_subscribe_bind(consumer.name, EVENTS_STREAM)
    try:
        while left > 0:
            try:
                messages = await source.fetch(min(BATCH, left), timeout=SILENCE_SECONDS)
            except TimeoutError:
                if not (await js.consumer_info(EVENTS_STREAM, consumer.name)).num_pending:
                    return  # it was emptied meanwhile
                raise Failure(Exit.UNREACHABLE, f"the stream {EVENTS_STREAM} does not deliver; try again") from None
            for message in messages:
                yield message.data
            left -= len(messages)
    finally:
        with suppress(NatsError, TimeoutError):
            await source.unsubscribe()
            await js.delete_consumer(EVENTS_STREAM, consumer.name)


async def last_position(client: Client, subjects: Subjects) -> int:
    """The position of the last event in the stream; 0 when there is none."""
    try:
        last = await client.jetstream().get_last_msg(EVENTS_STREAM, subjects.events)
    except NotFoundError:
        return 0
    return position_of(last.data or b"")
