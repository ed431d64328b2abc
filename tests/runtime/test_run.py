"""`keyscope run`: services alone, against a NATS that runs already."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import keyscope
from services.runtime.failures import Exit
from tests.support.nats import Nats, free_port
from tests.support.up import wait_for

Run = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts `keyscope run` with its output in the file `<first service>.log`."""
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / f"{arguments[0]}.log").open("wb"))
            command = [sys.executable, "-m", "keyscope", "run", f"--data-dir={tmp_path / 'data'}", *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def said(tmp_path: Path, service: str) -> str:
    return (tmp_path / f"{service}.log").read_text()


async def test_each_service_runs_alone_and_drains_when_asked(run: Run, nats_server: Nats, tmp_path: Path) -> None:
    services = ("commands", "relay", "query")
    processes = [run(service, f"--nats-url={nats_server.url}") for service in services]
    for service in services:
        wait_for(lambda service=service: f"ready: {service}" in said(tmp_path, service))  # type: ignore[misc]

    async with await keyscope.connect(nats_server.url) as ks:
        await ks.sales_channels.create({"name": "Web"})
        answer = await ks.query.graph(entity="sales_channel", fields=["name"])
    for process, number in zip(processes, (signal.SIGTERM, signal.SIGINT, signal.SIGTERM), strict=True):
        process.send_signal(number)

    assert answer["data"] == [{"name": "Web"}]
    assert [process.wait(timeout=20) for process in processes] == [Exit.DONE] * 3
    assert "Traceback" not in "".join(said(tmp_path, service) for service in services)


@pytest.mark.parametrize("services", [("commands",), ("relay",), ("commands", "relay", "query")])
async def test_it_waits_for_jetstream(
    run: Run, make_nats: Callable[..., Nats], tmp_path: Path, services: tuple[str, ...]
) -> None:
    """A cluster that elects a leader does not answer for some seconds. It can also be stopped meanwhile."""
    server = make_nats(jetstream=False)
    process = run(*services, f"--nats-url={server.url}")
    wait_for(lambda: "JetStream cannot be reached; trying again" in said(tmp_path, services[0]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == Exit.DONE

    process = run(*services, f"--nats-url={server.url}")
    wait_for(lambda: "JetStream cannot be reached; trying again" in said(tmp_path, services[0]))
    server.stop()
    server.configure(jetstream=True)
    server.start()
    wait_for(lambda: f"ready: {', '.join(services)}" in said(tmp_path, services[0]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == Exit.DONE
    assert "Traceback" not in said(tmp_path, services[0])


@pytest.mark.parametrize("service", ["commands", "relay", "query"])
def test_it_stops_without_its_nats(run: Run, nats_server: Nats, tmp_path: Path, service: str) -> None:
    """There is nobody to take leave of, so it does not wait for one."""
    process = run(service, f"--nats-url={nats_server.url}")
    wait_for(lambda: f"ready: {service}" in said(tmp_path, service))
    nats_server.kill()
    wait_for(lambda: "disconnected" in said(tmp_path, service))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == Exit.DONE
    assert "Traceback" not in said(tmp_path, service)


async def test_it_waits_for_a_nats_that_is_not_there_yet(run: Run, nats_server: Nats, tmp_path: Path) -> None:
    nats_server.stop()
    process = run("commands", "relay", f"--nats-url={nats_server.url}")
    wait_for(lambda: "connection error" in said(tmp_path, "commands"))
    assert process.poll() is None

    nats_server.start()

    wait_for(lambda: "ready: commands, relay" in said(tmp_path, "commands"))


@pytest.mark.parametrize("services", [("commands",), ("relay",), ("query",), ("gateway",), ("relay", "query")])
def test_it_stops_without_ever_having_had_its_nats(run: Run, tmp_path: Path, services: tuple[str, ...]) -> None:
    process = run(*services, f"--nats-url=nats://127.0.0.1:{free_port()}")
    wait_for(lambda: "connection error" in said(tmp_path, services[0]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == Exit.DONE
    assert "Traceback" not in said(tmp_path, services[0])


def test_nats_refuses_the_credentials(run: Run, make_nats: Callable[..., Nats], tmp_path: Path) -> None:
    server = make_nats('authorization { user: "keyscope", password: "right" }\n')
    url = server.url.replace("//", "//keyscope:wrong@")

    assert run("relay", f"--nats-url={url}").wait(timeout=20) == Exit.UNREACHABLE
    assert f"keyscope: the NATS at {url.replace('keyscope:wrong', '***')} refuses the credentials" in said(
        tmp_path, "relay"
    )
    assert "wrong" not in said(tmp_path, "relay")
    assert "Traceback" not in said(tmp_path, "relay")


def test_nats_accepts_the_credentials(
    run: Run, make_nats: Callable[..., Nats], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_nats('authorization { user: "keyscope", password: "right" }\n')
    monkeypatch.setenv("KEYSCOPE_NATS_USER", "keyscope")
    monkeypatch.setenv("KEYSCOPE_NATS_PASSWORD", "right")

    run("relay", f"--nats-url={server.url}")

    wait_for(lambda: "ready: relay" in said(tmp_path, "relay"))


async def test_two_read_nodes_need_two_read_models(run: Run, nats_server: Nats, tmp_path: Path) -> None:
    run("relay", "query", f"--nats-url={nats_server.url}")
    wait_for(lambda: "ready: relay, query" in said(tmp_path, "relay"))

    second = run("query", f"--nats-url={nats_server.url}")

    assert second.wait(timeout=20) == Exit.IN_USE
    assert f"the read model {tmp_path / 'data' / 'graph.db'} is in use" in said(tmp_path, "query")


def test_config_prints_every_setting() -> None:
    printed = subprocess.run([sys.executable, "-m", "keyscope", "config"], capture_output=True, text=True, check=True)

    assert "KEYSCOPE_NATS_PORT=4222" in printed.stdout
    assert all(line.startswith(("#", "KEYSCOPE_")) for line in printed.stdout.splitlines())
