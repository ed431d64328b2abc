"""What somebody deletes on the broker while the services work comes back by itself."""

import asyncio
from contextlib import suppress

import pytest
from nats.js.errors import BadRequestError, NotFoundError

import keyscope
from tests.support.service import Service

EVENTS, JOBS = "KEYSCOPE_EVENTS", "KEYSCOPE_JOBS"


async def messages(ks: keyscope.Keyscope, stream: str) -> int:
    try:
        return (await ks.nats.jetstream().stream_info(stream)).state.messages
    except NotFoundError:
        return -1


async def test_the_event_stream(service: Service, ks: keyscope.Keyscope) -> None:
    await ks.sales_channels.create([{"name": "before"}, {"name": "too"}])
    await ks.query.graph(entity="sales_channel", fields=["id"])
    await ks.nats.jetstream().delete_stream(EVENTS)
    await ks.sales_channels.create({"name": "after"})
    async with asyncio.timeout(30):
        while await messages(ks, EVENTS) < 3:
            await asyncio.sleep(0.05)
    answer = await ks.query.graph(entity="sales_channel", fields=["name"])
    assert len(answer["data"]) == 3


@pytest.mark.parametrize("what", ["stream", "consumer"])
async def test_the_job_stream_and_its_consumer(service: Service, ks: keyscope.Keyscope, what: str) -> None:
    await asyncio.sleep(0.2)  # the service has seen its consumer
    js = ks.nats.jetstream()
    if what == "stream":
        await js.delete_stream(JOBS)
    else:
        await js.delete_consumer(JOBS, "keyscope-commands")
    async with asyncio.timeout(30):
        while await messages(ks, JOBS) < 0:
            await asyncio.sleep(0.05)
    job = await ks.jobs.submit("sales_channel.create", {"name": "Web"})
    assert (await job.outcome(10))["data"]["name"] == "Web"


async def test_a_job_stream_that_was_another_one_for_a_while(service: Service, ks: keyscope.Keyscope) -> None:
    js = ks.nats.jetstream()
    await asyncio.sleep(0.2)  # the service has seen its consumer
    await js.delete_stream(JOBS)
    with suppress(BadRequestError):  # the service was faster
        await js.add_stream(name=JOBS, subjects=["somebody.elses"])
    await asyncio.sleep(2.5)  # it looks every second
    await js.delete_stream(JOBS)
    async with asyncio.timeout(30):
        while await messages(ks, JOBS) < 0:
            await asyncio.sleep(0.05)
    job = await ks.jobs.submit("sales_channel.create", {"name": "Web"})
    assert (await job.outcome(10))["data"]["name"] == "Web"
