"""Keyscope from another program: commands in, link events out, graph queries answered.

    async with await keyscope.connect("nats://127.0.0.1:4222", actor="user_1") as ks:
        await ks.link.create({"api_key": {"api_key_id": key_id}, "sales_channel": {"sales_channel_id": channel_id}})
        answer = await ks.query.graph(entity="api_key", fields=["id", "sales_channels.*"])
        async for event in ks.events.links(sales_channel_id=channel_id, since="beginning"): ...

Needs nats-py and nothing else.
"""

from keyscope.client import Keyscope, connect
from keyscope.errors import (
    Conflict,
    DuplicateError,
    InvalidData,
    KeyscopeError,
    NotAllowed,
    NotFound,
    Timeout,
    Unauthorized,
    Unavailable,
    UnexpectedState,
)
from keyscope.event import Event
from keyscope.storefront import PublishableKeyContext, Storefront
from keyscope.workflow import Workflow

__all__ = [
    "Conflict",
    "DuplicateError",
    "Event",
    "InvalidData",
    "Keyscope",
    "KeyscopeError",
    "NotAllowed",
    "NotFound",
    "PublishableKeyContext",
    "Storefront",
    "Timeout",
    "Unauthorized",
    "Unavailable",
    "UnexpectedState",
    "Workflow",
    "connect",
]
