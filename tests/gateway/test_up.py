"""HTTP as part of `keyscope up`."""

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from services.runtime.failures import Exit, Failure
from services.runtime.listening import listen
from services.runtime.settings import Settings
from tests.support.up import Up, wait_for

Start = Callable[..., Up]


def url(up: Up) -> str:
    match = re.search(r"HTTP +(http://\S+)", up.output)
    assert match, up.output
    return match[1]


def health(up: Up) -> bool:
    try:
        return httpx.get(f"{url(up)}/health", timeout=10, trust_env=False).text == "OK"
    except httpx.TransportError:
        return False


def test_it_serves_http_and_the_port_stays_when_the_gateway_dies(keyscope_up: Start) -> None:
    up = keyscope_up().wait_ready()
    assert health(up)
    gateway = up.children()[-1]
    os.kill(gateway, signal.SIGKILL)
    wait_for(lambda: up.children()[-1] != gateway and health(up))
    assert up.stop() == 0


def test_it_can_do_without(keyscope_up: Start) -> None:
    up = keyscope_up(environment={"KEYSCOPE_HTTP": "false"}).wait_ready()
    assert re.search(r"HTTP +off", up.output)
    assert len(up.children()) == 3


def test_a_command_is_told_where_http_is(keyscope_up: Start, tmp_path: Path) -> None:
    script = 'printf %s "$KEYSCOPE_HTTP_URL" > url'
    up = keyscope_up("--", "sh", "-c", f"cd {tmp_path} && {script}")
    assert up.wait() == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", (tmp_path / "url").read_text())


def test_a_port_that_is_taken_is_told(keyscope_up: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = keyscope_up(f"--http-port={port}")
        assert up.wait() == Exit.PORT_TAKEN
    assert f"port {port} on 127.0.0.1 is taken" in up.errors


def test_without_a_wish_a_free_port_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr("services.runtime.listening.PORT", other.getsockname()[1])
        with listen(Settings()) as found:
            assert found.getsockname()[1] != other.getsockname()[1]


def test_a_host_that_is_not_ours_is_told() -> None:
    with pytest.raises(Failure, match="KEYSCOPE_HTTP_HOST: cannot listen on"):
        listen(Settings(http_host="192.0.2.1", http_port=0))


def test_a_socket_can_be_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given, listen(Settings(http_fd=given.fileno())) as found:
        assert found.getsockname() == given.getsockname()
