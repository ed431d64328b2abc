"""A key that a storefront or a server identifies itself with, and the channels it sells through."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from events.api_key import ApiKeyCreated, ApiKeyDeleted, ApiKeyRestored, ApiKeyRevoked, ApiKeyUpdated, KeyType
from events.base import Event
from events.errors import NotAllowed, NotFound
from events.link import DismissReason, LinkCreated, LinkDismissed
from services.domain.aggregate import Aggregate
from services.domain.sales_channel import SalesChannel
from services.domain.tokens import Token

Fate = Literal["live", "dismissed", "link.deleted", "swept"]
"""What became of a link. `swept`: it went because one of its ends was deleted, and comes back with it."""

_FATE: dict[DismissReason, Fate] = {
    "dismissed": "dismissed",
    "link.deleted": "link.deleted",
    "api_key.deleted": "swept",
    "sales_channel.deleted": "swept",
}


@dataclass(slots=True)
class Link:
    """One link row of the key. A row is never forgotten: linking again keeps its `created_at`."""

    id: str
    created_at: str
    updated_at: str
    deleted_at: str | None
    fate: Fate


class ApiKey(Aggregate):
    """An API key; its fields are Medusa's, its links hang on it by channel id."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.token = ""
        self.redacted = ""
        self.title = ""
        self.type: KeyType = "publishable"
        self.created_by = ""
        self.revoked_by: str | None = None
        self.revoked_at: str | None = None
        self.created_at = ""
        self.updated_at = ""
        self.deleted_at: str | None = None
        self.gone = False
        """Deleted for good: `withDeleted` does not show it either."""
        self.hash = ""
        self.salt = ""
        self.links: dict[str, Link] = {}

    @staticmethod
    def create(id: str, *, title: str, kind: KeyType, created_by: str, token: Token, now: str) -> ApiKeyCreated:
        """A new key's first event."""
        return ApiKeyCreated(
            id=id,
            token=token.raw if kind == "publishable" else "",
            redacted=token.redacted,
            title=title,
            type=kind,
            created_by=created_by,
            created_at=now,
            hash=token.hash,
            salt=token.salt,
        )

    @property
    def alive(self) -> bool:
        """Whether it exists for everyone but a restore."""
        return self.deleted_at is None

    def revoked(self, now: str) -> bool:
        """Whether its revocation, if there is one, has come."""
        return self.revoked_at is not None and self.revoked_at <= now

    def must_be_alive(self) -> None:
        """Raises NotFound for a deleted key."""
        if not self.alive:
            raise NotFound(f"ApiKey with id: {self.id} was not found", ids=[self.id])

    def retitle(self, title: str | None, now: str) -> ApiKeyUpdated | None:
        """A new title; nothing happens when it reads so already. Raises NotFound."""
        self.must_be_alive()
        if title is None or title == self.title:
            return None
        return ApiKeyUpdated(id=self.id, title=title, updated_at=now)

    def revoke(self, by: str, at: str, now: str) -> ApiKeyRevoked:
        """Revoked from `at` on. Again moves the time of a publishable key. Raises NotFound."""
        self.must_be_alive()
        return ApiKeyRevoked(id=self.id, revoked_by=by, revoked_at=at, updated_at=now)

    def delete(self, now: str, *, permanent: bool) -> Iterator[Event]:
        """It goes, and its links with it; a deleted key stays as it is, unless it goes for good now."""
        if self.alive or (permanent and not self.gone):
            yield ApiKeyDeleted(id=self.id, deleted_at=now, permanent=permanent)
            for channel_id in self.links:
                dismissed = self.dismiss(channel_id, "api_key.deleted", now)
                if dismissed:
                    yield dismissed

    def restore(self, now: str, channel_alive: Callable[[str], bool]) -> Iterator[Event]:
        """It comes back, with the links that went with it and whose channel is there; a living key stays as it is."""
        if not self.alive:
            yield ApiKeyRestored(id=self.id, updated_at=now)
            for channel_id, link in self.links.items():
                if link.fate == "swept" and channel_alive(channel_id):
                    yield self._revived(channel_id, link, now)

    def link(self, channel: SalesChannel, link_id: Callable[[], str], now: str) -> LinkCreated | None:
        """Linked with the channel; a linked pair stays as it is. Raises NotFound, NotAllowed."""
        old = self.links.get(channel.id)
        if old is not None and old.fate == "live" and channel.alive:
            return None
        self.must_be_linkable(now)
        channel.must_be_alive()
        return LinkCreated(
            id=link_id(),
            publishable_key_id=self.id,
            sales_channel_id=channel.id,
            created_at=old.created_at if old else now,
            updated_at=old.updated_at if old else now,
        )

    def must_be_linkable(self, now: str) -> None:
        """Raises NotFound for a deleted key, NotAllowed for a secret or a revoked one."""
        self.must_be_alive()
        if self.type != "publishable":
            raise NotAllowed(f"ApiKey {self.id} is secret: only publishable keys are linked", ids=[self.id])
        if self.revoked(now):
            raise NotAllowed(f"ApiKey {self.id} is revoked", ids=[self.id])

    def dismiss(self, channel_id: str, reason: DismissReason, now: str) -> LinkDismissed | None:
        """No longer linked with the channel; nothing happens when it is not."""
        link = self.links.get(channel_id)
        if link is None or link.fate != "live":
            return None
        return LinkDismissed(
            id=link.id,
            publishable_key_id=self.id,
            sales_channel_id=channel_id,
            created_at=link.created_at,
            deleted_at=now,
            reason=reason,
        )

    def relink(self, channel: SalesChannel, fates: frozenset[Fate], now: str) -> LinkCreated | None:
        """The old link with the channel comes back, when it went by one of these fates and both ends are there."""
        link = self.links.get(channel.id)
        if link is None or link.fate not in fates or not self.alive or not channel.alive:
            return None
        return self._revived(channel.id, link, now)

    def _revived(self, channel_id: str, link: Link, now: str) -> LinkCreated:
        return LinkCreated(
            id=link.id,
            publishable_key_id=self.id,
            sales_channel_id=channel_id,
            created_at=link.created_at,
            updated_at=now,
            restored=True,
        )

    def apply(self, event: Event) -> None:
        match event:
            case LinkCreated():
                self.links[event.sales_channel_id] = Link(event.id, event.created_at, event.updated_at, None, "live")
            case LinkDismissed():
                link = self.links[event.sales_channel_id]
                link.fate = _FATE[event.reason]
                link.deleted_at = link.updated_at = event.deleted_at
            case ApiKeyCreated():
                self.token, self.redacted, self.title, self.type = event.token, event.redacted, event.title, event.type
                self.created_by, self.hash, self.salt = event.created_by, event.hash, event.salt
                self.created_at = self.updated_at = event.created_at
            case ApiKeyUpdated():
                self.title, self.updated_at = event.title, event.updated_at
            case ApiKeyRevoked():
                self.revoked_by, self.revoked_at = event.revoked_by, event.revoked_at
                self.updated_at = event.updated_at
            case ApiKeyDeleted():
                self.deleted_at, self.gone = event.deleted_at, event.permanent
            case ApiKeyRestored():
                self.deleted_at, self.gone, self.updated_at = None, False, event.updated_at

    def as_json(self) -> dict[str, Any]:
        """The key as Medusa's module returns it: a secret one without its token."""
        return {
            "id": self.id,
            "token": self.token,
            "redacted": self.redacted,
            "title": self.title,
            "type": self.type,
            "last_used_at": None,
            "created_by": self.created_by,
            "revoked_by": self.revoked_by,
            "revoked_at": self.revoked_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": self.deleted_at,
        }

    def link_as_json(self, channel_id: str) -> dict[str, Any]:
        """One link row as Medusa's link module returns it."""
        link = self.links[channel_id]
        return {
            "publishable_key_id": self.id,
            "sales_channel_id": channel_id,
            "id": link.id,
            "created_at": link.created_at,
            "updated_at": link.updated_at,
            "deleted_at": link.deleted_at,
        }

    def state(self) -> dict[str, Any]:
        return {**vars(self), "links": {channel_id: asdict(link) for channel_id, link in self.links.items()}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        key = cls(state["id"])
        vars(key).update(state)
        key.links = {channel_id: Link(**link) for channel_id, link in state["links"].items()}
        return key
