"""Everything that Keyscope answers instead of a result, in one tree.

| class             | type               | code | when                                                             |
|-------------------|--------------------|------|------------------------------------------------------------------|
| InvalidData       | `invalid_data`     | 400  | the request is wrong; the message names the field                |
| Unauthorized      | `unauthorized`     | 401  | the credentials do not authenticate                              |
| NotAllowed        | `not_allowed`      | 400  | the state of the key or channel forbids it                       |
| NotFound          | `not_found`        | 404  | an id does not exist                                             |
| DuplicateError    | `duplicate_error`  | 422  | an id or a token is taken                                        |
| Conflict          | `conflict`         | 409  | another change came first; nothing was done                      |
| UnexpectedState   | `unexpected_state` | 500  | something that must not happen did                               |
| Unavailable       | `unavailable`      | 503  | not now; nothing was done                                        |
| Timeout           | `timeout`          | 504  | no answer in time; it may have been done, asking again is safe   |

All but Timeout are answers of the service; Timeout is this client's own, and so is Unavailable when no service answers.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class KeyscopeError(Exception):
    """The root. `message` is for the user; `details` are the further members of the answer's error object."""

    type: ClassVar[str] = "unexpected_state"
    code: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


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
    """Something that must not happen did. The service's log has the rest."""

    type = "unexpected_state"
    code = 500


class Unavailable(KeyscopeError):
    """Not now: nothing was done, and the client's own attempts are used up."""

    type = "unavailable"
    code = 503


class Timeout(KeyscopeError, TimeoutError):
    """No answer in time. A command may have been done: sent again with `command_id` it gets its first outcome."""

    type = "timeout"
    code = 504

    def __init__(self, message: str, *, command_id: str | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id


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

_JETSTREAM: dict[int, type[KeyscopeError]] = {error.code: error for error in (NotFound, Unavailable)}
_NO_ROOM = 10002
"""JetStream's error code: the account has used up what it may. It says 400, as to a wrong request."""


def from_reply(error: Mapping[str, Any]) -> KeyscopeError:
    """The exception for the `error` object of a reply; a type that this release does not know is UnexpectedState.

    JetStream's own errors have `code` and `description` instead.
    """
    code = Unavailable.code if error.get("err_code") == _NO_ROOM else error.get("code", 0)
    fallback = _JETSTREAM.get(code, UnexpectedState)
    failure = ERRORS.get(str(error.get("type")), fallback)(
        str(error.get("message") or error.get("description") or "the service gave no reason")
    )
    failure.details = {name: value for name, value in error.items() if name not in {"type", "message"}}
    return failure
