"""Every call of the client against the real services."""

import asyncio

import pytest

import keyscope
from keyscope.types import ApiKey, LinkDefinition, SalesChannel
from tests.support.nats import Nats
from tests.support.service import Service

LINKS = "ApiKeyApiKeySalesChannelSalesChannelLink"


@pytest.fixture
async def key(ks: keyscope.Keyscope) -> ApiKey:
    return await ks.api_keys.create({"title": "Web", "type": "publishable"})


@pytest.fixture
async def channels(ks: keyscope.Keyscope) -> list[SalesChannel]:
    return await ks.sales_channels.create([{"name": "A"}, {"name": "B", "metadata": {"a": 1}}])


def pair(key: ApiKey, channel: SalesChannel) -> LinkDefinition:
    return {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}


async def test_keys(ks: keyscope.Keyscope, key: ApiKey) -> None:
    secret = await ks.api_keys.create({"title": "Server", "type": "secret", "created_by": "somebody"})
    assert (key["created_by"], secret["created_by"]) == ("tester", "somebody")
    assert await ks.api_keys.retrieve(key["id"]) == key
    assert await ks.api_keys.retrieve(secret["id"]) == {**secret, "token": ""}
    assert await ks.api_keys.retrieve(key["id"], {"select": ["title"]}) == {"id": key["id"], "title": "Web"}
    assert [row["id"] for row in await ks.api_keys.list()] == [key["id"], secret["id"]]
    assert [row["id"] for row in await ks.api_keys.list({"type": "secret"})] == [secret["id"]]
    rows, count = await ks.api_keys.list_and_count({}, {"select": ["title"], "take": 1, "skip": 1})
    assert (rows, count) == ([{"id": secret["id"], "title": "Server"}], 2)
    newest = await ks.api_keys.list(None, {"order": {"title": "DESC"}, "take": 1, "select": ["title"]})
    assert newest == [{"id": key["id"], "title": "Web"}]

    authenticated = await ks.api_keys.authenticate(secret["token"])
    assert authenticated
    assert authenticated["id"] == secret["id"]
    assert await ks.api_keys.authenticate("sk_nope") is False

    assert (await ks.api_keys.update(key["id"], {"title": "Shop"}))["title"] == "Shop"
    assert [row["title"] for row in await ks.api_keys.update({"type": "secret"}, {"title": "S"})] == ["S"]
    updated, created = sorted(
        await ks.api_keys.upsert([{"id": key["id"], "title": "Shop 2"}, {"title": "New", "type": "publishable"}]),
        key=lambda row: row["title"],
        reverse=True,
    )
    assert (updated["id"], updated["title"], created["title"]) == (key["id"], "Shop 2", "New")

    assert await ks.api_keys.soft_delete(created["id"]) == {
        "api_key_id": [created["id"]],
        "publishable_key_id": [created["id"]],
    }
    assert created["id"] not in [row["id"] for row in await ks.api_keys.list()]
    assert created["id"] in [row["id"] for row in await ks.api_keys.list({}, {"withDeleted": True})]
    await ks.api_keys.restore([created["id"]])
    assert (await ks.api_keys.retrieve(created["id"]))["title"] == "New"

    with pytest.raises(keyscope.NotAllowed, match=key["id"]):
        await ks.api_keys.delete(key["id"])
    assert (await ks.api_keys.revoke(key["id"], {"revoked_by": "boss"}))["revoked_by"] == "boss"
    await ks.api_keys.delete([key["id"]])
    with pytest.raises(keyscope.NotFound, match=f"ApiKey with id: {key['id']} was not found"):
        await ks.api_keys.retrieve(key["id"])


