"""Each role may do what it needs, and nothing else: with nkeys and with JWTs, on the files that we ship."""

import asyncio
import gc
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

import keyscope
from services.bus.measures import SELF_CHECKED
from services.bus.wire import flush
from tests.deploy.conftest import Locked
from tests.support.service import Service

# nats-py (2.16) leaves TLS connections that were refused to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:loop is closed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


ROLES = ["operator", "service", "gateway", "commander", "subscriber", "reader", "storefront"]
EVENTS, JOBS, DEAD = "KEYSCOPE_EVENTS", "KEYSCOPE_JOBS", "KEYSCOPE_DEAD_JOBS"

_ON_A_STREAM = [
    "STREAM.CREATE.{0}",
    "STREAM.UPDATE.{0}",
    "STREAM.DELETE.{0}",
    "STREAM.PURGE.{0}",
    "STREAM.INFO.{0}",
    "STREAM.MSG.GET.{0}",
    "STREAM.MSG.DELETE.{0}",
    "STREAM.SNAPSHOT.{0}",
    "STREAM.RESTORE.{0}",
    "STREAM.PEER.REMOVE.{0}",
    "STREAM.LEADER.STEPDOWN.{0}",
    "DIRECT.GET.{0}",
    "DIRECT.GET.{0}.keyscope.evt.a",
    "CONSUMER.CREATE.{0}",
    "CONSUMER.CREATE.{0}.c",
    "CONSUMER.CREATE.{0}.c.f",
    "CONSUMER.CREATE.{0}.keyscope-commands",
    "CONSUMER.DURABLE.CREATE.{0}.c",
    "CONSUMER.DURABLE.CREATE.{0}.keyscope-commands",
    "CONSUMER.DELETE.{0}.c",
    "CONSUMER.INFO.{0}.c",
    "CONSUMER.INFO.{0}.keyscope-commands",
    "CONSUMER.LIST.{0}",
    "CONSUMER.NAMES.{0}",
    "CONSUMER.MSG.NEXT.{0}.c",
    "CONSUMER.PAUSE.{0}.c",
    "CONSUMER.LEADER.STEPDOWN.{0}.c",
]
API = {
    *(f"$JS.API.{call.format(stream)}" for call in _ON_A_STREAM for stream in (EVENTS, JOBS, DEAD, "OTHER")),
    *(f"$JS.API.{call}" for call in ("INFO", "STREAM.NAMES", "STREAM.LIST", "ACCOUNT.PURGE.A", "META.LEADER.STEPDOWN")),
    *(f"$JS.{kind}.{stream}.c.1.2.3.4.5" for kind in ("ACK", "FC") for stream in (EVENTS, JOBS, "OTHER")),
}
SUBJECTS = {
    "keyscope.cmd.link.create",
    "keyscope.cmd.api_key.create",
    "keyscope.job.link.create",
    "keyscope.evt.link.created.a.b",
    "keyscope.outcome.x",
    "keyscope.dead.link.create",
    "keyscope.wake",
    "keyscope.query.graph",
    "keyscope.query.scope",
    "keyscope.query.status",
    "keyscope.other",
    "other",
    "$SRV.PING",
    "$KV.bucket.key",
    "$SYS.REQ.SERVER.PING",
    *(f"_INBOX.{role}.x" for role in ROLES),
}
PUBLISHABLE = SUBJECTS | API
SUBSCRIBABLE = SUBJECTS | {">", "keyscope.>", "keyscope.cmd.>", "keyscope.evt.>", "_INBOX.>", "$JS.>", "$SRV.>"}


def api(calls: str, stream: str = EVENTS) -> set[str]:
    return {f"$JS.API.{call.format(stream)}" for call in calls.split()}


FEED = api("STREAM.INFO.{0} STREAM.MSG.GET.{0} CONSUMER.CREATE.{0}.c CONSUMER.CREATE.{0}.keyscope-commands") | {
    f"$JS.FC.{EVENTS}.c.1.2.3.4.5"
}
QUERIES = {"keyscope.query.graph", "keyscope.query.scope", "keyscope.query.status"}
COMMANDS = {"keyscope.cmd.link.create", "keyscope.cmd.api_key.create"}

