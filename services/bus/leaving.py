"""Taking a micro service away without losing a request."""

from nats.aio.client import Client
from nats.micro.service import Service

from services.bus.wire import flush


async def leave(client: Client, service: Service) -> None:
    """Take no more requests, and hand all that were sent here until now to their handlers.

    nats-py's own `stop` (2.16) unsubscribes its endpoints, which throws away the requests that were received and not
    handled yet; its `drain` of a subscription does not wait until the server knows of it. A server that is away sends
    nothing more, and knows nothing of its subscriptions when it is back.
    """
    if not client.is_connected:
        return
    endpoints = service._endpoints  # noqa: SLF001 - there is no other way to them
    subscriptions = [endpoint._subscription for endpoint in endpoints if endpoint._subscription]  # noqa: SLF001
    for subscription in subscriptions:
        await client._send_unsubscribe(subscription._id)  # noqa: SLF001
    await flush(client)  # what the server sends for them has arrived
    for subscription in subscriptions:
        await subscription.drain()
    endpoints.clear()
    await service.stop()
