"""Steps and their undoing: afterwards everything that can be asked for is as it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
import pytest
from eventsourcing.persistence import OperationalError

import keyscope
from keyscope import workflows
from keyscope.links import COLUMNS, ENTITY
from keyscope.types import LinkDefinition
from services.store.sqlite import SQLiteStore
from tests.support.service import Service


class Boom(Exception):
    """What fails in a block."""


class Shop:
    """Two keys, a secret one, two channels."""

    def __init__(self, ks: keyscope.Keyscope) -> None:
        self.ks = ks
        self.k1 = self.k2 = self.sc1 = self.sc2 = ""

    async def open(self) -> None:
        channels = await self.ks.sales_channels.create([{"name": "A"}, {"name": "B", "metadata": {"a": 1}}])
        self.sc1, self.sc2 = (channel["id"] for channel in channels)
        keys = await self.ks.api_keys.create(
            [{"title": "K1", "type": "publishable"}, {"title": "K2", "type": "publishable"}]
        )
        self.k1, self.k2 = (key["id"] for key in keys)

    def pair(self, key: str, channel: str) -> LinkDefinition:
        return {"api_key": {"publishable_key_id": key}, "sales_channel": {"sales_channel_id": channel}}

    async def state(self) -> dict[str, Any]:
        """Everything that a query shows, but for the times of the last change."""
        graph = self.ks.query.graph
        return {
            "links": (await graph(entity=ENTITY, fields=[column for column in COLUMNS if column != "updated_at"]))[
                "data"
            ],
            "keys": (await graph(entity="api_key", fields=["id", "title", "token", "revoked_by", "sales_channels.id"]))[
                "data"
            ],
            "channels": (
                await graph(entity="sales_channel", fields=["id", "name", "description", "is_disabled", "metadata"])
            )["data"],
        }

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[keyscope.Workflow]:
        """A workflow whose block fails in the end; all must be as before."""
        before = await self.state()
        with pytest.raises(Boom):  # noqa: PT012
            async with self.ks.workflow() as flow:
                yield flow
                assert await self.state() != before
                raise Boom
        assert await self.state() == before


@pytest.fixture
async def shop(ks: keyscope.Keyscope) -> Shop:
    shop = Shop(ks)
    await shop.open()
    return shop


async def test_created_links_go_and_those_that_were_there_stay(shop: Shop) -> None:
    await shop.ks.link.create(shop.pair(shop.k1, shop.sc1))
    links = [shop.pair(shop.k1, shop.sc1), shop.pair(shop.k2, shop.sc1)]
    async with shop.failing() as flow:
        assert await flow.create_remote_link_step(links) == links


async def test_dismissed_links_come_back_with_their_ids(shop: Shop) -> None:
    await shop.ks.link.create([shop.pair(shop.k1, shop.sc1), shop.pair(shop.k2, shop.sc1)])
    links = [shop.pair(shop.k1, shop.sc1), shop.pair(shop.k2, shop.sc2)]
    async with shop.failing() as flow:
        assert await flow.dismiss_remote_link_step(links) == links


async def test_removed_links_come_back_but_not_those_dismissed_before(shop: Shop) -> None:
    await shop.ks.link.create(
        [shop.pair(shop.k1, shop.sc1), shop.pair(shop.k1, shop.sc2), shop.pair(shop.k2, shop.sc1)]
    )
    await shop.ks.link.dismiss(shop.pair(shop.k1, shop.sc2))
    async with shop.failing() as flow:
        grouped = await flow.remove_remote_link_step(
            [{"api_key": {"publishable_key_id": shop.k1}}, {"api_key": {"publishable_key_id": [shop.k2]}}]
        )
        assert grouped == {"api_key": {"publishable_key_id": [shop.k1, shop.k2]}}


async def test_updating_links_wants_them_all_there(shop: Shop) -> None:
    there, missing = shop.pair(shop.k1, shop.sc1), shop.pair(shop.k2, shop.sc2)
    await shop.ks.link.create(there)
    async with shop.ks.workflow() as flow:
        assert await flow.update_remote_links_step([there, there]) == [there, there]
    with pytest.raises(keyscope.NotFound, match="Could not find all existing links from data"):
        async with shop.ks.workflow() as flow:
            await flow.update_remote_links_step([there, missing])
    assert len(await shop.ks.link.list([there, missing])) == 1


async def test_a_keys_channels_are_put_back_both_ways(shop: Shop) -> None:
    await shop.ks.link.create(shop.pair(shop.k1, shop.sc1))
    async with shop.failing() as flow:
        await flow.link_sales_channels_to_api_key_step(id=shop.k1, add=[shop.sc2], remove=[shop.sc1])


async def test_a_step_that_only_removes_what_is_not_there_creates_nothing(shop: Shop) -> None:
    before = await shop.state()
    with pytest.raises(Boom):  # noqa: PT012
        async with shop.ks.workflow() as flow:
            await flow.link_sales_channels_to_api_key_step(id=shop.k2, remove=[shop.sc2])
            raise Boom
    assert await shop.state() == before


async def test_keys_are_created_changed_and_deleted_and_it_is_all_undone(shop: Shop) -> None:
    await shop.ks.link.create(shop.pair(shop.k2, shop.sc1))
    await shop.ks.api_keys.revoke(shop.k2, {"revoked_by": "boss"})
    async with shop.failing() as flow:
        created = await flow.create_api_keys_step(api_keys=[{"title": "P", "type": "publishable"}])
        assert [key["title"] for key in created] == ["P"]
        updated = await flow.update_api_keys_step(selector={"type": "publishable"}, update={"title": "New"})
        assert {key["title"] for key in updated} == {"New"}
        await flow.delete_api_keys_step([shop.k2])
        await flow.create_remote_link_step([shop.pair(created[0]["id"], shop.sc2)])


async def test_channels_are_created_changed_and_deleted_and_it_is_all_undone(shop: Shop) -> None:
    await shop.ks.link.create([shop.pair(shop.k1, shop.sc1), shop.pair(shop.k1, shop.sc2)])
    async with shop.failing() as flow:
        (created,) = await flow.create_sales_channels_step(data=[{"name": "Z"}])
        assert created["name"] == "Z"
        first = await flow.update_sales_channels_step(
            selector={}, update={"name": "New", "description": "d", "is_disabled": True, "metadata": {"b": {"c": 2}}}
        )
        assert first is not None
        assert (first["id"], first["name"]) == (shop.sc1, "New")
        await flow.delete_sales_channels_step([shop.sc1])


async def test_a_revocation_stays(shop: Shop) -> None:
    with pytest.raises(Boom):  # noqa: PT012
        async with shop.ks.workflow() as flow:
            (key,) = await flow.revoke_api_keys_step(selector={"id": shop.k1}, revoke={"revoked_by": "boss"})
            assert key["revoked_by"] == "boss"
            raise Boom
    assert (await shop.ks.api_keys.retrieve(shop.k1))["revoked_by"] == "boss"


async def test_nothing_to_do_is_nothing_done(shop: Shop) -> None:
    position = shop.ks.position
    async with shop.ks.workflow() as flow:
        assert await flow.create_remote_link_step([]) == []
        assert await flow.dismiss_remote_link_step([]) == []
        assert await flow.remove_remote_link_step([]) is None
        assert await flow.update_remote_links_step([]) == []
        assert await flow.update_sales_channels_step(selector={"id": "sc_nope"}, update={"name": "x"}) is None
        assert await flow.update_api_keys_step(selector={"id": "apk_nope"}, update={"title": "x"}) == []
        await flow.link_sales_channels_to_api_key_step(id=shop.k1)
    assert shop.ks.position == position


async def test_a_graph_step_answers_rows_or_one(shop: Shop) -> None:
    query: dict[str, Any] = {"entity": "api_key", "fields": ["title"], "filters": {"id": shop.k1}}
    async with shop.ks.workflow() as flow:
        assert (await flow.use_query_graph_step(**query))["data"] == [{"title": "K1"}]
        one = await flow.use_query_graph_step(**query, options={"isList": False})
        assert one["data"] == {"title": "K1"}  # type: ignore[comparison-overlap]
        none = await flow.use_query_graph_step(**query | {"filters": {"id": "nope"}}, options={"isList": False})
        assert none["data"] is None
        with pytest.raises(keyscope.NotFound):
            await flow.use_query_graph_step(**query | {"filters": {"id": "nope"}}, options={"throwIfKeyNotFound": True})


async def test_it_is_undone_in_reverse_order(shop: Shop) -> None:
    async with shop.ks.events.all() as events:
        async with shop.failing() as flow:
            await flow.create_remote_link_step([shop.pair(shop.k1, shop.sc1)])
            await flow.update_api_keys_step(selector={"id": shop.k1}, update={"title": "New"})
        got = [await asyncio.wait_for(anext(events), 30) for _ in range(4)]
    assert [event.name for event in got] == ["link.created", "api_key.updated", "api_key.updated", "link.dismissed"]
    assert [event.command_id for event in got] == [
        f"{flow.id}:1", f"{flow.id}:2", f"{flow.id}:2:undo:1", f"{flow.id}:1:undo:1",
    ]  # fmt: skip


async def test_a_workflow_that_died_is_run_again(shop: Shop) -> None:
    """With the same id its steps answer what they answered, and nothing is done twice."""
    created = []
    for _ in range(2):
        async with shop.ks.workflow("order-77") as flow:
            created += await flow.create_sales_channels_step(data=[{"name": "Z"}])
    assert created[0] == created[1]
    assert len(await shop.ks.sales_channels.list({"name": "Z"})) == 1


async def test_what_cannot_be_undone_stops_nothing_and_is_told(shop: Shop) -> None:
    with pytest.raises(ExceptionGroup, match="could not all be undone") as caught:  # noqa: PT012
        async with shop.ks.workflow() as flow:
            await flow.create_remote_link_step([shop.pair(shop.k1, shop.sc1)])
            await flow.update_api_keys_step(selector={"id": shop.k2}, update={"title": "New"})
            # Somebody deletes the key meanwhile, so that its title cannot be put back.
            await shop.ks.api_keys.soft_delete(shop.k2)
            raise Boom
    assert [type(error) for error in caught.value.exceptions] == [Boom, keyscope.NotFound]
    assert await shop.ks.link.list(shop.pair(shop.k1, shop.sc1)) == []


async def test_a_workflow_that_is_cancelled_is_undone(shop: Shop) -> None:
    before = await shop.state()
    linked = asyncio.Event()

    async def work() -> None:
        async with shop.ks.workflow() as flow:
            await flow.create_remote_link_step([shop.pair(shop.k1, shop.sc1)])
            linked.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await linked.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # and again, while it is being undone
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await shop.state() == before


async def test_a_step_without_an_answer_is_undone_if_it_was_carried_out(
    shop: Shop, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are lost on the way: what it did is found out by asking again, with the same id."""
    before = await shop.state()
    async with await service.connect(actor="tester") as ks:
        replies = ks.connection.bus._replies
        request, losing = replies.request, True

        async def lossy(*arguments: Any, **options: Any) -> Any:
            answer = await request(*arguments, **options)
            if losing:
                raise nats.errors.TimeoutError
            return answer

        monkeypatch.setattr(replies, "request", lossy)
        with pytest.raises(keyscope.Timeout):  # noqa: PT012
            async with ks.workflow() as flow:
                try:
                    await flow.create_remote_link_step([shop.pair(shop.k1, shop.sc1)])
                finally:
                    losing = False
        shop.ks.connection.saw(ks.position)
    assert await shop.state() == before
    events = [event async for event in shop.ks.events.links(since="beginning", follow=False)]
    assert [event.name for event in events] == ["link.created", "link.dismissed"]


