"""An upgrade: a release that writes a new version of an event, and another read model, beside the one before."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest

import keyscope
from projections.schema import VERSION
from services.store.application import open_store
from tests.production.fire import pair
from tests.production.replica import Replica
from tests.support.nats import Nats
from tests.support.postgres import Postgres
from tests.support.until import until

ROOT = Path(__file__).parents[2]
CHANGES = {
    "events/link.py": {
        "class LinkCreated(LinkEvent):": """def _nobody_noted(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "note": ""}


class LinkCreated(LinkEvent):""",
        '    event_name: ClassVar = "link.created"\n': """    event_name: ClassVar = "link.created"
    version: ClassVar = 2
    upcasts: ClassVar[dict[int, Upcast]] = {1: _nobody_noted}
    note: str = "by the newer release"
""",
    },
    "projections/schema.py": {f"VERSION = {VERSION}": f"VERSION = {VERSION + 1}"},
}
"""What the newer release has: version 2 of link.created, and a schema of its own."""


def newer_release(folder: Path) -> Path:
    for package in ("events", "keyscope", "projections", "services"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, changes in CHANGES.items():
        text = (folder / file).read_text()
        for old, new in changes.items():
            assert text.count(old) == 1, (file, old)
            text = text.replace(old, new)
        (folder / file).write_text(text)
    return folder


@pytest.mark.production
@pytest.mark.timeout(300)
async def test_two_releases_side_by_side(nats_server: Nats, postgres: Postgres, tmp_path: Path) -> None:
    store, newer = postgres.store(), newer_release(tmp_path / "release")
    settings = {"NATS_URL": nats_server.url, "EVENT_STORE": store}
    old = Replica("commands relay query", tmp_path / "old", settings)
    reading = Replica("query", tmp_path / "reading", settings, release=newer)
    writing = Replica("commands relay", tmp_path / "writing", settings, release=newer)
    running = [old]
    try:
        await asyncio.to_thread(old.start().wait_ready)
        async with await keyscope.connect(nats_server.url, actor="a", timeout=40) as ks:
            for number in range(10):
                await ks.command("api_key.create", {"id": f"apk_{number}", "title": "K", "type": "publishable"})
                await ks.command("sales_channel.create", {"id": f"sc_{number}", "name": "C"})
                await ks.command("link.create", pair(f"apk_{number}", "sc_0"))

            # First what reads: it has its own read model, and takes the old events by upcast.
            running.append(reading)
            await asyncio.to_thread(reading.start().wait_ready)
            assert (tmp_path / "old" / f"graph-v{VERSION}.db").exists()
            assert (tmp_path / "reading" / f"graph-v{VERSION + 1}.db").exists()

            # Then what writes. What the old replica cannot read any more it leaves to the new one; no request fails.
            running.append(writing)
            await asyncio.to_thread(writing.start().wait_ready)
            pairs = [(f"apk_{key}", f"sc_{channel}") for channel in range(1, 10) for key in range(10)]
            for start in range(0, len(pairs), 6):
                await asyncio.gather(*(ks.command("link.create", pair(*each)) for each in pairs[start : start + 6]))
            topics = _topics(store)
            assert {"link.created:1", "link.created:2"} <= set(topics)
            first = topics.index("link.created:2")

            # The old read node waits before the first event that it does not know. It skips nothing, and says so.
            await until(lambda: "version 2 is newer than this release" in old.log)
            found = await ks.query.graph(entity="api_key", fields=["sales_channels.id"], pagination={"take": 20})
            assert [len(key["sales_channels"]) for key in found["data"]] == [10] * 10
            assert old.running
            assert await _position(nats_server, first) <= first
            assert await asyncio.to_thread(old.stop) == 0

            # The new ones alone: everything agrees.
            await ks.command("link.dismiss", pair("apk_0", "sc_0"))
            verified = await asyncio.to_thread(_verify, newer, tmp_path / "reading", settings)
            assert verified.returncode == 0, verified.stderr
            assert "agree" in verified.stdout
        for replica in (writing, reading):
            assert await asyncio.to_thread(replica.stop) == 0
    finally:
        for replica in running:
            if replica.running:
                replica.kill()


def _topics(store: str) -> list[str]:
    opened = open_store(store)
    rows = opened.recorder.notifications(0, 10_000)
    opened.close()
    return [topic for _, topic, _ in rows]


async def _position(nats_server: Nats, newest: int) -> int:
    """Of the read node that is behind, by asking whoever answers until it is that one."""
    client = await nats.connect(nats_server.url)
    try:
        for _ in range(200):
            status: Any = json.loads((await client.request("keyscope.query.status", b"", timeout=5)).data)
            if status["schema_version"] == VERSION:
                return int(status["position"])
        return newest + 1
    finally:
        await client.close()


def _verify(release: Path, data: Path, settings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **{f"KEYSCOPE_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "keyscope", "verify", f"--data-dir={data}"]
    return subprocess.run(
        command, check=False, cwd=release, env=environment, capture_output=True, text=True, timeout=60
    )
