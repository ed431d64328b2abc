"""NATS as somebody else has set it up: other streams, and accounts that may not use much."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import nats
import pytest
from nats.js.api import StreamSource

import keyscope
from services.runtime.failures import Exit, Failure
from services.runtime.verify import verify
from tests.support.nats import Nats
from tests.support.service import Service

LIMITED = "\naccounts { A: { jetstream: { max_file: %s, max_mem: 1MB }, users: [ {user: a, password: a} ] } }\n"


@pytest.mark.parametrize(("service", "subjects"), [("relay", "keyscope.>"), ("commands", "keyscope.job.>")])
async def test_a_stream_that_has_these_subjects_already(
    service: str, subjects: str, nats_server: Nats, tmp_path: Path
) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(name="ARCHIVE", subjects=[subjects])
    with pytest.raises(Failure, match="another stream has messages to") as refused:
        async with asyncio.timeout(30):
            await Service(nats_server.url, tmp_path / "data").start(service)
    assert refused.value.exit == Exit.DIVERGED
    await client.close()


async def test_streams_that_copy_the_events_may_be_beside(service: Service, ks: keyscope.Keyscope) -> None:
    js = ks.nats.jetstream()
    await js.add_stream(name="MIRROR", mirror=StreamSource(name="KEYSCOPE_EVENTS"))
    await js.add_stream(name="COPY", sources=[StreamSource(name="KEYSCOPE_EVENTS")])
    await ks.sales_channels.create({"name": "a"})
    async with asyncio.timeout(30):
        for name in ("MIRROR", "COPY"):
            while (await js.stream_info(name)).state.messages != 1:
                await asyncio.sleep(0.05)
    assert (await verify(service.settings, patience=15, progress=lambda done, total: None)).difference is None


async def test_an_account_that_has_used_up_what_it_may(make_nats: Callable[..., Nats], tmp_path: Path) -> None:
    """Commands are carried out, jobs are told to come later, and all goes on when the limit is raised."""
    server = make_nats(LIMITED % "100KB")
    service = Service(server.url.replace("nats://", "nats://a:a@"), tmp_path / "data")
    await service.start()
    async with await service.connect() as ks:
        for _ in range(20):
            await ks.sales_channels.create([{"name": "x" * 250} for _ in range(20)])
        await ks.api_keys.create({"title": "Web", "type": "publishable", "created_by": "me"})
        with pytest.raises(keyscope.Unavailable, match="resource limits exceeded"):
            await ks.jobs.submit("sales_channel.create", {"name": "b", "description": "x" * 90_000}, timeout=1)
        server.allow(LIMITED % "100MB")
        async with asyncio.timeout(30):
            assert (await ks.query.graph(entity="api_key", fields=["title"], timeout=15))["data"] == [{"title": "Web"}]
            await (await ks.jobs.submit("sales_channel.create", {"name": "a"}, timeout=15)).outcome()
    assert (await verify(service.settings, patience=15, progress=lambda done, total: None)).difference is None
    await service.stop()