async def test_a_step_that_was_refused_has_nothing_to_undo(shop: Shop) -> None:
    with pytest.raises(keyscope.NotFound):
        async with shop.ks.workflow() as flow:
            await flow.create_remote_link_step([shop.pair(shop.k1, "sc_nope")])


async def test_medusas_workflows(shop: Shop) -> None:
    ks = shop.ks
    (key,) = await workflows.create_api_keys_workflow(ks, api_keys=[{"title": "P", "type": "publishable"}])
    (channel,) = await workflows.create_sales_channels_workflow(ks, sales_channels_data=[{"name": "Z"}])
    link = workflows.link_sales_channels_to_api_key_workflow
    await link(ks, id=key["id"], add=[channel["id"], shop.sc1])
    assert len((await ks.query.scope(key["token"]))["sales_channel_ids"]) == 2
    await link(ks, id=key["id"], remove=[shop.sc1])
    assert (await ks.query.scope(key["token"]))["sales_channel_ids"] == [channel["id"]]
    await link(ks, id=key["id"], add=[], remove=[])

    with pytest.raises(keyscope.InvalidData, match=r"^Sales channels with IDs sc_x, sc_y do not exist$"):
        await link(ks, id=key["id"], add=["sc_x", shop.sc1, "sc_y", "sc_x"])
    await ks.sales_channels.soft_delete(shop.sc1)
    with pytest.raises(keyscope.InvalidData, match=rf"^Sales channels with IDs {shop.sc1} do not exist$"):
        await link(ks, id=key["id"], add=[shop.sc1])

    (updated,) = await workflows.update_api_keys_workflow(ks, selector={"id": key["id"]}, update={"title": "New"})
    assert updated["title"] == "New"
    with pytest.raises(keyscope.NotAllowed, match=rf"Cannot delete api keys that are not revoked - {key['id']}"):
        await workflows.delete_api_keys_workflow(ks, ids=[key["id"]])
    assert await workflows.revoke_api_keys_workflow(ks, selector={"id": "apk_nope"}, revoke={"revoked_by": "b"}) == []
    (revoked,) = await workflows.revoke_api_keys_workflow(ks, selector={"id": key["id"]}, revoke={"revoked_by": "b"})
    assert revoked["revoked_by"] == "b"
    await workflows.delete_api_keys_workflow(ks, ids=[key["id"]])

    changed = await workflows.update_sales_channels_workflow(ks, selector={"name": "Z"}, update={"name": "Z2"})
    assert changed["name"] == "Z2"
    await workflows.delete_sales_channels_workflow(ks, ids=[channel["id"]])
    assert await ks.sales_channels.list({"id": channel["id"]}) == []