async def test_channels(ks: keyscope.Keyscope, channels: list[SalesChannel]) -> None:
    a, b = channels
    assert await ks.sales_channels.retrieve(b["id"]) == b
    assert await ks.sales_channels.list({"name": "A"}) == [a]
    assert (await ks.sales_channels.update(b["id"], {"metadata": {"b": 2}}))["metadata"] == {"a": 1, "b": 2}
    first = await ks.sales_channels.update({"name": ["A", "B"]}, {"description": "both"})
    assert (first["id"], first["description"]) == (a["id"], "both")
    assert (await ks.sales_channels.upsert({"id": a["id"], "name": "A2"}))["name"] == "A2"
    await ks.sales_channels.soft_delete(a["id"])
    assert [row["id"] for row in await ks.sales_channels.list()] == [b["id"]]
    await ks.sales_channels.restore([a["id"]])
    await ks.sales_channels.delete([a["id"], b["id"]])
    assert await ks.sales_channels.list_and_count() == ([], 0)
    with pytest.raises(keyscope.NotFound, match="SalesChannel with id: sc_nope was not found"):
        await ks.sales_channels.retrieve("sc_nope")


async def test_links(ks: keyscope.Keyscope, key: ApiKey, channels: list[SalesChannel]) -> None:
    a, b = (pair(key, channel) for channel in channels)
    (link,) = await ks.link.create(a)
    assert await ks.link.create([a]) == [link]
    assert await ks.link.list([a, b]) == [link]
    assert await ks.link.list(a) == [link]
    assert await ks.link.list([]) == []
    assert await ks.link.list(a, {"asLinkDefinition": True}) == [
        {
            "api_key": {"publishable_key_id": key["id"]},
            "sales_channel": {"sales_channel_id": channels[0]["id"]},
        }
    ]
    result = await ks.link.batch(create=[b], dismiss=[a])
    assert [row["sales_channel_id"] for row in result["created"]] == [channels[1]["id"]]
    assert [row["id"] for row in result["dismissed"]] == [link["id"]]
    assert await ks.link.dismiss(a) == []

    gone = {LINKS: {"publishable_key_id": [key["id"]], "sales_channel_id": [channels[1]["id"]]}}
    assert await ks.link.delete({"api_key": {"publishable_key_id": key["id"]}}) == [None, gone]
    assert await ks.link.list([a, b]) == []
    assert await ks.link.restore({"api_key": {"publishable_key_id": key["id"]}}) == [None, gone]
    assert [row["id"] for row in await ks.link.list([a, b])] == [row["id"] for row in result["created"]]


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ({"api_key": {"publishable_key_id": "k"}}, "two ends"),
        ({"nope": {"x": 1}, "sales_channel": {"sales_channel_id": "s"}}, "two ends"),
        ("apk_1", "two ends"),
        ({"api_key": {"id": "k"}, "sales_channel": {"sales_channel_id": "s"}}, "api_key: name it once"),
        ({"api_key": {}, "sales_channel": {"sales_channel_id": "s"}}, "api_key: name it once"),
        ({"api_key": {"api_key_id": "k", "publishable_key_id": "k"}, "sales_channel": {}}, "api_key: name it once"),
        ({"api_key": {"api_key_id": None}, "sales_channel": {"sales_channel_id": "s"}}, "api_key: every id"),
        (
            {"api_key": {"api_key_id": "k"}, "sales_channel": {"sales_channel_id": ["s", " "]}},
            "sales_channel: every id",
        ),
    ],
)
async def test_a_list_of_links_refuses_what_names_no_pair(ks: keyscope.Keyscope, links: object, message: str) -> None:
    with pytest.raises(keyscope.InvalidData, match=message):
        await ks.link.list(links)  # type: ignore[arg-type]


@pytest.mark.parametrize("id", ["", "  ", None, 7, ["apk_1"]])
async def test_retrieve_needs_an_id(ks: keyscope.Keyscope, id: object) -> None:
    with pytest.raises(keyscope.InvalidData, match="id must be"):
        await ks.api_keys.retrieve(id)  # type: ignore[arg-type]


async def test_what_was_written_is_read(ks: keyscope.Keyscope, key: ApiKey, channels: list[SalesChannel]) -> None:
    """Read your writes, without waiting in between."""
    for _ in range(20):
        await ks.link.create([pair(key, channel) for channel in channels])
        assert len((await ks.query.scope(key["token"]))["sales_channel_ids"]) == 2
        await ks.link.dismiss(pair(key, channels[0]))
        answer = await ks.query.graph(entity="api_key", fields=["sales_channels.name"], filters={"id": key["id"]})
        assert [channel["name"] for channel in answer["data"][0]["sales_channels"]] == ["B"]


