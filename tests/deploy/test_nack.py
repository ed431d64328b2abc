"""The streams that the chart declares for NACK are those that the services declare, and the services work on them."""

import json
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from events.subjects import JOBS_STREAM, Subjects
from services.bus.streams import dead_jobs_stream, events_stream, jobs_stream
from services.commands.jobs import DURABLE
from tests.support.nats import Nats
from tests.support.service import Service

if sys.platform != "linux":
    pytest.skip("Helm's engine comes as a wheel for Linux alone", allow_module_level=True)

from tests.deploy.test_helm import VALUES, of_kind, rendered

SECONDS = {"30s": 30.0, "500ms": 0.5, "2m": 120.0}
_RENAMED = {
    "replicas": "num_replicas",
    "maxMsgs": "max_msgs",
    "duplicateWindow": "duplicate_window",
    "allowDirect": "allow_direct",
    "streamName": "stream_name",
    "durableName": "durable_name",
    "filterSubject": "filter_subject",
    "deliverPolicy": "deliver_policy",
    "replayPolicy": "replay_policy",
    "ackPolicy": "ack_policy",
    "ackWait": "ack_wait",
    "maxAckPending": "max_ack_pending",
    "deliverGroup": "deliver_group",
    "deliverSubject": "deliver_subject",
}
_NACKS_OWN = {"preventDelete", "preventUpdate", "account", "streamName"}


def as_jetstream(spec: dict[str, Any]) -> dict[str, Any]:
    """What NACK would tell the server: nats-py's names, and seconds."""
    return {
        _RENAMED.get(name, name): SECONDS.get(value, value) if isinstance(value, str) else value
        for name, value in spec.items()
        if name not in _NACKS_OWN
    }


def streams(values: dict[str, Any]) -> dict[str, StreamConfig]:
    specs = [manifest["spec"] for manifest in of_kind(rendered(values), "Stream")]
    return {spec["name"]: StreamConfig(**as_jetstream(spec)) for spec in specs}


def consumer(values: dict[str, Any]) -> ConsumerConfig:
    [manifest] = of_kind(rendered(values), "Consumer")
    assert manifest["spec"]["streamName"] == JOBS_STREAM
    return ConsumerConfig(**as_jetstream(manifest["spec"]))


@pytest.mark.parametrize("values", [name for name in VALUES if VALUES[name].get("nack")])
def test_the_streams_are_those_that_the_services_declare(values: str) -> None:
    given = VALUES[values]["nats"]
    subjects, replicas = Subjects(given.get("prefix", "keyscope")), given.get("streamReplicas", 3)
    ours = [make(subjects, replicas) for make in (events_stream, jobs_stream, dead_jobs_stream)]
    declared = streams(VALUES[values])
    assert declared.keys() == {stream.name for stream in ours}
    for stream in ours:
        assert declared[str(stream.name)].evolve(description=stream.description) == stream


ONE_NODE: dict[str, Any] = {
    "nack": {"enabled": True},
    "nats": {"streamReplicas": 1, "auth": {"serviceInbox": "_INBOX"}},
}


async def test_the_consumer_of_jobs_is_the_one_that_the_service_makes(nats_server: Nats, tmp_path: Path) -> None:
    service = Service(nats_server.url, tmp_path)
    await service.start("commands")
    client = await nats.connect(nats_server.url)
    made = (await client.jetstream().consumer_info(JOBS_STREAM, DURABLE)).config
    await client.close()
    await service.stop()
    declared = consumer(ONE_NODE)
    for name, value in vars(declared).items():
        if value is not None and name != "deliver_subject":
            assert getattr(made, name) == value, name
    assert made.max_deliver in (None, -1)


async def test_the_services_work_on_streams_that_were_declared_so(nats_server: Nats, tmp_path: Path) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    for stream in streams(ONE_NODE).values():
        await js.add_stream(stream)
    await js.add_consumer(JOBS_STREAM, consumer(ONE_NODE))

    service = Service(nats_server.url, tmp_path)
    await service.start("commands", "relay")
    outcomes = await client.subscribe("keyscope.outcome.job-1")
    await js.publish(
        "keyscope.job.sales_channel.create", b'{"id": "sc_1", "name": "W"}', headers={"Nats-Msg-Id": "job-1"}
    )
    outcome = json.loads((await outcomes.next_msg(timeout=10)).data)
    assert outcome["data"]["id"] == "sc_1"
    await service.stop()
    assert (await js.consumer_info(JOBS_STREAM, DURABLE)).config.deliver_subject == "_INBOX.keyscope-commands"
    await client.close()