async def test_a_step_that_the_store_did_not_confirm_is_undone_if_it_was_carried_out(
    shop: Shop, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the connection to the event store breaks at a commit: `unavailable`, and nobody knows."""
    before = await shop.state()
    insert, outcomes = SQLiteStore.insert_batch, SQLiteStore.outcomes
    losing = True
    stored: list[Any] = []

    def unconfirmed(*arguments: Any) -> Any:
        stored.append(insert(*arguments))
        if losing:
            raise OperationalError("the connection was lost")
        return stored[-1]

    def unreachable(*arguments: Any) -> Any:
        if losing and stored:
            raise OperationalError("the server is away")
        return outcomes(*arguments)

    monkeypatch.setattr(SQLiteStore, "insert_batch", unconfirmed)
    monkeypatch.setattr(SQLiteStore, "outcomes", unreachable)
    async with await keyscope.connect(service.settings.nats_url, actor="tester", timeout=1) as ks:
        with pytest.raises(keyscope.Timeout):  # noqa: PT012
            async with ks.workflow() as flow:
                try:
                    await flow.create_remote_link_step([shop.pair(shop.k1, shop.sc1)])
                finally:
                    losing = False
        shop.ks.connection.saw(ks.position)
    assert await shop.state() == before
    events = [event async for event in shop.ks.events.links(since="beginning", follow=False)]
    assert [event.name for event in events] == ["link.created", "link.dismissed"]
