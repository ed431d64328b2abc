"""A real nats-server for a test: it starts in some 20 ms, so every test that needs one has its own."""

import signal
import socket
import subprocess
import time
from pathlib import Path

from services.runtime.broker import configuration, executable


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a nats-server greets."""
    for _ in range(1000):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                assert connection.recv(4) == b"INFO"
                return
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
    raise TimeoutError("nats-server does not listen")


class Nats:
    """A nats-server with JetStream, configured as the embedded one. It keeps port and folder over restarts."""

    def __init__(self, folder: Path, more: str = "", *, jetstream: bool = True) -> None:
        """`more` is further text for the configuration, e.g. an authorization block."""
        self.folder = folder
        self.port = free_port()
        self._more = more
        self._config = folder / "nats-server.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(jetstream=jetstream)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, *, jetstream: bool) -> None:
        """Write the configuration for the next start, with JetStream or without."""
        text = configuration(name="test", host="127.0.0.1", port=self.port, folder=self.folder / "jetstream")
        self._config.write_text((text if jetstream else text.partition("jetstream {")[0]) + self._more)

    def allow(self, more: str) -> None:
        """Put `more` in the place of the further text, and let the running server read it."""
        self._config.write_text(self._config.read_text().replace(self._more, more))
        self._more = more
        self.signal(signal.SIGHUP)

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it greets."""
        with (self.folder / "nats-server.log").open("ab") as log:
            self._process = subprocess.Popen([executable(), "-c", self._config], stdout=log, stderr=log)
        wait_until_listening(self.port, self._process, self.folder / "nats-server.log")

    def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        self._end(kill=False)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def stuck(self) -> bool:
        """Whether a stream of it has failed to write, and takes nothing any more until it is started again."""
        log = (self.folder / "nats-server.log").read_text(errors="replace")
        return "Critical write error" in log[log.rfind("Starting nats-server") :]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait()
            self._process = None
