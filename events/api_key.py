"""What happens to an API key."""

from typing import ClassVar, Literal

from events.base import Event
from events.types import Timestamp

KeyType = Literal["publishable", "secret"]


class ApiKeyEvent(Event):
    """A fact of one key; `id` is the key's."""

    id: str

    @property
    def aggregate_id(self) -> str:
        return self.id


class ApiKeyCreated(ApiKeyEvent):
    """A key exists. A publishable key's token is readable; of a secret key only its scrypt hash is kept, here alone."""

    event_name: ClassVar = "api_key.created"
    private: ClassVar = frozenset({"hash", "salt"})

    token: str
    """The publishable token `pk_…`; empty for a secret key."""
    redacted: str
    title: str
    type: KeyType
    created_by: str
    created_at: Timestamp
    hash: str = ""
    salt: str = ""


class ApiKeyUpdated(ApiKeyEvent):
    """The key has a new title."""

    event_name: ClassVar = "api_key.updated"

    title: str
    updated_at: Timestamp


class ApiKeyRevoked(ApiKeyEvent):
    """The key is revoked from `revoked_at` on, which may lie ahead; until then it works."""

    event_name: ClassVar = "api_key.revoked"

    revoked_by: str
    revoked_at: Timestamp
    updated_at: Timestamp


class ApiKeyDeleted(ApiKeyEvent):
    """The key is gone from every answer. `permanent`: also from those with `withDeleted`."""

    event_name: ClassVar = "api_key.deleted"

    deleted_at: Timestamp
    permanent: bool


class ApiKeyRestored(ApiKeyEvent):
    """The key is back. The links that were deleted with it follow as `link.created` events."""

    event_name: ClassVar = "api_key.restored"

    updated_at: Timestamp
