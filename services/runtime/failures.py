"""Why Keyscope cannot run: one sentence for the user, and an exit code that a script can tell apart.

Where a code of sysexits.h means the same, it is that one.
"""

import errno
import sqlite3
from collections.abc import Iterator
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `keyscope up` and `keyscope run`."""

    DONE = 0
    """Stopped on request."""
    DAMAGED = 65
    """A file of the event store or of the read model is damaged, or is something else."""
    UNREACHABLE = 69
    """NATS or PostgreSQL refuses the connection, or the credentials."""
    CRASHED = 70
    """A process keeps crashing; the log has the reason."""
    DIVERGED = 66
    """The event stream holds events that the event store does not have, or is not what is needed."""
    NO_FILE = 73
    """A file or folder cannot be made, opened or written."""
    NO_ROOM = 74
    """The disk is full, or fails: starting again may help."""
    IN_USE = 75
    """Another instance uses the data folder or the read model."""
    PORT_TAKEN = 76
    """Another program listens on the port."""
    CONFIG = 78
    """A setting is wrong."""


class Failure(Exception):
    """Keyscope cannot run. `str()` is the sentence for the user."""

    def __init__(self, exit: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.exit = exit


_SQLITE = {
    sqlite3.SQLITE_NOTADB: (Exit.DAMAGED, "is not an SQLite database, or is damaged"),
    sqlite3.SQLITE_CORRUPT: (Exit.DAMAGED, "is damaged"),
    sqlite3.SQLITE_CANTOPEN: (Exit.NO_FILE, "cannot be opened"),
    sqlite3.SQLITE_READONLY: (Exit.NO_FILE, "cannot be written"),
    sqlite3.SQLITE_PERM: (Exit.NO_FILE, "cannot be written"),
    sqlite3.SQLITE_FULL: (Exit.NO_ROOM, "cannot be written: the disk is full"),
    sqlite3.SQLITE_IOERR: (Exit.NO_ROOM, "cannot be read or written: the disk is full, or fails"),
}
_ERRNO = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "there is no room for this user",
    errno.EFBIG: "it may not become so large",
    errno.EIO: "the disk fails",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.EEXIST: "there is a file in its place",
    errno.EISDIR: "there is a folder in its place",
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def cannot_write(path: object, error: OSError) -> Failure:
    """The failure that `error` is for someone who wanted `path` to be written."""
    reason = _ERRNO.get(error.errno or 0, error.strerror or str(error))
    return Failure(Exit.NO_ROOM if error.errno in _NO_ROOM else Exit.NO_FILE, f"{path} cannot be used: {reason}")


def cannot_read(path: object, error: OSError) -> Failure:
    """The failure that `error` is for someone who wanted to read a setting from `path`."""
    return Failure(Exit.CONFIG, f"{path} cannot be read: {_ERRNO.get(error.errno or 0, error.strerror or str(error))}")


def explain(error: BaseException, *, database: object, remedy: str) -> Failure | None:
    """The failure behind `error`, which a service that keeps its data in `database` has raised; None for a bug.

    `remedy` says what to do about a damaged database.
    """
    for cause in _causes(error):
        if isinstance(cause, Failure):
            return cause
        if found := _SQLITE.get(_sqlite_code(cause)):
            code, what = found
            return Failure(code, f"{database} {what}" + (f": {remedy}" if code is Exit.DAMAGED else ""))
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return cannot_write(cause.filename or database, cause)
        if type(cause).__module__.partition(".")[0] == "psycopg":
            return Failure(Exit.UNREACHABLE, f"{database} cannot be used: {' '.join(str(cause).split())}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__


def _sqlite_code(error: BaseException) -> int:
    """The primary SQLite result code that `error` carries (as sqlite3 or as apsw spells it), or 0."""
    return int(getattr(error, "sqlite_errorcode", 0) or getattr(error, "result", 0) or 0) & 0xFF
