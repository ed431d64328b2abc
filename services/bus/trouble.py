"""How trouble with NATS is told in the log: in words, and not four times a second."""

import time

from nats.js.errors import ServiceUnavailableError


def said(error: BaseException) -> str:
    """What went wrong."""
    if isinstance(error, ServiceUnavailableError) and error.code is None:  # nobody heard the request
        return "JetStream does not answer: is it enabled on this NATS, and for this account?"
    return str(error).strip() or type(error).__name__


class Seldom:
    """Whether to log a text: when it is another than the last one, or that was logged a while ago."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._last = ""
        self._again = 0.0

    def __call__(self, text: str) -> bool:
        if text == self._last and time.monotonic() < self._again:
            return False
        self._last, self._again = text, time.monotonic() + self._seconds
        return True
