"""Replies as bytes and headers."""

import json
from typing import Any

from pydantic_core import to_json

from events.errors import KeyscopeError
from events.subjects import ERROR, ERROR_CODE


def success(data: Any, *, position: int, changed: list[str]) -> bytes:
    """The reply to a command that was carried out (events.replies.CommandReply)."""
    return to_json({"data": data, "position": position, "changed": changed})


def failure(error: KeyscopeError) -> bytes:
    """The reply to a command or a query that was refused (events.replies.ErrorReply)."""
    return to_json({"error": error.as_json()})


def error_headers(error: KeyscopeError) -> dict[str, str]:
    """The micro protocol's headers for an error reply.

    A message may quote the caller's ids, so it is made printable ASCII: a header is one line.
    """
    return {ERROR: json.dumps(error.message)[1:-1][:500], ERROR_CODE: str(error.code)}
