"""The supervisor, over real processes that misbehave."""

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.runtime.failures import Exit, Failure
from services.runtime.process import execute, fork
from services.runtime.supervisor import GIVE_UP_AFTER, Supervisor
from tests.support.up import alive

# Under pytest-xdist a worker has a second thread, which holds no lock that a child of these tests would need.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


class Script:
    """A Python script as a supervised program; it is ready when it prints `ready`."""

    def __init__(self, name: str, script: str) -> None:
        self.name = name
        self.pids: list[int] = []
        self._command = [sys.executable, "-S", "-c", textwrap.dedent(script)]

    def spawn(self) -> tuple[int, int]:
        here, there = os.pipe()

        def child() -> int:
            execute(self._command, environment=os.environ, output=there)

        self.pids.append(fork(child))
        os.close(there)
        return self.pids[-1], here

    def hear(self, line: str) -> bool:
        return line == "ready"

    def ended(self, code: int) -> int | None:
        return None


STEADY = """
    import time
    print("ready", flush=True)
    time.sleep(60)
"""
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(60)
"""
CRASHING = "raise SystemExit(3)"


def interrupt_after(*seconds: float) -> None:
    """Send SIGINT to this process, as often as times are given."""
    for pause in seconds:
        threading.Timer(pause, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_a_process_that_crashes_before_it_was_ever_ready_is_given_up(capfd: pytest.CaptureFixture[str]) -> None:
    crashing, steady = Script("crashing", CRASHING), Script("steady", STEADY)

    with Supervisor(drain_seconds=5) as supervisor:
        supervisor.start(crashing, steady)
        with pytest.raises(Failure, match="crashing keeps crashing") as failure:
            supervisor.wait_ready()

    assert failure.value.exit is Exit.CRASHED
    assert len(crashing.pids) == GIVE_UP_AFTER
    assert len(steady.pids) == 1
    assert not any(map(alive, [*crashing.pids, *steady.pids]))


def test_a_process_that_does_not_stop_is_killed_when_its_time_is_over() -> None:
    stubborn = Script("stubborn", STUBBORN)

    with Supervisor(drain_seconds=0.3) as supervisor:
        supervisor.start(stubborn)
        assert supervisor.wait_ready()
        asked = time.monotonic()

    assert 0.3 <= time.monotonic() - asked < 30
    assert not alive(stubborn.pids[0])


def test_asking_twice_kills_at_once() -> None:
    stubborn = Script("stubborn", STUBBORN)
    started = time.monotonic()

    with Supervisor(drain_seconds=30) as supervisor:
        supervisor.start(stubborn)
        assert supervisor.wait_ready()
        interrupt_after(0.2, 0.4)
        assert supervisor.watch() == Exit.DONE

    assert time.monotonic() - started < 30
    assert not alive(stubborn.pids[0])


def test_being_asked_to_stop_while_it_starts() -> None:
    never_ready = Script("never ready", "import time; time.sleep(60)")

    with Supervisor(drain_seconds=5) as supervisor:
        supervisor.start(never_ready)
        interrupt_after(0.2)
        assert not supervisor.wait_ready()

    assert not alive(never_ready.pids[0])


def test_stages_stop_in_the_opposite_order(tmp_path: Path) -> None:
    journal = tmp_path / "journal"

    def leaves_word(name: str) -> Script:
        return Script(
            name,
            f"""
            import signal, time

            def stop(*_):
                time.sleep(0.1)
                with open({str(journal)!r}, "a") as file:
                    print({name!r}, file=file)
                raise SystemExit

            signal.signal(signal.SIGTERM, stop)
            print("ready", flush=True)
            time.sleep(60)
            """,
        )

    with Supervisor(drain_seconds=5) as supervisor:
        supervisor.start(leaves_word("first"))
        supervisor.wait_ready()
        supervisor.start(leaves_word("second"))
        supervisor.wait_ready()

    assert journal.read_text().split() == ["second", "first"]


def test_a_program_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    parent: Callable[[], int] = lambda: execute(["no-such-program"], environment=os.environ)  # noqa: E731

    _, status = os.waitpid(fork(parent), 0)

    assert os.waitstatus_to_exitcode(status) == 127
    assert capfd.readouterr().err == "cannot run no-such-program: No such file or directory\n"
