"""Small file systems of a test's own, which it fills.

Whether that is possible is found out by trying: root in a container may not mount, and loop devices may be missing.
"""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

MEGABYTES = 256
"""It must hold the data of some 200 rounds of the fault run."""
FOR_NOBODY = 0o777


class Disk:
    """A file system at `path`. What fills it is a file of its own, the ballast."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Take all that is free, but about `leave` bytes."""
        with self._ballast.open("ab") as file:
            size, chunk = file.tell(), MEGABYTES << 20
            while chunk >= 4_096:  # what a file system says is free includes some that it needs itself
                try:
                    os.posix_fallocate(file.fileno(), size, chunk)
                    size += chunk
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    chunk //= 2
            file.truncate(max(size - leave, 0))

    def drop(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


def _ext4(path: Path, images: Path) -> None:
    image = images / f"{len(list(images.iterdir()))}.img"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    # Blocks as large as a page, which larger file systems have by themselves. With smaller ones a write to memory that
    # is mapped to a file (SQLite's -shm) may need a block that is not there: SIGBUS.
    _run("mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(image))
    _run("mount", "-o", "loop", str(image), str(path))


def _tmpfs(path: Path, _: Path) -> None:
    _run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(path))


KINDS: dict[str, Callable[[Path, Path], None]] = {"ext4": _ext4, "tmpfs": _tmpfs}
"""The first that can be had is taken: ext4 has a full disk as users have it, fsync included."""


@cache
def kind() -> str | None:
    """The kind of file system that can be had here, if any."""
    with tempfile.TemporaryDirectory(prefix="keyscope-disk-") as folder:
        for name in KINDS:
            with suppress(OSError, subprocess.CalledProcessError), _mounted(name, Path(folder)):
                return name
    return None


@contextmanager
def small_disks(*paths: Path) -> Iterator[dict[Path, Disk]]:
    """A small file system at each of the folders while inside. Where that cannot be had they stay folders: {}."""
    with ExitStack() as stack:
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
        if name := kind():
            for path in paths:
                stack.enter_context(_mounted(name, path))
        yield {path: Disk(path) for path in paths if name}


@contextmanager
def _mounted(name: str, path: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="keyscope-image-") as images:
        KINDS[name](path, Path(images))
        try:
            shutil.rmtree(path / "lost+found", ignore_errors=True)
            path.chmod(FOR_NOBODY)
            yield
        finally:
            # Lazily: whoever still has a file open there keeps nothing but that file.
            _run("umount", "--lazy", str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
