"""What the process `keyscope verify` prints, and the codes that it ends with: equal, different, or cannot compare."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

import keyscope
from projections.database import versioned
from services.runtime.failures import Exit
from tests.support.nats import Nats, free_port
from tests.support.service import Service


async def verified(service: Service, *more: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = service.settings
    here = {
        "KEYSCOPE_NATS_URL": settings.nats_servers[0],
        "KEYSCOPE_DATA_DIR": str(settings.data_dir),
        "KEYSCOPE_EVENT_STORE": settings.event_store_url,
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "keyscope", "verify", *more],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **here, **environment},
    )


@pytest.fixture
def service_settings(tmp_path: Path, nats_server: Nats, store_url: str) -> Service:
    return Service(nats_server.url, tmp_path / "data", event_store=store_url)


async def test_equal_and_different(service_settings: Service) -> None:
    service = service_settings
    await service.start()
    async with await service.connect(actor="tester") as ks:
        await ks.api_keys.create({"title": "Shop", "type": "publishable"})
    done = await verified(service)
    assert done.returncode == 0, done.stderr
    store, stream, model, last = done.stdout.splitlines()
    assert [line[:12].strip() for line in (store, stream, model)] == ["event store", "stream", "read model"]
    [digest] = {line[13:] for line in (store, stream, model)}
    assert last == "position 1: event store, stream and read model agree"

    done = await verified(service, "--json")
    assert done.returncode == 0, done.stderr
    digests = dict.fromkeys(("event store", "stream", "read model"), digest)
    assert json.loads(done.stdout) == {"position": 1, "digests": digests, "difference": None}
    await service.stop()

    connection = apsw.Connection(str(versioned(service.settings.read_model_path)))
    connection.execute("UPDATE api_key SET title = 'other'")
    connection.close()
    done = await verified(service)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "position 1: event store, stream and read model do not agree"
    assert "the event store has title 'Shop', the read model has title 'other'" in done.stderr
    done = await verified(service, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["difference"] in done.stderr
    assert told["digests"]["read model"] != told["digests"]["stream"] == digest


async def test_what_cannot_be_compared(service: Service, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    await ks.sales_channels.create({"name": "a"})
    assert (await verified(service)).returncode == 0
    nowhere = f"127.0.0.1:{free_port()}"
    cases: dict[str, tuple[dict[str, str], Exit]] = {
        "no NATS": ({"KEYSCOPE_NATS_URL": f"nats://{nowhere}"}, Exit.UNREACHABLE),
        "no PostgreSQL": ({"KEYSCOPE_EVENT_STORE": f"postgresql://u:hidden@{nowhere}/x"}, Exit.UNREACHABLE),
        "no read model": ({"KEYSCOPE_READ_MODEL": str(tmp_path / "none.db")}, Exit.NO_FILE),
        "no event store": ({"KEYSCOPE_EVENT_STORE": "mysql://"}, Exit.CONFIG),
        "a damaged event store": ({"KEYSCOPE_EVENT_STORE": f"sqlite:///{_rubbish(tmp_path)}"}, Exit.DAMAGED),
    }
    for name, (environment, code) in cases.items():
        done = await verified(service, "--wait=0.2", **environment)
        assert (done.returncode, done.stdout) == (code, ""), (name, done.stderr)
        assert "\nkeyscope: " in f"\n{done.stderr}", (name, done.stderr)
        assert "Traceback" not in done.stderr
        assert "hidden" not in done.stderr


async def test_an_event_of_a_newer_release(service: Service, ks: keyscope.Keyscope) -> None:
    await ks.sales_channels.create({"name": "a"})
    assert (await verified(service)).returncode == 0
    await service.stop()
    connection = apsw.Connection(service.settings.event_store_url.removeprefix("sqlite:///"))
    text: Any = connection.execute("SELECT state FROM stored_events").get
    newer = text.replace(b"sales_channel.created:1", b"sales_channel.created:9")
    connection.execute("UPDATE stored_events SET state = ?", (newer,))
    connection.close()
    js = ks.nats.jetstream()
    last = await js.get_msg("KEYSCOPE_EVENTS", 1)
    await js.purge_stream("KEYSCOPE_EVENTS")
    await js.publish(last.subject or "", (last.data or b"").replace(b"created:1", b"created:9"))
    done = await verified(service)
    assert done.returncode == Exit.DAMAGED
    assert "sales_channel.created version 9 is newer than this release" in done.stderr
    assert "Traceback" not in done.stderr


def _rubbish(folder: Path) -> Path:
    path = folder / "rubbish.db"
    path.write_bytes(b"no database" * 1_000)
    return path
