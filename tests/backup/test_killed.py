"""backup, restore, new-epoch and migrate-store killed at any step: nothing is there half, and again it succeeds."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.store.application import open_store
from services.store.commit import Epoch, Outcome
from tests.backup.conftest import Stores, environment, history, keyscope
from tests.store.test_store import channel, commit, recorded

EVENTS = 60

_KILLED = """
import os, pathlib, signal, sys
from services.runtime import backup
from services.store import copying

backup.PAGES, copying.BATCH = 4, 25
step, nth = sys.argv[1], int(sys.argv[2])

def dies(function):
    left = iter(range(nth - 1, -1, -1))
    def instead(*arguments, **named):
        if next(left, None) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return instead

if step == "replace":
    pathlib.Path.replace = dies(pathlib.Path.replace)
elif step == "progress":
    from rich.progress import Progress
    Progress.update = dies(Progress.update)
elif step == "open_store":
    backup.open_store = dies(backup.open_store)
elif step == "epoch":  # it is made, and nobody has been told
    import typer
    typer.echo = dies(typer.echo)
else:
    module, name = {
        "checked": (backup, "_checked"),
        "sync": (backup, "sync"),
        "compare": (copying.Copying, "compare"),
        "numbers": (copying.Copying, "_continue_numbers"),
    }[step]
    setattr(module, name, dies(getattr(module, name)))
sys.argv = ["keyscope", *sys.argv[3:]]
from keyscope.cli import main
main()
"""
Step = tuple[str, int]
"""What is called when it is killed, and for which time."""

LAST: list[Step] = [("checked", 1), ("sync", 1), ("replace", 1), ("sync", 2)]
BACKUP: dict[str, list[Step]] = {
    "sqlite": [("progress", 1), ("progress", 3), *LAST],
    "postgresql": [("progress", 1), ("progress", 4), ("compare", 1), *LAST],
}
TO_POSTGRES: list[Step] = [("progress", 1), ("progress", 4), ("numbers", 1), ("compare", 1), ("progress", 10)]
RESTORE: dict[str, list[Step]] = {
    "sqlite": [("progress", 1), ("progress", 3), ("open_store", 1), ("sync", 1), ("replace", 1), ("sync", 2)],
    "postgresql": TO_POSTGRES,
}


def fill(url: str) -> list[tuple[int, str, bytes]]:
    store = open_store(url)
    ids = [f"sc_{n}" for n in range(EVENTS)]
    outcomes = [Outcome(f"cmd-{id}", b'{"data":1}') for id in ids]
    store.write(commit(*(recorded(1, channel(id)) for id in ids), outcomes=outcomes, tokens=[(id, id) for id in ids]))
    store.close()
    return history(url)


def epoch_of(url: str) -> Epoch:
    store = open_store(url)
    try:
        return store.recorder.epoch()
    finally:
        store.close()


def kill(step: Step, url: str, folder: Path, *arguments: str) -> None:
    """Run a command that is killed at the step."""
    command = [sys.executable, "-c", _KILLED, step[0], str(step[1]), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(url, folder)
    )
    assert done.returncode == -signal.SIGKILL, (step, done.stderr)


@pytest.mark.parametrize("kind", BACKUP)
def test_backup(kind: str, stores: Stores, tmp_path: Path) -> None:
    url = stores(kind)
    events = fill(url)
    (tmp_path / "copies").mkdir()
    for number, step in enumerate(BACKUP[kind]):
        copy = tmp_path / "copies" / f"{number}.db"
        kill(step, url, tmp_path, "backup", str(copy))
        if step == ("sync", 2):
            assert copy.exists()
        else:
            assert not copy.exists()
            done = keyscope(url, tmp_path, "backup", str(copy))
            assert done.returncode == 0, done.stderr
        assert history(f"sqlite:///{copy}") == events
    assert history(url) == events
    assert not [file for file in (tmp_path / "copies").iterdir() if "unfinished" in file.name]


@pytest.mark.parametrize("kind", RESTORE)
def test_restore(kind: str, stores: Stores, tmp_path: Path) -> None:
    old = stores("sqlite")
    events = fill(old)
    copy = tmp_path / "copy.db"
    assert keyscope(old, tmp_path, "backup", str(copy)).returncode == 0
    epoch = epoch_of(old)
    for step in RESTORE[kind]:
        url = stores(kind)
        kill(step, url, tmp_path, "restore", str(copy))
        done = keyscope(url, tmp_path, "restore", str(copy))
        if step == ("sync", 2):
            assert done.returncode == 75, "it was through already"
        else:
            assert done.returncode == 0, (step, done.stderr)
        assert history(url) == events
        assert epoch_of(url).previous == epoch.id
    assert history(old) == events


def test_migrate_store(stores: Stores, tmp_path: Path) -> None:
    old = stores("sqlite")
    events = fill(old)
    for step in TO_POSTGRES:
        url = stores("postgresql")
        kill(step, old, tmp_path, "migrate-store", old, url)
        assert history(url) == []
        done = keyscope(old, tmp_path, "migrate-store", old, url)
        assert done.returncode == 0, done.stderr
        assert history(url) == events
        assert epoch_of(url) == epoch_of(old)
    assert history(old) == events


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_new_epoch(kind: str, stores: Stores, tmp_path: Path) -> None:
    """It is one statement: the old epoch or a new one, and never none."""
    url = stores(kind)
    events = fill(url)
    before = epoch_of(url)
    kill(("open_store", 1), url, tmp_path, "new-epoch")
    assert epoch_of(url) == before
    kill(("epoch", 1), url, tmp_path, "new-epoch")
    assert epoch_of(url).previous == before.id
    before = epoch_of(url)
    assert keyscope(url, tmp_path, "new-epoch").returncode == 0
    assert epoch_of(url).previous == before.id
    assert history(url) == events