MAY_PUBLISH: dict[str, set[str]] = {
    "operator": PUBLISHABLE,
    "service": {"keyscope.evt.link.created.a.b", "keyscope.outcome.x", "keyscope.dead.link.create", "keyscope.wake"}
    | QUERIES - {"keyscope.query.scope"}
    | FEED
    | api("STREAM.CREATE.{0} STREAM.PURGE.{0} DIRECT.GET.{0} DIRECT.GET.{0}.keyscope.evt.a CONSUMER.CREATE.{0}")
    | api("CONSUMER.CREATE.{0}.c.f CONSUMER.DELETE.{0}.c STREAM.UPDATE.{0} STREAM.DELETE.{0} CONSUMER.MSG.NEXT.{0}.c")
    | api("STREAM.CREATE.{0} STREAM.INFO.{0}", DEAD)
    | api("STREAM.CREATE.{0} STREAM.INFO.{0} CONSUMER.DURABLE.CREATE.{0}.keyscope-commands", JOBS)
    | api("CONSUMER.CREATE.{0}.keyscope-commands CONSUMER.INFO.{0}.keyscope-commands", JOBS)
    | {f"$JS.ACK.{JOBS}.c.1.2.3.4.5"},
    "gateway": COMMANDS | QUERIES | FEED,
    "commander": COMMANDS | {"keyscope.job.link.create"},
    "subscriber": FEED
    | api("CONSUMER.INFO.{0}.c CONSUMER.INFO.{0}.keyscope-commands CONSUMER.MSG.NEXT.{0}.c")
    | {f"$JS.ACK.{EVENTS}.c.1.2.3.4.5"},
    "reader": QUERIES,
    "storefront": {"keyscope.query.scope"} | FEED,
}
MAY_SUBSCRIBE: dict[str, set[str]] = {
    "operator": SUBSCRIBABLE,
    "service": COMMANDS | QUERIES | {"keyscope.cmd.>", "keyscope.wake", "$SRV.PING", "$SRV.>"},
    "gateway": set(),
    "commander": {"keyscope.outcome.x"},
    "subscriber": set(),
    "reader": set(),
    "storefront": set(),
}


class Prober:
    """Tries doors, and hears of those that are locked."""

    def __init__(self, client: Client, denials: list[str]) -> None:
        self._client = client
        self._denials = denials

    async def publishes(self, subjects: set[str]) -> set[str]:
        """Those of the subjects that may be published to."""
        for subject in subjects:
            await self._client.publish(subject, b"")
        return await self._allowed(subjects, "publish")

    async def subscribes(self, subjects: set[str]) -> set[str]:
        """Those of the subjects that may be subscribed to."""
        for subject in subjects:
            await self._client.subscribe(subject)
        return await self._allowed(subjects, "subscription")

    async def _allowed(self, subjects: set[str], what: str) -> set[str]:
        for _ in range(2):  # the first may overtake what is to be flushed
            await flush(self._client)
        denied = {found[1] for text in self._denials if (found := re.search(f'{what} to "(.*?)"', text))}
        return {subject for subject in subjects if subject.lower() not in denied}  # as nats-py spells it


@asynccontextmanager
async def prober(locked: Locked, role: str) -> AsyncIterator[Prober]:
    denials: list[str] = []

    async def hear(error: Exception) -> None:
        denials.append(str(error))

    client = await nats.connect(locked.url, **locked.options(role), error_cb=hear)
    yield Prober(client, denials)
    await client.close()


@pytest.mark.parametrize("role", ROLES)
async def test_what_a_role_may_publish(locked: Locked, role: str) -> None:
    async with prober(locked, role) as tries:
        assert await tries.publishes(PUBLISHABLE) == MAY_PUBLISH[role]


