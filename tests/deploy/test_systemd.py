"""The units: what systemd itself says of them, and what a service tells systemd."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY
from tests.production.replica import Replica
from tests.support.nats import Nats
from tests.support.up import Up, wait_for

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SOCKET = DEPLOY / "systemd" / "keyscope@gateway.socket"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, naming a program that is there."""
    program = shutil.which("true")
    assert program
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/keyscope/bin/keyscope", program))
    return tmp_path


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    instance = installed / "keyscope@gateway.service"
    (installed / "keyscope@.service").rename(instance)
    names = [str(path) for path in (installed / "keyscope.service", instance, installed / SOCKET.name)]
    shutil.copy(SOCKET, installed)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if "keyscope" in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_the_sandbox_is_tight(installed: Path, unit: str) -> None:
    """`systemd-analyze security` gives points for what a service may still do: 10.0 is everything."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(installed / unit)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(60)

    def told(self) -> str:
        return self._socket.recv(100).decode()

    def close(self) -> None:
        self._socket.close()


def test_up_tells_when_it_is_ready_and_when_it_stops(tmp_path: Path, keyscope_up: Callable[..., Up]) -> None:
    systemd = Systemd(tmp_path)
    up = keyscope_up(environment={"NOTIFY_SOCKET": systemd.path, "KEYSCOPE_HTTP": "0"})
    assert systemd.told() == "READY=1"
    up.process.send_signal(signal.SIGTERM)
    assert systemd.told() == "STOPPING=1"
    assert up.wait() == 0
    systemd.close()


def test_run_tells_so_too_and_that_it_lives(tmp_path: Path, nats_server: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.path)
    replica = Replica("commands relay query", tmp_path / "run", {"NATS_URL": nats_server.url}).start()
    told = [systemd.told()]
    while told[-1] != "READY=1":
        told.append(systemd.told())
    assert set(told[:-1]) <= {"WATCHDOG=1"}
    assert systemd.told() == "WATCHDOG=1"
    replica.process.terminate()
    wait_for(lambda: systemd.told() == "STOPPING=1")
    assert replica.process.wait(60) == 0
    systemd.close()
