"""What the supervisor of `keyscope up` runs besides nats-server: forked services, and a command of the user's."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from services.runtime.broker import stop_orphan
from services.runtime.failures import Exit, Failure
from services.runtime.process import die_with, execute, fork
from services.runtime.settings import Settings

log = structlog.get_logger(__name__)


class Services:
    """A forked process of services. It tells the supervisor in lines of JSON: `{}` is ready, the rest a failure."""

    def __init__(self, name: str, services: Sequence[str], settings: Settings, life: tuple[int, int]) -> None:
        """`life` is a pipe whose writing end only the supervisor keeps open."""
        self.name = name
        self._services = services
        self._settings = settings
        self._life = life
        self._failure: Failure | None = None

    def spawn(self) -> tuple[int, int]:
        """Fork."""
        here, there = os.pipe()

        def child() -> int:
            os.close(here)
            os.close(self._life[1])
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
            return self._run(there)

        pid = fork(child)
        os.close(there)
        return pid, here

    def _run(self, pipe: int) -> int:
        from services.runtime import host  # the supervisor needs no event loop

        structlog.contextvars.bind_contextvars(process=self.name)
        parent = host.Parent(
            life=self._life[0],
            failed=lambda failure: _tell(pipe, {"exit": failure.exit, "sentence": str(failure)}),
            died=lambda: stop_orphan(self._settings.data_dir),
        )
        try:
            host.run(self._services, self._settings, ready=lambda: _tell(pipe, {}), parent=parent)
        except Failure as failure:
            return failure.exit
        except Exception:
            log.exception("crashed")
            return 1
        return 0

    def hear(self, line: str) -> bool:
        """Ready, or why not."""
        message = json.loads(line)
        if message:
            self._failure = Failure(Exit(message["exit"]), message["sentence"])
        return not message

    def ended(self, _: int) -> None:
        """A failure that was told is final; anything else is a crash."""
        if self._failure:
            raise self._failure


class Command:
    """A command of the user's: when it ends, everything does, with its exit code."""

    def __init__(self, command: Sequence[str], settings: Settings) -> None:
        """It finds Keyscope through KEYSCOPE_NATS_URL and KEYSCOPE_HTTP_URL."""
        self.name = command[0]
        self._command = command
        where = {"KEYSCOPE_NATS_URL": ",".join(settings.nats_servers)}
        if settings.http:
            where["KEYSCOPE_HTTP_URL"] = settings.http_url
        self._environment = {**os.environ, **where}

    def spawn(self) -> tuple[int, None]:
        """Start it; it has the terminal, and no pipe."""
        parent = os.getpid()

        def child() -> int:
            die_with(parent, signal.SIGTERM)
            execute(self._command, environment=self._environment)

        return fork(child), None

    def hear(self, line: str) -> bool:
        """Never called."""
        raise NotImplementedError(line)

    def ended(self, code: int) -> int:
        """Its exit code, as a shell would put it."""
        return code if code >= 0 else 128 - code


def _tell(pipe: int, message: Mapping[str, Any]) -> None:
    os.write(pipe, json.dumps(message).encode() + b"\n")
