"""Authenticating a secret key: found by its token's fingerprint, then one scrypt, never on the event loop."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.errors import Unavailable
from services.domain.api_key import ApiKey
from services.domain.clock import now
from services.domain.tokens import MAX_ALIKE, fingerprint, imported, matches, redact
from services.store.application import Store

MAX_WAITING = 64


class Authenticator:
    """Answers whose raw token this is. Reads the store beside the writer: what is committed is seen."""

    def __init__(self, store: Store, hashing: ThreadPoolExecutor) -> None:
        self._store = store
        self._hashing = hashing
        self._waiting = 0

    async def authenticate(self, raw: str) -> tuple[dict[str, Any] | bool, int]:
        """(the key as Medusa's module returns it but without hash and salt, or False; the position it was read at).

        False also for a revoked or deleted key, and for a publishable one's token. Raises Unavailable when too many
        ask at once.
        """
        if self._waiting >= MAX_WAITING:
            raise Unavailable("too many secret keys are being authenticated: try again", retry_after_ms=1000)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._hashing, self._check, raw)
        finally:
            self._waiting -= 1

    def _check(self, raw: str) -> tuple[dict[str, Any] | bool, int]:
        position = self._store.recorder.position()
        for key_id in self._candidates(raw):
            key = self._store.load(key_id)
            usable = isinstance(key, ApiKey) and key.type == "secret" and key.alive and not key.revoked(now())
            if isinstance(key, ApiKey) and usable and matches(raw, key.hash, key.salt):
                return key.as_json(), position
        return False, position

    def _candidates(self, raw: str) -> Iterator[str]:
        """The one key made here that has this token; or those that were imported and are redacted like it."""
        key_id = self._store.recorder.api_key_of(fingerprint(raw))
        if key_id:
            yield key_id
            return
        for number in range(MAX_ALIKE):
            key_id = self._store.recorder.api_key_of(imported(redact(raw), number))
            if not key_id:
                return
            yield key_id
