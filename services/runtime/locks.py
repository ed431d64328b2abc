"""Who uses a folder or a file: an advisory lock that dies with its last holder, whatever kills it."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from services.runtime.failures import Exit, Failure, cannot_write

PATIENCE = 1.0
"""Seconds to wait for a holder that is just going away."""
PATIENCE_WITH_CHILDREN = 10.0
"""Seconds, where the holder has died and its children hold the lock still: they end by themselves (host.py)."""


def hold(lock: Path, what: str) -> int:
    """Take `lock` and return its file descriptor: the lock lasts until every copy of it, in any process, is closed.

    Raises Failure, which names `what` as in use, when another process keeps the lock for more than a second, or what a
    killed process has left behind keeps it for more than ten.
    """
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise cannot_write(lock.parent, error) from error
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(held, 20, 0).decode(errors="replace").strip() or "?"
            runs = _runs(holder)
            if time.monotonic() - began > (PATIENCE if runs else PATIENCE_WITH_CHILDREN):
                os.close(held)
                who = f"another Keyscope (process {holder})" if runs else f"what process {holder} has left behind"
                raise Failure(Exit.IN_USE, f"{what} is in use by {who}") from None
            time.sleep(0.05)
    os.ftruncate(held, 0)
    with suppress(OSError):  # on a full disk nobody can be told who holds it
        os.write(held, f"{os.getpid()}\n".encode())
    return held


def _runs(holder: str) -> bool:
    """Whether the process is there, as far as one can tell."""
    with suppress(ValueError, PermissionError):
        try:
            os.kill(int(holder), 0)
        except ProcessLookupError:
            return False
    return True
