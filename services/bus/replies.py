"""Replies as bytes and headers."""

import json
from typing import Any

from pydantic_core import to_json

from events.errors import KeyscopeError
from events.subjects import ERROR, ERROR_CODE

LONGEST_REFUSAL = 65_536
"""Bytes: any broker that is taken carries so much. A longer one, which names thousands of ids, is cut."""
LONGEST_MESSAGE = 1_000


def success(data: Any, *, position: int, changed: list[str]) -> bytes:
    """The reply to a command that was carried out (events.replies.CommandReply)."""
    return assembled(to_json(data), position=position, changed=to_json(changed))


def assembled(data: bytes, *, position: int, changed: bytes) -> bytes:
    """The same, of parts that are JSON already."""
    return b'{"data":%b,"position":%d,"changed":%b}' % (data, position, changed)


def failure(error: KeyscopeError) -> bytes:
    """The reply to a command or a query that was refused (events.replies.ErrorReply)."""
    text = to_json({"error": error.as_json()})
    if len(text) <= LONGEST_REFUSAL:
        return text
    return to_json({"error": {"type": error.type, "message": f"{error.message[:LONGEST_MESSAGE]}…"}})


def error_headers(error: KeyscopeError) -> dict[str, str]:
    """The micro protocol's headers for an error reply.

    A message may quote the caller's ids, so it is made printable ASCII: a header is one line.
    """
    return {ERROR: json.dumps(error.message)[1:-1][:500], ERROR_CODE: str(error.code)}
