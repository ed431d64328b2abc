"""Everything that Keyscope answers instead of a result, in one tree.

| class               | type               | code | what the user reads                                         |
|---------------------|--------------------|------|-------------------------------------------------------------|
| InvalidData         | `invalid_data`     | 400  | the field that is wrong, and why                            |
| Unauthorized        | `unauthorized`     | 401  | the credentials do not authenticate                         |
| NotAllowed          | `not_allowed`      | 400  | the state of the key or channel forbids it, with its id     |
| NotFound            | `not_found`        | 404  | the ids that do not exist                                   |
| DuplicateError      | `duplicate_error`  | 422  | the id or token that is taken                               |
| Conflict            | `conflict`         | 409  | another change came first; nothing was done                 |
| UnexpectedState     | `unexpected_state` | 500  | something that must not happen did; the log has the rest    |
| Unavailable         | `unavailable`      | 503  | not now: try again, after `retry_after_ms` where it is told |

Types and codes are Medusa's (`@medusajs/utils` MedusaError and its HTTP error handler); `unavailable` is ours.
"""

from typing import Any, ClassVar

from events.base import parse_json


class KeyscopeError(Exception):
    """The root. `message` is for the user; `details` are further JSON members of the error object."""

    type: ClassVar[str] = "unexpected_state"
    code: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_json(self) -> dict[str, Any]:
        """`{"type", "message", …details}`: what stands under `error` in a reply."""
        return {"type": self.type, "message": self.message, **self.details}


class InvalidData(KeyscopeError):
    """The request itself is wrong; sending it again will not help."""

    type = "invalid_data"
    code = 400


class Unauthorized(KeyscopeError):
    """The credentials do not authenticate."""

    type = "unauthorized"
    code = 401


class NotAllowed(KeyscopeError):
    """The state of a key or a channel forbids it."""

    type = "not_allowed"
    code = 400


class NotFound(KeyscopeError):
    """A key or a channel that is named does not exist."""

    type = "not_found"
    code = 404


class DuplicateError(KeyscopeError):
    """An id or a token that must be unique is taken."""

    type = "duplicate_error"
    code = 422


class Conflict(KeyscopeError):
    """Another change came first; nothing was done."""

    type = "conflict"
    code = 409


class UnexpectedState(KeyscopeError):
    """Something that must not happen did. The log has the rest."""

    type = "unexpected_state"
    code = 500


class Unavailable(KeyscopeError):
    """Not now: nothing was done, try again. `unconfirmed`: it may have been done, the same command id tells."""

    type = "unavailable"
    code = 503


ERRORS: dict[str, type[KeyscopeError]] = {
    error.type: error
    for error in (
        InvalidData,
        Unauthorized,
        NotAllowed,
        NotFound,
        DuplicateError,
        Conflict,
        UnexpectedState,
        Unavailable,
    )
}


def error_in(reply: bytes) -> KeyscopeError | None:
    """The error that a reply carries, or None when it carries a result."""
    if not reply.startswith(b'{"error"'):
        return None
    error = parse_json(reply)["error"]
    kind = ERRORS.get(error.pop("type"), UnexpectedState)
    return kind(error.pop("message"), **error)
