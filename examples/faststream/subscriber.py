"""A FastStream application that follows link events, with its place kept by the server.

    pip install "faststream[nats]"
    faststream run subscriber:app

An event may come again after a crash, so what a handler does should be safe to repeat: `id` is the event's for ever,
and `position` orders all events.
"""

import os
from typing import Any

from faststream import FastStream, Logger
from faststream.nats import JStream, NatsBroker
from nats.js.api import DeliverPolicy

broker = NatsBroker(os.environ.get("KEYSCOPE_NATS_URL", "nats://127.0.0.1:4222"))
app = FastStream(broker)

# The stream is Keyscope's: this program reads it, and must not declare it.
EVENTS = JStream("KEYSCOPE_EVENTS", declare=False)


@broker.subscriber(
    "keyscope.evt.link.*.*.*",
    stream=EVENTS,
    durable="faststream-example",
    deliver_policy=DeliverPolicy.ALL,
)
async def on_link(event: dict[str, Any], logger: Logger) -> None:
    """Called for every link that was created or dismissed, from the first one ever."""
    link = event["data"]
    logger.info(
        "%s at %s: key %s, channel %s",
        event["type"],
        event["position"],
        link["publishable_key_id"],
        link["sales_channel_id"],
    )
