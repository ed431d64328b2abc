"""/metrics, /healthz and /readyz of one process, on a thread of their own: they answer when the event loop does not.

* /healthz is 200 as long as the event loop turns. When it has stood still for 10 seconds, restarting helps.
* /readyz is 200 when everything is so that the process can do its work: it says what is not. Restarting does not help.
"""

import asyncio
import errno
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from services.bus.measures import CHECKS, TASKS
from services.runtime.failures import Exit, Failure
from services.runtime.settings import Settings

BEAT_SECONDS = 1.0
STANDSTILL_SECONDS = 10.0
LEAST_FREE = 100 * 1024 * 1024
"""Bytes on a disk that is written to; with less, the next events may find no room."""

log = structlog.get_logger(__name__)


class Health:
    """What this process says about itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._beat_at = time.monotonic()
        self._tasks = 0
        self.serving = False
        """All services serve, and none is asked to stop."""

    async def beat(self, beaten: Callable[[], None]) -> None:
        """Show that the event loop turns, and call `beaten`, until cancelled."""
        TASKS.read = lambda: self._tasks
        while True:
            beaten()
            self._tasks = len(asyncio.all_tasks())
            self._beat_at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)

    def alive(self) -> list[str]:
        """What is wrong that a restart would mend."""
        still = time.monotonic() - self._beat_at
        return [f"the event loop has stood still for {still:.0f} s"] if still > STANDSTILL_SECONDS else []

    def ready(self) -> list[str]:
        """What is missing."""
        missing = [] if self.serving else ["starting, or stopping"]
        missing += self.alive()
        for folder in self._settings.folders:
            if folder.exists() and (free := shutil.disk_usage(folder).free) < LEAST_FREE:
                missing.append(f"disk: {free // 1_000_000} MB are free at {folder}")
        for name, check in list(CHECKS.items()):
            try:
                problem = check()
            except Exception as error:  # noqa: BLE001 - a check that fails says so
                problem = type(error).__name__
            if problem:
                missing.append(f"{name}: {problem}")
        return missing


class _OverIPv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def served(health: Health, settings: Settings) -> Iterator[None]:
    """Serve while inside, if the settings name a port. Raises Failure when it is taken."""
    if settings.metrics_port is None:
        yield
        return
    host = settings.metrics_host
    try:
        server = (_OverIPv6 if ":" in host else ThreadingHTTPServer)((host, settings.metrics_port), _handler(health))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Failure(Exit.CONFIG, f"KEYSCOPE_METRICS_HOST: cannot listen on {host}: {error.strerror}") from error
        raise Failure(
            Exit.PORT_TAKEN, f"port {settings.metrics_port} on {host} (KEYSCOPE_METRICS_PORT): {error.strerror}"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True).start()
    log.info("metrics and health", url=f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    def verdict(problems: list[str]) -> tuple[int, str, bytes]:
        text = "\n".join(problems) or "ok"
        return 503 if problems else 200, "text/plain; charset=utf-8", f"{text}\n".encode()

    def metrics() -> tuple[int, str, bytes]:
        from services.runtime.metrics import exposition

        return 200, "text/plain; version=0.0.4; charset=utf-8", exposition()

    pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/healthz": lambda: verdict(health.alive()),
        "/readyz": lambda: verdict(health.ready()),
        "/metrics": metrics,
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = page() if page else (404, "text/plain", b"/healthz, /readyz or /metrics\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Who asks how we are is no news."""

    return Handler
