"""/readyz of the process that cannot work says so, that of the others does not, and it is ready again afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import keyscope
from tests.production.replica import Replica
from tests.support.nats import Nats, free_port
from tests.support.postgres import Postgres
from tests.support.until import until
from tests.support.up import wait_for

SERVICES = ("commands", "relay", "query", "gateway")


def says(port: int) -> str:
    """The lines of /readyz; `silence` when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=3) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode() if error.code == 503 else str(error)
    except OSError:
        return "silence"


class Ready:
    """One process for each service, and what its /readyz says."""

    def __init__(self, folder: Path, nats: Nats, store: str, stack: ExitStack) -> None:
        self.ports = {name: free_port() for name in SERVICES}
        self.replicas = {}
        for name, port in self.ports.items():
            settings = {"NATS_URL": nats.url, "EVENT_STORE": store, "METRICS_PORT": str(port), "HTTP_PORT": "0"}
            self.replicas[name] = Replica(name, folder / name, settings).start()
            stack.callback(self.replicas[name].kill)
        for replica in self.replicas.values():
            replica.wait_ready()

    def all_say(self, **wanted: str) -> bool:
        """Each of these a line that begins so, and the others that they are ready."""
        return all(says(port).startswith(wanted.get(name, "ok\n")) for name, port in self.ports.items())


@pytest.fixture
def ready(tmp_path: Path, nats_server: Nats, own_postgres: Postgres) -> Iterator[Ready]:
    with ExitStack() as stack:
        yield Ready(tmp_path, nats_server, own_postgres.store(), stack)


async def test_each_process_for_itself(ready: Ready, nats_server: Nats, own_postgres: Postgres) -> None:
    await until(ready.all_say)

    own_postgres.kill()  # reads go on
    await until(lambda: ready.all_say(commands="event store: ", relay="event store: "))
    own_postgres.start()
    await until(ready.all_say, 30)

    nats_server.kill()  # nobody can work
    await until(lambda: ready.all_say(**dict.fromkeys(SERVICES, "broker (keyscope-")))
    nats_server.start()
    await until(ready.all_say, 30)

    relay = ready.replicas["relay"].process
    relay.send_signal(signal.SIGSTOP)  # it cannot say anything; commands and reads go on
    assert ready.all_say(relay="silence")
    async with keyscope.connect(nats_server.url) as ks:
        position = (await ks.command("sales_channel.create", {"name": "C"}))["position"]
        assert ready.all_say(relay="silence")
        relay.send_signal(signal.SIGCONT)
        await until(ready.all_say)
        await ks.query.graph(entity="sales_channel", fields=["id"], position=position)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root may mount a small disk")
def test_a_disk_that_fills_up(tmp_path: Path, nats_server: Nats) -> None:
    """On a real disk of 160 MB, of which 100 have to be free."""
    port = free_port()
    data = tmp_path / "disk"
    data.mkdir()
    environment = {"NATS_URL": nats_server.url, "DATA_DIR": str(data), "METRICS_PORT": str(port)}
    script = f"mount -t tmpfs -o size=160m none {data} && exec {sys.executable} -m keyscope run commands"
    running = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, **{f"KEYSCOPE_{name}": value for name, value in environment.items()}},
    )
    rubbish = Path(f"/proc/{running.pid}/root{data}/rubbish")
    try:
        wait_for(lambda: says(port) == "ok\n")
        rubbish.write_bytes(bytes(50_000_000))
        wait_for(lambda: says(port).startswith("disk: ") and says(port).endswith(f" MB are free at {data}\n"))
        rubbish.unlink()
        wait_for(lambda: says(port) == "ok\n")
    finally:
        running.kill()
        running.wait()
