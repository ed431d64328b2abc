"""Ids in Medusa's form: a prefix and a ULID, which sorts by the time of its creation.

The ULIDs of one process rise strictly, also within a millisecond (https://github.com/ulid/spec, monotonicity).
"""

import os
import random
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_RANDOM_BITS = 80

_random = random.Random()  # noqa: S311 - ids must differ, not be secret; tokens.py makes secrets
os.register_at_fork(after_in_child=_random.seed)

_lock = threading.Lock()
_last = [0]


def ulid() -> str:
    """26 characters of Crockford's base 32: 48 bits of milliseconds, 80 bits of chance."""
    now = time.time_ns() // 1_000_000 << _RANDOM_BITS
    with _lock:
        later = now >> _RANDOM_BITS > _last[0] >> _RANDOM_BITS
        # Half of the random range stays free, so that a millisecond's ids can rise without running over.
        value = now | _random.getrandbits(_RANDOM_BITS - 1) if later else _last[0] + 1 + _random.getrandbits(32)
        _last[0] = value
    p = _PAIRS  # written out: a link needs one, and this is a tenth of its cost as a loop
    return (
        p[value >> 120]
        + p[value >> 110 & 1023]
        + p[value >> 100 & 1023]
        + p[value >> 90 & 1023]
        + p[value >> 80 & 1023]
        + p[value >> 70 & 1023]
        + p[value >> 60 & 1023]
        + p[value >> 50 & 1023]
        + p[value >> 40 & 1023]
        + p[value >> 30 & 1023]
        + p[value >> 20 & 1023]
        + p[value >> 10 & 1023]
        + p[value & 1023]
    )


def api_key_id() -> str:
    """A new key's id."""
    return f"apk_{ulid()}"


def sales_channel_id() -> str:
    """A new channel's id."""
    return f"sc_{ulid()}"


def link_id() -> str:
    """A new link row's id."""
    return f"pksc_{ulid()}"


def command_id() -> str:
    """The id of a command that came without one."""
    return f"cmd_{ulid()}"
