"""The embedded nats-server, apart from the rest."""

import os
import socket
import threading
from pathlib import Path

import pytest

from services.runtime.broker import PID_FILE, NatsServer, stop_orphan
from services.runtime.failures import Exit, Failure
from tests.support.up import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def started(data: Path) -> tuple[NatsServer, int]:
    server = NatsServer(host="127.0.0.1", port=0, data=data)
    pid, pipe = server.spawn()
    with os.fdopen(pipe) as lines:
        wait_for(lambda: server.hear(lines.readline().strip()))
    return server, pid


def test_an_orphan_is_found_and_stopped_where_the_kernel_does_not_do_it(tmp_path: Path) -> None:
    _, pid = started(tmp_path)

    stop_orphan(tmp_path)

    assert os.waitpid(pid, 0)[0] == pid
    stop_orphan(tmp_path)  # of one that is gone, there is nothing to stop


def test_it_keeps_its_port_over_restarts(tmp_path: Path) -> None:
    server, pid = started(tmp_path)
    port = server.port
    stop_orphan(tmp_path)
    os.waitpid(pid, 0)

    again, pipe = server.spawn()

    with os.fdopen(pipe) as lines:
        wait_for(lambda: server.hear(lines.readline().strip()))
    assert server.port == port > 0
    wait_for((tmp_path / PID_FILE).exists)
    stop_orphan(tmp_path)
    os.waitpid(again, 0)


def test_what_it_says_last_is_why_it_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("a file, where a folder is needed")
    server = NatsServer(host="127.0.0.1", port=0, data=tmp_path)
    pid, pipe = server.spawn()
    with os.fdopen(pipe) as lines:
        for line in lines:
            server.hear(line.strip())
    _, status = os.waitpid(pid, 0)

    with pytest.raises(Failure, match=r"nats-server cannot start: .*not a directory") as failure:
        server.ended(os.waitstatus_to_exitcode(status))

    assert failure.value.exit is Exit.CRASHED


def test_one_that_hangs_up_while_it_starts_is_not_ready(tmp_path: Path) -> None:
    server = NatsServer(host="127.0.0.1", port=0, data=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as ending:

        def hang_up() -> None:
            connection, _ = ending.accept()
            connection.close()

        hangs_up = threading.Thread(target=hang_up)
        hangs_up.start()
        port = ending.getsockname()[1]
        assert not server.hear(f"[1] [INF] Listening for client connections on 127.0.0.1:{port}")
        assert not server.hear("[1] [INF] Server is ready")
        hangs_up.join()
