"""Command ids: ULIDs (https://github.com/ulid/spec), which sort by the time of their making."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_RANDOM_BITS = 80


class Ids:
    """Makes ids that rise strictly, within a millisecond and when the clock is set back too."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """A new id of 26 characters."""
        now = time.time_ns() // 1_000_000 << _RANDOM_BITS
        # Half of the random range stays free, so that a millisecond's ids can rise without running over.
        chance = secrets.randbits(_RANDOM_BITS - 1)
        value = now | chance if now > self._last else self._last + 1 + (chance & 0xFFFFFFFF)
        self._last = value
        return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
