"""The socket on which HTTP is served.

`keyscope up` opens it before anything else, so that a port that is taken is told at once, and keeps it open while the
gateway starts again after a crash: who connects meanwhile waits.
"""

import errno
import os
import socket

import structlog

from services.runtime.failures import Exit, Failure
from services.runtime.settings import Settings

PORT = 9000
BACKLOG = 2048

log = structlog.get_logger(__name__)


def listen(settings: Settings) -> socket.socket:
    """A listening socket, by the settings. Raises Failure."""
    if settings.http_fd is not None:
        return socket.socket(fileno=os.dup(settings.http_fd))
    if settings.http_port is not None:
        return _open(settings.http_host, settings.http_port)
    try:
        return _open(settings.http_host, PORT)
    except Failure as failure:
        if failure.exit is not Exit.PORT_TAKEN:
            raise
    listener = _open(settings.http_host, 0)
    log.warning("port is taken, HTTP is served on another", port=PORT, instead=listener.getsockname()[1])
    return listener


def _open(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Failure(Exit.CONFIG, f"KEYSCOPE_HTTP_HOST: cannot listen on {host}: {error.strerror}") from error
        raise Failure(
            Exit.PORT_TAKEN,
            f"port {port} on {host} is taken by another program: stop that, or set KEYSCOPE_HTTP_PORT (0 takes a free "
            "one), or KEYSCOPE_HTTP=false",
        ) from error
