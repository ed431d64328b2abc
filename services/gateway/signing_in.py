"""Who is it? Secret keys by HTTP basic authentication, as Medusa takes them, and JSON Web Tokens as bearer tokens.

A secret key costs one scrypt, which the command service computes off its event loop. The answer is kept for a short
time under a digest of the token, and forgotten at once when an event says that the key is revoked or deleted.
"""

import asyncio
import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import structlog

from keyscope import Keyscope, KeyscopeError
from services.gateway.limits import FailureLimit
from services.gateway.options import Options

if TYPE_CHECKING:
    from services.gateway.jwts import Verifier

KEPT_SECONDS = 10.0
MAX_KEPT = 1024
MAX_CREDENTIALS = 8192
"""Characters of an Authorization header."""

UNAUTHORIZED = "Unauthorized"
WRONG_SCHEME = (
    "A secret API key was passed as a Bearer token. Secret API keys must be sent using HTTP Basic authentication "
    "instead (Authorization: Basic <secret-api-key>)."
)

log = structlog.get_logger(__name__)


class NotSignedIn(Exception):
    """No, or not now: `retry_after` are the seconds to wait when there were too many failures."""

    def __init__(self, message: str = UNAUTHORIZED, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class _Kept(NamedTuple):
    key_id: str
    until: float


class SignIn:
    """Knows who a request is from, by its Authorization header."""

    def __init__(self, ks: Keyscope, options: Options) -> None:
        self._ks = ks
        self._limit = FailureLimit(options.failed_sign_ins)
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[str | None]] = {}
        self._changes = 0
        self._jwts = _verifier(options)
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen for revocations."""
        self._follower = asyncio.create_task(self._follow(), name="keyscope revocations")

    async def stop(self) -> None:
        """Listen no more."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, *self._asking.values(), return_exceptions=True)

    async def actor(self, authorization: str | None, address: str) -> str:
        """The id of the secret key, or the actor of the token. Raises NotSignedIn, Unavailable, Timeout."""
        scheme, _, credentials = (authorization or "")[:MAX_CREDENTIALS].strip().partition(" ")
        credentials = credentials.strip()
        if not credentials:
            raise NotSignedIn
        if scheme.lower() == "bearer":
            return await self._bearer(credentials, address)
        secret = _secret(credentials) if scheme.lower() == "basic" else None
        if secret is None:
            raise NotSignedIn
        return await self._secret_key(secret, address)

    def forget(self, key_id: str) -> None:
        """The key has changed: ask again."""
        self._changes += 1
        for digest in [digest for digest, kept in self._kept.items() if kept.key_id == key_id]:
            del self._kept[digest]

    async def _bearer(self, token: str, address: str) -> str:
        if token.startswith("sk_"):
            raise NotSignedIn(WRONG_SCHEME)
        if self._jwts is None:
            raise NotSignedIn
        self._may_try(address)
        actor = await self._jwts.actor(token)
        if actor is None:
            self._limit.failed(address)
            raise NotSignedIn
        return actor

    async def _secret_key(self, raw: str, address: str) -> str:
        digest = hashlib.sha256(raw.encode()).digest()
        kept = self._kept.get(digest)
        if kept is not None and kept.until > time.monotonic():
            return kept.key_id
        self._may_try(address)
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(raw, digest), name="keyscope sign-in")
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        key_id = await asyncio.shield(task)
        if key_id is None:
            self._limit.failed(address)
            raise NotSignedIn
        return key_id

    def _may_try(self, address: str) -> None:
        seconds = self._limit.wait(address)
        if seconds:
            raise NotSignedIn("Too many failed sign-ins: try again later", retry_after=seconds)

    async def _ask(self, raw: str, digest: bytes) -> str | None:
        changes = self._changes
        key = await self._ks.api_keys.authenticate(raw)
        if not key:
            return None
        if changes == self._changes:
            revoked_at = key["revoked_at"]
            left = datetime.fromisoformat(revoked_at).timestamp() - time.time() if revoked_at else KEPT_SECONDS
            self._kept[digest] = _Kept(key["id"], time.monotonic() + min(left, KEPT_SECONDS))
            self._kept.move_to_end(digest)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return key["id"]

    async def _follow(self) -> None:
        while True:
            try:
                async with self._ks.events.all("api_key.revoked", "api_key.deleted") as events:
                    async for event in events:
                        self.forget(event.data["id"])
                return
            except KeyscopeError as error:
                log.warning("revocations are not heard, trying again", error=error.message)
                await asyncio.sleep(1)


def _secret(credentials: str) -> str | None:
    """The raw token: as it is, or as the user name in base64, with or without a colon. None for anything else."""
    text = credentials
    if not text.startswith("sk_"):
        try:
            text = base64.b64decode(text + "=" * (-len(text) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
    text = text.removesuffix(":")
    return text if text.startswith("sk_") else None


def _verifier(options: Options) -> "Verifier | None":
    if not options.jwts.accepted:
        return None
    from services.gateway.jwts import Verifier

    return Verifier(options.jwts)