async def test_what_one_client_wrote_another_reads_when_told_the_position(
    ks: keyscope.Keyscope, service: Service, key: ApiKey
) -> None:
    async with await service.connect() as reader:
        answer = await reader.query.graph(
            entity="api_key", fields=["id"], filters={"id": key["id"]}, position=ks.position
        )
        assert answer["data"] == [{"id": key["id"]}]


async def test_the_same_command_id_gets_the_first_outcome(ks: keyscope.Keyscope) -> None:
    id = ks.new_command_id()
    first = await ks.sales_channels.create({"name": "A"}, command_id=id)
    assert await ks.sales_channels.create({"name": "A"}, command_id=id) == first
    assert len(await ks.sales_channels.list()) == 1


async def test_graph_and_scope(ks: keyscope.Keyscope, key: ApiKey, channels: list[SalesChannel]) -> None:
    await ks.link.create([pair(key, channel) for channel in channels])
    answer = await ks.query.graph(
        {
            "entity": "sales_channel",
            "fields": ["name", "publishable_api_keys.title"],
            "pagination": {"skip": 0, "take": 1},
        }
    )
    assert answer["data"] == [
        {"id": channels[0]["id"], "name": "A", "publishable_api_keys": [{"id": key["id"], "title": "Web"}]}
    ]
    assert answer["metadata"] == {"skip": 0, "take": 1, "count": 2}
    scope = await ks.query.scope(key["token"])
    assert scope["key"]["id"] == key["id"]
    assert scope["sales_channel_ids"] == [channel["id"] for channel in channels]
    with pytest.raises(keyscope.KeyscopeError):
        await ks.query.scope("pk_nope")
    with pytest.raises(keyscope.NotFound, match="ApiKey id not found: apk_nope"):
        await ks.query.graph(
            {"entity": "api_key", "fields": ["id"], "filters": {"id": "apk_nope"}}, {"throwIfKeyNotFound": True}
        )
    assert (await ks.query.status())["position"] >= ks.position


async def test_a_job_is_carried_out_and_its_outcome_comes(
    ks: keyscope.Keyscope, key: ApiKey, channels: list[SalesChannel]
) -> None:
    job = await ks.jobs.submit("link.create", pair(key, channels[0]), command_id="job-1")
    outcome = await job.outcome()
    assert outcome["data"] == await ks.link.list(pair(key, channels[0]))
    assert outcome["changed"] == [outcome["data"][0]["id"]]
    assert ks.position == outcome["position"]

    again = await ks.jobs.submit("link.create", pair(key, channels[0]), command_id="job-1")
    assert again.duplicate
    assert await again.outcome() == outcome


async def test_a_job_that_is_refused_raises(ks: keyscope.Keyscope) -> None:
    job = await ks.jobs.submit("sales_channel.delete", 7)
    with pytest.raises(keyscope.InvalidData):
        await job.outcome()


async def test_a_job_waits_for_the_service(ks: keyscope.Keyscope, service: Service) -> None:
    await service.stop()
    job = await ks.jobs.submit("sales_channel.create", {"name": "later"})
    with pytest.raises(keyscope.Timeout, match=job.command_id):
        await job.outcome(timeout=0.2)
    await service.start()
    outcome = await job.outcome()
    assert outcome["data"]["name"] == "later"


async def test_a_job_that_there_is_not_is_refused(ks: keyscope.Keyscope) -> None:
    job = await ks.jobs.submit("link.nope", {})
    with pytest.raises(keyscope.KeyscopeError, match="nope"):
        await job.outcome()


async def test_a_job_without_a_stream_is_unavailable(nats_server: Nats) -> None:
    async with keyscope.connect(nats_server.url) as client:
        with pytest.raises(keyscope.Unavailable, match=r"nobody serves keyscope\.job\.link\.create"):
            await client.jobs.submit("link.create", [], timeout=1.5)


async def test_many_at_once(ks: keyscope.Keyscope, key: ApiKey) -> None:
    channels = await ks.sales_channels.create([{"name": str(number)} for number in range(50)])
    rows = await asyncio.gather(*(ks.link.create(pair(key, channel)) for channel in channels))
    assert [row[0]["sales_channel_id"] for row in rows] == [channel["id"] for channel in channels]
