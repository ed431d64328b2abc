"""Tokens of API keys, and the hash that is all that is kept of a secret one.

Token, redaction and hash are Medusa's (@medusajs/api-key 2.21: 32 random bytes as hex; scrypt with Node's default
cost over the salt's hex text, 64 bytes), so keys moved over from Medusa authenticate.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from events.api_key import KeyType

_PREFIX: dict[KeyType, str] = {"publishable": "pk_", "secret": "sk_"}


@dataclass(frozen=True, slots=True)
class Token:
    """A key's token: raw, redacted, and for a secret key hashed."""

    raw: str
    redacted: str
    hash: str = ""
    salt: str = ""


def new_raw_token(kind: KeyType) -> str:
    """A random token: prefix and 64 hex digits."""
    return _PREFIX[kind] + secrets.token_hex(32)


def redact(raw: str) -> str:
    """First six characters, `***`, last three."""
    return f"{raw[:6]}***{raw[-3:]}"


def scrypt(raw: str, salt: str) -> str:
    """128 hex digits. Takes some 50 ms and 16 MB, outside the interpreter lock: never call it on an event loop."""
    return hashlib.scrypt(raw.encode(), salt=salt.encode(), n=16384, r=8, p=1, dklen=64).hex()


def new_token(kind: KeyType) -> Token:
    """A new token. For a secret key this costs one scrypt."""
    raw = new_raw_token(kind)
    if kind == "publishable":
        return Token(raw, redact(raw))
    salt = secrets.token_hex(16)
    return Token(raw, redact(raw), scrypt(raw, salt), salt)


def matches(raw: str, hash: str, salt: str) -> bool:
    """Whether `raw` is the token behind `hash`; in constant time. Costs one scrypt."""
    return hmac.compare_digest(scrypt(raw, salt), hash)


MAX_ALIKE = 8
"""How many imported secret keys may be redacted alike; each costs an authentication one scrypt more."""


def imported(redacted: str, number: int) -> str:
    """What a secret key that came from elsewhere is found by: its raw token was never seen here.

    Those redacted alike are numbered from 0.
    """
    return f"imported:{redacted}:{number}"


def fingerprint(raw: str) -> str:
    """What a secret token is found by: a digest says nothing about 256 random bits."""
    return f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
