"""Who uses a folder or a file: an advisory lock that dies with its last holder, whatever kills it."""

import fcntl
import os
import time
from pathlib import Path

from services.runtime.failures import Exit, Failure, cannot_write

PATIENCE = 1.0
"""Seconds to wait for a holder that is just going away."""


def hold(lock: Path, what: str) -> int:
    """Take `lock` and return its file descriptor: the lock lasts until every copy of it, in any process, is closed.

    Raises Failure, which names `what` as in use, when another process keeps the lock for more than a second.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise cannot_write(lock.parent, error) from error
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.read(held, 20).decode(errors="replace").strip() or "?"
                os.close(held)
                raise Failure(Exit.IN_USE, f"{what} is in use by another Keyscope (process {holder})") from None
            time.sleep(0.05)
    os.ftruncate(held, 0)
    os.write(held, f"{os.getpid()}\n".encode())
    return held
