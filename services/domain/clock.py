"""Instants as the text that events carry: UTC with milliseconds, `2026-11-23T12:00:00.000Z`."""

import time
from datetime import UTC, datetime, timedelta


def now() -> str:
    """This instant."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"


def later(instant: str, seconds: float) -> str:
    """`instant` and so many seconds. Raises OverflowError past the year 9999."""
    moment = datetime.fromisoformat(instant) + timedelta(seconds=seconds)
    return f"{moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{moment.microsecond // 1000:03d}Z"
