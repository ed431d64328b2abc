"""What can be set of the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Jwts:
    """Which JSON Web Tokens are believed: those signed with a shared secret, or with a key of a published set."""

    secret: str = ""
    jwks_url: str = ""
    issuer: str | None = None
    audience: str | None = None
    actor_claim: str = "sub"
    """The claim that becomes the actor; `actor_id` in Medusa's tokens."""
    required: Mapping[str, Any] = field(default_factory=dict)
    """Claims that must have these very values, e.g. Medusa's `{"actor_type": "user"}`."""

    @property
    def accepted(self) -> bool:
        """Whether any are."""
        return bool(self.secret or self.jwks_url)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one gateway. The origins are those that a browser's page may come from; `*` is any."""

    admin_origins: tuple[str, ...] = ()
    store_origins: tuple[str, ...] = ()
    jwts: Jwts = field(default_factory=Jwts)
    failed_sign_ins: int = 30
    """How many sign-ins of one address may fail at once; every two seconds it gains one more."""
    trusted_proxies: str = "127.0.0.1"
    """Whose `X-Forwarded-For` is believed: addresses or networks, separated by commas, or `*`."""
    tracing: bool = False
    """Whether requests that their senders sample are traced."""
