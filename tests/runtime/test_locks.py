"""Who uses a folder, when the one who took it has been killed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.runtime import locks
from services.runtime.failures import Exit, Failure

HOLDS_AND_LEAVES_A_CHILD = """
import subprocess, sys
from pathlib import Path
from services.runtime.locks import hold
lock = hold(Path(sys.argv[1]), "it")
subprocess.Popen(["cat"], pass_fds=[lock], stdout=subprocess.DEVNULL)  # until its input ends
"""


def left_behind(lock: Path) -> int:
    """A process takes the lock and ends; its child keeps it until the descriptor returned here is closed."""
    there, here = os.pipe()
    command = [sys.executable, "-c", HOLDS_AND_LEAVES_A_CHILD, str(lock)]
    with os.fdopen(there) as input:
        subprocess.run(command, stdin=input, check=True, timeout=60)
    return here


def test_the_children_of_a_killed_holder_get_time_to_end(tmp_path: Path) -> None:
    here = left_behind(tmp_path / "lock")
    end = threading.Timer(locks.PATIENCE + 0.5, os.close, (here,))
    end.start()

    os.close(locks.hold(tmp_path / "lock", "it"))

    end.join()


def test_children_that_stay_are_told_from_a_holder_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE_WITH_CHILDREN", 0.1)
    here = left_behind(tmp_path / "lock")

    with pytest.raises(Failure, match=r"it is in use by what process \d+ has left behind") as failure:
        locks.hold(tmp_path / "lock", "it")

    assert failure.value.exit is Exit.IN_USE
    os.close(here)


def test_a_holder_that_runs(tmp_path: Path) -> None:
    held = locks.hold(tmp_path / "lock", "it")

    with pytest.raises(Failure, match=rf"it is in use by another Keyscope \(process {os.getpid()}\)"):
        locks.hold(tmp_path / "lock", "it")

    os.close(held)
