"""Believing JSON Web Tokens. The library is imported only by a gateway that accepts any: it takes 13 MB."""

import asyncio
import json
import time
import urllib.request
from typing import Any

import jwt
import structlog

from services.gateway.options import Jwts

SHARED = ["HS256", "HS384", "HS512"]
PUBLISHED = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LIFETIME = 300.0
PAUSE = 10.0
"""Seconds: how long a set of keys is used, and the least time between two looks for a key that it does not have."""
TIMEOUT = 5.0
MAX_BYTES = 1_000_000

log = structlog.get_logger(__name__)


class Verifier:
    """Tokens in, actors out."""

    def __init__(self, options: Jwts) -> None:
        self._options = options
        self._keys = PublishedKeys(options.jwks_url) if options.jwks_url else None

    async def actor(self, token: str) -> str | None:
        """The actor of a token that is signed, in date, and has the claims that it must have; None of any other."""
        try:
            header = jwt.get_unverified_header(token)
            shared = header.get("alg") in SHARED
            if shared and self._options.secret:
                return self._actor(jwt.decode(token, self._options.secret, SHARED, **self._checks()))
            if not shared and self._keys:
                key = await self._keys.key(header.get("kid"))
                return self._actor(jwt.decode(token, key, PUBLISHED, **self._checks())) if key else None
        except jwt.PyJWTError as error:
            log.debug("a token was not believed", reason=str(error))
        return None

    def _checks(self) -> dict[str, Any]:
        audience = self._options.audience
        return {
            "issuer": self._options.issuer,
            "audience": audience,
            "options": {"require": ["exp"], "verify_aud": audience is not None},
        }

    def _actor(self, claims: dict[str, Any]) -> str | None:
        if any(claims.get(name) != value for name, value in self._options.required.items()):
            return None
        actor = claims.get(self._options.actor_claim)
        return actor if isinstance(actor, str) and actor.strip() else None


class PublishedKeys:
    """The keys at a URL (RFC 7517), looked up anew when they are old or when one is missing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._looked_at = -LIFETIME
        self._lock = asyncio.Lock()

    async def key(self, id: str | None) -> jwt.PyJWK | None:
        """The key with this id; without one, the only key there is."""
        async with self._lock:
            age = time.monotonic() - self._looked_at
            if age > LIFETIME or (age > PAUSE and self._find(id) is None):
                await self._look()
        return self._find(id)

    def _find(self, id: str | None) -> jwt.PyJWK | None:
        return next(iter(self._keys.values())) if id is None and len(self._keys) == 1 else self._keys.get(id)

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            found = jwt.PyJWKSet.from_dict(json.loads(await asyncio.to_thread(self._fetch)))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            log.warning("the published keys cannot be read; the old ones stay", url=self._url, error=str(error))
            return
        self._keys = {key.key_id: key for key in found.keys}

    def _fetch(self) -> bytes:
        with urllib.request.urlopen(self._url, timeout=TIMEOUT) as response:  # noqa: S310 - the operator's own setting
            text: bytes = response.read(MAX_BYTES)
            return text
