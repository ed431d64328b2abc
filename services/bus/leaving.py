"""Taking a micro service away without losing a request."""

from nats.micro.service import Service


async def leave(service: Service) -> None:
    """Take no more requests, and hand all that were sent here until now to their handlers.

    nats-py's own `stop` (2.16) unsubscribes its endpoints, which throws away the requests that were received and not
    handled yet.
    """
    endpoints = service._endpoints  # noqa: SLF001 - there is no other way to them
    for endpoint in endpoints:
        subscription = endpoint._subscription  # noqa: SLF001
        if subscription is not None:
            await subscription.drain()
    endpoints.clear()
    await service.stop()
