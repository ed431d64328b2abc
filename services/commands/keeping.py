"""The job stream and its consumer, kept there: what somebody deletes, or a wiped disk has lost, is made again."""

import asyncio

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError

from services.bus.streams import StreamMismatch, ensure_stream
from services.bus.trouble import said

LOOK_AGAIN_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def keep_consumer(client: Client, stream: StreamConfig, durable: str) -> None:
    """Look after a stream and its push consumer until cancelled. The consumer must be there at the start.

    It comes back with the subject that it delivered to, so that whoever has subscribed there need not notice.
    """
    js = client.jetstream()
    assert stream.name is not None
    wanted: ConsumerConfig | None = None
    while True:
        try:
            wanted = (await js.consumer_info(stream.name, durable)).config
        except NotFoundError:
            if wanted is not None:
                await _again(js, stream, wanted)
        except (NatsError, TimeoutError):
            pass  # the connection is away; the next look tells
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _again(js: JetStreamContext, stream: StreamConfig, consumer: ConsumerConfig) -> None:
    assert stream.name is not None
    log.warning("a stream or its consumer is gone: making it again", stream=stream.name, consumer=consumer.durable_name)
    try:
        await ensure_stream(js, stream)
        await js.add_consumer(stream.name, consumer)
    except (NatsError, TimeoutError, StreamMismatch) as error:
        log.warning("it cannot be made yet; trying again", error=said(error))
