"""`keyscope backup`, `restore` and `rebuild` on a disk that becomes full: a sentence, and nothing half under its name.

Where nobody may mount, a limit on the size of files stands for the full disk.
"""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import keyscope
from projections.database import generations
from services.runtime.backup import backup
from services.runtime.failures import Exit, Failure
from services.runtime.verify import verify
from tests.support.disks import Disk, small_disks
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until

CHANNELS = 1_000
LEFT = (0, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000)
"""Bytes that the disk still has: somewhere between them everything fits but the last step."""


def no_progress(what: str, done: int, total: int) -> None:
    pass


def keyscope_with(files: int | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line, no file of which may become larger than so many bytes."""

    def limit() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (files, files))

    command = [sys.executable, "-m", "keyscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=60)


def refused(ran: "subprocess.CompletedProcess[str]") -> None:
    assert ran.returncode == Exit.NO_ROOM, ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("keyscope: ")
    assert "the disk is full" in last or "so large" in last
    assert "Traceback" not in ran.stderr


@contextmanager
def room(place: Path) -> Iterator[list[tuple[Disk | None, int]]]:
    """The ways in which the disk of `place` shall be full: (disk, bytes left), or (None, the size of a file)."""
    with small_disks(place) as disks:
        yield [(disk, left) for disk in disks.values() for left in LEFT] or [(None, left) for left in LEFT]


def play(disk: Disk | None, left: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    if disk is None:
        return keyscope_with(left, *arguments)
    disk.fill(left)
    try:
        return keyscope_with(None, *arguments)
    finally:
        disk.drop()


@pytest.fixture
async def filled(service: Service, ks: keyscope.Keyscope) -> Service:
    await ks.sales_channels.create([{"name": f"channel {n}"} for n in range(CHANNELS)])
    await ks.query.graph(entity="sales_channel", fields=["id"])
    return service


async def test_a_backup(filled: Service, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    with room(copies) as ways:
        done = 0
        for disk, left in ways:
            copy = copies / "copy.db"
            ran = await asyncio.to_thread(
                play, disk, left, "backup", f"--data-dir={filled.settings.data_dir}", str(copy)
            )
            if ran.returncode == 0:
                done += 1
                copy.unlink()
            else:
                refused(ran)
            assert not list(copies.iterdir())
            await ks.sales_channels.create({"name": "unharmed"})
    assert 0 < done < len(LEFT)


async def test_a_backup_to_a_folder_that_is_not_there(filled: Service, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"copy\.db cannot be opened") as refusal:
        backup(filled.settings, tmp_path / "nowhere" / "copy.db", no_progress)
    assert refusal.value.exit is Exit.NO_FILE


async def test_a_restore(filled: Service, tmp_path: Path) -> None:
    copy, data = tmp_path / "copy.db", tmp_path / "restored"
    position = backup(filled.settings, copy, no_progress)
    with room(data) as ways:
        done = 0
        for disk, left in ways:
            ran = await asyncio.to_thread(play, disk, left, "restore", f"--data-dir={data}", str(copy))
            if ran.returncode == 0:
                done += 1
                again = Service(filled.settings.nats_url, data).settings
                assert backup(again, tmp_path / f"{left}.db", no_progress) == position
                (data / "events.db").unlink()
            else:
                refused(ran)
            assert [file.name for file in data.iterdir() if file.name.startswith("events")] == []
    assert 0 < done < len(LEFT)


async def test_a_rebuild(nats_server: Nats, tmp_path: Path) -> None:
    with room(tmp_path / "data") as ways:
        service = Service(nats_server.url, tmp_path / "data")
        await service.start()
        async with await service.connect() as ks:
            await ks.sales_channels.create([{"name": f"channel {n}"} for n in range(CHANNELS)])
            await ks.query.graph(entity="sales_channel", fields=["id"])
            done = 0
            for disk, left in ways:
                where = (f"--data-dir={tmp_path / 'data'}", f"--nats-url={nats_server.url}")
                ran = await asyncio.to_thread(play, disk, left, "rebuild", "--wait=3", *where)
                if ran.returncode == 0 or "has not gone over to it in 3 s" in ran.stderr:  # it had no room to open it
                    done += 1
                    await until(lambda: len(generations(service.settings.read_model_path)) == 1)
                else:
                    refused(ran)
                assert not list((tmp_path / "data").glob("*.new*"))
                await ks.sales_channels.create({"name": "unharmed"})
                answer = await ks.query.graph(entity="sales_channel", fields=["id"], pagination={"take": 5_000})
                assert len(answer["data"]) > CHANNELS
        verdict = await verify(service.settings, patience=10, progress=lambda done, total: None)
        assert verdict.difference is None
        await service.stop()
    assert 0 < done < len(LEFT)