@pytest.mark.parametrize("role", ROLES)
async def test_what_a_role_may_subscribe_to(locked: Locked, role: str) -> None:
    async with prober(locked, role) as tries:
        assert await tries.subscribes(SUBSCRIBABLE) == MAY_SUBSCRIBE[role] | {f"_INBOX.{role}.x"}


async def test_nobody_without_a_key(locked: Locked) -> None:
    tls = {"tls": locked.options("reader")["tls"]}
    for wrong in ({}, {"user": "service", "password": "service"}, {"token": "service"}):
        with pytest.raises(nats.errors.Error):
            await nats.connect(locked.url, **tls, **wrong, allow_reconnect=False, max_reconnect_attempts=0)


async def test_nobody_without_tls_and_nobody_trusts_another_server(locked: Locked) -> None:
    options = {**locked.options("reader"), "allow_reconnect": False, "max_reconnect_attempts": 0}
    with pytest.raises((nats.errors.Error, ssl.SSLError)):
        await nats.connect(locked.url, **{**options, "tls": ssl.create_default_context()})


async def test_all_roles_can_do_their_work(locked: Locked, tmp_path: Path) -> None:
    service = Service(locked.url, tmp_path / "data", self_check_seconds=0.2, **locked.settings("service"))
    compared = SELF_CHECKED.values["equal",]
    await service.start("commands", "relay", "query")

    def client(role: str) -> "keyscope.client.Connecting":
        return keyscope.connect(locked.url, actor=role, **locked.options(role))

    async with client("commander") as commander, client("reader") as reader:
        key = (await commander.command("api_key.create", {"title": "K", "type": "publishable"}))["data"]
        channel = (await commander.command("sales_channel.create", {"name": "C"}))["data"]
        link = {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}
        reply = await commander.command("link.create", link)
        answer = await reader.query.graph(
            entity="api_key", fields=["sales_channels.id"], filters={"id": key["id"]}, position=reply["position"]
        )
        assert answer["data"][0]["sales_channels"] == [{"id": channel["id"]}]

        # A selector makes the service ask itself.
        chosen = {"selector": {"id": key["id"]}, "update": {"title": "New"}}
        assert (await commander.command("api_key.update", chosen))["data"][0]["title"] == "New"

        outcomes = await commander.nats.subscribe("keyscope.outcome.job-1")
        jobs = commander.nats.jetstream()
        await jobs.publish("keyscope.job.link.dismiss", json.dumps(link).encode(), headers={"Nats-Msg-Id": "job-1"})
        assert b'"data"' in (await outcomes.next_msg(timeout=10)).data

        outcomes = await commander.nats.subscribe("keyscope.outcome.job-2")
        await jobs.publish("keyscope.job.link.create", b"{}", headers={"Nats-Msg-Id": "job-2"})
        assert b'"invalid_data"' in (await outcomes.next_msg(timeout=10)).data
        async with client("operator") as operator:
            buried = await operator.nats.jetstream().pull_subscribe("keyscope.dead.>", stream=DEAD)
            assert [message.data for message in await buried.fetch(1, timeout=10)] == [b"{}"]

    async with client("storefront") as storefront, await storefront.storefront() as scopes:
        assert (await scopes.load(key["token"])).sales_channel_ids == ()

    async with client("subscriber") as subscriber:
        for durable in (None, "mine"):
            async with subscriber.events.links(since="beginning", durable=durable) as events:
                assert [(await anext(events)).name for _ in range(2)] == ["link.created", "link.dismissed"]

    async with client("gateway") as gateway, gateway.events.links(since="beginning") as events:
        await gateway.command("link.create", link)
        assert [(await anext(events)).name for _ in range(3)] == ["link.created", "link.dismissed", "link.created"]

    async with asyncio.timeout(30):
        while SELF_CHECKED.values["equal",] == compared:  # the read node may ask for what it compares itself with
            await asyncio.sleep(0.1)
    await service.stop()
