"""The commands that copy an event store, as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.store.application import open_store
from tests.support.postgres import Postgres

Stores = Callable[[str], str]


@pytest.fixture
def stores(tmp_path: Path, request: pytest.FixtureRequest) -> Stores:
    """The URL of one more event store of a kind, with nothing in it."""
    made = 0

    def store(kind: str) -> str:
        nonlocal made
        made += 1
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / f'store-{made}' / 'events.db'}"
        server: Postgres = request.getfixturevalue("postgres")
        return server.store()

    return store


def environment(url: str, folder: Path) -> dict[str, str]:
    """The settings of a machine whose event store is at `url`."""
    return {**os.environ, "KEYSCOPE_EVENT_STORE": url, "KEYSCOPE_DATA_DIR": str(folder)}


def keyscope(url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [sys.executable, "-m", "keyscope", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(url, folder)
    )


def history(url: str) -> list[tuple[int, str, bytes]]:
    """Every event in a store."""
    store = open_store(url)
    try:
        return store.recorder.notifications(0, 1_000_000)
    finally:
        store.close()
